//! A model for other components: what imports `picolm:engine/engine` is linked to an engine of this program.
//!
//! ```no_run
//! use picolm_host::engine::{self, Kind, Options};
//! use picolm_host::plugin::{self, Model};
//! use wasmtime::component::{Component, Linker};
//!
//! let wasmtime = wasmtime::Engine::default();
//! let component = Component::from_file(&wasmtime, "asker.wasm")?;
//! let mut linker = Linker::new(&wasmtime);
//! plugin::add_to_linker(&mut linker, |model: &mut Model| model)?;
//! let model = engine::open(Kind::SandboxNative, "model.gguf".as_ref(), &Options::default())?;
//! let mut store = wasmtime::Store::new(&wasmtime, Model::new(model));
//! let asker = linker.instantiate(&mut store, &component)?;
//! let ask = asker.get_typed_func::<(&str,), (Result<String, String>,)>(&mut store, "ask")?;
//! let (answer,) = ask.call(&mut store, ("Why is the sky blue?",))?;
//! # Ok::<(), wasmtime::Error>(())
//! ```
//! The component is a stranger to the model, and the model to it: each has its own memory, and plain data goes between them. Limits of the
//! component's time and memory are the program's business.

use crate::sandbox::bindings::picolm::engine::types;
use picolm_engine::{Ambient, Engine, Request};
use wasmtime::component::{HasSelf, Linker};

mod bindings {
    #![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "written by wasmtime")]
    wasmtime::component::bindgen!({
        world: "client",
        path: "wit",
        imports: { default: trappable },
        with: { "picolm:engine/types": crate::sandbox::bindings::picolm::engine::types },
    });
}
use bindings::picolm::engine::engine::{Host, add_to_linker as add_engine};

type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

/// Most logits of one call of `feed`: 4 MB.
const FEED_LOGITS: usize = 1 << 20;

/// A model that components ask.
pub struct Model {
    engine: Box<dyn Engine>,
}

impl Model {
    /// Lets components ask a loaded model.
    pub fn new(engine: Box<dyn Engine>) -> Self {
        Model { engine }
    }

    /// The model's engine. Between two calls into a component it is the program's, too.
    pub fn engine(&mut self) -> &mut dyn Engine {
        &mut *self.engine
    }
}

/// Lets components of a linker import `picolm:engine/engine`; `model` finds the model in the store's data.
///
/// # Errors
/// The linker has such functions already.
pub fn add_to_linker<T: 'static>(linker: &mut Linker<T>, model: fn(&mut T) -> &mut Model) -> wasmtime::Result<()> {
    add_engine::<T, HasSelf<Model>>(linker, model)
}

/// A component that names no seed gets the same answer again.
fn read(request: &str) -> crate::Result<Request> {
    Request::from_json(request, &Ambient::default())
}

fn to_wit<T>(result: crate::Result<T>) -> Answer<T> {
    Ok(result.map_err(Into::into))
}

impl Host for Model {
    /// The program has loaded it, with its own options.
    fn load(&mut self, _: types::Options) -> Answer<types::ModelInfo> {
        Ok(Ok(self.engine.info().clone().into()))
    }

    fn begin(&mut self, request: types::Request) -> Answer<u64> {
        to_wit(read(&request).and_then(|request| self.engine.begin(&request)))
    }

    /// An engine that has come to its end is the end of the component's call, too.
    fn step(&mut self) -> wasmtime::Result<Vec<types::Event>> {
        Ok(self.engine.step()?.into_iter().map(Into::into).collect())
    }

    fn close(&mut self, session: u64) -> Answer<()> {
        to_wit(self.engine.close(session))
    }

    fn save(&mut self, session: u64) -> Answer<Vec<u8>> {
        to_wit(self.engine.save(session))
    }

    fn restore(&mut self, state: Vec<u8>) -> Answer<u32> {
        to_wit(self.engine.restore(&state).map(|tokens| tokens as u32))
    }

    fn tokenize(&mut self, request: types::Request) -> Answer<Vec<u32>> {
        to_wit(read(&request).and_then(|request| self.engine.tokenize(&request.prompt)))
    }

    fn detokenize(&mut self, tokens: Vec<u32>) -> Answer<String> {
        to_wit(self.engine.detokenize(&tokens))
    }

    fn feed(&mut self, tokens: Vec<u32>, want: types::Want) -> Answer<Vec<f32>> {
        let vocabulary = self.engine.info().vocabulary.max(1);
        if want == types::Want::All && tokens.len().saturating_mul(vocabulary) > FEED_LOGITS.max(vocabulary) {
            return to_wit(Err(crate::Error::request("these are too many logits at once: feed fewer tokens")));
        }
        let mut logits = Vec::new();
        to_wit(self.engine.feed(&tokens, want.into(), &mut |row| logits.extend_from_slice(row)).map(|()| logits))
    }

    fn rewind(&mut self) -> Answer<()> {
        to_wit(self.engine.rewind())
    }
}
