//! x86-64 with AVX-512 and its VNNI.

use super::avx2::Avx2;
use crate::backend::{Backend, Kernels};
use crate::lanes::{self, Products};
use crate::operand::{Activation, ChunkF16, ChunkQ8, ColumnMut, Columns, Gathered, Queries};
use crate::quant::{Float, Layout, Matrix, Narrow, Visitor, Wide};
use crate::simd::{CodeRange, Quad, Quads, Simd, Tiled};
use crate::team::Tile;
use core::arch::asm;
use core::arch::x86_64::*;
use core::ops::Range;

/// The proof that this CPU has AVX-512 (F, BW, DQ, VL, VNNI) and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Vnni(());

impl Avx512Vnni {
    /// Makes the token.
    ///
    /// # Safety
    /// The CPU and the operating system must support AVX-512 F, BW, DQ, VL and VNNI, and F16C (`is_x86_feature_detected!`).
    pub unsafe fn assume() -> Self {
        Avx512Vnni(())
    }

    /// The kernels.
    pub fn backend(self) -> Backend {
        Backend::new(&KERNELS)
    }
}

backend! { Avx512Vnni, "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", "avx512-vnni" }

impl Products for Avx512Vnni {}

// SAFETY of every block below: the token proves the features; loads and stores are unaligned and go through references to arrays of
// exactly the register's size.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx512Vnni {
    type Row = Avx2;
    type Ints = __m512i;
    type Lanes = __m512;
    const COLUMNS: usize = 8;
    const CHAINS: usize = 8;
    const PREFETCHES: bool = true;
    const SMALL: bool = false;

    #[inline(always)]
    fn signed_offset(self) -> i32 {
        128
    }

    #[inline(always)]
    fn row(self) -> Avx2 {
        // SAFETY: what the token proves includes AVX2 and F16C.
        unsafe { Avx2::assume() }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        self.row().prefetch(at);
    }

    #[inline(always)]
    fn prefetch_far(self, at: *const u8) {
        self.row().prefetch_far(at);
    }

    /// Four rows to a register, `i, 4 + i, 8 + i, 12 + i`, then 4 x 4 turned in each quarter.
    #[inline(always)]
    fn turn(self, rows: &[[u8; 32]; 16], tiles: &mut [[u8; 64]; 8]) {
        for piece in 0..2 {
            let mut z = [self.splat_int(0); 4];
            for i in 0..4 {
                unsafe {
                    z[i] = _mm512_castsi128_si512(_mm_loadu_si128(rows[i][16 * piece..].as_ptr().cast()));
                    z[i] = _mm512_inserti32x4::<1>(z[i], _mm_loadu_si128(rows[4 + i][16 * piece..].as_ptr().cast()));
                    z[i] = _mm512_inserti32x4::<2>(z[i], _mm_loadu_si128(rows[8 + i][16 * piece..].as_ptr().cast()));
                    z[i] = _mm512_inserti32x4::<3>(z[i], _mm_loadu_si128(rows[12 + i][16 * piece..].as_ptr().cast()));
                }
            }
            let turned = unsafe {
                let (a, b) = (_mm512_unpacklo_epi32(z[0], z[1]), _mm512_unpackhi_epi32(z[0], z[1]));
                let (c, d) = (_mm512_unpacklo_epi32(z[2], z[3]), _mm512_unpackhi_epi32(z[2], z[3]));
                [
                    _mm512_unpacklo_epi64(a, c),
                    _mm512_unpackhi_epi64(a, c),
                    _mm512_unpacklo_epi64(b, d),
                    _mm512_unpackhi_epi64(b, d),
                ]
            };
            for t in 0..4 {
                unsafe { _mm512_storeu_si512(tiles[4 * piece + t].as_mut_ptr().cast(), turned[t]) };
            }
        }
    }

    /// Signed codes come with 128 added.
    #[inline(always)]
    fn dot_tiles<const T: usize, const C: usize>(
        self,
        tiles: &[[u8; 64]; T],
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
    ) -> [__m512i; C] {
        self.dot_quads(tiles, x, range)
    }

    #[inline(always)]
    fn dot_pairs(self, sums: __m512i, pairs: &[u8; 64], x: [i16; 2]) -> __m512i {
        let x = self.splat_int(bytemuck::cast(x));
        unsafe { add_pairs(sums, _mm512_loadu_si512(pairs.as_ptr().cast()), x) }
    }

    #[inline(always)]
    fn half_of_pair(self, pairs: &[u8; 64], which: usize) -> __m512i {
        unsafe {
            let pairs = _mm512_loadu_si512(pairs.as_ptr().cast());
            let upper = if which == 0 { _mm512_slli_epi32::<16>(pairs) } else { pairs };
            _mm512_srai_epi32::<16>(upper)
        }
    }

    #[inline(always)]
    fn dot_tile(self, sums: __m512i, codes: &[i8; 64], x: [i8; 4]) -> __m512i {
        unsafe {
            let x = _mm512_set1_epi32(i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]));
            let w = _mm512_loadu_si512(codes.as_ptr().cast());
            let x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
            _mm512_dpbusd_epi32(sums, _mm512_abs_epi8(w), x)
        }
    }

    #[inline(always)]
    fn splat_int(self, a: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(a) }
    }

    #[inline(always)]
    fn add_ints(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sub_ints(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn mul_ints(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    /// As pairs of i16: the upper half of b is made 0, whatever that of a is.
    #[inline(always)]
    fn add_small_mul(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { add_pairs(sums, a, _mm512_and_si512(b, _mm512_set1_epi32(0xffff))) }
    }

    #[inline(always)]
    fn to_lanes(self, a: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(a) }
    }

    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> __m512 {
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn load_le(self, x: &[u8; 64]) -> __m512 {
        unsafe { _mm512_loadu_ps(x.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_f16_le(self, x: &[u8; 32]) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn lanes_of_f16(self, b: [u16; 16]) -> __m512 {
        let b: [i16; 16] = bytemuck::cast(b);
        unsafe {
            let all = _mm256_set_epi16(
                b[15], b[14], b[13], b[12], b[11], b[10], b[9], b[8], b[7], b[6], b[5], b[4], b[3], b[2], b[1], b[0],
            );
            _mm512_cvtph_ps(all)
        }
    }

    #[inline(always)]
    fn to_f16(self, a: __m512) -> [u16; 16] {
        let mut out = [0u16; 16];
        unsafe {
            let halves = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), halves);
        }
        out
    }

    #[inline(always)]
    fn store(self, a: __m512) -> [f32; 16] {
        let mut out = [0.0; 16];
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), a) };
        out
    }

    #[inline(always)]
    fn splat(self, a: f32) -> __m512 {
        unsafe { _mm512_set1_ps(a) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, a: __m512) -> [i32; 16] {
        let mut out = [0; 16];
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_cvtps_epi32(a)) };
        out
    }

    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

// SAFETY of every block below: as above.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Tiled for Avx512Vnni {
    type Quads = __m512i;

    #[inline(always)]
    fn load_quad(self, bytes: &Quad) -> __m512i {
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_quad(self, a: __m512i, out: &mut Quad) {
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), a) };
    }

    #[inline(always)]
    fn field(self, a: __m512i, from: usize, to: usize, width: usize) -> __m512i {
        if width == 8 {
            return a;
        }
        unsafe {
            let moved = match from.checked_sub(to) {
                Some(n) => _mm512_srl_epi16(a, _mm_cvtsi32_si128(n as i32)),
                None => _mm512_sll_epi16(a, _mm_cvtsi32_si128((to - from) as i32)),
            };
            _mm512_and_si512(moved, self.splat_quad((((1 << width) - 1) << to) as u8))
        }
    }

    #[inline(always)]
    fn or_quads(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn add_quads(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi8(a, b) }
    }

    #[inline(always)]
    fn splat_quad(self, a: u8) -> __m512i {
        unsafe { _mm512_set1_epi8(a as i8) }
    }

    #[inline(always)]
    fn above(self, a: __m512i, than: u8) -> __m512i {
        unsafe { _mm512_min_epu8(_mm512_subs_epu8(a, self.splat_quad(than)), self.splat_quad(1)) }
    }

    #[inline(always)]
    fn lookup_quad(self, table: &[i8; 16], indices: __m512i) -> __m512i {
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, indices)
        }
    }

    #[inline(always)]
    fn small_ints(self, bytes: &[u8; 16]) -> __m512i {
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn nibble_ints(self, bytes: &[u8; 16], which: usize) -> __m512i {
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            if which == 0 { _mm512_and_si512(bytes, self.splat_int(15)) } else { _mm512_srli_epi32::<4>(bytes) }
        }
    }

    #[inline(always)]
    fn store_pairs(self, low: __m512i, high: __m512i, out: &mut [u8; 64]) {
        unsafe { self.store_quad(_mm512_mask_blend_epi16(0xaaaa_aaaa, low, _mm512_slli_epi32::<16>(high)), out) };
    }

    #[inline(always)]
    fn dot_quads<const T: usize, const C: usize>(
        self,
        codes: impl Quads<Self>,
        x: [&[[u8; 4]; T]; C],
        _: CodeRange,
    ) -> [__m512i; C] {
        let mut sums = [self.splat_int(0); C];
        for t in 0..T {
            let codes = codes.quad(self, t);
            for c in 0..C {
                let x = self.splat_int(i32::from_le_bytes(x[c][t]));
                sums[c] = unsafe { _mm512_dpbusd_epi32(sums[c], codes, x) };
            }
        }
        sums
    }

    /// Where 16 products sum up to what an i16 holds, they are multiplied as such, which is sooner done.
    #[inline(always)]
    fn add_scaled_quads<const T: usize, const C: usize>(
        self,
        mut sums: [__m512i; C],
        codes: impl Quads<Self>,
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
        scale: __m512i,
    ) -> [__m512i; C] {
        let small = matches!(range, CodeRange::Unsigned { max: ..=16 });
        let together = if small { 4 } else { T };
        for first in (0..T).step_by(together) {
            let mut dots = [self.splat_int(0); C];
            for t in first..first + together {
                let codes = codes.quad(self, t);
                for c in 0..C {
                    let x = self.splat_int(i32::from_le_bytes(x[c][t]));
                    dots[c] = unsafe { _mm512_dpbusd_epi32(dots[c], codes, x) };
                }
            }
            for c in 0..C {
                sums[c] = match small {
                    true => self.add_small_mul(sums[c], dots[c], scale),
                    false => self.add_ints(sums[c], self.mul_ints(dots[c], scale)),
                };
            }
        }
        sums
    }
}

/// `sums` and the products of pairs of i16. Written out, since LLVM makes two instructions of `_mm512_dpwssd_epi32` to shorten a chain
/// that does not matter here.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_pairs(mut sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: touches nothing but the register.
    unsafe {
        asm!("vpdpwssd {0}, {1}, {2}", inout(zmm_reg) sums, in(zmm_reg) a, in(zmm_reg) b, options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
