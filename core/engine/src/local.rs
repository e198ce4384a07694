//! Arithmetic by picolm-core, right here.

use crate::arithmetic::{Arithmetic, Feed, Read, Write};
use crate::{Error, Kind, Result};
use alloc::format;
use alloc::vec::Vec;
use picolm_core::session::{self, Executor, KvType, Session, StateError};

/// An executor of the core and its sessions.
pub struct Local {
    executor: Executor,
    context: usize,
    kv: KvType,
    sessions: Vec<Option<Session>>,
}

impl Local {
    /// Runs an executor with sessions of up to `context` tokens.
    pub fn new(executor: Executor, context: usize, kv: KvType) -> Self {
        Local { executor, context, kv, sessions: Vec::new() }
    }

    /// The executor.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Bytes of all keys and values.
    pub fn kv_bytes(&self) -> usize {
        self.sessions.iter().flatten().map(Session::memory_bytes).sum()
    }

    fn session(&mut self, handle: usize) -> Result<&mut Session> {
        self.sessions.get_mut(handle).and_then(Option::as_mut).ok_or_else(|| no_session(handle))
    }
}

fn no_session(handle: usize) -> Error {
    Error::request(format!("there is no session {handle}"))
}

impl Arithmetic for Local {
    fn open(&mut self) -> Result<usize> {
        let session = Session::new(self.executor.model(), self.context, self.kv)?;
        let free = self.sessions.iter().position(Option::is_none);
        let handle = free.unwrap_or(self.sessions.len());
        match free {
            Some(handle) => self.sessions[handle] = Some(session),
            None => self.sessions.push(Some(session)),
        }
        Ok(handle)
    }

    fn close(&mut self, session: usize) {
        if let Some(session) = self.sessions.get_mut(session) {
            *session = None;
        }
    }

    fn rewind(&mut self, session: usize, len: usize) -> Result<usize> {
        Ok(self.session(session)?.rewind(len))
    }

    fn forward(&mut self, feeds: &[Feed], rows: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let mut sessions: Vec<Option<&mut Session>> = self.sessions.iter_mut().map(Option::as_mut).collect();
        let mut all = Vec::with_capacity(feeds.len());
        for Feed { session, tokens, want } in feeds {
            // Taken, so that a session that stands twice is noticed as well.
            let session = sessions.get_mut(*session).and_then(Option::take).ok_or_else(|| no_session(*session))?;
            all.push(session::Feed { session, tokens, want: *want });
        }
        Ok(self.executor.forward(&mut all, &mut |feed, _, row| rows(feed, row))?)
    }

    fn save(&mut self, session: usize, write: Write<'_>) -> Result<()> {
        let model = self.executor.model().clone();
        self.session(session)?.save(&model, write).map_err(of_state)
    }

    fn load(&mut self, session: usize, read: Read<'_>) -> Result<Vec<u32>> {
        let model = self.executor.model().clone();
        let session = self.session(session)?;
        session.load(&model, read).map_err(of_state)?;
        Ok(session.tokens().to_vec())
    }

    fn session_bytes(&self, tokens: usize) -> u64 {
        Session::memory_for(self.executor.model(), tokens, self.kv)
    }
}

fn of_state(error: StateError<Error>) -> Error {
    match error {
        StateError::Host(error) => error,
        StateError::Session(error) => error.into(),
        other => Error::new(Kind::State, format!("the state is refused: {other}")),
    }
}
