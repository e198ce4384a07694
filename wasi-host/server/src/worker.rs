//! The thread of one loaded model: it steps the engine as long as there is anything to do, and lets requests join and leave in between.
//!
//! ```text
//!   handlers ──Call──► waiting ──begin──► running ──step, step, …──► Said (to whoever asked) ──► close
//!                                            └ nobody listens any more: close
//! ```

use super::error::{ApiError, Result};
use super::metrics::Metrics;
use super::prefixes::Prefixes;
use picolm_engine::{Engine, Event, Kind as ErrorKind, Request, SessionId, Task};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// A place in a model's queue, given back when it is dropped.
pub(crate) type Place = OwnedSemaphorePermit;

/// What happened to a job. Its channel has no bound, and needs none: an answer ends with its context.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// It has a session.
    Begun,
    News(Event),
    Failed(ApiError),
}

/// One answer that is wanted.
pub(crate) struct Job {
    pub(crate) request: Request,
    /// Those of its prompt, once it was ready to begin.
    pub(crate) tokens: Option<Vec<u32>>,
    /// Which of a request's answers it is.
    pub(crate) index: usize,
    pub(crate) to: UnboundedSender<(usize, Said)>,
    /// Its place in the queue, given back before its client hears of the end: the next request finds it free.
    pub(crate) place: Option<Place>,
}

/// What a thread is asked for.
pub(crate) enum Call {
    Answer(Box<Job>),
    /// Nothing new is taken; the thread ends when nothing is left, or at once.
    Stop {
        at_once: bool,
    },
}

/// A job with a session.
struct Running {
    id: SessionId,
    job: Box<Job>,
    /// Prompt and answer so far: what the session holds, for the store of prefixes.
    tokens: Vec<u32>,
}

pub(crate) struct Worker {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) calls: Receiver<Call>,
    pub(crate) prefixes: Prefixes,
    pub(crate) metrics: Arc<Metrics>,
    waiting: VecDeque<Box<Job>>,
    running: Vec<Running>,
    stopping: bool,
    /// what the metrics know of: answers running, and waiting
    told: (i64, i64),
}

impl Worker {
    pub(crate) fn new(
        engine: Box<dyn Engine>,
        calls: Receiver<Call>,
        prefixes: Prefixes,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (waiting, running) = (VecDeque::new(), Vec::new());
        Worker { engine, calls, prefixes, metrics, waiting, running, stopping: false, told: (0, 0) }
    }

    /// Works until it is told to stop, nobody can ask any more, or the engine comes to its end, whichever way that is. Then the engine is
    /// no more, and there may be some who are to be told.
    pub(crate) fn run(mut self) -> Failed {
        let failed = "the model's engine has failed; it is loaded again when it is asked for";
        let end = catch_unwind(AssertUnwindSafe(|| self.work()));
        let error = end.unwrap_or_else(|_| Err(ApiError::internal(failed))).err();
        Failed { jobs: if error.is_some() { self.take_all() } else { Vec::new() }, error }
    }

    fn work(&mut self) -> Result<()> {
        loop {
            self.tell();
            if !self.take_calls() {
                return Ok(());
            }
            self.drop_leavers();
            self.admit();
            self.tell();
            if self.running.is_empty() && self.waiting.is_empty() {
                if self.stopping {
                    return Ok(());
                }
                continue;
            }
            match self.engine.step() {
                Ok(events) => events.into_iter().for_each(|event| self.deliver(event)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a call if there is nothing to do. False: it is over.
    fn take_calls(&mut self) -> bool {
        loop {
            let idle = self.running.is_empty() && self.waiting.is_empty();
            let call = match idle && !self.stopping {
                true => self.calls.recv().map_err(|_| TryRecvError::Disconnected),
                false => self.calls.try_recv(),
            };
            match call {
                Ok(Call::Answer(job)) => self.waiting.push_back(job),
                Ok(Call::Stop { at_once: true }) => {
                    Failed { jobs: self.take_all(), error: Some(stopping()) }.tell();
                    return false;
                }
                Ok(Call::Stop { at_once: false }) => self.stopping = true,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) if idle => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// Ends what nobody waits for any more.
    fn drop_leavers(&mut self) {
        self.waiting.retain(|job| !job.to.is_closed());
        while let Some(at) = self.running.iter().position(|running| running.job.to.is_closed()) {
            self.metrics.cancelled();
            self.close(at);
        }
    }

    /// Gives sessions to those that wait, in order.
    fn admit(&mut self) {
        while let Some(mut job) = self.waiting.pop_front() {
            let begun = match catch_unwind(AssertUnwindSafe(|| self.begin(&mut job))) {
                Ok(begun) => begun,
                // Who asked is told with the others, when the engine is no more: dropped here, it would ask again before.
                Err(panic) => {
                    self.waiting.push_front(job);
                    resume_unwind(panic)
                }
            };
            match begun {
                Ok((id, tokens)) => {
                    let _ = job.to.send((job.index, Said::Begun));
                    self.running.push(Running { id, job, tokens });
                }
                // Somebody will leave, and then it is its turn. Where nobody is, there is nothing to wait for.
                Err(error) if error.kind == ErrorKind::Busy && !self.running.is_empty() => {
                    self.waiting.push_front(job);
                    return;
                }
                Err(error) => {
                    let _ = job.to.send((job.index, Said::Failed(error.into())));
                }
            }
        }
    }

    /// The session of a job and its prompt. One that has to wait comes here again, with the tokens of its prompt.
    fn begin(&mut self, job: &mut Job) -> picolm_engine::Result<(SessionId, Vec<u32>)> {
        let tokens = match &job.tokens {
            Some(tokens) => tokens.clone(),
            None => {
                let tokens = self.engine.tokenize(&job.request.prompt)?;
                if job.request.task == Task::Answer {
                    self.prefixes.prepare(&mut *self.engine, &tokens);
                }
                job.tokens.insert(tokens).clone()
            }
        };
        // The conversation itself: what tells calls and thoughts apart goes by it.
        Ok((self.engine.begin(&job.request)?, tokens))
    }

    fn deliver(&mut self, event: Event) {
        let Some(at) = self.running.iter().position(|running| running.id == event.id()) else { return };
        let Running { job, tokens, id } = &mut self.running[at];
        match &event {
            Event::Piece { piece, .. } => tokens.extend(piece.token),
            Event::Finished { usage, .. } | Event::Embedded { usage, .. } => self.metrics.finished(*usage),
            Event::Prompt { .. } | Event::Failed { .. } => {}
        }
        let over = event.is_last();
        if over {
            job.place = None;
        }
        let used = if let Event::Finished { usage, .. } = event { Some(usage) } else { None };
        let said = match event {
            Event::Failed { error, .. } => Said::Failed(error.into()),
            event => Said::News(event),
        };
        // Who has left is found before the next step.
        let _ = job.to.send((job.index, said));
        if let Some(usage) = used {
            self.prefixes.keep(&mut *self.engine, *id, tokens, usage);
        }
        if over {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        let running = self.running.swap_remove(at);
        if running.job.request.task == Task::Answer {
            self.prefixes.closed(running.tokens);
        }
        // It is open: nobody else closes sessions.
        let _ = self.engine.close(running.id);
    }

    fn tell(&mut self) {
        let now = (self.running.len() as i64, self.waiting.len() as i64);
        self.metrics.jobs(now.0 - self.told.0, now.1 - self.told.1);
        self.told = now;
    }

    /// All who wait for an answer.
    fn take_all(&mut self) -> Vec<Job> {
        let running = self.running.drain(..).map(|running| *running.job);
        let mut all: Vec<Job> = running.chain(self.waiting.drain(..).map(|job| *job)).collect();
        let calls = self.calls.try_iter();
        all.extend(calls.filter_map(|call| if let Call::Answer(job) = call { Some(*job) } else { None }));
        self.tell();
        all
    }
}

/// Those who get no answer, and why.
#[must_use = "they wait"]
pub(crate) struct Failed {
    jobs: Vec<Job>,
    error: Option<ApiError>,
}

impl Failed {
    pub(crate) fn tell(self) {
        let Some(error) = self.error else { return };
        for job in self.jobs {
            let _ = job.to.send((job.index, Said::Failed(error.clone())));
        }
    }
}

/// What those are told who are still there when the server ends.
pub(crate) fn stopping() -> ApiError {
    ApiError::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down")
}
