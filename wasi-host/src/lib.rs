//! Runs a model file from a stranger: in a WebAssembly sandbox, or beside it.
//!
//! ```text
//!   main (run, digest, bench) ─┐
//!                              ├─► engine::Engine ──► sandbox         everything in wasm, the file mapped into its memory
//!   a server, your program    ─┘        │        ├──► sandbox-native  text in wasm, arithmetic by the kernels of this machine
//!                                       │        └──► native          no sandbox
//!                                       └ picolm-engine's types: Request, Event, …
//! ```
//!
//! All three say the same, bit for bit. [`engine::open`] makes one:
//!
//! ```no_run
//! use picolm_host::engine::{self, Kind, Options};
//! use picolm_host::{Event, Prompt, Request};
//!
//! let mut model = engine::open(Kind::Native, "model.gguf".as_ref(), &Options::default())?;
//! let prompt = Prompt::Text("The capital of France is".into());
//! let id = model.begin(&Request { prompt, max_tokens: 20, ..Request::default() })?;
//! while !model.is_idle() {
//!     for event in model.step()? {
//!         if let Event::Piece { piece, .. } = event {
//!             print!("{}", piece.text);
//!         }
//!     }
//! }
//! model.close(id)?;
//! # Ok::<(), picolm_host::Error>(())
//! ```
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(not(target_os = "linux"))]
compile_error!("picolm-host maps files and answers signals as Linux has them: it runs there");

pub mod cli;
pub mod engine;
mod options;
#[cfg(feature = "sandbox")]
pub mod plugin;
#[cfg(feature = "sandbox")]
pub mod sandbox;

pub use picolm_engine::{
    Ambient, Answer, Chat, Error, Event, Format, Kind as ErrorKind, KvType, ModelInfo, Piece, Prompt, Reason, Request,
    Result, SessionId, Task, TokenLogprob, Usage, Want,
};
