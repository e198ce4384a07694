//! What a host of the core needs of a machine: bytes, a CPU token, threads.
//!
//! ```text
//!   file     a model file, mapped, and watched while it is in use      ──► WeightSource, Gguf
//!   cpu      the kernels this CPU can run; how many threads            ──► Backend
//!   pool     threads that wait for work     ─┐
//!                                            ├─► fork_join             ──► Team
//!   (a browser's workers come by themselves) ┘
//!   memory   how much there is
//!   packed   weights in memory, in the order in which kernels read them       ──► WeightSource
//! ```
//!
//! In WebAssembly there are only [`cpu::detect`] and [`ForkJoin`]: the rest is the page's business. `unsafe` is in `cpu`, `fork_join` and
//! `file` only.

pub mod cpu;
#[cfg(not(target_family = "wasm"))]
pub mod file;
mod fork_join;
#[cfg(not(target_family = "wasm"))]
pub mod memory;
#[cfg(not(target_family = "wasm"))]
pub mod packed;
#[cfg(not(target_family = "wasm"))]
mod pool;

#[cfg(not(target_family = "wasm"))]
pub use file::ModelFile;
pub use fork_join::ForkJoin;
#[cfg(not(target_family = "wasm"))]
pub use packed::Packed;
#[cfg(not(target_family = "wasm"))]
pub use pool::Pool;
