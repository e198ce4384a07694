//! Requests in, answers out: what every host of picolm does with a model.
//!
//! ```text
//!   Request ──► Batch ──step──► Event, Event, …        all sessions at once, in one batch
//!                 │ Feed (session, tokens) ▲ logits
//!                 ▼                        │
//!              Arithmetic: Local (picolm-core in this very process), or kernels that a host lends
//! ```
//!
//! It has no host: no threads, no clock, no files. The command line, the npm package, the component of the sandbox and the server are
//! thin users of it, so all of them say the same.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod answer;
mod arithmetic;
mod batch;
mod engine;
mod error;
mod local;
mod logprobs;
mod prompt;
mod request;

pub use arithmetic::{Arithmetic, Feed};
pub use batch::{Batch, Settings};
pub use engine::Engine;
pub use error::{Error, Kind, Result};
pub use local::Local;
pub use picolm_core::session::{KvType, Want};
pub use request::{Chat, Event, ModelInfo, Part, Piece, Reason, Request, SessionId, TokenLogprob, Usage};
