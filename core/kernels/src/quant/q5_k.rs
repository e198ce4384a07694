//! Q5_K: 256 weights in 176 bytes: `(d * sc_j) * q - (dmin * m_j)`, scales, minima and the low four bits of q as in Q4_K, j = i / 32.
//!
//! The fifth bit of weight `32 * k + l` is bit k of byte l of `qh`.

use super::{
    BlockFormat, Half, Wide,
    q4_k::{PackedScales, nibble, nibbles, nibbles_of},
    tile::{join_codes, split_codes},
};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q5K;

/// `block_q5_K` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    dmin: Half,
    scales: PackedScales,
    qh: [u8; 32],
    qs: [[u8; 32]; 4],
}

const _: () = assert!(size_of::<Block>() == 176);

impl BlockFormat for Q5K {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for Q5K {
    const CODES: CodeRange = CodeRange::Unsigned { max: 31 };
    type Quads = [Quad; 40];
    type Scales = [[u8; 16]; 20];
    const HAS_MIN: bool = true;
    const SPAN: usize = 32;

    fn code(block: &Block, i: usize) -> u8 {
        let high = (block.qh[i % 32] >> (i / 32)) & 1;
        nibble(&block.qs, i) | high << 4
    }

    fn sub_scale(block: &Block, j: usize) -> i16 {
        block.scales.pair(j / 2).0.into()
    }

    fn sub_min(block: &Block, j: usize) -> i16 {
        block.scales.pair(j / 2).1.into()
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
        s.scales_twice(block.scales.all().0, 0)
    }

    #[inline(always)]
    fn sub_mins<S: Bytewise>(s: S, block: &Block) -> S::Scales {
        s.scales_twice(block.scales.all().1, 0)
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block, j: usize) -> S::Bytes {
        let high = s.and(s.shr(s.load_bytes(&block.qh), j), 1);
        s.or(nibbles(s, &block.qs, j), s.shl(high, 4))
    }

    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], subs: &mut [u8]) {
        split_codes(codes, |i| Self::code(block, i));
        subs.copy_from_slice(bytemuck::bytes_of(&block.scales.pairs()));
    }

    fn join(codes: &[[u8; 4]], subs: &[u8], d: Half, dmin: Half) -> Block {
        let codes = join_codes(codes);
        let mut qh = [0; 32];
        codes.iter().enumerate().for_each(|(i, code)| qh[i % 32] |= (code >> 4) << (i / 32));
        Block { d, dmin, scales: PackedScales::of(subs), qh, qs: nibbles_of(&codes.map(|code| code & 15)) }
    }
}
