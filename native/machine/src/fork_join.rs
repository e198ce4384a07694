//! The protocol of a team: one thread brings a job, others make calls of it.
//!
//! A forward pass is hundreds of jobs of some ten microseconds. Waking a sleeping thread takes as long, so members watch for the next
//! job for a while before they sleep, and a job allocates nothing. A member that is still asleep, was never started, or whose CPU is busy
//! with something else is not waited for: the caller takes over the calls that nobody has begun.
//!
//! ```text
//!   caller                                     member (`work`)
//!   job = …, unfinished = size - 1
//!   next = 1                    ───────────►   claim: next → next + 1, if below size
//!   job(0)                                     job(claimed), unfinished -= 1
//!   claim what is left, as a member does       …
//!   wait until unfinished == 0                 spin, then park
//! ```

use picolm_core::team::Team;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};

/// A [`Team`] of whoever calls [`Team::run`], its member 0, and those who call [`ForkJoin::work`].
///
/// A job that panics ends the process, as an unfinished call must not outlive what it borrows: who wants to go on catches panics in it.
///
/// Its functions are inlined, that is compiled with the crate that uses them: in the browser's module that is smaller.
pub struct ForkJoin {
    size: usize,
    /// The job's next call that nobody has claimed; `size` or more if there is none.
    next: AtomicUsize,
    /// Calls 1..size of the job that have not returned.
    unfinished: AtomicUsize,
    /// Written by the caller while no call is unfinished; read after a claim.
    job: UnsafeCell<Option<Job>>,
    /// Whether somebody is in `run`.
    busy: AtomicBool,
    stop: AtomicBool,
    members: Mutex<Vec<Thread>>,
}

/// A job whose borrows are forgotten; see the safety comments on its two uses.
type Job = *const (dyn Fn(usize) + Sync);

// SAFETY: `job` is the only field that is not Sync by itself. It is written only by the holder of `busy` while `next` hands out nothing
// and `unfinished` is 0, and read only between a claim and the end of the claimed call, which `unfinished` counts. The claim acquires
// what the store of `next` released. The job itself is Sync, so any thread may call it.
unsafe impl Sync for ForkJoin {}
// SAFETY: as above; a Job is only a pointer.
unsafe impl Send for ForkJoin {}

impl ForkJoin {
    /// For a team of `size` members (at least 1), of which one is the caller.
    #[inline]
    pub fn new(size: usize) -> Self {
        let size = size.max(1);
        ForkJoin {
            size,
            next: AtomicUsize::new(size),
            unfinished: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            members: Mutex::default(),
        }
    }

    /// What a member does all its life: returns when the team is stopped.
    #[inline]
    pub fn work(&self) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).push(thread::current());
        while !self.stop.load(Ordering::Acquire) {
            if !self.take_call() && !spin_until(|| self.has_news()) {
                // An unpark between the last look and here makes this return at once.
                thread::park();
            }
        }
    }

    /// Lets the members go.
    #[inline]
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Who is not in the list yet looks for news before it sleeps.
    #[inline]
    fn wake(&self) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Thread::unpark);
    }

    fn has_news(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.size || self.stop.load(Ordering::Relaxed)
    }

    /// Makes one call of the job that nobody has claimed; false if there is none.
    #[inline]
    fn take_call(&self) -> bool {
        let claim = |i| (i < self.size).then_some(i + 1);
        let Ok(i) = self.next.fetch_update(Ordering::Acquire, Ordering::Relaxed, claim) else { return false };
        // SAFETY: a call is claimed, so the caller of `run` has written the job and waits for us.
        if let Some(job) = unsafe { *self.job.get() } {
            // SAFETY: `run` keeps the job borrowed until all calls have returned.
            call(unsafe { &*job }, i);
        }
        self.unfinished.fetch_sub(1, Ordering::Release);
        true
    }
}

impl Team for ForkJoin {
    fn size(&self) -> usize {
        self.size
    }

    /// A `run` inside of a job, or beside another, makes its calls one after the other on its own thread.
    #[inline]
    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        if self.size == 1 || self.busy.swap(true, Ordering::Acquire) {
            return (0..self.size).for_each(job);
        }
        let erased: *const (dyn Fn(usize) + Sync + '_) = job;
        // SAFETY: only the lifetime changes. The pointer is followed by claimed calls, and this function returns only after all of them
        // have returned; it does not unwind (`call`).
        let erased = unsafe { mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(erased) };
        // SAFETY: `busy` is ours, and the last job was waited for, so no one reads.
        unsafe { *self.job.get() = Some(erased) };
        self.unfinished.store(self.size - 1, Ordering::Relaxed);
        self.next.store(1, Ordering::Release);
        self.wake();

        call(job, 0);
        while self.take_call() {}
        wait_until(|| self.unfinished.load(Ordering::Acquire) == 0);
        self.busy.store(false, Ordering::Release);
    }
}

/// Makes one call of a job. It returns, or the process ends.
fn call(job: &(dyn Fn(usize) + Sync), member: usize) {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            std::process::abort();
        }
    }
    let end = End;
    job(member);
    mem::forget(end);
}

/// Watches for a while; whether it came. Longer than the serial parts of a step (sampling, tables), so that a token's jobs find everyone
/// awake: some 50 microseconds.
#[cfg(not(target_family = "wasm"))]
fn spin_until(came: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if came() {
                return true;
            }
            spin_loop();
        }
        if start.get_or_insert_with(std::time::Instant::now).elapsed() > std::time::Duration::from_micros(50) {
            return false;
        }
    }
}

/// There is no clock to ask.
#[cfg(target_family = "wasm")]
fn spin_until(came: impl Fn() -> bool) -> bool {
    (0..20_000).any(|_| {
        spin_loop();
        came()
    })
}

/// Until the calls have returned. Everything is claimed by now, so this is the end of someone's last part; if that takes longer than a
/// spin, its thread may be waiting for this very CPU.
#[cfg(not(target_family = "wasm"))]
fn wait_until(came: impl Fn() -> bool) {
    while !spin_until(&came) {
        thread::yield_now();
    }
}

/// No CPU can be given to another.
#[cfg(target_family = "wasm")]
fn wait_until(came: impl Fn() -> bool) {
    while !came() {
        spin_loop();
    }
}
