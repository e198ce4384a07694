//! MXFP4: 32 weights in 17 bytes: `2^(e - 128) * w`, nibbles as in Q4_0, w twice the e2m1 float that the nibble is.

use super::{BlockFormat, E8M0, Half, Narrow, nibble, nibbles};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct MXFP4;

/// `block_mxfp4` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    e: E8M0,
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 17);

/// Twice the e2m1 floats (a sign, two bits of exponent, one of mantissa: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives) plus 12.
const CODES: [i8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

impl BlockFormat for MXFP4 {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for MXFP4 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 24 };
    type Scale = E8M0;
    type Quads = [Quad; 4];
    type Scales = [[E8M0; 16]; 1];
    const TABLE: Option<&'static [i8; 16]> = Some(&CODES);
    const OFFSET: i32 = 12;

    fn code(block: &Block, i: usize) -> u8 {
        nibble(&block.qs, i)
    }

    #[inline(always)]
    fn scale(block: &Block) -> E8M0 {
        block.e
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        s.lookup(&CODES, s.nibbles(&block.qs))
    }

    fn block(codes: &[u8; 32], e: E8M0, _: Half) -> Block {
        Block { e, qs: nibbles(codes) }
    }
}
