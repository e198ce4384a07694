//! x86-64 with AVX2 and F16C, and what AVX-VNNI changes.

use crate::backend::{Backend, Kernels};
use crate::lanes::{self, Products};
use crate::operand::{Activation, ChunkF16, ChunkQ8, ColumnMut, Columns, Gathered, Queries};
use crate::quant::{Float, Layout, Matrix, Narrow, Visitor, Wide};
use crate::simd::{Bytewise, CodeRange, Quad, Quads, Simd, Tiled};
use crate::team::Tile;
use core::arch::asm;
use core::arch::x86_64::*;
use core::ops::Range;

/// The proof that this CPU has AVX2 and F16C, and AVX-VNNI if `VNNI`: the same kernels, with other instructions for the dots.
#[derive(Debug, Clone, Copy)]
pub struct Ymm<const VNNI: bool>(());

/// The proof that this CPU has AVX2 and F16C.
pub type Avx2 = Ymm<false>;

impl<const VNNI: bool> Ymm<VNNI> {
    /// Makes the token.
    ///
    /// # Safety
    /// The CPU and the operating system must support AVX2 and F16C, and AVX-VNNI if `VNNI` (`is_x86_feature_detected!`).
    pub unsafe fn assume() -> Self {
        Ymm(())
    }
}

impl Avx2 {
    /// The kernels.
    pub fn backend(self) -> Backend {
        Backend::new(&KERNELS)
    }
}

backend! { Avx2, "avx2,f16c", "avx2" }

impl<const VNNI: bool> Products for Ymm<VNNI> {}

/// Two registers: lanes 0..8 and 8..16.
type Pair<T> = [T; 2];

/// Sixteen i16, in the two orders that the dots want; only what is used is computed.
#[derive(Clone, Copy)]
pub struct Scales {
    /// The even ones in the low half, the odd ones in the high half.
    halves: __m256i,
    in_order: __m256i,
}

// SAFETY of every block below: the token proves AVX2 and F16C, and AVX-VNNI if VNNI; loads and stores are unaligned and go through references to arrays
// of exactly the register's size.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> Simd for Ymm<VNNI> {
    type Row = Self;
    type Ints = Pair<__m256i>;
    type Lanes = Pair<__m256>;
    const COLUMNS: usize = 4;
    const CHAINS: usize = 4;
    const PREFETCHES: bool = true;
    const SMALL: bool = false;

    #[inline(always)]
    fn signed_offset(self) -> i32 {
        if VNNI { 128 } else { 0 }
    }

    #[inline(always)]
    fn row(self) -> Self {
        self
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }

    #[inline(always)]
    fn prefetch_far(self, at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
    }

    /// Of each eight rows, rows i and 4 + i in one register, then 4 x 4 turned in each half.
    #[inline(always)]
    fn turn(self, rows: &[[u8; 32]; 16], tiles: &mut [[u8; 64]; 8]) {
        for (eight, piece) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut z = [self.no_sums(); 4];
            for i in 0..4 {
                let low = rows[8 * eight + i][16 * piece..].as_ptr();
                let high = rows[8 * eight + 4 + i][16 * piece..].as_ptr();
                z[i] = unsafe { _mm256_loadu2_m128i(high.cast(), low.cast()) };
            }
            let turned = unsafe {
                let (a, b) = (_mm256_unpacklo_epi32(z[0], z[1]), _mm256_unpackhi_epi32(z[0], z[1]));
                let (c, d) = (_mm256_unpacklo_epi32(z[2], z[3]), _mm256_unpackhi_epi32(z[2], z[3]));
                [
                    _mm256_unpacklo_epi64(a, c),
                    _mm256_unpackhi_epi64(a, c),
                    _mm256_unpacklo_epi64(b, d),
                    _mm256_unpackhi_epi64(b, d),
                ]
            };
            for t in 0..4 {
                let tile = &mut tiles[4 * piece + t][32 * eight..];
                unsafe { _mm256_storeu_si256(tile.as_mut_ptr().cast(), turned[t]) };
            }
        }
    }

    #[inline(always)]
    fn dot_tiles<const T: usize, const C: usize>(
        self,
        tiles: &[[u8; 64]; T],
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
    ) -> [Self::Ints; C] {
        self.dot_quads(tiles, x, range)
    }

    #[inline(always)]
    fn dot_pairs(self, mut sums: Self::Ints, pairs: &[u8; 64], x: [i16; 2]) -> Self::Ints {
        unsafe {
            let x = _mm256_set1_epi32(bytemuck::cast(x));
            for half in 0..2 {
                let pairs = _mm256_loadu_si256(pairs[32 * half..].as_ptr().cast());
                sums[half] = add_pairs::<VNNI>(sums[half], pairs, x);
            }
        }
        sums
    }

    #[inline(always)]
    fn half_of_pair(self, pairs: &[u8; 64], which: usize) -> Self::Ints {
        let mut out = self.splat_int(0);
        for half in 0..2 {
            unsafe {
                let pairs = _mm256_loadu_si256(pairs[32 * half..].as_ptr().cast());
                let upper = if which == 0 { _mm256_slli_epi32::<16>(pairs) } else { pairs };
                out[half] = _mm256_srai_epi32::<16>(upper);
            }
        }
        out
    }

    #[inline(always)]
    fn dot_tile(self, mut sums: Self::Ints, codes: &[i8; 64], x: [i8; 4]) -> Self::Ints {
        unsafe {
            let x = _mm256_set1_epi32(i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]));
            for i in 0..2 {
                let codes = _mm256_loadu_si256(codes.as_ptr().add(32 * i).cast());
                sums[i] = _mm256_add_epi32(sums[i], self.dot(codes, x, CodeRange::Signed));
            }
        }
        sums
    }

    #[inline(always)]
    fn splat_int(self, a: i32) -> Self::Ints {
        [unsafe { _mm256_set1_epi32(a) }; 2]
    }

    #[inline(always)]
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        unsafe { [_mm256_mullo_epi32(a[0], b[0]), _mm256_mullo_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        unsafe { [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])] }
    }

    /// As pairs of i16: the upper half of b is made 0, whatever that of a is.
    #[inline(always)]
    fn add_small_mul(self, mut sums: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        for half in 0..2 {
            unsafe {
                let b = _mm256_and_si256(b[half], _mm256_set1_epi32(0xffff));
                sums[half] = add_pairs::<VNNI>(sums[half], a[half], b);
            }
        }
        sums
    }

    #[inline(always)]
    fn to_lanes(self, a: Self::Ints) -> Self::Lanes {
        unsafe { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
    }

    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> Self::Lanes {
        unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn load_le(self, x: &[u8; 64]) -> Self::Lanes {
        unsafe { [_mm256_loadu_ps(x.as_ptr().cast()), _mm256_loadu_ps(x.as_ptr().add(32).cast())] }
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> Self::Lanes {
        unsafe { from_f16(_mm256_loadu_si256(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_f16_le(self, x: &[u8; 32]) -> Self::Lanes {
        unsafe { from_f16(_mm256_loadu_si256(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn lanes_of_f16(self, b: [u16; 16]) -> Self::Lanes {
        let b: [i16; 16] = bytemuck::cast(b);
        unsafe {
            let low = _mm_set_epi16(b[7], b[6], b[5], b[4], b[3], b[2], b[1], b[0]);
            let high = _mm_set_epi16(b[15], b[14], b[13], b[12], b[11], b[10], b[9], b[8]);
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        }
    }

    #[inline(always)]
    fn to_f16(self, a: Self::Lanes) -> [u16; 16] {
        let mut out = [0u16; 16];
        for i in 0..2 {
            unsafe {
                let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a[i]);
                _mm_storeu_si128(out.as_mut_ptr().add(8 * i).cast(), halves);
            }
        }
        out
    }

    #[inline(always)]
    fn store(self, a: Self::Lanes) -> [f32; 16] {
        let mut out = [0.0; 16];
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), a[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), a[1]);
        }
        out
    }

    #[inline(always)]
    fn splat(self, a: f32) -> Self::Lanes {
        [unsafe { _mm256_set1_ps(a) }; 2]
    }

    #[inline(always)]
    fn add(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn div(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn max(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn round(self, a: Self::Lanes) -> [i32; 16] {
        let mut out = [0; 16];
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_cvtps_epi32(a[0]));
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), _mm256_cvtps_epi32(a[1]));
        }
        out
    }

    #[inline(always)]
    fn reduce_add(self, a: Self::Lanes) -> f32 {
        unsafe {
            let eight = _mm256_add_ps(a[0], a[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

// SAFETY of every block below: as above.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> Bytewise for Ymm<VNNI> {
    type Bytes = __m256i;
    type Scales = Scales;
    /// Eight partial sums; those of bytes 0..16 in the low half.
    type Sums = __m256i;
    /// Two half sums of each row, in the two halves.
    type Fours = __m256i;

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 32]) -> __m256i {
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_bytes(self, a: __m256i, out: &mut [u8; 32]) {
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), a) };
    }

    #[inline(always)]
    fn nibbles(self, bytes: &[u8; 16]) -> __m256i {
        unsafe {
            let x = _mm_loadu_si128(bytes.as_ptr().cast());
            let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(x), _mm_srli_epi16::<4>(x));
            _mm256_and_si256(both, _mm256_set1_epi8(15))
        }
    }

    #[inline(always)]
    fn and(self, a: __m256i, mask: u8) -> __m256i {
        unsafe { _mm256_and_si256(a, _mm256_set1_epi8(mask as i8)) }
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    fn shr(self, a: __m256i, n: usize) -> __m256i {
        self.and(unsafe { _mm256_srl_epi16(a, _mm_cvtsi32_si128(n as i32)) }, 0xff >> n)
    }

    #[inline(always)]
    fn shl(self, a: __m256i, n: usize) -> __m256i {
        self.and(unsafe { _mm256_sll_epi16(a, _mm_cvtsi32_si128(n as i32)) }, 0xff << n)
    }

    /// Each byte of `bits` eight times, and of each of the eight another bit.
    #[inline(always)]
    fn spread(self, bits: [u8; 4]) -> __m256i {
        const BYTES: [u64; 4] = [0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303];
        const BIT: i64 = i64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]);
        unsafe {
            let index = _mm256_loadu_si256(BYTES.as_ptr().cast());
            let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes(bits)), index);
            let bit = _mm256_set1_epi64x(BIT);
            _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit)
        }
    }

    #[inline(always)]
    fn lookup(self, table: &[i8; 16], indices: __m256i) -> __m256i {
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, indices)
        }
    }

    #[inline(always)]
    fn no_sums(self) -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn add_sums(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn dot(self, codes: __m256i, x: __m256i, range: CodeRange) -> __m256i {
        let (codes, x) = if range == CodeRange::Signed { move_sign(codes, x) } else { (codes, x) };
        match VNNI {
            true => unsafe { _mm256_dpbusd_avx_epi32(self.no_sums(), codes, x) },
            false => unsafe { _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), _mm256_set1_epi16(1)) },
        }
    }

    /// Neighbours are added pairwise, twice.
    #[inline(always)]
    fn total_four(self, sums: [__m256i; 4]) -> __m256i {
        unsafe { _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3])) }
    }

    /// The halves of rows 0..4 and of 4..8 are added, and of the eight others.
    #[inline(always)]
    fn join(self, fours: [__m256i; 4]) -> Self::Ints {
        [add_halves(fours[0], fours[1]), add_halves(fours[2], fours[3])]
    }

    #[inline(always)]
    fn scales(self, bytes: [u64; 2], offset: i8) -> Scales {
        unsafe {
            let bytes = _mm_set_epi64x(bytes[1] as i64, bytes[0] as i64);
            let bytes = _mm_sub_epi8(bytes, _mm_set1_epi8(offset));
            let even_then_odd = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
            let halves = _mm_shuffle_epi8(bytes, even_then_odd);
            Scales { halves: _mm256_cvtepi8_epi16(halves), in_order: _mm256_cvtepi8_epi16(bytes) }
        }
    }

    #[inline(always)]
    fn scales_twice(self, bytes: u64, offset: i8) -> Scales {
        unsafe {
            let bytes = _mm_sub_epi8(_mm_set1_epi64x(bytes as i64), _mm_set1_epi8(offset));
            let in_order = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes));
            Scales { halves: _mm256_cvtepi8_epi16(bytes), in_order }
        }
    }

    /// The pairs of products (at most 2 · 128 · 127 = 32,512) are multiplied by their scale where `dot` multiplies by one; two of these
    /// fit an i32.
    #[inline(always)]
    fn dot_scaled(self, codes: __m256i, x: __m256i, scales: Scales, j: usize, range: CodeRange) -> __m256i {
        let (codes, x) = if range == CodeRange::Signed { move_sign(codes, x) } else { (codes, x) };
        unsafe {
            let scales = _mm256_shuffle_epi8(scales.halves, _mm256_set1_epi16(0x0100 + 0x0202 * j as i16));
            _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), scales)
        }
    }

    #[inline(always)]
    fn store_scales(self, scales: Scales, out: &mut [i16; 16]) {
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), scales.in_order) };
    }

    #[inline(always)]
    fn dot_sums(self, scales: Scales, factor: i16, x: &[i16; 16]) -> __m256i {
        unsafe {
            let scales = _mm256_mullo_epi16(scales.in_order, _mm256_set1_epi16(factor));
            _mm256_madd_epi16(scales, _mm256_loadu_si256(x.as_ptr().cast()))
        }
    }
}

// SAFETY of every block below: as above.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> Tiled for Ymm<VNNI> {
    type Quads = Pair<__m256i>;

    #[inline(always)]
    fn load_quad(self, bytes: &Quad) -> Self::Quads {
        unsafe { [_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_loadu_si256(bytes[32..].as_ptr().cast())] }
    }

    #[inline(always)]
    fn store_quad(self, a: Self::Quads, out: &mut Quad) {
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), a[0]);
            _mm256_storeu_si256(out[32..].as_mut_ptr().cast(), a[1]);
        }
    }

    #[inline(always)]
    fn field(self, a: Self::Quads, from: usize, to: usize, width: usize) -> Self::Quads {
        if width == 8 {
            return a;
        }
        let mut out = self.splat_quad((((1 << width) - 1) << to) as u8);
        for half in 0..2 {
            unsafe {
                let moved = match from.checked_sub(to) {
                    Some(n) => _mm256_srl_epi16(a[half], _mm_cvtsi32_si128(n as i32)),
                    None => _mm256_sll_epi16(a[half], _mm_cvtsi32_si128((to - from) as i32)),
                };
                out[half] = _mm256_and_si256(moved, out[half]);
            }
        }
        out
    }

    #[inline(always)]
    fn or_quads(self, a: Self::Quads, b: Self::Quads) -> Self::Quads {
        [self.or(a[0], b[0]), self.or(a[1], b[1])]
    }

    #[inline(always)]
    fn add_quads(self, a: Self::Quads, b: Self::Quads) -> Self::Quads {
        unsafe { [_mm256_add_epi8(a[0], b[0]), _mm256_add_epi8(a[1], b[1])] }
    }

    #[inline(always)]
    fn splat_quad(self, a: u8) -> Self::Quads {
        [unsafe { _mm256_set1_epi8(a as i8) }; 2]
    }

    #[inline(always)]
    fn above(self, a: Self::Quads, than: u8) -> Self::Quads {
        let (than, one) = (self.splat_quad(than)[0], self.splat_quad(1)[0]);
        unsafe {
            [_mm256_min_epu8(_mm256_subs_epu8(a[0], than), one), _mm256_min_epu8(_mm256_subs_epu8(a[1], than), one)]
        }
    }

    #[inline(always)]
    fn lookup_quad(self, table: &[i8; 16], indices: Self::Quads) -> Self::Quads {
        [self.lookup(table, indices[0]), self.lookup(table, indices[1])]
    }

    #[inline(always)]
    fn small_ints(self, bytes: &[u8; 16]) -> Self::Ints {
        unsafe {
            let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
            [_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes))]
        }
    }

    #[inline(always)]
    fn nibble_ints(self, bytes: &[u8; 16], which: usize) -> Self::Ints {
        unsafe {
            let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
            let shifted = if which == 0 { bytes } else { _mm_srli_epi16::<4>(bytes) };
            let nibbles = _mm_and_si128(shifted, _mm_set1_epi8(15));
            [_mm256_cvtepu8_epi32(nibbles), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(nibbles))]
        }
    }

    #[inline(always)]
    fn store_pairs(self, low: Self::Ints, high: Self::Ints, out: &mut [u8; 64]) {
        let mut pairs = low;
        for half in 0..2 {
            pairs[half] = unsafe { _mm256_blend_epi16::<0b1010_1010>(low[half], _mm256_slli_epi32::<16>(high[half])) };
        }
        self.store_quad(pairs, out);
    }

    #[inline(always)]
    fn dot_quads<const T: usize, const C: usize>(
        self,
        codes: impl Quads<Self>,
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
    ) -> [Self::Ints; C] {
        let mut out = [self.splat_int(0); C];
        // Half by half, for which there are registers enough.
        for half in 0..2 {
            let sums = match VNNI {
                true => vnni_sums(self, codes, x, half),
                false => {
                    let one = unsafe { _mm256_set1_epi16(1) };
                    add_pair_sums(self, [self.no_sums(); C], codes, x, (range, one, half))
                }
            };
            for c in 0..C {
                out[c][half] = sums[c];
            }
        }
        out
    }

    #[inline(always)]
    fn add_scaled_quads<const T: usize, const C: usize>(
        self,
        mut sums: [Self::Ints; C],
        codes: impl Quads<Self>,
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
        scale: Self::Ints,
    ) -> [Self::Ints; C] {
        const TWICE: [u8; 16] = [0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13];
        for half in 0..2 {
            let mut of_half = [self.no_sums(); C];
            for c in 0..C {
                of_half[c] = sums[c][half];
            }
            if VNNI {
                let dots = vnni_sums(self, codes, x, half);
                for c in 0..C {
                    of_half[c] = unsafe { _mm256_add_epi32(of_half[c], _mm256_mullo_epi32(dots[c], scale[half])) };
                }
            } else {
                let twice = unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(TWICE.as_ptr().cast())) };
                let factors = unsafe { _mm256_shuffle_epi8(scale[half], twice) };
                of_half = add_pair_sums(self, of_half, codes, x, (range, factors, half));
            }
            for c in 0..C {
                sums[c][half] = of_half[c];
            }
        }
        sums
    }
}

/// |code| as unsigned (up to 128), and x with the code's sign.
#[inline(always)]
fn move_sign(codes: __m256i, x: __m256i) -> (__m256i, __m256i) {
    // SAFETY: called only with a token that proves AVX2.
    unsafe { (_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes)) }
}

/// `sums` and the products of pairs of i16.
#[inline(always)]
fn add_pairs<const VNNI: bool>(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: called only with a token that proves AVX2, and AVX-VNNI if VNNI.
    unsafe {
        match VNNI {
            true => vnni_pairs(sums, a, b),
            false => _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)),
        }
    }
}

/// `sums` and the products of pairs of i16. Written out, since LLVM makes two instructions of `_mm256_dpwssd_avx_epi32` to shorten a
/// chain that does not matter here.
#[inline]
#[target_feature(enable = "avxvnni")]
fn vnni_pairs(mut sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: touches nothing but the register.
    unsafe {
        asm!(
            "{{vex}} vpdpwssd {0}, {1}, {2}",
            inout(ymm_reg) sums,
            in(ymm_reg) a,
            in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// [`Tiled::dot_quads`] for eight of the rows, with VNNI. Signed codes come with 128 added.
#[inline(always)]
fn vnni_sums<const VNNI: bool, const T: usize, const C: usize>(
    s: Ymm<VNNI>,
    quads: impl Quads<Ymm<VNNI>>,
    x: [&[[u8; 4]; T]; C],
    half: usize,
) -> [__m256i; C] {
    let mut sums = [s.no_sums(); C];
    for t in 0..T {
        let codes = quads.quad(s, t)[half];
        for c in 0..C {
            // SAFETY: called only with a token that proves AVX-VNNI.
            sums[c] =
                unsafe { _mm256_dpbusd_avx_epi32(sums[c], codes, _mm256_set1_epi32(i32::from_le_bytes(x[c][t]))) };
        }
    }
    sums
}

/// Adds [`Tiled::dot_quads`] of eight of the rows times `factors`, a pair of the same i16 in each lane, without VNNI: pairs of products
/// are i16, and added as such while they fit; what they are multiplied with is no more work than widening them.
#[inline(always)]
fn add_pair_sums<const VNNI: bool, const T: usize, const C: usize>(
    s: Ymm<VNNI>,
    mut sums: [__m256i; C],
    quads: impl Quads<Ymm<VNNI>>,
    x: [&[[u8; 4]; T]; C],
    (range, factors, half): (CodeRange, __m256i, usize),
) -> [__m256i; C] {
    // A pair is at most 2 · 127 · 127 = 32,258, or signed 2 · 128 · 127 = 32,512: the saturating sum of `maddubs` is exact.
    let together = match range {
        CodeRange::Unsigned { max } => 32767 / (2 * 127 * max) as usize,
        CodeRange::Signed => 1,
    };
    let mut pairs = [s.no_sums(); C];
    for t in 0..T {
        let codes = quads.quad(s, t)[half];
        for c in 0..C {
            // SAFETY: the token proves AVX2.
            unsafe {
                let x = _mm256_set1_epi32(i32::from_le_bytes(x[c][t]));
                let (codes, x) = if range == CodeRange::Signed { move_sign(codes, x) } else { (codes, x) };
                let products = _mm256_maddubs_epi16(codes, x);
                pairs[c] = if t % together == 0 { products } else { _mm256_add_epi16(pairs[c], products) };
                if t % together == together - 1 || t == T - 1 {
                    sums[c] = s.add_sums(sums[c], _mm256_madd_epi16(pairs[c], factors));
                }
            }
        }
    }
    sums
}

/// Rows 0..4 in `a` and 4..8 in `b`, each with two half sums: the total of each row.
#[inline(always)]
fn add_halves(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: called only with a token that proves AVX2.
    unsafe { _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)) }
}

#[inline(always)]
fn from_f16(x: __m256i) -> Pair<__m256> {
    // SAFETY: called only with a token that proves AVX2.
    unsafe { [_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(x))] }
}
