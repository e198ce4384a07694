//! A model in a WebAssembly sandbox.
//!
//! ```text
//!   Sandbox (an Engine) ──call──► component: header, tokenizer, templates, sampling           runtime.rs: wasmtime, machine code
//!                                    │ weights.map-range: pages of the file in its memory     memory.rs, file/
//!                                    └ kernels: tokens in, logits out, if offered             kernels.rs
//! ```
//! A component that traps, runs for too long or spoils its memory is discarded with all it had, and so is one whose file changes. Its
//! engine then says [`Stopped`](crate::ErrorKind::Stopped) to everything; others in the process notice nothing.

mod kernels;
mod memory;
pub(crate) mod runtime;

#[path = "../../wit/convert.rs"]
mod convert;

pub(crate) mod bindings {
    #![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "written by wasmtime")]
    wasmtime::component::bindgen!({ world: "sandbox", path: "wit" });
}

/// The interface's types.
mod wit {
    pub(super) use super::bindings::picolm::engine::{kernels, types};
}
use picolm_engine as plain;

#[cfg(feature = "compiler")]
pub use runtime::compile;

use crate::options::{Options, file_error};
use crate::{Error, ErrorKind, Event, ModelInfo, Prompt, Request, Result, SessionId, Want};
use kernels::{Kernels, State};
use memory::Space;
use picolm_engine::Engine;
use picolm_machine::file::Watched;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Store, StoreLimitsBuilder, Trap};
use wit::types;

/// Most logits of one call of `feed` by the guest: 4 MB.
const FEED_LOGITS: usize = 1 << 20;

/// Most bytes that a call may hand to this side, but for states of sessions.
const ANSWER: usize = 16 << 20;

/// A model in a component.
pub struct Sandbox {
    info: ModelInfo,
    /// most bytes of the guest's memory
    memory: usize,
    guest: std::result::Result<Guest, Error>,
    /// sessions that wait for a step
    at_work: HashSet<SessionId>,
}

/// A living component.
struct Guest {
    store: Store<State>,
    instance: bindings::Sandbox,
    call_limit: Duration,
}

impl Sandbox {
    /// Loads a model; with `kernels` the arithmetic is done here, by the kernels of this machine.
    ///
    /// # Errors
    /// See [`open`](crate::engine::open).
    pub fn open(path: &Path, options: &Options, kernels: bool) -> Result<Self> {
        let component = runtime::component(options.component.as_deref())?;
        Self::with_component(&component, path, options, kernels)
    }

    /// The same with a component that was loaded before.
    pub(crate) fn with_component(component: &Component, path: &Path, options: &Options, kernels: bool) -> Result<Self> {
        let guest = Guest::new(component, path, options, kernels)?;
        let mut sandbox =
            Sandbox { info: ModelInfo::default(), memory: options.memory, guest: Ok(guest), at_work: HashSet::new() };
        let memory = options.memory;
        let options = types::Options {
            context: options.context.try_into().unwrap_or(u32::MAX),
            batch: options.batch() as u32,
            kv: options.kv.into(),
            sessions: options.sessions as u32,
            session_bytes: options.session_bytes,
        };
        let info = sandbox.call(memory, |store, instance| instance.picolm_engine_engine().call_load(store, options))?;
        sandbox.info = info?.into();
        Ok(sandbox)
    }

    /// A call into the component, which may hand over `most` bytes. If it does not come back as it should, that was the last.
    fn call<T>(
        &mut self,
        most: usize,
        call: impl FnOnce(&mut Store<State>, &bindings::Sandbox) -> wasmtime::Result<T>,
    ) -> Result<T> {
        let guest = self.guest.as_mut().map_err(|error| error.clone())?;
        guest.store.set_hostcall_fuel(most);
        guest.call(call).inspect_err(|error| {
            // The store goes with it: nothing of the guest is left.
            self.guest = Err(error.clone());
            self.at_work.clear();
        })
    }
}

impl Guest {
    fn new(component: &Component, path: &Path, options: &Options, kernels: bool) -> Result<Self> {
        let file = Arc::new(Watched::open(path).map_err(file_error)?);
        let engine = runtime::engine()?;
        let failed = |error: wasmtime::Error| Error::new(ErrorKind::Stopped, format!("the sandbox: {error:#}"));
        let mut linker = Linker::<State>::new(&engine);
        bindings::Sandbox::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).map_err(failed)?;
        let space = Space::new(options.memory);
        let kernels = match kernels {
            true => Some(Kernels::new(file.map().map_err(file_error)?, options.clone())),
            false => None,
        };
        // What a component of ours has, and a little more; memory is the space's business.
        let limits = StoreLimitsBuilder::new().instances(16).memories(1).tables(16).table_elements(10_000).build();
        let mut store = Store::new(&engine, State { space: space.clone(), file, limits, kernels });
        store.limiter(|state| &mut state.limits);
        let call_limit = options.call_limit;
        store.set_epoch_deadline(ticks(call_limit));
        let instance = space.instantiate(|| bindings::Sandbox::instantiate(&mut store, component, &linker));
        Ok(Guest { instance: instance.map_err(failed)?, store, call_limit })
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Store<State>, &bindings::Sandbox) -> wasmtime::Result<T>,
    ) -> Result<T> {
        let stopped = |why: String| Error::new(ErrorKind::Stopped, format!("the sandbox was stopped: {why}"));
        self.store.set_epoch_deadline(ticks(self.call_limit));
        if let Some(kernels) = &self.store.data().kernels {
            kernels.begin(Instant::now() + self.call_limit);
        }
        let result = call(&mut self.store, &self.instance);
        // Behind the call: what a changed file or spoiled memory has led to is not to be believed, nor is a trap.
        let state = self.store.data();
        state.file.check().map_err(file_error)?;
        let kernels = state.kernels.as_ref().and_then(|kernels| kernels.mapping().fault());
        if let Some(fault) = state.space.fault().or(kernels) {
            return Err(stopped(fault.to_string()));
        }
        result.map_err(|error| match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => stopped("a call took longer than it may".into()),
            Some(trap) => stopped(trap.to_string()),
            None => stopped(format!("{error:#}")),
        })
    }
}

/// Ticks of the guests' clock, at least so long.
fn ticks(time: Duration) -> u64 {
    (time.as_nanos() / runtime::TICK.as_nanos()) as u64 + 2
}

impl Engine for Sandbox {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn begin(&mut self, request: &Request) -> Result<SessionId> {
        let request = request.to_json();
        let id = self.call(ANSWER, |store, instance| instance.picolm_engine_engine().call_begin(store, &request))??;
        self.at_work.insert(id);
        Ok(id)
    }

    fn step(&mut self) -> Result<Vec<Event>> {
        let events = self.call(ANSWER, |store, instance| instance.picolm_engine_engine().call_step(store))?;
        let events: Vec<Event> = events.into_iter().map(Into::into).collect();
        for event in &events {
            if event.is_last() {
                self.at_work.remove(&event.id());
            }
        }
        Ok(events)
    }

    fn is_idle(&self) -> bool {
        self.at_work.is_empty()
    }

    fn close(&mut self, session: SessionId) -> Result<()> {
        self.at_work.remove(&session);
        Ok(self.call(ANSWER, |store, instance| instance.picolm_engine_engine().call_close(store, session))??)
    }

    fn save(&mut self, session: SessionId) -> Result<Vec<u8>> {
        Ok(self.call(self.memory, |store, instance| instance.picolm_engine_engine().call_save(store, session))??)
    }

    fn restore(&mut self, state: &[u8]) -> Result<usize> {
        Ok(self.call(self.memory, |store, instance| instance.picolm_engine_engine().call_restore(store, state))??
            as usize)
    }

    fn tokenize(&mut self, prompt: &Prompt) -> Result<Vec<u32>> {
        let request = Request { prompt: prompt.clone(), ..Request::default() }.to_json();
        Ok(self.call(ANSWER, |store, instance| instance.picolm_engine_engine().call_tokenize(store, &request))??)
    }

    fn detokenize(&mut self, tokens: &[u32]) -> Result<String> {
        Ok(self.call(ANSWER, |store, instance| instance.picolm_engine_engine().call_detokenize(store, tokens))??)
    }

    fn feed(&mut self, tokens: &[u32], want: Want, rows: &mut dyn FnMut(&[f32])) -> Result<()> {
        let vocabulary = self.info.vocabulary.max(1);
        let at_once = if want.rows(2) > 1 { (FEED_LOGITS / vocabulary).max(1) } else { tokens.len().max(1) };
        for part in tokens.chunks(at_once) {
            let call = |store: &mut Store<State>, instance: &bindings::Sandbox| {
                instance.picolm_engine_engine().call_feed(store, part, want.into())
            };
            let all = self.call(ANSWER, call)??;
            let width = all.len() / want.rows(part.len()).max(1);
            all.chunks_exact(width.max(1)).for_each(&mut *rows);
        }
        Ok(())
    }

    fn rewind(&mut self) -> Result<()> {
        Ok(self.call(ANSWER, |store, instance| instance.picolm_engine_engine().call_rewind(store))??)
    }
}
