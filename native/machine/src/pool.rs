//! Threads as a team.

use crate::fork_join::ForkJoin;
use picolm_core::team::Team;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A [`Team`] of threads. Member 0 is whoever calls [`Team::run`].
pub struct Pool {
    team: Arc<ForkJoin>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A team of `size` members (at least 1): `size - 1` threads are started.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub fn new(size: usize) -> std::io::Result<Self> {
        let team = Arc::new(ForkJoin::new(size));
        // Dropping the pool stops the workers that were started before one could not be.
        let mut pool = Pool { workers: Vec::with_capacity(team.size() - 1), team };
        for member in 1..pool.size() {
            let team = pool.team.clone();
            let name = format!("picolm-{member}");
            pool.workers.push(thread::Builder::new().name(name).spawn(move || team.work())?);
        }
        Ok(pool)
    }
}

impl Team for Pool {
    fn size(&self) -> usize {
        self.team.size()
    }

    /// If a call panics, the others still run and return, and the first panic goes on in the caller.
    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let first = Mutex::new(None);
        self.team.run(&|member| {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(member))) {
                first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
        });
        if let Some(panic) = first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.team.stop();
        for worker in self.workers.drain(..) {
            // A worker does not panic: calls are caught.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

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
                thread::sleep(Duration::from_micros(100)); // longer than anyone watches
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
