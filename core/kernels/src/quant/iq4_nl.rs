//! IQ4_NL: 32 weights in 18 bytes: `d * VALUES[nibble]`, nibbles as in Q4_0.

use super::{BlockFormat, Half, Narrow, nibble, nibbles};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct IQ4NL;

/// `block_iq4_nl` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    qs: [u8; 16],
}

const _: () = assert!(size_of::<Block>() == 18);

/// What the nibbles of the IQ4 formats stand for: closer together near zero, where most weights are.
pub(super) const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl BlockFormat for IQ4NL {
    type Block = Block;
    const LEN: usize = 32;
}

impl Narrow for IQ4NL {
    const CODES: CodeRange = CodeRange::Signed;
    type Scale = Half;
    type Quads = [Quad; 4];
    type Scales = [[Half; 16]; 1];
    const TABLE: Option<&'static [i8; 16]> = Some(&VALUES);

    fn code(block: &Block, i: usize) -> u8 {
        nibble(&block.qs, i)
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block) -> S::Bytes {
        s.lookup(&VALUES, s.nibbles(&block.qs))
    }

    fn block(codes: &[u8; 32], d: Half, _: Half) -> Block {
        Block { d, qs: nibbles(codes) }
    }
}
