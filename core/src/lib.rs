//! picolm-core: everything that computes.
//!
//! ```text
//!   GGUF bytes ──► gguf ──► model ──► session ──► sampler ──► text
//!                             │          │
//!                             └─ kernels ┘   (all hot loops; know no model)
//! ```
//!
//! Data flows one way. A host brings bytes ([`weights::WeightSource`]), threads ([`team::Team`]) and a CPU token
//! ([`kernels::Backend`]); the core does no I/O, starts no thread and reads no clock. Every result is the same, bit for
//! bit, on every backend, for every thread count and batch size: `docs/numerics.md` is the contract.
//!
//! ```
//! use picolm_core::gguf::Gguf;
//! use picolm_core::kernels::{Backend, Cpu};
//! use picolm_core::model::Model;
//! use picolm_core::sampler::{Params, Sampler};
//! use picolm_core::session::{Executor, Feed, KvType, Session, Want};
//! use picolm_core::team::Solo;
//! use picolm_core::weights::InMemory;
//! use std::sync::Arc;
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/llama-Q4_0.gguf");
//! let source = Arc::new(InMemory(std::fs::read(path)?));
//! let gguf = Gguf::parse(&source.0)?;
//! let model = Arc::new(Model::load(&gguf, source.clone())?);
//!
//! // The slow backend that every machine has; a host that knows its CPU has a token for a fast one.
//! let backend = Backend::all(Cpu::default()).next().expect("the reference");
//! let mut executor = Executor::new(model.clone(), backend, Arc::new(Solo), 8)?; // columns at once
//! let mut session = Session::new(&model, 32, KvType::F16)?;
//! let mut sampler = Sampler::new(Params { temperature: 0.8, seed: 7, ..Params::default() }, model.config.vocab)?;
//!
//! let mut tokens = vec![1, 2, 3]; // of a prompt: text::Tokenizer::encode
//! while tokens.len() < 6 {
//!     let mut logits = Vec::new(); // (vocabulary)
//!     let new = &tokens[session.len()..];
//!     let feed = Feed { session: &mut session, tokens: new, want: Want::Last };
//!     executor.forward(&mut [feed], &mut |_, _, row| logits.extend_from_slice(row))?;
//!     let token = sampler.sample(&logits, tokens.len() as u64)?;
//!     sampler.accept(token);
//!     tokens.push(token);
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod model;
pub mod sampler;
pub mod session;
pub mod text;
pub mod weights;

pub use picolm_gguf as gguf;
pub use picolm_kernels::{self as kernels, team};
