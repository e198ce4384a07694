//! Requests in, answers out: what every host of picolm does with a model.
//!
//! ```text
//!   JSON ──► Request ──► Batch ──step──► Event, Event, … ──► Answer ──► JSON       all sessions at once, in one batch
//!                          │ Feed (session, tokens) ▲ logits, hidden states
//!                          ▼                        │
//!                       Arithmetic: Local (picolm-core in this very process), or kernels that a host lends
//! ```
//!
//! A session's answer is a `Writing`: a sampler with [`Constraint`]s chooses its tokens, a [`Drafter`] guesses them. It has no host: no
//! threads, no clock, no files. The command line, the npm package, the component of the sandbox and the server are thin users of it, so
//! all of them say the same. [`Engine`] is what a host offers to others: a loaded model, wherever it runs.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod arithmetic;
mod batch;
mod constraint;
mod drafter;
mod engine;
mod error;
mod event;
mod fields;
mod local;
mod logprobs;
mod prompt;
mod request;
mod slot;
pub mod tools;
mod writing;

pub use arithmetic::{Arithmetic, Feed, Read, Write};
pub use batch::{Batch, Settings, append, take};
pub use constraint::{
    Constraint, Grammars, JsonAnswer, JsonAutomaton, JsonVocabulary, Matched, Matcher, grammars, keep,
};
pub use drafter::{Drafter, Lookup, MAX_DRAFT};
pub use engine::Engine;
pub use error::{Error, Kind, Result};
pub use event::{Answer, Call, Event, Piece, Reason, SessionId, TokenLogprob, Usage};
pub use fields::Fields;
pub use local::Local;
pub use picolm_core::session::{KvType, Want};
pub use request::{Ambient, Chat, Format, MAX_LOGPROBS, Prompt, Request, Task};
pub use tools::ToolChoice;
pub use writing::Extras;

use alloc::string::String;

/// What is known of a loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelInfo {
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// `general.architecture`.
    pub architecture: String,
    /// Most tokens of a session here,
    pub context: usize,
    /// and those that the model was trained for.
    pub trained_context: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Layers.
    pub layers: usize,
    /// Whether the file has a chat template, which conversations need.
    pub chat_template: bool,
    /// The kernels that compute.
    pub backend: String,
    /// Bytes of the weights that are read for each token.
    pub weight_bytes: u64,
}
