//! A component that tries what a component should not, for `tests/containment.rs`. It says it is an engine; the text of a prompt given to
//! `tokenize` names the attack, and the tokens that come back are the numbers of the attempts that were let through.
#![cfg(target_arch = "wasm32")]

mod attacks;

mod bindings {
    #![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "written by wit-bindgen")]
    wit_bindgen::generate!({ world: "sandbox", path: "../../wit" });

    use super::Hostile;
    export!(Hostile);
}

use bindings::exports::picolm::engine::engine::Guest;
use bindings::picolm::engine::types::{Error, ErrorKind, Event, ModelInfo, Options, Request, Want};

struct Hostile;

type Result<T> = std::result::Result<T, Error>;

fn not_here<T>() -> Result<T> {
    Err(Error { kind: ErrorKind::Request, field: None, message: "not here".into() })
}

impl Guest for Hostile {
    fn load(_: Options) -> Result<ModelInfo> {
        Ok(ModelInfo {
            name: None,
            architecture: String::new(),
            context: 0,
            trained_context: 0,
            vocabulary: 0,
            layers: 0,
            chat_template: false,
            backend: String::new(),
            weight_bytes: 0,
        })
    }

    fn tokenize(request: Request) -> Result<Vec<u32>> {
        let prompt = request.split_once(r#""prompt":""#).and_then(|(_, rest)| rest.split_once('"'));
        prompt.map_or_else(not_here, |(name, _)| Ok(attacks::run(name)))
    }

    fn detokenize(_: Vec<u32>) -> Result<String> {
        // SAFETY: none: that is the attack. The host must not believe that this is text.
        Ok(unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) })
    }

    fn begin(_: Request) -> Result<u64> {
        not_here()
    }

    fn step() -> Vec<Event> {
        attacks::events()
    }

    fn close(_: u64) -> Result<()> {
        not_here()
    }

    fn save(_: u64) -> Result<Vec<u8>> {
        not_here()
    }

    fn restore(_: Vec<u8>) -> Result<u32> {
        not_here()
    }

    fn feed(_: Vec<u32>, _: Want) -> Result<Vec<f32>> {
        not_here()
    }

    fn rewind() -> Result<()> {
        not_here()
    }
}
