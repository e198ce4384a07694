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
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod model;
pub mod sampler;
pub mod session;
pub mod text;
pub mod weights;

pub use picolm_gguf as gguf;
pub use picolm_kernels::{self as kernels, team};
