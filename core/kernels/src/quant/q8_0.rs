//! Q8_0: 32 weights in 34 bytes: `d * i8`.

use super::{Blocks, F16, Narrow};
use crate::lanes::{Bytewise, Range};

/// The format.
pub struct Q8_0;

/// `block_q8_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: F16,
    qs: [u8; 32],
}

const _: () = assert!(size_of::<Block>() == 34);

impl Blocks for Q8_0 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q8_0 {
    const CODES: Range = Range::Signed;
    type Scale = F16;

    fn weight(block: &Block, i: usize) -> i32 {
        i32::from(block.qs[i] as i8)
    }

    #[inline(always)]
    fn scale(block: &Block) -> F16 {
        block.d
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        s.load_bytes(&block.qs)
    }
}
