//! What all instruction sets supply: a table of kernels.

use crate::operand::{
    Activation, ChunkF16, ChunkQ8, ColumnMut, ColumnParts, Columns, Gathered, Operand, Operands, Queries,
};
use crate::quant::Matrix;
use crate::team::{Parts, Tile};
use core::fmt;
use core::ops::Range;

/// A table of kernels. All tables compute the same bits; `reference.rs` says what.
#[allow(clippy::type_complexity, reason = "the names of the arguments are worth it")]
pub struct Kernels {
    /// Name for people.
    pub name: &'static str,
    /// `out[c][r] = weights[r] · x[c]`; `weights` has the rows of `out`, of `x.len` weights each.
    pub matmul: fn(weights: Matrix<'_>, x: Columns<'_>, out: &mut Tile<'_>),
    /// Quantises a column in blocks of 32 or 256; false if a value is not finite.
    pub quantize: fn(x: &[f32], block: usize, out: ColumnMut<'_>) -> bool,
    /// `out = x * (1 / sqrt(mean(x²) + eps)) * weight`
    pub rms_norm: fn(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]),
    /// `out = (x - mean) * (1 / sqrt(variance + eps)) * weight + bias`
    pub layer_norm: fn(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]),
    /// `out = f(x)`, or `f(x) * up`
    pub activate: fn(f: Activation, x: &[f32], up: Option<&[f32]>, out: &mut [f32]),
    /// `x = cap * tanh(x / cap)`
    pub soft_cap: fn(x: &mut [f32], cap: f32),
    /// f16 bits, to nearest even
    pub to_f16: fn(x: &[f32], out: &mut [u16]),
    /// One chunk of attention, merged into `state`. `visible` has the positions that each token sees, at least one; neither end of
    /// these moves back from one token to the next.
    pub attend_f16: fn(q: &Queries<'_>, chunk: &ChunkF16<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>),
    /// The same over a q8_0 chunk.
    pub attend_q8: fn(q: &Queries<'_>, chunk: &ChunkQ8<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>),
}

/// A set of kernels this machine can run.
#[derive(Clone, Copy)]
pub struct Backend(&'static Kernels);

impl Backend {
    pub(super) const fn new(kernels: &'static Kernels) -> Self {
        Backend(kernels)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The table.
    pub fn kernels(self) -> &'static Kernels {
        self.0
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name())
    }
}

/// Quantises one column in the ways that `operands` asks for. Returns false if a value is not finite.
pub fn quantize_column(backend: Backend, operands: Operands, column: <ColumnParts<'_> as Parts>::Part) -> bool {
    let (floats, narrow, wide) = column;
    let quantize =
        |block, (qs, scales, sums)| (backend.kernels().quantize)(floats, block, ColumnMut { qs, scales, sums });
    (!operands.contains(Operand::Float) || floats.iter().all(|x| x.is_finite()))
        && (!operands.contains(Operand::Narrow) || quantize(32, narrow))
        && (!operands.contains(Operand::Wide) || quantize(256, wide))
}
