//! Schemas, regular expressions and grammars, in another wasm module (`wasm-web/grammar`), which the worker fetches when a request needs it.
//!
//! ```text
//!   Batch ──► Lent: Grammars ──► Matched<Remote> ──► Module (JavaScript) ──► the other module
//!                                     Encoder ◄───────────────────────────── encode
//! ```

use crate::error::message_of;
use picolm_core::text::{Encode, Tokenizer};
use picolm_engine::{Constraint, Error, Format, Grammars, Kind, Matched, Matcher, Result, keep};
use std::cell::RefCell;
use std::sync::Arc;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    /// The class `Grammars` of the other module, which says what its methods do. They throw a text, or break down.
    pub type Module;

    #[wasm_bindgen(method, catch)]
    fn set_vocabulary(
        this: &Module,
        bytes: &[u8],
        ends: &[u32],
        kinds: &[u8],
        encoder: Encoder,
    ) -> std::result::Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn begin(this: &Module, field: &str, text: &str) -> std::result::Result<u32, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn ask(this: &Module, id: u32, question: u32, new: &[u32]) -> std::result::Result<Vec<u32>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn end(this: &Module, id: u32) -> std::result::Result<(), JsValue>;
}

/// The questions of `ask`.
const MASK: u32 = 0;
const FORCED: u32 = 1;
const IS_OVER: u32 = 2;

thread_local! {
    /// Of the engine's worker: no other thread has this module.
    static MODULE: RefCell<Option<Module>> = const { RefCell::new(None) };
}

/// The model's tokenizer, for the other module to call.
#[wasm_bindgen]
pub struct Encoder(Arc<Tokenizer>);

#[wasm_bindgen]
impl Encoder {
    /// The tokens of a text, without any before or after it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.0.encode(text, Encode::TEXT)
    }
}

/// Calls the module: an error of the request, in its words, or of the module itself.
fn call<T>(work: impl FnOnce(&Module) -> std::result::Result<T, JsValue>) -> Result<T> {
    MODULE.with_borrow(|module| match module {
        Some(module) => work(module).map_err(error),
        None => Err(error(JsValue::UNDEFINED)),
    })
}

/// The module throws texts; anything else is a breakdown.
fn error(thrown: JsValue) -> Error {
    match thrown.as_string() {
        Some(why) => Error::request(why),
        None => {
            let why = message_of(&thrown);
            Error::new(Kind::Stopped, format!("the module for schemas and grammars broke down ({why})"))
        }
    }
}

/// The module, as the batch has it.
pub(crate) struct Lent {
    /// whether it has the vocabulary
    has_vocabulary: bool,
}

impl Lent {
    pub(crate) fn new(module: Module) -> Self {
        MODULE.set(Some(module));
        Lent { has_vocabulary: false }
    }
}

impl Grammars for Lent {
    fn constraint(&mut self, format: &Format, tokenizer: &Arc<Tokenizer>) -> Result<Box<dyn Constraint>> {
        let (Format::JsonSchema(text) | Format::Regex(text) | Format::Grammar(text)) = format else {
            return Err(Error::request("the format needs no grammar"));
        };
        if !self.has_vocabulary {
            set_vocabulary(tokenizer).map_err(|error| Error { kind: Kind::Model, ..error })?;
            self.has_vocabulary = true;
        }
        let field = format.field();
        let id = call(|module| module.begin(field, text)).map_err(|error| match error.kind {
            Kind::Request => Error::field(field, format!("cannot be kept to: {error}")),
            _ => error,
        })?;
        Ok(Box::new(Matched::new(Remote { id, told: 0 })))
    }
}

/// Tells the module the vocabulary.
fn set_vocabulary(tokenizer: &Arc<Tokenizer>) -> Result<()> {
    let (mut bytes, mut ends, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for token in 0..tokenizer.n_vocab() as u32 {
        bytes.extend_from_slice(tokenizer.token_bytes(token));
        ends.push(bytes.len() as u32);
        kinds.push(match () {
            () if tokenizer.is_end_of_generation(token) => 2,
            () if tokenizer.is_special(token) => 1,
            () => 0,
        });
    }
    call(|module| module.set_vocabulary(&bytes, &ends, &kinds, Encoder(tokenizer.clone())))
}

/// An answer that the module follows.
struct Remote {
    id: u32,
    /// tokens that it knows
    told: usize,
}

impl Remote {
    /// Asks about the answer, telling what is new.
    fn ask(&mut self, question: u32, answer: &[u32]) -> Result<Vec<u32>> {
        let new = &answer[self.told.min(answer.len())..];
        self.told = answer.len();
        call(|module| module.ask(self.id, question, new))
    }
}

impl Matcher for Remote {
    fn mask(&mut self, answer: &[u32], logits: &mut [f32]) -> Result<()> {
        keep(&self.ask(MASK, answer)?, logits);
        Ok(())
    }

    fn forced(&mut self, answer: &[u32]) -> Vec<u32> {
        self.ask(FORCED, answer).unwrap_or_default()
    }

    fn is_over(&mut self, answer: &[u32]) -> bool {
        self.ask(IS_OVER, answer).is_ok_and(|over| !over.is_empty())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A module that broke down has nothing to forget.
        let _ = call(|module| module.end(self.id));
    }
}
