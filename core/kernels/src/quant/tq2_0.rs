//! TQ2_0: 256 weights in 66 bytes: `d * (q - 1)`, 2-bit q laid out as in Q2_K. Ternary models use q = 0, 1, 2.

use super::{BlockFormat, Half, Wide};
use crate::simd::{Bytewise, CodeRange};

/// The format.
pub struct TQ2_0;

/// `block_tq2_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    qs: [[u8; 32]; 2],
    d: Half,
}

const _: () = assert!(size_of::<Block>() == 66);

impl BlockFormat for TQ2_0 {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for TQ2_0 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 3 };
    const OFFSET: i32 = 1;

    fn weight(block: &Block, i: usize) -> i32 {
        i32::from((block.qs[i / 128][i % 32] >> (2 * (i / 32 % 4))) & 3) - Self::OFFSET
    }

    fn sub_scale(_: &Block, _: usize) -> i16 {
        1
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn sub_scales<S: Bytewise>(s: S, _: &Block) -> S::Scales {
        s.scales([0x0101_0101_0101_0101; 2], 0)
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block, j: usize) -> S::Bytes {
        s.and(s.shr(s.load_bytes(&block.qs[j / 4]), 2 * (j % 4)), 3)
    }
}
