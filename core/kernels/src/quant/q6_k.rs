//! Q6_K: 256 weights in 210 bytes: `(d * sc_j) * (q - 32)` with sixteen i8 scales, j = i / 16, and 6-bit q.
//!
//! Each half of 128 weights has 64 bytes of low nibbles and 32 bytes of high pairs of bits. Of weight `32 * k + l` (k < 4) the low
//! four bits are the low (k < 2) or high nibble of byte `32 * (k % 2) + l`, the high two are bits `2k, 2k + 1` of byte l of `qh`.

use super::{
    BlockFormat, Half, Wide, pairs_of_bits,
    tile::{join_codes, split_codes},
};
use crate::simd::{Bytewise, CodeRange, Quad};

/// The format.
pub struct Q6K;

/// `block_q6_K` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    ql: [[[u8; 32]; 2]; 2],
    qh: [[u8; 32]; 2],
    scales: [i8; 16],
    d: Half,
}

const _: () = assert!(size_of::<Block>() == 210);

impl BlockFormat for Q6K {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for Q6K {
    const CODES: CodeRange = CodeRange::Unsigned { max: 63 };
    type Quads = [Quad; 48];
    type Scales = [[u8; 16]; 18];
    const OFFSET: i32 = 32;

    fn code(block: &Block, i: usize) -> u8 {
        let (half, k, l) = (i / 128, i / 32 % 4, i % 32);
        let low = (block.ql[half][k % 2][l] >> (4 * (k / 2))) & 15;
        let high = (block.qh[half][l] >> (2 * k)) & 3;
        low | (high << 4)
    }

    fn sub_scale(block: &Block, j: usize) -> i16 {
        block.scales[j].into()
    }

    #[inline(always)]
    fn scale(block: &Block) -> Half {
        block.d
    }

    #[inline(always)]
    fn sub_scales<S: Bytewise>(s: S, block: &Block) -> S::Scales {
        s.scales(bytemuck::cast_ref::<_, [[u8; 8]; 2]>(&block.scales).map(u64::from_le_bytes), 0)
    }

    #[inline(always)]
    fn codes<S: Bytewise>(s: S, block: &Block, j: usize) -> S::Bytes {
        let (half, k) = (j / 4, j % 4);
        let low = s.and(s.shr(s.load_bytes(&block.ql[half][k % 2]), 4 * (k / 2)), 15);
        let high = s.and(s.shr(s.load_bytes(&block.qh[half]), 2 * k), 3);
        s.or(low, s.shl(high, 4))
    }

    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], subs: &mut [u8]) {
        split_codes(codes, |i| Self::code(block, i));
        subs.copy_from_slice(bytemuck::cast_slice(&block.scales));
    }

    fn join(codes: &[[u8; 4]], subs: &[u8], d: Half, _: Half) -> Block {
        let codes = join_codes(codes);
        let (mut ql, mut scales) = ([[[0; 32]; 2]; 2], [0; 16]);
        for (i, code) in codes.iter().enumerate() {
            let (half, k, l) = (i / 128, i / 32 % 4, i % 32);
            ql[half][k % 2][l] |= (code & 15) << (4 * (k / 2));
        }
        scales.copy_from_slice(bytemuck::cast_slice(subs));
        Block { ql, qh: pairs_of_bits(&codes.map(|code| code >> 4)), scales, d }
    }
}
