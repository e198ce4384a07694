//! Q3_K: 256 weights in 110 bytes: `(d * (sc_j - 32)) * (q - 4)` with sixteen 6-bit scales, j = i / 16, and 3-bit q.
//!
//! The low two bits of q are laid out as in Q2_K; the third of weight `32 * k + l` is bit k of byte l of `hmask`. The low four bits of
//! sc_0..7 and sc_8..15 are the low and high nibbles of `scales[0..8]`; the high two of sc_j are bits `2k, 2k + 1` of
//! `scales[8 + j % 4]`, k = j / 4.

use super::{
    BlockFormat, Half, Wide, long, pairs_of_bits,
    tile::{join_codes, split_codes},
    word,
};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q3K;

/// `block_q3_K` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    hmask: [u8; 32],
    qs: [[u8; 32]; 2],
    scales: [u8; 12],
    d: Half,
}

const _: () = assert!(size_of::<Block>() == 110);

impl BlockFormat for Q3K {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for Q3K {
    const CODES: CodeRange = CodeRange::Unsigned { max: 7 };
    type Quads = [Quad; 24];
    type Scales = [[u8; 16]; 18];
    const OFFSET: i32 = 4;

    fn code(block: &Block, i: usize) -> u8 {
        let low = (block.qs[i / 128][i % 32] >> (2 * (i / 32 % 4))) & 3;
        let high = (block.hmask[i % 32] >> (i / 32)) & 1;
        low | high << 2
    }

    fn sub_scale(block: &Block, j: usize) -> i16 {
        let low = (block.scales[j % 8] >> (4 * (j / 8))) & 15;
        let high = (block.scales[8 + j % 4] >> (2 * (j / 4))) & 3;
        i16::from(low | high << 4) - 32
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn sub_scales<S: Bytewise>(s: S, block: &Block) -> S::Scales {
        let low = long(&block.scales, 0);
        let high = word(&block.scales, 2);
        let high = high | (high >> 2) << 32;
        let eight = |low: u64, high: u64| (low & 0x0f0f_0f0f_0f0f_0f0f) | (high & 0x0303_0303_0303_0303) << 4;
        s.scales([eight(low, high), eight(low >> 4, high >> 4)], 32)
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block, j: usize) -> S::Bytes {
        let low = s.and(s.shr(s.load_bytes(&block.qs[j / 4]), 2 * (j % 4)), 3);
        let high = s.and(s.shr(s.load_bytes(&block.hmask), j), 1);
        s.or(low, s.shl(high, 2))
    }

    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], subs: &mut [u8]) {
        split_codes(codes, |i| Self::code(block, i));
        subs.iter_mut().enumerate().for_each(|(j, sub)| *sub = Self::sub_scale(block, j) as u8);
    }

    fn join(codes: &[[u8; 4]], subs: &[u8], d: Half, _: Half) -> Block {
        let codes = join_codes(codes);
        let (mut hmask, mut scales) = ([0; 32], [0; 12]);
        codes.iter().enumerate().for_each(|(i, code)| hmask[i % 32] |= (code >> 2) << (i / 32));
        for (j, sub) in subs.iter().enumerate() {
            let scale = sub.wrapping_add(32);
            scales[j % 8] |= (scale & 15) << (4 * (j / 8));
            scales[8 + j % 4] |= (scale >> 4) << (2 * (j / 4));
        }
        Block { hmask, qs: pairs_of_bits(&codes.map(|code| code & 3)), scales, d }
    }
}
