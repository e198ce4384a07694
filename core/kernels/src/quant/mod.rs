//! The formats, one file each, and their one table.
//!
//! A file describes a block (source: ggml's `ggml-common.h`) and its integer weights twice: one by one, which is the specification and
//! what rows are dequantised by, and `codes` 32 at a time over `Bytewise`, which the tests compare with it. Formats come in three
//! families by what they are multiplied with: [`Float`] (f32 columns), [`Narrow`] (blocks of 32) and [`Wide`] (blocks of 256).

mod floats;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod scale;
mod tq1_0;
mod tq2_0;

pub use scale::{E8M0, Half, Scale};

use crate::operand::Operand;
use crate::simd::{Bytewise, CodeRange, Simd};
use bytemuck::Pod;
use core::ops::Range;

/// A format as blocks of weights.
pub trait BlockFormat: 'static {
    /// The bytes of a block; alignment 1.
    type Block: Pod;
    /// Weights in a block.
    const LEN: usize;
}

/// Formats whose weights are floats.
pub trait Float: BlockFormat {
    /// The weight.
    fn to_f32(block: &Self::Block) -> f32;
    /// Sixteen weights.
    fn lanes<S: Simd>(s: S, blocks: &[Self::Block; 16]) -> S::Lanes;
}

/// Formats of 32 weights with one scale: weight i is `scale * weight(i) + min`.
pub trait Narrow: BlockFormat {
    /// How the scale is stored.
    type Scale: Scale;
    /// Whether there is a minimum.
    const HAS_MIN: bool = false;
    /// `weight = code - OFFSET`.
    const OFFSET: i32 = 0;
    /// The codes there can be; 0..=63, or -128..=127 with an OFFSET of 0.
    const CODES: CodeRange;
    /// Integer weight `i`: the specification.
    fn weight(block: &Self::Block, i: usize) -> i32;
    /// The scale.
    fn scale(block: &Self::Block) -> Self::Scale;
    /// The minimum, if there is one.
    #[inline(always)]
    fn min(_: &Self::Block) -> Half {
        Half::ZERO
    }
    /// The 32 codes in order.
    fn codes<S: Bytewise>(s: S, block: &Self::Block) -> S::Bytes;
}

/// Formats of 256 weights with one scale and integer scales inside: with j = i / 16, weight i is
/// `(scale * sub_scale(j)) * weight(i) - min * sub_min(j)`.
pub trait Wide: BlockFormat {
    /// Whether there is a minimum.
    const HAS_MIN: bool = false;
    /// `weight = code - OFFSET`, at most 32.
    const OFFSET: i32 = 0;
    /// The codes there can be; 0..=63, or -128..=127 with an OFFSET of 0.
    const CODES: CodeRange;
    /// Weights that share a sub-scale, 16 or 32.
    const SPAN: usize = 16;
    /// Integer weight `i`, without its sub-scale: the specification.
    fn weight(block: &Self::Block, i: usize) -> i32;
    /// Integer scale of the 16 weights from `16 * j`, in -128..=127. The product with a weight fits an i16.
    fn sub_scale(block: &Self::Block, j: usize) -> i16;
    /// Integer minimum of the 16 weights from `16 * j`.
    fn sub_min(_block: &Self::Block, _j: usize) -> i16 {
        0
    }
    /// The scale.
    fn scale(block: &Self::Block) -> Half;
    /// The scale of the minima, which are subtracted.
    #[inline(always)]
    fn min(_: &Self::Block) -> Half {
        Half::ZERO
    }
    /// All sub-scales.
    fn sub_scales<S: Bytewise>(s: S, block: &Self::Block) -> S::Scales;
    /// All integer minima, if there are any.
    #[inline(always)]
    fn sub_mins<S: Bytewise>(s: S, _block: &Self::Block) -> S::Scales {
        s.scales([0; 2], 0)
    }
    /// The codes of the weights from `32 * j`.
    fn codes<S: Bytewise>(s: S, block: &Self::Block, j: usize) -> S::Bytes;
}

/// A computation that is written once per family.
pub trait Visitor {
    /// What it comes to.
    type Out;
    /// For a float format.
    fn float<F: Float>(self) -> Self::Out;
    /// For a format of blocks of 32.
    fn narrow<F: Narrow>(self) -> Self::Out;
    /// For a format of blocks of 256.
    fn wide<F: Wide>(self) -> Self::Out;
}

/// The table: name in ggml, family, type.
macro_rules! formats {
    ($($name:ident = $id:literal, $family:ident $operand:ident $file:ident :: $ty:ident;)*) => {
        /// A weight format with kernels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, non_camel_case_types)]
        pub enum Format { $($name),* }

        impl Format {
            /// Every format.
            pub const ALL: &[Format] = &[$(Format::$name),*];

            /// ggml's name.
            pub const fn name(self) -> &'static str {
                match self { $(Format::$name => stringify!($name)),* }
            }

            /// ggml's type number.
            pub const fn id(self) -> u32 {
                match self { $(Format::$name => $id),* }
            }

            /// Weights in a block.
            pub const fn block_len(self) -> usize {
                match self { $(Format::$name => <$file::$ty as BlockFormat>::LEN),* }
            }

            /// Bytes of a block.
            pub const fn block_bytes(self) -> usize {
                match self { $(Format::$name => size_of::<<$file::$ty as BlockFormat>::Block>()),* }
            }

            /// What it is multiplied with.
            pub const fn operand(self) -> Operand {
                match self { $(Format::$name => Operand::$operand),* }
            }

            /// Runs a computation for this format.
            #[inline(always)]
            pub fn visit<V: Visitor>(self, visitor: V) -> V::Out {
                match self { $(Format::$name => visitor.$family::<$file::$ty>()),* }
            }
        }
    };
}

formats! {
    F32    = 0,  float  Float  floats::F32;
    F16    = 1,  float  Float  floats::F16;
    BF16   = 30, float  Float  floats::BF16;
    Q4_0   = 2,  narrow Narrow q4_0::Q4_0;
    Q4_1   = 3,  narrow Narrow q4_1::Q4_1;
    Q5_0   = 6,  narrow Narrow q5_0::Q5_0;
    Q5_1   = 7,  narrow Narrow q5_1::Q5_1;
    Q8_0   = 8,  narrow Narrow q8_0::Q8_0;
    IQ4_NL = 20, narrow Narrow iq4_nl::IQ4NL;
    MXFP4  = 39, narrow Narrow mxfp4::MXFP4;
    Q2_K   = 10, wide   Wide   q2_k::Q2K;
    Q3_K   = 11, wide   Wide   q3_k::Q3K;
    Q4_K   = 12, wide   Wide   q4_k::Q4K;
    Q5_K   = 13, wide   Wide   q5_k::Q5K;
    Q6_K   = 14, wide   Wide   q6_k::Q6K;
    IQ4_XS = 23, wide   Wide   iq4_xs::IQ4XS;
    TQ1_0  = 34, wide   Wide   tq1_0::TQ1_0;
    TQ2_0  = 35, wide   Wide   tq2_0::TQ2_0;
}

impl Format {
    /// The format of a ggml type number, if there are kernels for it.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.id() == id)
    }

    /// Bytes of a row of `cols` weights.
    pub const fn row_bytes(self, cols: usize) -> usize {
        cols / self.block_len() * self.block_bytes()
    }

    /// Writes the weights of whole blocks as floats, as gguf-py computes them.
    pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
        self.visit(Dequantize { bytes, out });
    }
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

struct Dequantize<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl<'a> Dequantize<'a> {
    /// Each block with the place of its weights.
    fn blocks<F: BlockFormat>(self) -> impl Iterator<Item = (&'a F::Block, &'a mut [f32])> {
        bytemuck::cast_slice(self.bytes).iter().zip(self.out.chunks_exact_mut(F::LEN))
    }
}

impl Visitor for Dequantize<'_> {
    type Out = ();

    fn float<F: Float>(self) {
        for (block, out) in self.blocks::<F>() {
            out[0] = F::to_f32(block);
        }
    }

    fn narrow<F: Narrow>(self) {
        for (block, out) in self.blocks::<F>() {
            let (d, m) = (F::scale(block).to_f32(), F::min(block).to_f32());
            for (i, out) in out.iter_mut().enumerate() {
                let product = d * F::weight(block, i) as f32;
                *out = if F::HAS_MIN { product + m } else { product };
            }
        }
    }

    fn wide<F: Wide>(self) {
        for (block, out) in self.blocks::<F>() {
            let (d, m) = (F::scale(block).to_f32(), F::min(block).to_f32());
            for (i, out) in out.iter_mut().enumerate() {
                let j = i / 16;
                let product = (d * f32::from(F::sub_scale(block, j))) * F::weight(block, i) as f32;
                *out = if F::HAS_MIN { product - m * f32::from(F::sub_min(block, j)) } else { product };
            }
        }
    }
}

/// Nibble `i` of the formats in which byte l holds number l in its low and number l + 16 in its high nibble.
#[inline]
fn nibble(bytes: &[u8; 16], i: usize) -> u8 {
    if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 }
}

/// Bytes `4 * i..4 * i + 4`, the first the lowest.
#[inline(always)]
fn word(bytes: &[u8], i: usize) -> u64 {
    u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]).into()
}

/// Bytes `8 * i..8 * i + 8`, the first the lowest.
#[inline(always)]
fn long(bytes: &[u8], i: usize) -> u64 {
    word(bytes, 2 * i) | word(bytes, 2 * i + 1) << 32
}
