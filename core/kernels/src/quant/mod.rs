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
pub(crate) mod tile;
mod tq1_0;
mod tq2_0;

pub use scale::{E8M0, Half, Scale};
pub use tile::TILE_ROWS;

use crate::operand::Operand;
use crate::simd::{Bytewise, CodeRange, Quad, Simd, Tiled};
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
    /// What codes stand for, if not for themselves.
    const TABLE: Option<&'static [i8; 16]> = None;
    /// The codes of a block of a tile: a quad for each of their bits (`tile.rs`).
    type Quads: Pod + AsRef<[Quad]>;
    /// Its scales, and its minima if there are any.
    type Scales: Pod + AsRef<[[Self::Scale; TILE_ROWS]]>;
    /// Code `i` as it is stored.
    fn code(block: &Self::Block, i: usize) -> u8;
    /// Integer weight `i`: the specification.
    fn weight(block: &Self::Block, i: usize) -> i32 {
        weight(Self::code(block, i), Self::TABLE, Self::CODES) - Self::OFFSET
    }
    /// The scale.
    fn scale(block: &Self::Block) -> Self::Scale;
    /// The minimum, if there is one.
    #[inline(always)]
    fn min(_: &Self::Block) -> Half {
        Half::ZERO
    }
    /// The 32 codes in order, looked up in the table.
    fn codes<S: Bytewise>(s: S, block: &Self::Block) -> S::Bytes;
    /// The block with these codes as they are stored, scale and minimum (zero, if there is none).
    fn block(codes: &[u8; 32], scale: Self::Scale, min: Half) -> Self::Block;
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
    /// What codes stand for, if not for themselves.
    const TABLE: Option<&'static [i8; 16]> = None;
    /// The codes of a block of a tile (`tile.rs`).
    type Quads: Pod + AsRef<[Quad]>;
    /// Sixteen sub-scales after the other, then the scales and the minima of sixteen rows, each in two.
    type Scales: Pod + AsRef<[[u8; TILE_ROWS]]>;
    /// Code `i` as it is stored.
    fn code(block: &Self::Block, i: usize) -> u8;
    /// Integer weight `i`, without its sub-scale: the specification.
    fn weight(block: &Self::Block, i: usize) -> i32 {
        weight(Self::code(block, i), Self::TABLE, Self::CODES) - Self::OFFSET
    }
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
    /// The codes of the weights from `32 * j`, looked up in the table.
    fn codes<S: Bytewise>(s: S, block: &Self::Block, j: usize) -> S::Bytes;
    /// Codes `32 * j + 4 * t` and the three after it, as they are stored, of the rows of a tile.
    #[inline(always)]
    fn tile_codes<S: Tiled>(s: S, quads: &[Quad], j: usize, t: usize) -> S::Quads {
        let bits = quads.len() / 8;
        tile::plane_quad(s, &quads[bits * j..][..bits], t)
    }
    /// Sub-scale `j`, of `SPAN` weights, of the rows of a tile.
    #[inline(always)]
    fn tile_sub_scale<S: Tiled>(s: S, subs: &[[u8; TILE_ROWS]], j: usize) -> S::Ints {
        s.small_ints(&subs[j])
    }
    /// Integer minimum `j`, of `SPAN` weights, of the rows of a tile.
    #[inline(always)]
    fn tile_sub_min<S: Tiled>(s: S, subs: &[[u8; TILE_ROWS]], j: usize) -> S::Ints {
        s.small_ints(&subs[256 / Self::SPAN + j])
    }
    /// A row's share of the quads of a tile, and its sub-scales as bytes.
    fn split(block: &Self::Block, quads: &mut [[u8; 4]], subs: &mut [u8]);
    /// The block that was [split](Wide::split).
    fn join(quads: &[[u8; 4]], subs: &[u8], scale: Half, min: Half) -> Self::Block;
}

/// What a code stands for, before an offset is taken off.
fn weight(code: u8, table: Option<&[i8; 16]>, range: CodeRange) -> i32 {
    match table {
        Some(table) => table[usize::from(code)].into(),
        None if range == CodeRange::Signed => (code as i8).into(),
        None => code.into(),
    }
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

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As in the file: (rows, cols / block, bytes of a block).
    Rows,
    /// In tiles of [`TILE_ROWS`] rows, as [`Format::pack`] writes them.
    #[cfg(not(target_family = "wasm"))]
    Tiles,
}

impl Layout {
    /// Bytes of the rows up to `rows`, which is the last or a multiple of [`TILE_ROWS`].
    fn bytes(self, format: Format, rows: usize, cols: usize) -> usize {
        match self {
            Layout::Rows => rows * format.row_bytes(cols),
            #[cfg(not(target_family = "wasm"))]
            Layout::Tiles => format.packed_bytes(rows, cols),
        }
    }
}

/// A weight matrix: `rows` outputs of `cols` inputs, row after row or tile after tile.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Format of the blocks.
    pub format: Format,
    /// How they lie.
    pub layout: Layout,
    /// Inputs, a multiple of the format's block.
    pub cols: usize,
    /// All rows.
    pub bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// Some rows, of which the first is a multiple of [`TILE_ROWS`], and so is the end if it is not the matrix's.
    pub fn rows(&self, rows: Range<usize>) -> Matrix<'a> {
        let bytes = |rows| self.layout.bytes(self.format, rows, self.cols);
        Matrix { bytes: &self.bytes[bytes(rows.start)..bytes(rows.end)], ..*self }
    }

    /// One row as floats: (cols).
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        match self.layout {
            Layout::Rows => {
                let len = self.format.row_bytes(self.cols);
                self.format.dequantize(&self.bytes[row * len..][..len], out);
            }
            #[cfg(not(target_family = "wasm"))]
            Layout::Tiles => self.format.dequantize_packed(self.cols, self.bytes, row, out),
        }
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

/// The bytes of 32 such nibbles.
fn nibbles(codes: &[u8; 32]) -> [u8; 16] {
    core::array::from_fn(|i| codes[i] | codes[i + 16] << 4)
}

/// The bytes of 256 pairs of bits: bits `2k, 2k + 1` of byte `32 * h + l` are number `128 * h + 32 * k + l`.
fn pairs_of_bits(codes: &[u8; 256]) -> [[u8; 32]; 2] {
    let mut bytes = [[0; 32]; 2];
    codes.iter().enumerate().for_each(|(i, code)| bytes[i / 128][i % 32] |= code << (2 * (i / 32 % 4)));
    bytes
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
