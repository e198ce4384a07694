//! Q6_K: 256 weights in 210 bytes: `(d * sc_j) * (q - 32)` with sixteen i8 scales, j = i / 16, and 6-bit q.
//!
//! Each half of 128 weights has 64 bytes of low nibbles and 32 bytes of high pairs of bits. Of weight `32 * k + l` (k < 4) the low
//! four bits are the low (k < 2) or high nibble of byte `32 * (k % 2) + l`, the high two are bits `2k, 2k + 1` of byte l of `qh`.

use super::{Blocks, F16, Wide};
use crate::kernels::lanes::Simd;

/// The format.
pub struct Q6K;

/// `block_q6_K` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    ql: [[[u8; 32]; 2]; 2],
    qh: [[u8; 32]; 2],
    scales: [i8; 16],
    d: F16,
}

const _: () = assert!(size_of::<Block>() == 210);

fn code(block: &Block, i: usize) -> u8 {
    let (half, k, l) = (i / 128, i % 128 / 32, i % 32);
    let low = (block.ql[half][k % 2][l] >> (if k < 2 { 0 } else { 4 })) & 15;
    let high = (block.qh[half][l] >> (2 * k)) & 3;
    low | (high << 4)
}

impl Blocks for Q6K {
    type Block = Block;
    const LEN: usize = 256;

    fn dequantize(block: &Block, out: &mut [f32]) {
        let d = block.d.to_f32();
        for (i, out) in out.iter_mut().enumerate() {
            *out = (d * f32::from(block.scales[i / 16])) * (f32::from(code(block, i)) - 32.0);
        }
    }
}

impl Wide for Q6K {
    const HAS_MIN: bool = false;
    const OFFSET: i32 = 32;

    fn weight(block: &Block, i: usize) -> i32 {
        i32::from(block.scales[i / 16]) * (i32::from(code(block, i)) - 32)
    }

    #[inline(always)]
    fn scale(block: &Block) -> F16 {
        block.d
    }

    #[inline(always)]
    fn sub_scales(block: &Block) -> ([i16; 16], [i16; 16]) {
        (block.scales.map(i16::from), [0; 16])
    }

    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &Block, j: usize) -> S::Bytes {
        let (half, k) = (j / 4, j % 4);
        let low = s.load_bytes(&block.ql[half][k % 2]);
        let low = if k < 2 { s.and(low, 15) } else { s.shr::<4>(low) };
        let high = s.load_bytes(&block.qh[half]);
        let high = match k {
            0 => high,
            1 => s.shr::<2>(high),
            2 => s.shr::<4>(high),
            _ => s.shr::<6>(high),
        };
        s.or(low, s.shl::<4>(s.and(high, 3)))
    }
}
