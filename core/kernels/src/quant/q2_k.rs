//! Q2_K: 256 weights in 84 bytes: `(d * sc_j) * q - (dmin * m_j)` with sixteen 4-bit scales and minima, j = i / 16, and 2-bit q.
//!
//! The low nibble of `scales[j]` is sc_j, the high one m_j. Bits `2k, 2k + 1` of byte `32 * h + l` of `qs` are weight
//! `128 * h + 32 * k + l`.

use super::{
    BlockFormat, Half, Wide, long, pairs_of_bits,
    tile::{join_codes, split_codes},
};
use crate::simd::{Bytewise, CodeRange, Quad, Tiled};

/// The format.
pub struct Q2K;

/// `block_q2_K` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    scales: [u8; 16],
    qs: [[u8; 32]; 2],
    d: Half,
    dmin: Half,
}

const _: () = assert!(size_of::<Block>() == 84);

impl BlockFormat for Q2K {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for Q2K {
    const CODES: CodeRange = CodeRange::Unsigned { max: 3 };
    type Quads = [Quad; 16];
    type Scales = [[u8; 16]; 20];
    const HAS_MIN: bool = true;

    fn code(block: &Block, i: usize) -> u8 {
        (block.qs[i / 128][i % 32] >> (2 * (i / 32 % 4))) & 3
    }

    fn sub_scale(block: &Block, j: usize) -> i16 {
        (block.scales[j] & 15).into()
    }

    fn sub_min(block: &Block, j: usize) -> i16 {
        (block.scales[j] >> 4).into()
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn min(block: &Block) -> Half {
        block.dmin
    }

    #[inline(always)]
    fn sub_scales<S: Bytewise>(s: S, block: &Block) -> S::Scales {
        s.scales([0, 1].map(|i| long(&block.scales, i) & 0x0f0f_0f0f_0f0f_0f0f), 0)
    }

    #[inline(always)]
    fn sub_mins<S: Bytewise>(s: S, block: &Block) -> S::Scales {
        s.scales([0, 1].map(|i| (long(&block.scales, i) >> 4) & 0x0f0f_0f0f_0f0f_0f0f), 0)
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block, j: usize) -> S::Bytes {
        s.and(s.shr(s.load_bytes(&block.qs[j / 4]), 2 * (j % 4)), 3)
    }

    #[inline(always)]
    fn tile_sub_scale<S: Tiled>(s: S, subs: &[[u8; 16]], j: usize) -> S::Ints {
        s.nibble_ints(&subs[j], 0)
    }

    #[inline(always)]
    fn tile_sub_min<S: Tiled>(s: S, subs: &[[u8; 16]], j: usize) -> S::Ints {
        s.nibble_ints(&subs[j], 1)
    }

    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], subs: &mut [u8]) {
        split_codes(codes, |i| Self::code(block, i));
        subs.copy_from_slice(&block.scales);
    }

    fn join(codes: &[[u8; 4]], subs: &[u8], d: Half, dmin: Half) -> Block {
        let mut scales = [0; 16];
        scales.copy_from_slice(subs);
        Block { scales, qs: pairs_of_bits(&join_codes(codes)), d, dmin }
    }
}
