//! The threads lent to the core: they spin briefly for the next job, then sleep.
//!
//! A forward pass is hundreds of jobs of some ten microseconds. Waking a sleeping thread takes as long, so members watch for the next
//! job for `SPIN` before they sleep, and a job allocates nothing. A member that is still asleep (or whose CPU is busy with something
//! else) is not waited for: the caller takes over the calls that nobody has begun.
//!
//! ```text
//!   caller                                     worker
//!   job = …, unfinished = size - 1
//!   next = 1                    ───────────►   claim: next → next + 1, if below size
//!   job(0)                                     job(claimed), unfinished -= 1
//!   claim what is left, as a worker does       …
//!   wait until unfinished == 0                 spin, then park
//! ```

use picolm_core::team::Team;
use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a member watches for the next job. Longer than the serial parts of a step (sampling, tables), so that a token's jobs find
/// everyone awake.
const SPIN: Duration = Duration::from_micros(50);

/// A [`Team`] of threads. Member 0 is whoever calls [`Team::run`].
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// A job whose borrows are forgotten; see the safety comments on its two uses.
type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
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
    /// The first panic of the job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the only field that is not Sync by itself. It is written only by the holder of `busy` while `next` hands out nothing
// and `unfinished` is 0, and read only between a claim and the end of the claimed call, which `unfinished` counts. The claim acquires
// what the store of `next` released. The job itself is Sync, so any thread may call it.
unsafe impl Sync for Shared {}
// SAFETY: as above; a Job is only a pointer.
unsafe impl Send for Shared {}

impl Pool {
    /// A team of `size` members (at least 1): `size - 1` threads are started.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub fn new(size: usize) -> std::io::Result<Self> {
        let size = size.max(1);
        let shared = Arc::new(Shared {
            size,
            next: AtomicUsize::new(size),
            unfinished: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        // Dropping the pool stops the workers that were started before one could not be.
        let mut pool = Pool { shared, workers: Vec::with_capacity(size - 1) };
        for member in 1..size {
            let shared = pool.shared.clone();
            let name = format!("picolm-{member}");
            pool.workers.push(thread::Builder::new().name(name).spawn(move || shared.work())?);
        }
        Ok(pool)
    }
}

impl Team for Pool {
    fn size(&self) -> usize {
        self.shared.size
    }

    /// If a call panics, the others still run and return, and the first panic goes on in the caller. A `run` inside of a job, or beside
    /// another, makes its calls one after the other on its own thread.
    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        if shared.size == 1 || shared.busy.swap(true, Ordering::Acquire) {
            return (0..shared.size).for_each(job);
        }
        let job: *const (dyn Fn(usize) + Sync + '_) = job;
        // SAFETY: only the lifetime changes. The pointer is followed by claimed calls, and this function returns, or unwinds, only after
        // all of them have returned (`wait`).
        let job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        // SAFETY: `busy` is ours, and the last job was waited for, so no one reads.
        unsafe { *shared.job.get() = Some(job) };
        shared.unfinished.store(shared.size - 1, Ordering::Relaxed);
        shared.next.store(1, Ordering::Release);
        self.workers.iter().for_each(|worker| worker.thread().unpark());

        shared.call(job, 0);
        while shared.take_call() {}
        shared.wait();
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker does not panic: calls are caught.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// What a worker does all its life.
    fn work(&self) {
        while !self.stop.load(Ordering::Acquire) {
            if !self.take_call() && !spin_until(|| self.has_news()) {
                // An unpark between the last look and here makes this return at once.
                thread::park();
            }
        }
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
            self.call(job, i);
        }
        self.unfinished.fetch_sub(1, Ordering::Release);
        true
    }

    fn call(&self, job: Job, member: usize) {
        // SAFETY: `run` keeps the job borrowed until all calls have returned.
        let job = unsafe { &*job };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(member))) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Until all calls have returned. Everything is claimed by now, so this is the end of someone's last part; if that takes longer
    /// than a spin, its thread may be waiting for this very CPU.
    fn wait(&self) {
        let done = || self.unfinished.load(Ordering::Acquire) == 0;
        while !spin_until(done) {
            thread::yield_now();
        }
    }
}

/// Watches for up to [`SPIN`]; whether it came.
fn spin_until(came: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if came() {
                return true;
            }
            spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > SPIN {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn pools() -> impl Iterator<Item = Pool> {
        (1..=4).map(|size| Pool::new(size).expect("threads"))
    }

    /// How often each member was called in one run.
    fn calls(pool: &Pool) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..pool.size()).map(|_| AtomicUsize::new(0)).collect();
        pool.run(&|member| {
            counts[member].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_member_is_called_once_in_each_of_many_jobs() {
        for pool in pools() {
            for _ in 0..5000 {
                assert_eq!(calls(&pool), vec![1; pool.size()]);
            }
        }
    }

    #[test]
    fn a_job_after_a_sleep_is_done_too() {
        for pool in pools() {
            for _ in 0..20 {
                thread::sleep(2 * SPIN);
                assert_eq!(calls(&pool), vec![1; pool.size()]);
            }
        }
    }

    /// The calls wait for each other, so they must be on threads of their own; the sums cross threads in both directions.
    #[test]
    fn members_run_at_the_same_time_and_see_what_was_written() {
        for pool in pools() {
            let (mut total, size) = (0, pool.size() as u64);
            for round in 0..200 {
                let (arrived, sum) = (AtomicU64::new(0), AtomicU64::new(0));
                let base = total;
                pool.run(&|member| {
                    arrived.fetch_add(1, Ordering::AcqRel);
                    while arrived.load(Ordering::Acquire) < size {
                        thread::yield_now();
                    }
                    sum.fetch_add(base + member as u64 + round, Ordering::Relaxed);
                });
                total = sum.into_inner() % 1000;
                assert_eq!(total, (size * (base + round) + size * (size - 1) / 2) % 1000);
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_others_returned() {
        for pool in pools() {
            for bad in 0..pool.size() {
                let returned = AtomicUsize::new(0);
                let run = || {
                    pool.run(&|member| {
                        if member == bad {
                            resume_unwind(Box::new(member)); // panics without the message
                        }
                        thread::sleep(Duration::from_millis(1));
                        returned.fetch_add(1, Ordering::Relaxed);
                    });
                };
                let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
                assert_eq!(panic.downcast_ref(), Some(&bad));
                if pool.size() > 1 {
                    assert_eq!(returned.into_inner(), pool.size() - 1);
                }
                assert_eq!(calls(&pool), vec![1; pool.size()], "after a panic");
            }
        }
    }

    #[test]
    fn a_run_inside_of_a_job_and_runs_beside_each_other_make_all_calls() {
        for pool in pools() {
            let n = AtomicUsize::new(0);
            let count = |_| {
                n.fetch_add(1, Ordering::Relaxed);
            };
            pool.run(&|_| pool.run(&count));
            assert_eq!(n.swap(0, Ordering::Relaxed), pool.size() * pool.size());
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| (0..300).for_each(|_| pool.run(&count)));
                }
            });
            assert_eq!(n.into_inner(), 900 * pool.size());
        }
    }

    #[test]
    fn pools_come_and_go() {
        for _ in 0..100 {
            for pool in pools() {
                calls(&pool);
            }
        }
    }
}
