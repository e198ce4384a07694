//! Q4_0: 32 weights in 18 bytes: `d * (nibble - 8)`. Byte i holds weight i in its low and weight i + 16 in its high nibble.

use super::{Blocks, F16, Narrow, nibble};
use crate::lanes::{Bytewise, Range};

/// The format.
pub struct Q4_0;

/// `block_q4_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: F16,
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 18);

impl Blocks for Q4_0 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q4_0 {
    const CODES: Range = Range::Unsigned { max: 15 };
    type Scale = F16;
    const OFFSET: i32 = 8;

    fn weight(block: &Block, i: usize) -> i32 {
        i32::from(nibble(&block.qs, i)) - 8
    }

    #[inline(always)]
    fn scale(block: &Block) -> F16 {
        block.d
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        s.nibbles(&block.qs)
    }
}
