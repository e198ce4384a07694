//! The component: `wit/engine.wit`, put on top of the batch.

mod imported;
mod mapped;

#[path = "../../../wit/convert.rs"]
mod convert;

mod bindings {
    #![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "written by wit-bindgen")]
    wit_bindgen::generate!({ world: "sandbox", path: "../wit" });

    use super::Component;
    export!(Component);
}

/// The interface's types.
mod wit {
    pub(super) use super::bindings::picolm::engine::{kernels, types};
}
use picolm_engine as plain;

use bindings::exports::picolm::engine::engine::Guest;
use imported::Imported;
use picolm_core::gguf::Gguf;
use picolm_core::kernels::Simd128;
use picolm_core::model::{Model, Plan};
use picolm_core::session::{Executor, Session};
use picolm_core::team::Solo;
use picolm_core::text::{ChatTemplate, Tokenizer};
use picolm_engine::{Ambient, Arithmetic, Batch, Error, Kind, Local, Request, Settings, append, take};
use std::cell::RefCell;
use std::sync::Arc;
use wit::{kernels, types};

/// Most logits of one call of `feed`: 4 MB.
const FEED_LOGITS: usize = 1 << 20;

thread_local! {
    static LOADED: RefCell<Option<Loaded>> = const { RefCell::new(None) };
}

struct Loaded {
    batch: Batch,
    vocabulary: usize,
}

struct Component;

type Result<T> = std::result::Result<T, types::Error>;

/// Does something with the loaded model.
fn with<T>(work: impl FnOnce(&mut Loaded) -> picolm_engine::Result<T>) -> Result<T> {
    LOADED.with_borrow_mut(|loaded| match loaded {
        Some(loaded) => Ok(work(loaded)?),
        None => Err(Error::request("no model is loaded").into()),
    })
}

impl Guest for Component {
    fn load(options: types::Options) -> Result<types::ModelInfo> {
        if LOADED.with_borrow(Option::is_some) {
            return Err(Error::request("a model is loaded already").into());
        }
        let (batch, info) = load(&options)?;
        LOADED.set(Some(Loaded { batch, vocabulary: info.vocabulary }));
        Ok(info.into())
    }

    fn begin(request: types::Request) -> Result<u64> {
        with(|loaded| loaded.batch.open(&read(&request)?))
    }

    fn step() -> Vec<types::Event> {
        let events = with(|loaded| Ok(loaded.batch.step()));
        events.unwrap_or_default().into_iter().map(Into::into).collect()
    }

    fn close(session: u64) -> Result<()> {
        with(|loaded| loaded.batch.close(session).map(|_| ()))
    }

    fn save(session: u64) -> Result<Vec<u8>> {
        with(|loaded| {
            let mut state = Vec::new();
            loaded.batch.save(session, &mut |bytes| append(&mut state, bytes))?;
            Ok(state)
        })
    }

    fn restore(state: Vec<u8>) -> Result<u32> {
        with(|loaded| {
            let mut rest = &state[..];
            let session = loaded.batch.restore(&mut |into| Ok(take(&mut rest, into)))?;
            Ok(loaded.batch.held(session)?.len() as u32)
        })
    }

    fn tokenize(request: types::Request) -> Result<Vec<u32>> {
        with(|loaded| loaded.batch.prompt(&read(&request)?.prompt))
    }

    fn detokenize(tokens: Vec<u32>) -> Result<String> {
        with(|loaded| Ok(loaded.batch.detokenize(&tokens, false)))
    }

    fn feed(tokens: Vec<u32>, want: types::Want) -> Result<Vec<f32>> {
        with(|loaded| {
            if want == types::Want::All
                && tokens.len().saturating_mul(loaded.vocabulary) > FEED_LOGITS.max(loaded.vocabulary)
            {
                return Err(Error::request("these are too many logits at once: feed fewer tokens"));
            }
            let mut all = Vec::new();
            loaded.batch.feed(&tokens, want.into(), &mut |row| all.extend_from_slice(row))?;
            Ok(all)
        })
    }

    fn rewind() -> Result<()> {
        with(|loaded| loaded.batch.rewind())
    }
}

/// Who asks knows the time, and has chosen a seed.
fn read(request: &str) -> picolm_engine::Result<Request> {
    Request::from_json(request, &Ambient::default())
}

fn load(options: &types::Options) -> picolm_engine::Result<(Batch, picolm_engine::ModelInfo)> {
    let offered = kernels::offered();
    let gguf = Gguf::parse_header(mapped::header()?, mapped::file_len())?;
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    let template = ChatTemplate::from_gguf(&gguf, &tokenizer)?;
    let plan = Plan::from_gguf(&gguf)?;
    let config = plan.config()?;
    let context = if options.context == 0 { config.context.min(4096) } else { options.context as usize };
    let (batch, kv) = (options.batch as usize, options.kv.into());
    let (arithmetic, backend, weight_bytes): (Box<dyn Arithmetic>, _, _) = if offered {
        let imported = Imported::load(&plan, &config)?;
        let (backend, bytes) = imported.about();
        (Box::new(imported), backend, bytes)
    } else {
        let model = Arc::new(Model::from_plan(&plan, mapped::source(&plan)?)?);
        let (backend, bytes) = (Simd128::new().backend(), model.weight_bytes());
        Session::new(&model, context, kv)?;
        let executor = Executor::new(model, backend, Arc::new(Solo), batch)?;
        (Box::new(Local::new(executor, context, kv)), backend.name().to_string(), bytes)
    };
    let info = picolm_engine::ModelInfo {
        name: gguf.str("general.name")?.map(str::to_string),
        architecture: config.arch.name.to_string(),
        context,
        trained_context: config.context,
        vocabulary: config.vocab,
        layers: config.layers,
        chat_template: template.is_some(),
        backend,
        weight_bytes,
    };
    let settings = Settings {
        context,
        vocabulary: config.vocab,
        sessions: options.sessions as usize,
        session_bytes: options.session_bytes,
        prompt_step: batch,
        prompt_step_beside: batch.min(64),
    };
    Ok((Batch::new(arithmetic, tokenizer, template, settings), info))
}

/// What the host says where it has nothing more to say than a text.
fn of_host(message: String) -> Error {
    Error::new(Kind::Model, message)
}
