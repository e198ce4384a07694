//! The threads lent to the core: Web Workers on shared memory. They spin briefly for the next job, then sleep.
//!
//! The protocol is that of the native pool: a job is `size` calls; members claim them one by one, and the engine's worker takes what
//! nobody has begun, so that a member that is asleep, or was never started, is not waited for.

use picolm_core::team::Team as Lent;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use wasm_bindgen::prelude::wasm_bindgen;

/// How often a member looks for the next job before it sleeps: some 50 microseconds. There is no clock to ask.
const SPINS: usize = 20_000;

/// A team of workers. Member 0 is the engine's.
#[wasm_bindgen]
#[derive(Clone)]
pub struct Team(Arc<Shared>);

/// A job whose borrows are forgotten; see the safety comments on its two uses.
type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    size: usize,
    /// The job's next call that nobody has claimed; `size` or more if there is none.
    next: AtomicUsize,
    /// Calls 1..size of the job that have not returned.
    unfinished: AtomicUsize,
    /// Written by the engine's worker while no call is unfinished; read after a claim.
    job: UnsafeCell<Option<Job>>,
    /// Whether somebody is in `run`.
    busy: AtomicBool,
    stop: AtomicBool,
    members: Mutex<Vec<Thread>>,
}

// SAFETY: `job` is the only field that is not Sync by itself. It is written only by the holder of `busy` while `next` hands out nothing
// and `unfinished` is 0, and read only between a claim and the end of the claimed call, which `unfinished` counts. The claim acquires
// what the store of `next` released. The job itself is Sync, so any thread may call it.
unsafe impl Sync for Shared {}
// SAFETY: as above; a Job is only a pointer.
unsafe impl Send for Shared {}

#[wasm_bindgen]
impl Team {
    /// A team of `size` members. Each but the first is a worker that calls `team_member` with `address`.
    #[wasm_bindgen(constructor)]
    pub fn new(size: usize) -> Self {
        let size = size.max(1);
        Team(Arc::new(Shared {
            size,
            next: AtomicUsize::new(size),
            unfinished: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            members: Mutex::default(),
        }))
    }

    /// Where a member finds the team. Each call makes one more owner, who must call `team_member` once.
    pub fn address(&self) -> usize {
        Arc::into_raw(self.0.clone()).expose_provenance()
    }

    /// Lets the members go.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.0.wake();
    }
}

/// What a member does all its life: returns when the team is stopped.
///
/// # Safety
/// `address` came from [`Team::address`] in the same memory, and is used once.
#[wasm_bindgen]
pub unsafe fn team_member(address: usize) {
    // SAFETY: the address is that of an Arc whose count was raised for us.
    let shared = unsafe { Arc::from_raw(std::ptr::with_exposed_provenance::<Shared>(address)) };
    shared.members.lock().unwrap_or_else(PoisonError::into_inner).push(thread::current());
    while !shared.stop.load(Ordering::Acquire) {
        if !shared.take_call() && !spin_until(|| shared.has_news()) {
            // An unpark between the last look and here makes this return at once.
            thread::park();
        }
    }
}

impl Lent for Team {
    fn size(&self) -> usize {
        self.0.size
    }

    /// A `run` inside of a job, or beside another, makes its calls one after the other on its own thread.
    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.0;
        if shared.size == 1 || shared.busy.swap(true, Ordering::Acquire) {
            return (0..shared.size).for_each(job);
        }
        let job: *const (dyn Fn(usize) + Sync + '_) = job;
        // SAFETY: only the lifetime changes. The pointer is followed by claimed calls, and this function returns only after all of
        // them have returned (`wait`); a panic ends the whole instance.
        let job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        // SAFETY: `busy` is ours, and the last job was waited for, so no one reads.
        unsafe { *shared.job.get() = Some(job) };
        shared.unfinished.store(shared.size - 1, Ordering::Relaxed);
        shared.next.store(1, Ordering::Release);
        shared.wake();

        // SAFETY: the caller keeps the job borrowed.
        (unsafe { &*job })(0);
        while shared.take_call() {}
        while shared.unfinished.load(Ordering::Acquire) > 0 {
            spin_loop();
        }
        shared.busy.store(false, Ordering::Release);
    }
}

impl Shared {
    fn wake(&self) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Thread::unpark);
    }

    fn has_news(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.size || self.stop.load(Ordering::Relaxed)
    }

    /// Makes one call of the job that nobody has claimed; false if there is none.
    fn take_call(&self) -> bool {
        let claim = |i| (i < self.size).then_some(i + 1);
        let Ok(i) = self.next.fetch_update(Ordering::Acquire, Ordering::Relaxed, claim) else { return false };
        // SAFETY: a call is claimed, so the caller of `run` has written the job and waits for us.
        if let Some(job) = unsafe { *self.job.get() } {
            // SAFETY: `run` keeps the job borrowed until all calls have returned.
            (unsafe { &*job })(i);
        }
        self.unfinished.fetch_sub(1, Ordering::Release);
        true
    }
}

/// Watches for a while; whether it came.
fn spin_until(came: impl Fn() -> bool) -> bool {
    (0..SPINS).any(|_| {
        spin_loop();
        came()
    })
}
