//! The formats, one file each, and their one table.
//!
//! A file describes a block (source: ggml's `ggml-common.h`), how to dequantise it, and its integer weights twice: `weight` one by
//! one, which is the specification, and `codes` 32 at a time over [`Simd`], which the tests compare with it. Formats come in three
//! families by what they are multiplied with: [`Float`] (f32 columns), [`Narrow`] (blocks of 32) and [`Wide`] (blocks of 256).

mod floats;
mod q4_0;
mod q4_1;
mod q4_k;
mod q6_k;
mod q8_0;

use super::lanes::Simd;
use bytemuck::Pod;
use half::f16;

/// An f16 as stored: two bytes, little-endian, of any alignment.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct F16([u8; 2]);

impl F16 {
    /// The bit that negates.
    pub const SIGN: u16 = 0x8000;

    /// The 16 bits.
    #[inline(always)]
    pub fn bits(self) -> u16 {
        u16::from_le_bytes(self.0)
    }

    /// The value, exactly.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f16::from_bits(self.bits()).to_f32_const()
    }
}

/// What the columns must look like for a matrix of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// f32
    Float,
    /// int8 in blocks of 32
    Narrow,
    /// int8 in blocks of 256
    Wide,
}

/// A set of [`Operand`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operands(u8);

impl Operands {
    /// The set with one more.
    pub const fn with(self, operand: Operand) -> Self {
        Operands(self.0 | (1 << operand as u8))
    }

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Operands(self.0 | other.0)
    }

    /// Whether it is in the set.
    pub const fn contains(self, operand: Operand) -> bool {
        self.0 & (1 << operand as u8) != 0
    }
}

/// What every format has.
pub trait Blocks: 'static {
    /// The bytes of a block; alignment 1.
    type Block: Pod;
    /// Weights in a block.
    const LEN: usize;
    /// Writes the `LEN` weights of a block as gguf-py computes them.
    fn dequantize(block: &Self::Block, out: &mut [f32]);
}

/// Formats whose weights are floats.
pub trait Float: Blocks {
    /// Sixteen weights.
    fn lanes<S: Simd>(s: S, blocks: &[Self::Block; 16]) -> S::Lanes;
}

/// Formats of 32 weights with one scale: weight i is `scale * weight(i) + min`.
pub trait Narrow: Blocks {
    /// Whether there is a minimum.
    const HAS_MIN: bool;
    /// `weight = code - OFFSET`.
    const OFFSET: i32;
    /// Whether codes are 0..=127 (true) or -128..=127 (false, with an OFFSET of 0).
    const UNSIGNED: bool;
    /// Integer weight `i`: the specification.
    fn weight(block: &Self::Block, i: usize) -> i32;
    /// The scale.
    fn scale(block: &Self::Block) -> F16;
    /// The minimum, if there is one.
    fn min(_: &Self::Block) -> F16 {
        F16([0; 2])
    }
    /// The 32 codes in order.
    fn codes<S: Simd>(s: S, block: &Self::Block) -> S::Bytes;
}

/// Formats of 256 weights with one scale and integer scales inside: weight i is `scale * weight(i) - min * min_weight(i / 16)`.
pub trait Wide: Blocks {
    /// Whether there is a minimum.
    const HAS_MIN: bool;
    /// `weight = sub-scale * (code - OFFSET)`.
    const OFFSET: i32;
    /// Integer weight `i`, its sub-scale multiplied in: the specification.
    fn weight(block: &Self::Block, i: usize) -> i32;
    /// Integer minimum of the 16 weights from `16 * j`.
    fn min_weight(_block: &Self::Block, _j: usize) -> i32 {
        0
    }
    /// The scale.
    fn scale(block: &Self::Block) -> F16;
    /// The scale of the minima, which are subtracted.
    fn min(_: &Self::Block) -> F16 {
        F16([0; 2])
    }
    /// The sub-scales and the minima, one per 16 weights.
    fn sub_scales(block: &Self::Block) -> ([i16; 16], [i16; 16]);
    /// The codes 0..=127 of the weights from `32 * j`.
    fn codes<S: Simd>(s: S, block: &Self::Block, j: usize) -> S::Bytes;
}

/// A computation that is written once per family.
pub trait Visitor {
    /// Its result.
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
                match self { $(Format::$name => <$file::$ty as Blocks>::LEN),* }
            }

            /// Bytes of a block.
            pub const fn block_bytes(self) -> usize {
                match self { $(Format::$name => size_of::<<$file::$ty as Blocks>::Block>()),* }
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

            /// Writes the weights of whole blocks as floats.
            pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
                match self { $(Format::$name => dequantize::<$file::$ty>(bytes, out)),* }
            }
        }
    };
}

formats! {
    F32  = 0,  float  Float  floats::F32;
    F16  = 1,  float  Float  floats::F16;
    Q4_0 = 2,  narrow Narrow q4_0::Q4_0;
    Q4_1 = 3,  narrow Narrow q4_1::Q4_1;
    Q8_0 = 8,  narrow Narrow q8_0::Q8_0;
    Q4_K = 12, wide   Wide   q4_k::Q4K;
    Q6_K = 14, wide   Wide   q6_k::Q6K;
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
}

fn dequantize<F: Blocks>(bytes: &[u8], out: &mut [f32]) {
    let blocks: &[F::Block] = bytemuck::cast_slice(bytes);
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(F::LEN)) {
        F::dequantize(block, out);
    }
}
