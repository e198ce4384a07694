//! IQ4_XS: 256 weights in 136 bytes: `(d * (sc_j - 32)) * VALUES[nibble]` with eight 6-bit scales, j = i / 32, and IQ4_NL's values.
//!
//! Sixteen bytes for each 32 weights hold nibbles as in Q4_0. The low four bits of sc_j are a nibble of byte `j / 2` of `scales_l`
//! (the low one if j is even), the high two are bits `2j, 2j + 1` of the little-endian `scales_h`.

use super::{
    BlockFormat, Half, Wide,
    iq4_nl::VALUES,
    nibble, nibbles,
    tile::{join_codes, split_codes},
    word,
};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct IQ4XS;

/// `block_iq4_xs` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    scales_h: [u8; 2],
    scales_l: [u8; 4],
    qs: [[u8; 16]; 8],
}

const _: () = assert!(size_of::<Block>() == 136);

impl BlockFormat for IQ4XS {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for IQ4XS {
    const CODES: CodeRange = CodeRange::Signed;
    type Quads = [Quad; 32];
    type Scales = [[u8; 16]; 10];
    const SPAN: usize = 32;
    const TABLE: Option<&'static [i8; 16]> = Some(&VALUES);

    fn code(block: &Block, i: usize) -> u8 {
        nibble(&block.qs[i / 32], i % 32)
    }

    fn sub_scale(block: &Block, j: usize) -> i16 {
        let j = j / 2;
        let low = (block.scales_l[j / 2] >> (4 * (j % 2))) & 15;
        let high = (block.scales_h[j / 4] >> (2 * (j % 4))) & 3;
        i16::from(low | high << 4) - 32
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    /// Nibbles and pairs of bits are moved apart until each is in the byte of its scale.
    #[inline(always)]
    fn sub_scales<S: Bytewise>(s: S, block: &Block) -> S::Scales {
        let mut low = word(&block.scales_l, 0);
        low = (low | low << 16) & 0x0000_ffff_0000_ffff;
        low = (low | low << 8) & 0x00ff_00ff_00ff_00ff;
        low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let mut high = u64::from(u16::from_le_bytes(block.scales_h));
        high = (high | high << 24) & 0x0000_00ff_0000_00ff;
        high = (high | high << 12) & 0x000f_000f_000f_000f;
        high = (high | high << 6) & 0x0303_0303_0303_0303;
        s.scales_twice(low | high << 4, 32)
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block, j: usize) -> S::Bytes {
        s.lookup(&VALUES, s.nibbles(&block.qs[j]))
    }

    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], subs: &mut [u8]) {
        split_codes(codes, |i| Self::code(block, i));
        subs.iter_mut().enumerate().for_each(|(j, sub)| *sub = Self::sub_scale(block, 2 * j) as u8);
    }

    fn join(codes: &[[u8; 4]], subs: &[u8], d: Half, _: Half) -> Block {
        let (mut low, mut high, mut qs) = ([0; 4], 0u16, [[0; 16]; 8]);
        for (j, sub) in subs.iter().enumerate() {
            let scale = sub.wrapping_add(32);
            low[j / 2] |= (scale & 15) << (4 * (j % 2));
            high |= u16::from(scale >> 4) << (2 * j);
        }
        let codes: [[u8; 32]; 8] = bytemuck::cast(join_codes(codes));
        qs.iter_mut().zip(&codes).for_each(|(qs, codes)| *qs = nibbles(codes));
        Block { d, scales_h: high.to_le_bytes(), scales_l: low, qs }
    }
}
