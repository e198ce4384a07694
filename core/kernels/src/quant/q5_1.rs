//! Q5_1: 32 weights in 24 bytes: `d * q + m`, the five bits of q as in Q5_0.

use super::{
    Blocks, F16, Narrow,
    q5_0::{code, codes},
};
use crate::lanes::{Bytewise, Range};

/// The format.
pub struct Q5_1;

/// `block_q5_1` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: F16,
    m: F16,
    qh: [u8; 4],
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 24);

impl Blocks for Q5_1 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q5_1 {
    const CODES: Range = Range::Unsigned { max: 31 };
    type Scale = F16;
    const HAS_MIN: bool = true;

    fn weight(block: &Block, i: usize) -> i32 {
        code(&block.qh, &block.qs, i).into()
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
        codes(s, &block.qh, &block.qs)
    }
}
