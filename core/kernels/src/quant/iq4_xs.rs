//! IQ4_XS: 256 weights in 136 bytes: `(d * (sc_j - 32)) * VALUES[nibble]` with eight 6-bit scales, j = i / 32, and IQ4_NL's values.
//!
//! Sixteen bytes for each 32 weights hold nibbles as in Q4_0. The low four bits of sc_j are a nibble of byte `j / 2` of `scales_l`
//! (the low one if j is even), the high two are bits `2j, 2j + 1` of the little-endian `scales_h`.

use super::{BlockFormat, Half, Wide, iq4_nl::VALUES, nibble, word};
use crate::simd::{Bytewise, CodeRange};

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
    const SPAN: usize = 32;

    fn weight(block: &Block, i: usize) -> i32 {
        VALUES[usize::from(nibble(&block.qs[i / 32], i % 32))].into()
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
}
