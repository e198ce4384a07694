//! Q5_0: 32 weights in 22 bytes: `d * (q - 16)`, the low four bits of q as in Q4_0, the fifth of weight i bit i of `qh`.

use super::{BlockFormat, Half, Narrow, nibble, nibbles};
use crate::simd::{Bytewise, CodeRange, Quad};

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

/// The fifth bits of 32 codes.
pub(super) fn fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let mut bits = [0; 4];
    for (i, code) in codes.iter().enumerate() {
        bits[i / 8] |= (code >> 4) << (i % 8);
    }
    bits
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
    type Quads = [Quad; 5];
    type Scales = [[Half; 16]; 1];
    const OFFSET: i32 = 16;

    fn code(block: &Block, i: usize) -> u8 {
        code(&block.qh, &block.qs, i)
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        codes(s, &block.qh, &block.qs)
    }

    fn block(codes: &[u8; 32], d: Half, _: Half) -> Block {
        Block { d, qh: fifth_bits(codes), qs: nibbles(&codes.map(|code| code & 15)) }
    }
}
