//! WebAssembly with `simd128`, and what `relaxed-simd` adds: two dots of bytes, exact while the second operand has 7 bits.
//!
//! Codes of 8 bits would need more of these dots than the standard promises, but engines do one of few things with them, and the same
//! one always. So the engine is asked once (`Eights`): where it reads the second operand as u8, signed codes come with 128 added;
//! where as i8, as they are; where it does neither exactly, they go the way of engines without relaxed SIMD.

use crate::backend::{Backend, Kernels};
use crate::lanes::{self, Products};
use crate::math;
use crate::operand::{Activation, ChunkF16, ChunkQ8, ColumnMut, Columns, Gathered, Queries};
use crate::quant::{Float, Layout, Matrix, Narrow, Visitor, Wide};
use crate::simd::{Bytewise, CodeRange, Simd};
use crate::team::Tile;
use core::arch::wasm32::*;
use core::array::from_fn;
use core::ops::Range;

/// The proof that this module may use `simd128`; it does not get as far as running where the engine has none.
///
/// `EIGHTS` only matters where it is said to: kernels compiled for engines whose relaxed dot is, or is not, exact for codes of 8 bits.
#[derive(Debug, Clone, Copy)]
pub struct Wasm<const EIGHTS: bool> {
    /// Whether the relaxed dot is exact for codes of 8 bits,
    exact: bool,
    /// if this is added to them.
    offset: u8,
}

/// The token.
pub type Simd128 = Wasm<true>;

impl Simd128 {
    /// Makes the token. A module is validated as a whole: if this runs, the engine has what it was compiled for.
    #[allow(clippy::new_without_default, reason = "a token is asked for, not a default")]
    #[inline(always)]
    pub fn new() -> Self {
        let (exact, offset) = dots::eights();
        Wasm { exact, offset }
    }

    /// [`Simd128::new`] under the name that other instruction sets have.
    ///
    /// # Safety
    /// Always.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Self {
        Self::new()
    }

    /// The kernels.
    pub fn backend(self) -> Backend {
        Backend::new(&KERNELS)
    }
}

#[cfg(not(target_feature = "relaxed-simd"))]
backend! { Simd128, "simd128", "simd128" }
#[cfg(target_feature = "relaxed-simd")]
backend! { Simd128, "simd128", "relaxed-simd" }

/// Four registers: lanes 0..4, 4..8, 8..12 and 12..16.
type Four = [v128; 4];

const ZERO: v128 = u64x2(0, 0);

/// The dots of bytes: `x` i8 in -127..=127, `codes` 0..=127.
#[cfg(target_feature = "relaxed-simd")]
mod dots {
    use core::arch::wasm32::*;
    use core::hint::black_box;

    /// `sums` and, in each lane, the four products.
    #[inline(always)]
    pub(super) fn fours(sums: v128, codes: v128, x: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(x, codes, sums)
    }

    /// The products of 16 bytes, as four sums of any four, times `scale`, an i16 in each lane; `codes` at most 127.
    #[inline(always)]
    pub(super) fn scaled(codes: v128, x: v128, scale: v128) -> v128 {
        i32x4_dot_i16x8(i16x8_relaxed_dot_i8x16_i7x16(x, codes), scale)
    }

    /// Whether `fours` is exact for codes of 8 bits, and what must be added to these for that.
    #[inline(always)]
    pub(super) fn eights() -> (bool, u8) {
        // The largest products of either sign, alone and together: what saturates or wraps anywhere shows.
        let x =
            black_box(i8x16(127, 127, 127, 127, -127, -127, -127, -127, 127, -127, 127, 127, -127, -127, 127, -127));
        let codes = black_box(u8x16(255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 128, 127, 128, 128, 128, 128));
        let found = fours(u64x2(0, 0), codes, x);
        let is = |a, b, c, d| i32x4_all_true(i32x4_eq(found, i32x4(a, b, c, d)));
        let unsigned = is(4 * 255 * 127, -4 * 255 * 127, (255 + 128 + 127) * 127, -2 * 128 * 127);
        let signed = is(-4 * 127, 4 * 127, (-1 - 128 + 127) * 127, 2 * 128 * 127);
        (unsigned || signed, if unsigned { 128 } else { 0 })
    }
}

/// The same without relaxed SIMD: codes of 8 bits are never exact.
#[cfg(not(target_feature = "relaxed-simd"))]
mod dots {
    use super::{fours_extended, sixteen_extended};
    use core::arch::wasm32::*;

    #[inline(always)]
    pub(super) fn fours(sums: v128, codes: v128, x: v128) -> v128 {
        fours_extended(sums, codes, x)
    }

    #[inline(always)]
    pub(super) fn scaled(codes: v128, x: v128, scale: v128) -> v128 {
        i32x4_mul(sixteen_extended(codes, x), i32x4_extend_low_i16x8(scale))
    }

    #[inline(always)]
    pub(super) fn eights() -> (bool, u8) {
        (false, 0)
    }
}

/// Whether relaxed SIMD is there.
const RELAXED: bool = cfg!(target_feature = "relaxed-simd");

/// For signed codes where the relaxed dot is not exact with them.
const WITHOUT: Wasm<false> = Wasm { exact: false, offset: 0 };

impl<const EIGHTS: bool> Simd for Wasm<EIGHTS> {
    type Row = Self;
    type Ints = Four;
    type Lanes = Four;
    const COLUMNS: usize = 4;
    const CHAINS: usize = 4;
    const PREFETCHES: bool = false;
    const SMALL: bool = true;

    #[inline(always)]
    fn signed_offset(self) -> i32 {
        self.offset.into()
    }

    #[inline(always)]
    fn row(self) -> Self {
        self
    }

    /// A function of its own, as it is large and all formats have it.
    #[inline(never)]
    fn turn(self, rows: &[[u8; 32]; 16], tiles: &mut [[u8; 64]; 8]) {
        for quad in 0..4 {
            for piece in 0..2 {
                let rows: Four = from_fn(|i| load(&rows[4 * quad + i][16 * piece..]));
                for (t, turned) in turned(rows).into_iter().enumerate() {
                    store(&mut tiles[4 * piece + t][16 * quad..], turned);
                }
            }
        }
    }

    #[inline(always)]
    fn dot_tiles<const T: usize, const C: usize>(
        self,
        tiles: &[[u8; 64]; T],
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
    ) -> [Four; C] {
        if !RELAXED || (range == CodeRange::Signed && !EIGHTS) {
            return extended_tiles(tiles, x);
        }
        let mut out = [[ZERO; 4]; C];
        for half in 0..2 {
            let mut sums = [[ZERO; 2]; C];
            for t in 0..T {
                let codes = [load(&tiles[t][32 * half..]), load(&tiles[t][32 * half + 16..])];
                for c in 0..C {
                    let x = splat_four(&x[c][t]);
                    sums[c] = [dots::fours(sums[c][0], codes[0], x), dots::fours(sums[c][1], codes[1], x)];
                }
            }
            for c in 0..C {
                out[c][2 * half..][..2].copy_from_slice(&sums[c]);
            }
        }
        out
    }

    #[inline(always)]
    fn dot_pairs(self, sums: Four, pairs: &[u8; 64], x: [i16; 2]) -> Four {
        let x = i32x4_splat(bytemuck::cast(x));
        from_fn(|i| i32x4_add(sums[i], i32x4_dot_i16x8(load(&pairs[16 * i..]), x)))
    }

    #[inline(always)]
    fn half_of_pair(self, pairs: &[u8; 64], which: usize) -> Four {
        from_fn(|i| {
            let pairs = load(&pairs[16 * i..]);
            i32x4_shr(if which == 0 { i32x4_shl(pairs, 16) } else { pairs }, 16)
        })
    }

    #[inline(always)]
    fn dot_tile(self, sums: Four, codes: &[i8; 64], x: [i8; 4]) -> Four {
        let x = splat_four(&x.map(|x| x as u8));
        from_fn(|i| {
            let codes = load(&bytemuck::cast_ref::<_, [u8; 64]>(codes)[16 * i..]);
            match self.exact {
                true => dots::fours(i32x4_sub(sums[i], self.excess(x)), self.add_offset(codes), x),
                false => fours_extended(sums[i], codes, x),
            }
        })
    }

    #[inline(always)]
    fn splat_int(self, a: i32) -> Four {
        [i32x4_splat(a); 4]
    }

    #[inline(always)]
    fn add_ints(self, a: Four, b: Four) -> Four {
        from_fn(|i| i32x4_add(a[i], b[i]))
    }

    #[inline(always)]
    fn sub_ints(self, a: Four, b: Four) -> Four {
        from_fn(|i| i32x4_sub(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_ints(self, a: Four, b: Four) -> Four {
        from_fn(|i| i32x4_mul(a[i], b[i]))
    }

    /// As pairs of i16: the upper half of b is made 0, whatever that of a is.
    #[inline(always)]
    fn add_small_mul(self, sums: Four, a: Four, b: Four) -> Four {
        from_fn(|i| i32x4_add(sums[i], i32x4_dot_i16x8(a[i], v128_and(b[i], i32x4_splat(0xffff)))))
    }

    #[inline(always)]
    fn to_lanes(self, a: Four) -> Four {
        a.map(|a| f32x4_convert_i32x4(a))
    }

    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> Four {
        self.load_le(bytemuck::cast_ref(x))
    }

    #[inline(always)]
    fn load_le(self, x: &[u8; 64]) -> Four {
        from_fn(|i| load(&x[16 * i..]))
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> Four {
        from_fn(|i| {
            // SAFETY: 8 bytes are there, and no alignment is needed.
            let half = unsafe { i32x4_load_extend_i16x4(x[4 * i..][..4].as_ptr().cast()) };
            // As the bits of an f32 this is 2^112 times too small, also where it is denormal.
            let small = v128_and(i32x4_shl(half, 13), i32x4_splat(0x8fff_e000_u32 as i32));
            f32x4_mul(small, f32x4_splat(f32::from_bits((127 + 112) << 23)))
        })
    }

    #[inline(always)]
    fn load_f16_le(self, x: &[u8; 32]) -> Four {
        from_f16(from_fn(|i| load(&x[16 * i..])))
    }

    #[inline(always)]
    fn lanes_of_f16(self, bits: [u16; 16]) -> Four {
        self.load_f16_le(bytemuck::cast_ref(&bits))
    }

    #[inline(always)]
    fn to_f16(self, a: Four) -> [u16; 16] {
        let mut out = [0; 32];
        for i in 0..2 {
            // Below 2^16 each: the narrowing changes nothing.
            store(&mut out[16 * i..], u16x8_narrow_i32x4(narrow_f32(a[2 * i]), narrow_f32(a[2 * i + 1])));
        }
        bytemuck::cast(out)
    }

    #[inline(always)]
    fn store(self, a: Four) -> [f32; 16] {
        let mut out = [0; 64];
        for i in 0..4 {
            store(&mut out[16 * i..], a[i]);
        }
        bytemuck::cast(out)
    }

    #[inline(always)]
    fn splat(self, a: f32) -> Four {
        [f32x4_splat(a); 4]
    }

    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        from_fn(|i| f32x4_add(a[i], b[i]))
    }

    #[inline(always)]
    fn mul(self, a: Four, b: Four) -> Four {
        from_fn(|i| f32x4_mul(a[i], b[i]))
    }

    #[inline(always)]
    fn div(self, a: Four, b: Four) -> Four {
        from_fn(|i| f32x4_div(a[i], b[i]))
    }

    #[inline(always)]
    fn max(self, a: Four, b: Four) -> Four {
        from_fn(|i| larger(a[i], b[i]))
    }

    /// `math::exp`, operation by operation: nothing makes vectors of loops where code is linked to be small.
    #[inline(always)]
    fn exp(self, a: Four) -> Four {
        from_fn(|i| {
            let (x, rounder) = (a[i], f32x4_splat(math::ROUNDER));
            let in_range = v128_bitselect(x, i32x4_min(x, f32x4_splat(math::EXP_HIGHEST)), f32x4_ne(x, x));
            let rounded = f32x4_add(f32x4_mul(in_range, f32x4_splat(math::LOG2_E)), rounder);
            let n = f32x4_sub(rounded, rounder);
            let high = f32x4_sub(in_range, f32x4_mul(n, f32x4_splat(math::LN2_HIGH)));
            let r = f32x4_sub(high, f32x4_mul(n, f32x4_splat(math::LN2_LOW)));
            let mut p = f32x4_splat(math::EXP_POLY[0]);
            for c in &math::EXP_POLY[1..] {
                p = f32x4_add(f32x4_mul(p, r), f32x4_splat(*c));
            }
            let one = f32x4_splat(1.0);
            let power = i32x4_add(i32x4_shl(rounded, 23), one);
            let result = f32x4_mul(f32x4_add(f32x4_add(f32x4_mul(p, f32x4_mul(r, r)), r), one), power);
            v128_andnot(result, f32x4_lt(x, f32x4_splat(math::EXP_LOWEST)))
        })
    }

    /// The sum with 1.5 · 2^23 has no bits for a fraction, and its own low bits are the integer.
    #[inline(always)]
    fn round(self, a: Four) -> [i32; 16] {
        let mut out = [0; 64];
        let magic = f32x4_splat(math::ROUNDER);
        for i in 0..4 {
            store(&mut out[16 * i..], i32x4_sub(f32x4_add(a[i], magic), magic));
        }
        bytemuck::cast(out)
    }

    #[inline(always)]
    fn reduce_add(self, a: Four) -> f32 {
        let four = f32x4_add(f32x4_add(a[0], a[2]), f32x4_add(a[1], a[3]));
        let two = f32x4_add(four, i32x4_shuffle::<2, 3, 2, 3>(four, four));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }

    #[inline(always)]
    fn reduce_max(self, a: Four) -> f32 {
        let four = larger(larger(a[0], a[1]), larger(a[2], a[3]));
        let two = larger(four, i32x4_shuffle::<2, 3, 2, 3>(four, four));
        f32x4_extract_lane::<0>(larger(two, i32x4_shuffle::<1, 1, 1, 1>(two, two)))
    }
}

impl<const EIGHTS: bool> Bytewise for Wasm<EIGHTS> {
    type Bytes = [v128; 2];
    type Scales = [i16; 16];
    /// Four partial sums.
    type Sums = v128;
    type Fours = v128;

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 32]) -> [v128; 2] {
        [load(bytes), load(&bytes[16..])]
    }

    #[inline(always)]
    fn store_bytes(self, a: [v128; 2], out: &mut [u8; 32]) {
        store(out, a[0]);
        store(&mut out[16..], a[1]);
    }

    /// Shifts are of i16, since x86-64 has none of bytes.
    #[inline(always)]
    fn nibbles(self, bytes: &[u8; 16]) -> [v128; 2] {
        let both = load(bytes);
        self.and([both, u16x8_shr(both, 4)], 15)
    }

    #[inline(always)]
    fn and(self, a: [v128; 2], mask: u8) -> [v128; 2] {
        a.map(|a| v128_and(a, u8x16_splat(mask)))
    }

    #[inline(always)]
    fn or(self, a: [v128; 2], b: [v128; 2]) -> [v128; 2] {
        [v128_or(a[0], b[0]), v128_or(a[1], b[1])]
    }

    #[inline(always)]
    fn shr(self, a: [v128; 2], n: usize) -> [v128; 2] {
        self.and(a.map(|a| u16x8_shr(a, n as u32)), 0xff >> n)
    }

    #[inline(always)]
    fn shl(self, a: [v128; 2], n: usize) -> [v128; 2] {
        self.and(a.map(|a| u16x8_shl(a, n as u32)), 0xff << n)
    }

    /// Each byte of `bits` eight times, and of each of the eight another bit.
    #[inline(always)]
    fn spread(self, bits: [u8; 4]) -> [v128; 2] {
        let bits = splat_four(&bits);
        let bytes = [
            i8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(bits, bits),
            i8x16_shuffle::<2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3>(bits, bits),
        ];
        let bit = u8x16(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        bytes.map(|bytes| i8x16_eq(v128_and(bytes, bit), bit))
    }

    #[inline(always)]
    fn lookup(self, table: &[i8; 16], indices: [v128; 2]) -> [v128; 2] {
        let table = load(&bytemuck::cast_ref::<_, [u8; 16]>(table)[..]);
        indices.map(|indices| u8x16_swizzle(table, indices))
    }

    #[inline(always)]
    fn no_sums(self) -> v128 {
        ZERO
    }

    #[inline(always)]
    fn add_sums(self, a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }

    #[inline(always)]
    fn dot(self, codes: [v128; 2], x: [v128; 2], range: CodeRange) -> v128 {
        let codes =
            if range == CodeRange::Signed && EIGHTS { codes.map(|codes| self.add_offset(codes)) } else { codes };
        match RELAXED && (EIGHTS || range != CodeRange::Signed) {
            true => dots::fours(dots::fours(ZERO, codes[0], x[0]), codes[1], x[1]),
            false => i32x4_add(sixteen_extended(codes[0], x[0]), sixteen_extended(codes[1], x[1])),
        }
    }

    #[inline(always)]
    fn dot_offset(self) -> i32 {
        self.signed_offset()
    }

    #[inline(always)]
    fn total_four(self, sums: Four) -> v128 {
        let [a, b, c, d] = turned(sums);
        i32x4_add(i32x4_add(a, b), i32x4_add(c, d))
    }

    #[inline(always)]
    fn join(self, fours: Four) -> Four {
        fours
    }

    #[inline(always)]
    fn scales(self, bytes: [u64; 2], offset: i8) -> [i16; 16] {
        widened(i8x16_sub(u64x2(bytes[0], bytes[1]), i8x16_splat(offset)))
    }

    #[inline(always)]
    fn scales_twice(self, bytes: u64, offset: i8) -> [i16; 16] {
        let bytes = i8x16_sub(u64x2_splat(bytes), i8x16_splat(offset));
        widened(i8x16_shuffle::<0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7>(bytes, bytes))
    }

    #[inline(always)]
    fn dot_scaled(self, codes: [v128; 2], x: [v128; 2], scales: [i16; 16], j: usize, range: CodeRange) -> v128 {
        let scaled = |i: usize| match range {
            CodeRange::Unsigned { .. } => dots::scaled(codes[i], x[i], i16x8_splat(scales[2 * j + i])),
            CodeRange::Signed => i32x4_mul(sixteen_extended(codes[i], x[i]), i32x4_splat(scales[2 * j + i].into())),
        };
        i32x4_add(scaled(0), scaled(1))
    }

    #[inline(always)]
    fn store_scales(self, scales: [i16; 16], out: &mut [i16; 16]) {
        *out = scales;
    }

    #[inline(always)]
    fn dot_sums(self, scales: [i16; 16], factor: i16, x: &[i16; 16]) -> v128 {
        let (scales, x): ([u8; 32], &[u8; 32]) = (bytemuck::cast(scales), bytemuck::cast_ref(x));
        let part = |i: usize| i32x4_dot_i16x8(i16x8_mul(load(&scales[i..]), i16x8_splat(factor)), load(&x[i..]));
        i32x4_add(part(0), part(16))
    }
}

// A choice inside a kernel would cost registers, or be made by computing both: so it is made before.
impl<const EIGHTS: bool> Products for Wasm<EIGHTS> {
    #[inline(always)]
    fn matmul_narrow<F: Narrow>(self, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
        match self.does(F::CODES) {
            true => lanes::matmul::matmul_narrow::<_, F>(self, weights, x, out),
            false => lanes::matmul::matmul_narrow::<_, F>(WITHOUT, weights, x, out),
        }
    }

    #[inline(always)]
    fn matmul_wide<F: Wide>(self, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
        match self.does(F::CODES) {
            true => lanes::matmul::matmul_wide::<_, F>(self, weights, x, out),
            false => lanes::matmul::matmul_wide::<_, F>(WITHOUT, weights, x, out),
        }
    }
}

impl<const EIGHTS: bool> Wasm<EIGHTS> {
    /// Whether the kernels compiled for this type are exact with such codes.
    #[inline(always)]
    fn does(self, codes: CodeRange) -> bool {
        codes != CodeRange::Signed || !EIGHTS || (RELAXED && self.exact)
    }

    /// Signed codes as the relaxed dot wants them: adding 128 to a byte is turning its highest bit.
    #[inline(always)]
    fn add_offset(self, codes: v128) -> v128 {
        v128_xor(codes, u8x16_splat(self.offset))
    }

    /// By how much the dots with `x` are too large then.
    #[inline(always)]
    fn excess(self, x: v128) -> v128 {
        dots::fours(ZERO, u8x16_splat(self.offset), x)
    }
}

/// The first 16 bytes.
#[inline(always)]
fn load(bytes: &[u8]) -> v128 {
    let bytes: &[u8; 16] = bytes[..16].try_into().expect("16 bytes");
    // SAFETY: 16 bytes are there, and no alignment is needed.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

/// Into the first 16 bytes.
#[inline(always)]
fn store(bytes: &mut [u8], a: v128) {
    let bytes: &mut [u8; 16] = (&mut bytes[..16]).try_into().expect("16 bytes");
    // SAFETY: 16 bytes are there, and no alignment is needed.
    unsafe { v128_store(bytes.as_mut_ptr().cast(), a) };
}

/// Four bytes, four times.
#[inline(always)]
fn splat_four(bytes: &[u8; 4]) -> v128 {
    // SAFETY: 4 bytes are there, and no alignment is needed.
    unsafe { v128_load32_splat(bytes.as_ptr().cast()) }
}

/// Number i of register r becomes number r of register i.
#[inline(always)]
fn turned([a, b, c, d]: Four) -> Four {
    let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d));
    let (ab_high, cd_high) = (i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d));
    [
        i64x2_shuffle::<0, 2>(ab, cd),
        i64x2_shuffle::<1, 3>(ab, cd),
        i64x2_shuffle::<0, 2>(ab_high, cd_high),
        i64x2_shuffle::<1, 3>(ab_high, cd_high),
    ]
}

/// Sixteen i8 as i16.
#[inline(always)]
fn widened(bytes: v128) -> [i16; 16] {
    let mut out = [0; 32];
    store(&mut out, i16x8_extend_low_i8x16(bytes));
    store(&mut out[16..], i16x8_extend_high_i8x16(bytes));
    bytemuck::cast(out)
}

/// The products of 16 i8 and 16 i8, as four sums of any four.
#[inline(always)]
fn sixteen_extended(codes: v128, x: v128) -> v128 {
    let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(codes), i16x8_extend_low_i8x16(x));
    let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(codes), i16x8_extend_high_i8x16(x));
    i32x4_add(low, high)
}

/// `sums` and, in each lane, the products of its four i8 and four i8.
#[inline(always)]
fn fours_extended(sums: v128, codes: v128, x: v128) -> v128 {
    let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(codes), i16x8_extend_low_i8x16(x));
    let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(codes), i16x8_extend_high_i8x16(x));
    i32x4_add(sums, add_neighbours(low, high))
}

/// Sums of neighbours: those of `a` in the low half.
#[inline(always)]
fn add_neighbours(a: v128, b: v128) -> v128 {
    i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b))
}

/// [`Simd::dot_tiles`] with i8 extended to i16: each row has two sums until the end.
#[inline(always)]
fn extended_tiles<const T: usize, const C: usize>(tiles: &[[u8; 64]; T], x: [&[[u8; 4]; T]; C]) -> [Four; C] {
    let mut out = [[ZERO; 4]; C];
    for quad in 0..4 {
        let mut sums = [[ZERO; 2]; C];
        for t in 0..T {
            let codes = load(&tiles[t][16 * quad..]);
            let codes = [i16x8_extend_low_i8x16(codes), i16x8_extend_high_i8x16(codes)];
            for c in 0..C {
                let x = i16x8_extend_low_i8x16(splat_four(&x[c][t]));
                for i in 0..2 {
                    sums[c][i] = i32x4_add(sums[c][i], i32x4_dot_i16x8(codes[i], x));
                }
            }
        }
        for c in 0..C {
            out[c][quad] = add_neighbours(sums[c][0], sums[c][1]);
        }
    }
    out
}

/// The larger of each lane, by a comparison: of a maximum LLVM would make the relaxed one.
#[inline(always)]
fn larger(a: v128, b: v128) -> v128 {
    v128_bitselect(b, a, f32x4_lt(a, b))
}

/// Sixteen f16 as f32.
#[inline(always)]
fn from_f16(halves: [v128; 2]) -> Four {
    // Adding 1 to an exponent of 5 bits leaves 0 or 1 where it was 31 or 0: infinities, NaN, denormals and zeros.
    let next = halves.map(|halves| v128_and(u16x8_add(halves, u16x8_splat(1 << 10)), u16x8_splat(0x7800)));
    let fours = [
        i32x4_extend_low_i16x8(halves[0]),
        i32x4_extend_high_i16x8(halves[0]),
        i32x4_extend_low_i16x8(halves[1]),
        i32x4_extend_high_i16x8(halves[1]),
    ];
    match i16x8_all_true(u16x8_min(next[0], next[1])) {
        true => fours.map(widen_normal),
        false => widen_any(fours),
    }
}

/// Four f16 of usual exponents, each extended to 32 bits with its sign, as f32: the exponent moves by 112.
#[inline(always)]
fn widen_normal(half: v128) -> v128 {
    i32x4_add(v128_and(i32x4_shl(half, 13), i32x4_splat(0x8fff_e000_u32 as i32)), i32x4_splat(112 << 23))
}

/// The rare ones, apart from the code that is run for all others.
#[cold]
#[inline(never)]
fn widen_any(halves: Four) -> Four {
    halves.map(widen_f16)
}

/// Four f16, each extended to 32 bits with its sign, as f32. The exponent moves by 112; that of a denormal by 113, with the leading 1
/// that it does not have taken away again, exactly; that of infinities and NaN by 224, to the top.
#[inline(always)]
fn widen_f16(half: v128) -> v128 {
    let magnitude = v128_and(i32x4_shl(half, 13), i32x4_splat(0x0fff_e000));
    let denormal = i32x4_lt(magnitude, i32x4_splat(1 << 23));
    let special = i32x4_ge(magnitude, i32x4_splat(31 << 23));
    let moved = i32x4_add(magnitude, i32x4_splat(112 << 23));
    let moved = i32x4_add(moved, v128_and(special, i32x4_splat(112 << 23)));
    let moved = i32x4_add(moved, v128_and(denormal, i32x4_splat(1 << 23)));
    let value = f32x4_sub(moved, v128_and(denormal, i32x4_splat(113 << 23)));
    v128_or(value, v128_and(half, i32x4_splat(i32::MIN)))
}

/// Four f32 rounded to f16, to nearest even: its bits in the low half of each lane.
#[inline(always)]
fn narrow_f32(x: v128) -> v128 {
    let bits = v128_and(x, i32x4_splat(i32::MAX));
    let sign = u32x4_shr(v128_and(x, i32x4_splat(i32::MIN)), 16);
    // Half of what is cut off is added, less 1 where the number kept is even: a tie goes there. It may carry, as far as infinity.
    let odd = v128_and(u32x4_shr(bits, 13), i32x4_splat(1));
    let rounded = i32x4_add(i32x4_add(bits, i32x4_splat(0xfff - (112 << 23))), odd);
    // Below 2^-14 the sum with 0.5 has the unit of an f16 denormal in its last place.
    let denormal = i32x4_sub(f32x4_add(bits, f32x4_splat(0.5)), f32x4_splat(0.5));
    let finite = v128_bitselect(denormal, u32x4_shr(rounded, 13), i32x4_lt(bits, i32x4_splat(113 << 23)));
    let nan = v128_or(v128_and(u32x4_shr(bits, 13), i32x4_splat(0x1ff)), i32x4_splat(0x7e00));
    let special = v128_bitselect(nan, i32x4_splat(0x7c00), i32x4_gt(bits, i32x4_splat(0x7f80_0000)));
    v128_or(sign, v128_bitselect(special, finite, i32x4_ge(bits, i32x4_splat((127 + 16) << 23))))
}
