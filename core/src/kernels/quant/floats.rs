//! F32 and F16: a block is one weight.

use super::{Blocks, Float};
use crate::kernels::lanes::Simd;

/// 32-bit floats.
pub struct F32;
/// 16-bit IEEE floats.
pub struct F16;

impl Blocks for F32 {
    type Block = [u8; 4];
    const LEN: usize = 1;

    fn dequantize(block: &[u8; 4], out: &mut [f32]) {
        out[0] = f32::from_le_bytes(*block);
    }
}

impl Blocks for F16 {
    type Block = super::F16;
    const LEN: usize = 1;

    fn dequantize(block: &super::F16, out: &mut [f32]) {
        out[0] = block.to_f32();
    }
}

impl Float for F32 {
    #[inline(always)]
    fn lanes<S: Simd>(s: S, blocks: &[[u8; 4]; 16]) -> S::Lanes {
        s.load_le(bytemuck::cast_ref(blocks))
    }
}

impl Float for F16 {
    #[inline(always)]
    fn lanes<S: Simd>(s: S, blocks: &[super::F16; 16]) -> S::Lanes {
        s.load_f16_le(bytemuck::cast_ref(blocks))
    }
}
