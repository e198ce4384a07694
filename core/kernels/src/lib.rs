//! All hot loops, and the team of threads they are spread over. They know blocks, columns and chunks, and nothing of models or sessions.
//!
//! A crate of its own for one reason: in a download, this is to be fast and the rest small, and a compiler is told so by the crate.
//!
//! ```text
//!   float_env, math, cast        registers of the host; exp and its kin; bytes as rows of blocks
//!     ▲
//!   team                         threads lent by a host, work cut into disjoint parts
//!     ▲
//!   simd                         an instruction set as a trait: 16 lanes, whatever the machine's registers
//!   operand                      columns of activations, queries, chunks of keys and values
//!     ▲
//!   quant/                       one file a format: block layout, integer weights, dequantise; tiles of 16 rows
//!     ▲
//!   backend                      a table of kernels
//!     ▲                ▲
//!   lanes/           reference   every kernel once over `Simd`; every kernel naively: the specification, and the portable backend
//!     ▲                ▲
//!   isa/               │         a folder an architecture: intrinsics behind `Simd`, and `lanes` compiled for them
//!     ▲                │
//!   dispatch ──────────┘         the list of backends
//! ```
//! What stands above knows nothing of what stands below.
//!
//! All backends give the same bits (`docs/numerics.md`), which the tests check with `==` by enumerating [`Backend::all`] and
//! [`Format::ALL`].

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod backend;
mod cast;
mod dispatch;
mod float_env;
mod isa;
mod lanes;
pub mod math;
pub mod operand;
pub mod quant;
mod reference;
mod simd;
pub mod team;

pub use backend::{Backend, Kernels, quantize_column};
pub use dispatch::Cpu;
pub use float_env::FloatEnv;
pub use isa::*;
pub use operand::{
    Activation, Activations, CHUNK, ChunkF16, ChunkQ8, Columns, Gathered, Operand, Operands, Queries, TILE,
};
pub use quant::{Format, Layout, Matrix, TILE_ROWS};
