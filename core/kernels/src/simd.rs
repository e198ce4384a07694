//! An instruction set, as the operations that the kernels need.

use crate::math;

/// Four bytes of each of sixteen rows.
pub type Quad = [u8; 64];

/// Operations on all lanes, and what a machine is best at. A value of the type is the proof that the CPU has it.
///
/// Widths are fixed and virtual: 16 f32 lanes are one AVX-512 register, two of AVX2 or four of NEON and wasm; the results are the
/// same. Integer operations are exact. `shl`, `shr` work on bytes.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Who is best at one row at a time; itself, or a narrower one that every such CPU has.
    type Row: Bytewise;
    /// 16 x i32, a lane a row or position.
    type Ints: Copy;
    /// 16 x f32.
    type Lanes: Copy;
    /// Columns that are best multiplied with a strip at once: 4 or 8.
    const COLUMNS: usize;
    /// Chains of float additions that keep this machine busy: 4, or 8 if it has registers for more.
    const CHAINS: usize;
    /// Whether cache lines can be asked for ahead of their use.
    const PREFETCHES: bool;
    /// Whether code is downloaded, so that what formats have in common had better be there once.
    const SMALL: bool;

    /// What is added to signed codes before they are put into a strip.
    fn signed_offset(self) -> i32;
    /// See [`Simd::Row`].
    fn row(self) -> Self::Row;
    /// Asks for the cache line at `at`, which may be past the end of what is mapped, to be in the L1 cache soon.
    #[inline(always)]
    fn prefetch(self, _at: *const u8) {}
    /// The same, to be in the L2 cache.
    #[inline(always)]
    fn prefetch_far(self, _at: *const u8) {}

    /// Bytes `4t..4t + 4` of row r become bytes `4r..4r + 4` of tile t.
    fn turn(self, rows: &[[u8; 32]; 16], tiles: &mut [[u8; 64]; 8]);
    /// Lane r is the dot of row r's codes of `4 T` weights with column c, (T) times 4 i8 in -127..=127.
    fn dot_tiles<const T: usize, const C: usize>(
        self,
        tiles: &[[u8; 64]; T],
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
    ) -> [Self::Ints; C];
    /// Adds the products of the two i16 of each lane and of `x`.
    fn dot_pairs(self, sums: Self::Ints, pairs: &[u8; 64], x: [i16; 2]) -> Self::Ints;
    /// The lower (0) or upper (1) i16 of each lane.
    fn half_of_pair(self, pairs: &[u8; 64], which: usize) -> Self::Ints;
    /// Lane l is the dot of codes `4l..4l + 4` (64 i8) and `x` (4 i8), added to `sums`.
    fn dot_tile(self, sums: Self::Ints, codes: &[i8; 64], x: [i8; 4]) -> Self::Ints;
    fn splat_int(self, a: i32) -> Self::Ints;
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn sub_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// The low 32 bits of the products.
    fn mul_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// `sums + a * b`, where both are -32768..=32767.
    fn add_small_mul(self, sums: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Nearest f32, ties to even.
    fn to_lanes(self, a: Self::Ints) -> Self::Lanes;

    fn load(self, x: &[f32; 16]) -> Self::Lanes;
    fn load_le(self, x: &[u8; 64]) -> Self::Lanes;
    /// Finite numbers: keys and values, their scales.
    fn load_f16(self, x: &[u16; 16]) -> Self::Lanes;
    fn load_f16_le(self, x: &[u8; 32]) -> Self::Lanes;
    /// f16 bits, gathered one by one, as f32.
    fn lanes_of_f16(self, bits: [u16; 16]) -> Self::Lanes;
    /// Rounded to f16, to nearest even.
    fn to_f16(self, a: Self::Lanes) -> [u16; 16];
    fn store(self, a: Self::Lanes) -> [f32; 16];
    fn splat(self, a: f32) -> Self::Lanes;
    fn add(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    fn mul(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    fn div(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    fn max(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// [`math::exp`] of each.
    #[inline(always)]
    fn exp(self, a: Self::Lanes) -> Self::Lanes {
        let mut all = self.store(a);
        for x in &mut all {
            *x = math::exp(*x);
        }
        self.load(&all)
    }
    /// Nearest integer of |x| < 2^22, ties to even.
    fn round(self, a: Self::Lanes) -> [i32; 16];
    /// The fixed tree: lane k + lane k + 8, then 4, 2, 1.
    fn reduce_add(self, a: Self::Lanes) -> f32;
    /// The largest lane; there is no NaN.
    fn reduce_max(self, a: Self::Lanes) -> f32 {
        self.store(a).into_iter().fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m })
    }
}

/// What is done with tiles of packed weights: quads hold four codes of each of 16 rows, in the order of lanes.
pub trait Tiled: Simd {
    /// 64 bytes.
    type Quads: Copy;

    fn load_quad(self, bytes: &Quad) -> Self::Quads;
    fn store_quad(self, a: Self::Quads, out: &mut Quad);
    /// Of each byte, `width` bits from bit `from` on, moved to bit `to`; the other bits are 0.
    fn field(self, a: Self::Quads, from: usize, to: usize, width: usize) -> Self::Quads;
    fn or_quads(self, a: Self::Quads, b: Self::Quads) -> Self::Quads;
    /// Sums of bytes, modulo 256.
    fn add_quads(self, a: Self::Quads, b: Self::Quads) -> Self::Quads;
    fn splat_quad(self, a: u8) -> Self::Quads;
    /// 1 for each byte that is larger than `than`, else 0.
    fn above(self, a: Self::Quads, than: u8) -> Self::Quads;
    /// The byte of the table at each index, which is 0..=15.
    fn lookup_quad(self, table: &[i8; 16], indices: Self::Quads) -> Self::Quads;
    /// Sixteen bytes as signed integers.
    fn small_ints(self, bytes: &[u8; 16]) -> Self::Ints;
    /// The low (0) or high (1) nibbles of sixteen bytes.
    fn nibble_ints(self, bytes: &[u8; 16], which: usize) -> Self::Ints;
    /// Lane by lane, the low i16 of both.
    fn store_pairs(self, low: Self::Ints, high: Self::Ints, out: &mut [u8; 64]);

    /// [`Simd::dot_tiles`] of quads that are computed when they are needed. Signed codes come with [`Simd::signed_offset`] added.
    fn dot_quads<const T: usize, const C: usize>(
        self,
        codes: impl Quads<Self>,
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
    ) -> [Self::Ints; C];
    /// Adds these dots times `scale`, an i8 in each lane, to `sums`. T is 4 or 8.
    fn add_scaled_quads<const T: usize, const C: usize>(
        self,
        sums: [Self::Ints; C],
        codes: impl Quads<Self>,
        x: [&[[u8; 4]; T]; C],
        range: CodeRange,
        scale: Self::Ints,
    ) -> [Self::Ints; C];
}

/// Codes of sixteen rows, four at a time. A trait and not a closure: see [`lanes`](crate::lanes).
pub trait Quads<S: Tiled>: Copy {
    /// Codes `4 t..4 t + 4`.
    fn quad(self, s: S, t: usize) -> S::Quads;
}

/// Codes that lie in memory.
impl<S: Tiled, const T: usize> Quads<S> for &[Quad; T] {
    #[inline(always)]
    fn quad(self, s: S, t: usize) -> S::Quads {
        s.load_quad(&self[t])
    }
}

/// What is done with one row of weights at a time.
pub trait Bytewise: Simd {
    /// 32 bytes: the codes of 32 weights, or 32 int8 activations.
    type Bytes: Copy;
    /// Integers of the sixteen 16s of 256 weights: their scales or their minima.
    type Scales: Copy;
    /// i32 partial sums of one row, in any number and order.
    type Sums: Copy;
    /// The sums of four rows, on their way to be lanes.
    type Fours: Copy;

    fn load_bytes(self, bytes: &[u8; 32]) -> Self::Bytes;
    fn store_bytes(self, a: Self::Bytes, out: &mut [u8; 32]);
    /// The low nibbles, then the high nibbles.
    fn nibbles(self, bytes: &[u8; 16]) -> Self::Bytes;
    fn and(self, a: Self::Bytes, mask: u8) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn shr(self, a: Self::Bytes, n: usize) -> Self::Bytes;
    fn shl(self, a: Self::Bytes, n: usize) -> Self::Bytes;
    /// Byte i is 255 if bit `i % 8` of `bits[i / 8]` is set, else 0.
    fn spread(self, bits: [u8; 4]) -> Self::Bytes;
    /// The byte of the table at each index, which is 0..=15.
    fn lookup(self, table: &[i8; 16], indices: Self::Bytes) -> Self::Bytes;

    fn no_sums(self) -> Self::Sums;
    fn add_sums(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// Sum of products; codes in `range`, to which [`Bytewise::dot_offset`] is added first if they are signed, by i8 -127..=127.
    fn dot(self, codes: Self::Bytes, x: Self::Bytes, range: CodeRange) -> Self::Sums;
    /// What `dot` adds to signed codes.
    #[inline(always)]
    fn dot_offset(self) -> i32 {
        0
    }
    /// The totals of four rows.
    fn total_four(self, sums: [Self::Sums; 4]) -> Self::Fours;
    /// Lanes `4 i..4 i + 4` are four i.
    fn join(self, fours: [Self::Fours; 4]) -> Self::Ints;
    /// Sixteen bytes, the lowest first, each less `offset`.
    fn scales(self, bytes: [u64; 2], offset: i8) -> Self::Scales;
    /// Eight bytes, the lowest first, each less `offset`, each twice.
    fn scales_twice(self, bytes: u64, offset: i8) -> Self::Scales;
    /// Sum of products, the first 16 times scale `2 * j`, the others times scale `2 * j + 1`; |scale| ≤ 128, codes ≤ 63 or signed.
    fn dot_scaled(
        self,
        codes: Self::Bytes,
        x: Self::Bytes,
        scales: Self::Scales,
        j: usize,
        range: CodeRange,
    ) -> Self::Sums;
    fn store_scales(self, scales: Self::Scales, out: &mut [i16; 16]);
    /// Sum of scale · factor · x; |scale · factor| < 2^15.
    fn dot_sums(self, scales: Self::Scales, factor: i16, x: &[i16; 16]) -> Self::Sums;
}

/// The codes that a strip can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeRange {
    /// 0..=max, which is at most 127
    Unsigned { max: i32 },
    /// -128..=127
    Signed,
}
