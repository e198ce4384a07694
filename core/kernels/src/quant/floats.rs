//! F32, F16 and BF16: a block is one weight.

use super::{BlockFormat, Float, Half, Scale};
use crate::simd::Simd;

/// 32-bit floats.
pub struct F32;
/// 16-bit IEEE floats.
pub struct F16;
/// The upper halves of 32-bit floats.
pub struct BF16;

impl BlockFormat for F32 {
    type Block = [u8; 4];
    const LEN: usize = 1;
}

impl BlockFormat for F16 {
    type Block = Half;
    const LEN: usize = 1;
}

impl BlockFormat for BF16 {
    type Block = [u8; 2];
    const LEN: usize = 1;
}

impl Float for F32 {
    fn to_f32(block: &[u8; 4]) -> f32 {
        f32::from_le_bytes(*block)
    }

    #[inline(always)]
    fn lanes<S: Simd>(s: S, blocks: &[[u8; 4]; 16]) -> S::Lanes {
        s.load_le(bytemuck::cast_ref(blocks))
    }
}

impl Float for F16 {
    fn to_f32(block: &Half) -> f32 {
        Scale::to_f32(*block)
    }

    #[inline(always)]
    fn lanes<S: Simd>(s: S, blocks: &[Half; 16]) -> S::Lanes {
        s.load_f16_le(bytemuck::cast_ref(blocks))
    }
}

impl Float for BF16 {
    #[inline(always)]
    fn to_f32(block: &[u8; 2]) -> f32 {
        f32::from_le_bytes([0, 0, block[0], block[1]])
    }

    /// The compiler makes vectors of this.
    #[inline(always)]
    fn lanes<S: Simd>(s: S, blocks: &[[u8; 2]; 16]) -> S::Lanes {
        let mut lanes = [0.0; 16];
        for i in 0..16 {
            lanes[i] = Self::to_f32(&blocks[i]);
        }
        s.load(&lanes)
    }
}
