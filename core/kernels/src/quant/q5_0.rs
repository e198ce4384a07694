//! Q5_0: 32 weights in 22 bytes: `d * (q - 16)`, the low four bits of q as in Q4_0, the fifth of weight i bit i of `qh`.

use super::{BlockFormat, Half, Narrow, nibble};
use crate::simd::{Bytewise, CodeRange};

/// The format.
pub struct Q5_0;

/// `block_q5_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    qh: [u8; 4],
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 22);

/// Code `i`, 0..=31.
pub(super) fn code(high: &[u8; 4], low: &[u8; 16], i: usize) -> u8 {
    nibble(low, i) | ((high[i / 8] >> (i % 8)) & 1) << 4
}

/// All codes.
#[inline(always)]
pub(super) fn codes<S: Bytewise>(s: S, high: &[u8; 4], low: &[u8; 16]) -> S::Bytes {
    s.or(s.nibbles(low), s.and(s.spread(*high), 16))
}

impl BlockFormat for Q5_0 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q5_0 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 31 };
    type Scale = Half;
    const OFFSET: i32 = 16;

    fn weight(block: &Block, i: usize) -> i32 {
        i32::from(code(&block.qh, &block.qs, i)) - 16
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        codes(s, &block.qh, &block.qs)
    }
}
