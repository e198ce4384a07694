//! A component that asks a model: it imports `picolm:engine/engine`, and a program links that to a model (`tests/plugin.rs`). The model may
//! be in a sandbox of its own; neither can reach the other's memory.
#![cfg(target_arch = "wasm32")]

mod bindings {
    #![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "written by wit-bindgen")]
    wit_bindgen::generate!({
        path: "../../wit",
        world: "picolm:example/asker",
        generate_all,
        inline: "
            package picolm:example;
            world asker {
                import picolm:engine/engine@0.1.0;
                export ask: func(question: string) -> result<string, string>;
            }
        ",
    });

    use super::Asker;
    export!(Asker);
}

use bindings::picolm::engine::engine;
use bindings::picolm::engine::types::{Error, Happening};
use serde_json::json;

struct Asker;

impl bindings::Guest for Asker {
    fn ask(question: String) -> Result<String, String> {
        ask(question).map_err(|error| error.message)
    }
}

fn ask(question: String) -> Result<String, Error> {
    let request = json!({ "prompt": question, "temperature": 0, "max_tokens": 20 }).to_string();
    let session = engine::begin(&request)?;
    let answer = answer(session);
    engine::close(session)?;
    answer
}

/// Steps until the answer is complete. Others may have sessions of the same model: what happens to these is not ours.
fn answer(session: u64) -> Result<String, Error> {
    let mut text = String::new();
    loop {
        for event in engine::step().into_iter().filter(|event| event.session == session) {
            match event.what {
                Happening::Prompt(_) | Happening::Embedded(_) => {}
                Happening::Piece(piece) => text += &piece.text,
                Happening::Finished(_) => return Ok(text),
                Happening::Failed(error) => return Err(error),
            }
        }
    }
}
