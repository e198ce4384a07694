//! Q4_K: 256 weights in 144 bytes: `(d * sc_j) * nibble - (dmin * m_j)` with eight 6-bit scales and minima, j = i / 32.
//!
//! Byte `32 * g + l` of `qs` holds weight `64 * g + l` in its low and `64 * g + 32 + l` in its high nibble.

use super::{
    BlockFormat, Half, Wide,
    tile::{join_codes, split_codes},
    word,
};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q4K;

/// `block_q4_K` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    d: Half,
    dmin: Half,
    scales: PackedScales,
    qs: [[u8; 32]; 4],
}

const _: () = assert!(size_of::<Block>() == 144);

/// Eight 6-bit scales and minima: sc_0..3 and m_0..3 are the low six bits of bytes 0..3 and 4..7; sc_4..7 and m_4..7 have their low
/// four bits in the nibbles of bytes 8..11 and their high two bits at the top of bytes 0..3 and 4..7.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(super) struct PackedScales([u8; 12]);

impl PackedScales {
    /// (scale, minimum) of the 32 weights from `32 * j`.
    pub(super) fn pair(&self, j: usize) -> (u8, u8) {
        let bytes = &self.0;
        if j < 4 {
            (bytes[j] & 63, bytes[j + 4] & 63)
        } else {
            let (low, s, m) = (bytes[j + 4], bytes[j - 4] >> 6, bytes[j] >> 6);
            ((low & 15) | (s << 4), (low >> 4) | (m << 4))
        }
    }

    /// All scales, then all minima.
    #[inline(always)]
    pub(super) fn pairs(&self) -> [[u8; 8]; 2] {
        let (scales, mins) = self.all();
        [scales.to_le_bytes(), mins.to_le_bytes()]
    }

    /// What has these [`pairs`](Self::pairs).
    pub(super) fn of(pairs: &[u8]) -> Self {
        let mut bytes = [0; 12];
        let (scales, mins) = pairs.split_at(8);
        for j in 0..4 {
            bytes[j] = scales[j] | (scales[j + 4] >> 4) << 6;
            bytes[j + 4] = mins[j] | (mins[j + 4] >> 4) << 6;
            bytes[j + 8] = (scales[j + 4] & 15) | (mins[j + 4] & 15) << 4;
        }
        PackedScales(bytes)
    }

    /// All scales and all minima, the lowest byte first.
    #[inline(always)]
    pub(super) fn all(&self) -> (u64, u64) {
        let (a, b, c) = (word(&self.0, 0), word(&self.0, 1), word(&self.0, 2));
        let eight = |first: u64, low: u64| {
            let second = (low & 0x0f0f_0f0f) | ((first >> 2) & 0x3030_3030);
            (first & 0x3f3f_3f3f) | second << 32
        };
        (eight(a, c), eight(b, c >> 4))
    }
}

/// Nibble `i` of 256.
pub(super) fn nibble(qs: &[[u8; 32]; 4], i: usize) -> u8 {
    let byte = qs[i / 64][i % 32];
    if i % 64 < 32 { byte & 15 } else { byte >> 4 }
}

/// The bytes of 256 nibbles.
pub(super) fn nibbles_of(codes: &[u8; 256]) -> [[u8; 32]; 4] {
    let mut qs = [[0; 32]; 4];
    codes.iter().enumerate().for_each(|(i, code)| qs[i / 64][i % 32] |= code << (4 * (i / 32 % 2)));
    qs
}

/// The nibbles of the weights from `32 * j`.
#[inline(always)]
pub(super) fn nibbles<S: Bytewise>(s: S, qs: &[[u8; 32]; 4], j: usize) -> S::Bytes {
    s.and(s.shr(s.load_bytes(&qs[j / 2]), 4 * (j % 2)), 15)
}

impl BlockFormat for Q4K {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for Q4K {
    const CODES: CodeRange = CodeRange::Unsigned { max: 15 };
    type Quads = [Quad; 32];
    type Scales = [[u8; 16]; 20];
    const HAS_MIN: bool = true;
    const SPAN: usize = 32;

    fn code(block: &Block, i: usize) -> u8 {
        nibble(&block.qs, i)
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
        nibbles(s, &block.qs, j)
    }

    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], subs: &mut [u8]) {
        split_codes(codes, |i| Self::code(block, i));
        subs.copy_from_slice(bytemuck::bytes_of(&block.scales.pairs()));
    }

    fn join(codes: &[[u8; 4]], subs: &[u8], d: Half, dmin: Half) -> Block {
        Block { d, dmin, scales: PackedScales::of(subs), qs: nibbles_of(&join_codes(codes)) }
    }
}
