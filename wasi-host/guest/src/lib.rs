//! What runs inside the sandbox: a model file becomes text.
//!
//! ```text
//!   Request ──► Batch ──step──► Event, Event, …        all sessions at once, in one batch
//!                 │ Feed (session, tokens) ▲ logits
//!                 ▼                        │
//!              Arithmetic: Local (picolm-core in this very process), or the host's kernels
//! ```
//!
//! A library without a host: the component in `wasi-host` is built from it, and the host's engine without a sandbox is the same
//! code, so that both say the same.

mod answer;
mod arithmetic;
mod batch;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "command"))]
mod command;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(feature = "command")))]
mod component;
mod error;
mod local;
mod logprobs;
mod prompt;
mod request;

pub use arithmetic::{Arithmetic, Feed};
pub use batch::{Batch, Settings};
pub use error::{Error, Kind, Result};
pub use local::Local;
pub use picolm_core::session::{KvType, Want};
pub use request::{Chat, Event, ModelInfo, Part, Piece, Reason, Request, SessionId, TokenLogprob, Usage};
