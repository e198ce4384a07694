//! Q4_1: 32 weights in 20 bytes: `d * nibble + m`, nibbles as in Q4_0.

use super::{Blocks, F16, Narrow, nibble};
use crate::lanes::{Bytewise, Range};

/// The format.
pub struct Q4_1;

/// `block_q4_1` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: F16,
    m: F16,
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 20);

impl Blocks for Q4_1 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q4_1 {
    const CODES: Range = Range::Unsigned { max: 15 };
    type Scale = F16;
    const HAS_MIN: bool = true;

    fn weight(block: &Block, i: usize) -> i32 {
        nibble(&block.qs, i).into()
    }

    #[inline(always)]
    fn scale(block: &Block) -> F16 {
        block.d
    }

    #[inline(always)]
    fn min(block: &Block) -> F16 {
        block.m
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        s.nibbles(&block.qs)
    }
}
