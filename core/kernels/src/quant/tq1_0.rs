//! TQ1_0: 256 weights in 54 bytes: `d * (q - 1)`, q a ternary digit.
//!
//! A byte / 256 is a fraction of five ternary digits after the point. Digit n of byte l of `a` is weight `32 * n + l`, of `b`
//! weight `160 + 16 * n + l`, and of `c`, which has four, weight `240 + 4 * n + l`.

use super::{BlockFormat, Half, Wide};
use crate::simd::{Bytewise, CodeRange};

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
    const OFFSET: i32 = 1;

    fn weight(block: &Block, i: usize) -> i32 {
        let digit = match i {
            0..160 => digit(block.a[i % 32], POWERS[i / 32]),
            160..240 => digit(block.b[i % 16], POWERS[(i - 160) / 16]),
            _ => digit(block.c[i % 4], POWERS[(i - 240) / 4]),
        };
        i32::from(digit) - Self::OFFSET
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
}
