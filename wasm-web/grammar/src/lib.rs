//! Schemas, regular expressions and grammars as a wasm module of its own, beside the engine's: most pages never need it, and it is larger
//! than the engine.
//!
//! ```text
//!   the engine's module                  JavaScript      this module
//!   src/grammars.rs ── begin, ask, end ──►    ───►   Grammars ──► picolm-grammar
//!   Encoder ◄──────── encode ────────────    ◄───    (what is forced comes in the tokens that the model's tokenizer writes)
//! ```
//!
//! Its memory is its own, and has one thread. It asks for no time and no randomness; an error is thrown as a text, so that anything else that
//! is thrown is a breakdown.
#![forbid(unsafe_code)]

mod grammars;

pub use grammars::{Encoder, Grammars};
