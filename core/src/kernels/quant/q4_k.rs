//! Q4_K: 256 weights in 144 bytes: `(d * sc_j) * nibble - (dmin * m_j)` with eight 6-bit scales and minima, j = i / 32.
//!
//! Byte `32 * g + l` of `qs` holds weight `64 * g + l` in its low and `64 * g + 32 + l` in its high nibble. The twelve bytes of
//! `scales` hold sc_0..3 and m_0..3 in the low six bits of bytes 0..3 and 4..7; sc_4..7 and m_4..7 have their low four bits in the
//! nibbles of bytes 8..11 and their high two bits at the top of bytes 0..3 and 4..7.

use super::{Blocks, F16, Wide};
use crate::kernels::lanes::Simd;

/// The format.
pub struct Q4K;

/// `block_q4_K` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: F16,
    dmin: F16,
    scales: [u8; 12],
    qs: [[u8; 32]; 4],
}

const _: () = assert!(size_of::<Block>() == 144);

/// (scale, minimum) of the 32 weights from `32 * j`.
fn scale_min(scales: &[u8; 12], j: usize) -> (u8, u8) {
    if j < 4 {
        (scales[j] & 63, scales[j + 4] & 63)
    } else {
        let (low, s, m) = (scales[j + 4], scales[j - 4] >> 6, scales[j] >> 6);
        ((low & 15) | (s << 4), (low >> 4) | (m << 4))
    }
}

fn nibble(block: &Block, i: usize) -> u8 {
    let byte = block.qs[i / 64][i % 32];
    if i % 64 < 32 { byte & 15 } else { byte >> 4 }
}

impl Blocks for Q4K {
    type Block = Block;
    const LEN: usize = 256;

    fn dequantize(block: &Block, out: &mut [f32]) {
        let (d, dmin) = (block.d.to_f32(), block.dmin.to_f32());
        for (i, out) in out.iter_mut().enumerate() {
            let (scale, min) = scale_min(&block.scales, i / 32);
            *out = (d * f32::from(scale)) * f32::from(nibble(block, i)) - dmin * f32::from(min);
        }
    }
}

impl Wide for Q4K {
    const HAS_MIN: bool = true;
    const OFFSET: i32 = 0;

    fn weight(block: &Block, i: usize) -> i32 {
        i32::from(scale_min(&block.scales, i / 32).0) * i32::from(nibble(block, i))
    }

    fn min_weight(block: &Block, j: usize) -> i32 {
        scale_min(&block.scales, j / 2).1.into()
    }

    #[inline(always)]
    fn scale(block: &Block) -> F16 {
        block.d
    }

    #[inline(always)]
    fn min(block: &Block) -> F16 {
        block.dmin
    }

    /// Four scales at a time, as the bytes of a word.
    #[inline(always)]
    fn sub_scales(block: &Block) -> ([i16; 16], [i16; 16]) {
        let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|k| block.scales[4 * i + k]));
        let (a, b, c) = (word(0), word(1), word(2));
        let twice = |low: u32, high: u32| {
            let bytes = u64::from(low) | (u64::from(high) << 32);
            core::array::from_fn(|j| i16::from((bytes >> (8 * (j / 2))) as u8))
        };
        let scales = twice(a & 0x3f3f_3f3f, (c & 0x0f0f_0f0f) | ((a >> 2) & 0x3030_3030));
        let mins = twice(b & 0x3f3f_3f3f, ((c >> 4) & 0x0f0f_0f0f) | ((b >> 2) & 0x3030_3030));
        (scales, mins)
    }

    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &Block, j: usize) -> S::Bytes {
        let bytes = s.load_bytes(&block.qs[j / 2]);
        if j.is_multiple_of(2) { s.and(bytes, 15) } else { s.shr::<4>(bytes) }
    }
}
