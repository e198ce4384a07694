//! Q5_1: 32 weights in 24 bytes: `d * q + m`, the five bits of q as in Q5_0.

use super::{
    BlockFormat, Half, Narrow, nibbles,
    q5_0::{code, codes, fifth_bits},
};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q5_1;

/// `block_q5_1` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    m: Half,
    qh: [u8; 4],
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 24);

impl BlockFormat for Q5_1 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q5_1 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 31 };
    type Scale = Half;
    type Quads = [Quad; 5];
    type Scales = [[Half; 16]; 2];
    const HAS_MIN: bool = true;

    fn code(block: &Block, i: usize) -> u8 {
        code(&block.qh, &block.qs, i)
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn min(block: &Block) -> Half {
        block.m
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        codes(s, &block.qh, &block.qs)
    }

    fn block(codes: &[u8; 32], d: Half, m: Half) -> Block {
        Block { d, m, qh: fifth_bits(codes), qs: nibbles(&codes.map(|code| code & 15)) }
    }
}
