//! Q4_1: 32 weights in 20 bytes: `d * nibble + m`, nibbles as in Q4_0.

use super::{BlockFormat, Half, Narrow, nibble, nibbles};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q4_1;

/// `block_q4_1` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    m: Half,
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 20);

impl BlockFormat for Q4_1 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q4_1 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 15 };
    type Scale = Half;
    type Quads = [Quad; 4];
    type Scales = [[Half; 16]; 2];
    const HAS_MIN: bool = true;

    fn code(block: &Block, i: usize) -> u8 {
        nibble(&block.qs, i)
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
        s.nibbles(&block.qs)
    }

    fn block(codes: &[u8; 32], d: Half, m: Half) -> Block {
        Block { d, m, qs: nibbles(codes) }
    }
}
