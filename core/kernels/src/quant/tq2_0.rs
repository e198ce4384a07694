//! TQ2_0: 256 weights in 66 bytes: `d * (q - 1)`, 2-bit q laid out as in Q2_K. Ternary models use q = 0, 1, 2.

use super::{
    BlockFormat, Half, Wide, pairs_of_bits,
    tile::{join_codes, split_codes},
};
use crate::simd::{Bytewise, CodeRange, Quad, Tiled};

/// The format.
pub struct TQ2_0;

/// `block_tq2_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    qs: [[u8; 32]; 2],
    d: Half,
}

const _: () = assert!(size_of::<Block>() == 66);

impl BlockFormat for TQ2_0 {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for TQ2_0 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 3 };
    type Quads = [Quad; 16];
    type Scales = [[u8; 16]; 2];
    const OFFSET: i32 = 1;
    const SPAN: usize = 32;

    fn code(block: &Block, i: usize) -> u8 {
        (block.qs[i / 128][i % 32] >> (2 * (i / 32 % 4))) & 3
    }

    fn sub_scale(_: &Block, _: usize) -> i16 {
        1
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn sub_scales<S: Bytewise>(s: S, _: &Block) -> S::Scales {
        s.scales([0x0101_0101_0101_0101; 2], 0)
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block, j: usize) -> S::Bytes {
        s.and(s.shr(s.load_bytes(&block.qs[j / 4]), 2 * (j % 4)), 3)
    }

    #[inline(always)]
    fn tile_sub_scale<S: Tiled>(s: S, _: &[[u8; 16]], _: usize) -> S::Ints {
        s.splat_int(1)
    }

    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], _: &mut [u8]) {
        split_codes(codes, |i| Self::code(block, i));
    }

    fn join(codes: &[[u8; 4]], _: &[u8], d: Half, _: Half) -> Block {
        Block { qs: pairs_of_bits(&join_codes(codes)), d }
    }
}
