//! picolm in WebAssembly: what the TypeScript of the npm package calls, inside a worker.
//!
//! ```text
//!   worker.ts ──► Weights: room for the files, which the worker fills (or a reader to stream them layer by layer)
//!             ──► Engine::load ──► begin ──► step, step, … ──► events of picolm-engine
//!             ──► Team ──► with shared memory, one more worker for each further member: team_member
//!             ──► Engine::lend_grammars ──► schemas, expressions and grammars, of another module
//!             ──► Sha256 ──► of a download, as it comes
//! ```
//!
//! Requests come as JSON, events leave as JSON, and errors as JavaScript's `Error` with a `code`: `error.rs` has the list. Nothing here computes, waits
//! for a network or knows where files lie.

mod engine;
mod error;
mod grammars;
mod header;
mod sha256;
mod team;
mod weights;

pub use engine::Engine;
pub use grammars::{Encoder, Module};
pub use header::header;
pub use sha256::Sha256;
pub use team::{Team, team_member};
pub use weights::Weights;
