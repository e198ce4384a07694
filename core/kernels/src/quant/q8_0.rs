//! Q8_0: 32 weights in 34 bytes: `d * i8`.

use super::{BlockFormat, Half, Narrow};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q8_0;

/// `block_q8_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    qs: [u8; 32],
}

const _: () = assert!(size_of::<Block>() == 34);

impl BlockFormat for Q8_0 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for Q8_0 {
    const CODES: CodeRange = CodeRange::Signed;
    type Scale = Half;
    type Quads = [Quad; 8];
    type Scales = [[Half; 16]; 1];

    fn code(block: &Block, i: usize) -> u8 {
        block.qs[i]
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        s.load_bytes(&block.qs)
    }

    fn block(codes: &[u8; 32], d: Half, _: Half) -> Block {
        Block { d, qs: *codes }
    }
}
