//! All hot loops, and the team of threads they are spread over. They know blocks, columns and chunks, and nothing of models or sessions.
//!
//! A crate of its own for one reason: in a download, this is to be fast and the rest small, and a compiler is told so by the crate.
//!
//! ```text
//!   quant/      one file a format: block layout, integer weights, dequantise          ─┐
//!   reference   every kernel naively: the specification, and the portable backend      ├─► dispatch: Backend
//!   lanes/      every kernel once, over the `Simd` trait                               │
//!   isa/        one file an instruction set: intrinsics behind `Simd`                 ─┘
//! ```
//!
//! A [`Backend`] is a table of functions. All backends give the same bits (`docs/numerics.md`), which the tests check with `==`
//! by enumerating [`Backend::all`] and [`Format::ALL`].

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod activations;
mod cast;
mod dispatch;
mod isa;
mod lanes;
pub mod math;
pub mod quant;
mod reference;
pub mod team;

pub use activations::{Activations, Columns, quantize_column};
pub use dispatch::{Backend, Cpu, Kernels};
pub use isa::FloatEnv;
#[cfg(target_arch = "x86_64")]
pub use isa::avx_vnni::AvxVnni;
#[cfg(target_arch = "x86_64")]
pub use isa::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use isa::avx512::Avx512Vnni;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use isa::simd128::Simd128;
pub use quant::{Format, Operand, Operands};

use core::ops::Range;

/// The function inside a feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e^-x)`
    Silu,
    /// The tanh form of GELU.
    Gelu,
}

/// A weight matrix in its file format: `rows` outputs of `cols` inputs, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Format of the blocks.
    pub format: Format,
    /// Inputs, a multiple of the format's block.
    pub cols: usize,
    /// (rows, cols / block, bytes of a block)
    pub bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// The bytes of one row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        let len = self.format.row_bytes(self.cols);
        &self.bytes[row * len..][..len]
    }

    /// The bytes of some rows.
    pub fn rows(&self, rows: Range<usize>) -> &'a [u8] {
        let len = self.format.row_bytes(self.cols);
        &self.bytes[rows.start * len..rows.end * len]
    }
}

/// The query heads that share one key/value head, for some tokens of a session, one after the other. Row r of attention is head
/// `r % heads` of token `r / heads`.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// The heads of token t, (heads, head_dim) after RoPE, from `stride * t`.
    pub q: &'a [f32],
    /// Floats from a token to the next.
    pub stride: usize,
    /// Query heads of each token.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Scores are multiplied by this,
    pub scale: f32,
    /// and then held within this, by `math::soft_cap`.
    pub cap: Option<f32>,
}

impl<'a> Queries<'a> {
    /// Row `r`: (head_dim).
    #[inline(always)]
    pub fn row(&self, r: usize) -> &'a [f32] {
        &self.q[r / self.heads * self.stride + r % self.heads * self.head_dim..][..self.head_dim]
    }
}

/// What attention has gathered so far, chunk after chunk: per row the maximum, the sum, and the weighted values.
#[derive(Debug)]
pub struct Gathered<'a> {
    /// (rows): -inf before the first chunk
    pub max: &'a mut [f32],
    /// (rows)
    pub sum: &'a mut [f32],
    /// (rows, padded head_dim)
    pub out: &'a mut [f32],
}

/// Positions in a chunk of attention and in a block of the KV cache.
pub const CHUNK: usize = 256;

/// Positions in a tile of keys.
pub const TILE: usize = 16;

/// One chunk of one key/value head in f16. Keys lie in tiles of 16 positions, so that a lane is a position; values lie row by row.
#[derive(Debug, Clone, Copy)]
pub struct ChunkF16<'a> {
    /// (CHUNK / TILE, head_dim, TILE), f16 bits
    pub keys: &'a [u16],
    /// (CHUNK, padded head_dim), f16 bits
    pub values: &'a [u16],
}

/// One chunk of one key/value head in q8_0: int8 codes, an f16 scale per 32 of a head.
#[derive(Debug, Clone, Copy)]
pub struct ChunkQ8<'a> {
    /// (CHUNK / TILE, padded head_dim / 4, TILE, 4)
    pub keys: &'a [i8],
    /// (CHUNK / TILE, padded head_dim / 32, TILE), f16 bits
    pub key_scales: &'a [u16],
    /// (CHUNK, padded head_dim)
    pub values: &'a [i8],
    /// (CHUNK, padded head_dim / 32), f16 bits
    pub value_scales: &'a [u16],
}
