//! Q4_0: 32 weights in 18 bytes: `d * (nibble - 8)`. Byte i holds weight i in its low and weight i + 16 in its high nibble.

use super::{BlockFormat, Half, Narrow, nibble, nibbles};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q4_0;

/// `block_q4_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 18);

impl BlockFormat for Q4_0 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q4_0 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 15 };
    type Scale = Half;
    type Quads = [Quad; 4];
    type Scales = [[Half; 16]; 1];
    const OFFSET: i32 = 8;

    fn code(block: &Block, i: usize) -> u8 {
        nibble(&block.qs, i)
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        s.nibbles(&block.qs)
    }

    fn block(codes: &[u8; 32], d: Half, _: Half) -> Block {
        Block { d, qs: nibbles(codes) }
    }
}
