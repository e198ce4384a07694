//! TQ1_0: 256 weights in 54 bytes: `d * (q - 1)`, q a ternary digit.
//!
//! A byte / 256 is a fraction of five ternary digits after the point. Digit n of byte l of `a` is weight `32 * n + l`, of `b`
//! weight `160 + 16 * n + l`, and of `c`, which has four, weight `240 + 4 * n + l`.

use super::{BlockFormat, Half, Wide};
use crate::simd::{Bytewise, CodeRange, Quad, Tiled};

/// The format.
pub struct TQ1_0;

/// `block_tq1_0` of ggml.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    a: [u8; 32],
    b: [u8; 16],
    c: [u8; 4],
    d: Half,
}

const _: () = assert!(size_of::<Block>() == 54);

const POWERS: [u16; 5] = [1, 3, 9, 27, 81];

/// The digit after the point of `byte * power`: shifted by so many places and without what is then before the point, it is the whole
/// part of three times.
#[inline(always)]
fn digit(byte: u8, power: u16) -> u8 {
    let rest = (u16::from(byte) * power) & 255;
    ((rest * 3) >> 8) as u8
}

/// The digits of N bytes. The compiler makes vectors of this.
#[inline(always)]
fn digits<const N: usize>(bytes: &[u8; N], powers: [u16; N]) -> [u8; N] {
    let mut digits = [0; N];
    for l in 0..N {
        digits[l] = digit(bytes[l], powers[l]);
    }
    digits
}

impl BlockFormat for TQ1_0 {
    type Block = Block;
    const LEN: usize = 256;
}

impl Wide for TQ1_0 {
    const CODES: CodeRange = CodeRange::Unsigned { max: 2 };
    type Quads = [Quad; 13];
    type Scales = [[u8; 16]; 2];
    const OFFSET: i32 = 1;
    const SPAN: usize = 32;

    fn code(block: &Block, i: usize) -> u8 {
        match i {
            0..160 => digit(block.a[i % 32], POWERS[i / 32]),
            160..240 => digit(block.b[i % 16], POWERS[(i - 160) / 16]),
            _ => digit(block.c[i % 4], POWERS[(i - 240) / 4]),
        }
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
        if j < 5 {
            return s.load_bytes(&digits(&block.a, [POWERS[j]; 32]));
        }
        let first = digits(&block.b, [POWERS[2 * (j - 5)]; 16]);
        let second = if j < 7 {
            digits(&block.b, [POWERS[2 * (j - 5) + 1]; 16])
        } else {
            let [a, b, c, d] = block.c;
            digits(
                &[a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d],
                [1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27],
            )
        };
        s.load_bytes(&bytemuck::cast([first, second]))
    }

    #[inline(always)]
    fn tile_sub_scale<S: Tiled>(s: S, _: &[[u8; 16]], _: usize) -> S::Ints {
        s.splat_int(1)
    }

    /// The digits of four bytes: a carry of three times a byte is its first digit, and what is left has the next.
    #[inline(always)]
    fn tile_codes<S: Tiled>(s: S, quads: &[Quad], j: usize, t: usize) -> S::Quads {
        let (a, b, c) = (&quads[..8], &quads[8..12], &quads[12]);
        let (bytes, n) = match 8 * j + t {
            i @ 0..40 => (&a[i % 8], i / 8),
            i @ 40..60 => (&b[(i - 40) % 4], (i - 40) / 4),
            i => (c, i - 60),
        };
        let mut rest = s.load_quad(bytes);
        for _ in 0..n {
            rest = s.add_quads(s.add_quads(rest, rest), rest);
        }
        s.add_quads(s.above(rest, 85), s.above(rest, 170))
    }

    /// As they are: not all bytes are five digits, so digits alone would not bring them back.
    #[inline(always)]
    fn split(block: &Block, codes: &mut [[u8; 4]], _: &mut [u8]) {
        let (a, rest) = codes.split_at_mut(8);
        let (b, c) = rest.split_at_mut(4);
        a.copy_from_slice(block.a.as_chunks().0);
        b.copy_from_slice(block.b.as_chunks().0);
        c[0] = block.c;
    }

    fn join(codes: &[[u8; 4]], _: &[u8], d: Half, _: Half) -> Block {
        let (mut a, mut b) = ([0; 32], [0; 16]);
        a.copy_from_slice(codes[..8].as_flattened());
        b.copy_from_slice(codes[8..12].as_flattened());
        Block { a, b, c: codes[12], d }
    }
}
