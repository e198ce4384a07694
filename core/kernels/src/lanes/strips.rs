//! Matrix times many columns: a strip of blocks is unpacked once, and stays in the L1 cache while all columns go over it.
//!
//! ```text
//!   for 16 rows, for each strip of blocks:
//!       unpack: codes as bytes, turned so that a lane is a row; scales as floats       once
//!       for C columns, for each block:
//!           isum[row] = codes[row] · x                           exact
//!           acc = acc + (dw * dx) * f32(isum)                    the chain of `matmul`, which waits in `out` between strips
//! ```

use super::access::{eight, fours, offset, prefetch, prefetch_all, shared, write};
use crate::cast::{GROUP, Group, Rows};
use crate::operand::{Column, Columns};
use crate::quant::{Half, Narrow, Scale, Wide};
use crate::simd::{Bytewise, CodeRange, Simd};
use crate::team::Tile;
use arrayvec::ArrayVec;
use core::array::from_fn;

/// Calls `$body` for groups of `$most` columns (8 or 4), then for groups of 4, of which the last may go past the end.
macro_rules! column_groups {
    ($n:expr, $most:expr, |$c:ident, $width:ident| $body:expr) => {{
        let n = $n;
        let mut $c = 0;
        while $most == 8 && $c + 8 <= n {
            const $width: usize = 8;
            $body;
            $c += 8;
        }
        while $c < n {
            const $width: usize = 4;
            $body;
            $c += 4;
        }
    }};
}

/// 32 codes of 16 rows: tile t has those of weights `4t..4t + 4`.
pub(super) type Codes = [[u8; 64]; 8];

/// Begins a cache line. An `ArrayVec` has its length in front, and each load of 64 bytes would read two lines.
#[repr(align(64))]
pub(super) struct Line<T>(T);

/// What is different from format to format: a matrix that is unpacked strip by strip.
pub(super) trait Unpacked<S: Simd> {
    /// (rows, blocks in a row)
    fn size(&self) -> (usize, usize);
    /// Goes to the sixteen rows from `first`.
    fn group(&mut self, first: usize);
    /// Makes blocks `start..start + n` of these the strip.
    fn unpack(&mut self, s: S, start: usize, n: usize);
    /// The strip, which is `at` that place, times all columns.
    fn dots(&self, s: S, at: Piece, x: Columns<'_>, out: &mut Tile<'_>);
}

/// The matrix times all columns, `most` blocks of each row at once.
#[inline(always)]
fn through<S: Simd>(s: S, w: &mut (impl Unpacked<S> + ?Sized), most: usize, x: Columns<'_>, out: &mut Tile<'_>) {
    let (rows, blocks) = w.size();
    for first in (0..rows).step_by(GROUP) {
        w.group(first);
        for start in (0..blocks).step_by(most) {
            let n = most.min(blocks - start);
            w.unpack(s, start, n);
            w.dots(s, Piece { start, n, first, c: 0 }, x, out);
        }
    }
}

#[inline(always)]
pub(super) fn over_strips<S: Simd>(s: S, w: &mut impl Unpacked<S>, most: usize, x: Columns<'_>, out: &mut Tile<'_>) {
    match S::SMALL {
        true => through_any(s, w, most, x, out),
        false => through(s, w, most, x, out),
    }
}

/// The way through a matrix, there once.
#[inline(never)]
fn through_any<S: Simd>(s: S, w: &mut dyn Unpacked<S>, most: usize, x: Columns<'_>, out: &mut Tile<'_>) {
    through(s, w, most, x, out);
}

/// Where a strip and some columns meet: blocks `start..start + n` of the rows from `first`, columns from `c`.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    start: usize,
    n: usize,
    first: usize,
    c: usize,
}

/// Blocks of 32 in a strip: 20 KB.
pub(super) const NARROW: usize = 32;

/// Sixteen rows of blocks of 32. (Not zeroed before it is filled: that would take as long as a tenth of the work for a few columns.)
#[repr(C, align(64))]
pub(super) struct NarrowStrip {
    pub(super) codes: ArrayVec<Line<Codes>, NARROW>,
    pub(super) scales: [[f32; 16]; NARROW],
    pub(super) mins: [[f32; 16]; NARROW],
}

impl NarrowStrip {
    /// An empty one.
    #[inline(always)]
    pub(super) fn new() -> Self {
        NarrowStrip { codes: ArrayVec::new_const(), scales: [[0.0; 16]; NARROW], mins: [[0.0; 16]; NARROW] }
    }

    /// Codes of one more block, to be written.
    #[inline(always)]
    pub(super) fn push(&mut self) -> &mut Codes {
        let at = self.codes.len();
        self.codes.push(Line([[0; 64]; 8]));
        &mut self.codes[at].0
    }
}

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `weights` holds the rows of `out`.
#[inline(always)]
pub(crate) fn matmul_narrow<S: Simd, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let offset = shared(s, offset(s, F::CODES, F::OFFSET));
    over_strips(
        s,
        &mut Narrowly::<F> { offset, group: rows.group(0), rows, strip: NarrowStrip::new() },
        NARROW,
        x,
        out,
    );
}

/// A matrix of blocks of 32, where a strip of it is.
struct Narrowly<'a, F: Narrow> {
    /// By how much codes are larger than weights.
    offset: i32,
    rows: Rows<'a, F::Block>,
    group: Group<'a, F::Block>,
    strip: NarrowStrip,
}

impl<S: Simd, F: Narrow> Unpacked<S> for Narrowly<'_, F> {
    #[inline(always)]
    fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.group.len())
    }

    #[inline(always)]
    fn group(&mut self, first: usize) {
        self.group = self.rows.group(first);
    }

    #[inline(always)]
    fn unpack(&mut self, s: S, start: usize, n: usize) {
        unpack_narrow::<S, F>(s, &self.group, start, n, &mut self.strip);
    }

    #[inline(always)]
    fn dots(&self, s: S, at: Piece, x: Columns<'_>, out: &mut Tile<'_>) {
        narrow_dots::<S, F>(s, &self.strip, self.offset, at, x, out);
    }
}

/// A strip times all columns.
#[inline(always)]
pub(super) fn narrow_dots<S: Simd, F: Narrow>(
    s: S,
    strip: &NarrowStrip,
    offset: i32,
    at: Piece,
    x: Columns<'_>,
    out: &mut Tile<'_>,
) {
    column_groups!(x.n, S::COLUMNS, |c, C| {
        dot_narrow::<S, F, C>(s, strip, Piece { c, ..at }, offset, &x.narrow::<C>(c), out);
    });
}

apart! {
    /// Blocks `start..start + n` of the group become the strip.
    fn unpack_narrow<S: Simd, F: Narrow>(
        s: S,
        group: &Group<'_, F::Block>,
        start: usize,
        n: usize,
        strip: &mut NarrowStrip,
    ) {
        // Gathered first, and read as lanes when all are: a CPU waits for narrow stores before it loads them as one.
        let zero = F::scale(&bytemuck::Zeroable::zeroed());
        let (mut scales, mut mins) = ([[zero; 16]; NARROW], [[Half::ZERO; 16]; NARROW]);
        strip.codes.clear();
        for b in 0..n.min(NARROW) {
            let blocks = group.blocks(start + b);
            prefetch_all(s, blocks);
            let mut rows = [[0; 32]; 16];
            for r in 0..16 {
                let block = blocks.row(r);
                s.row().store_bytes(F::codes(s.row(), block), &mut rows[r]);
                scales[b][r] = F::scale(block);
                if F::HAS_MIN {
                    mins[b][r] = F::min(block);
                }
            }
            if F::CODES == CodeRange::Signed {
                add_offset(s, &mut rows);
            }
            s.turn(&rows, strip.push());
        }
        as_lanes(s, &scales[..n], &mut strip.scales);
        if F::HAS_MIN {
            as_lanes(s, &mins[..n], &mut strip.mins);
        }
    }
}

apart! {
    fn dot_narrow<S: Simd, F: Narrow, const C: usize>(
        s: S,
        strip: &NarrowStrip,
        Piece { start, n, first, c }: Piece,
        offset: i32,
        columns: &[Column<'_>; C],
        out: &mut Tile<'_>,
    ) {
        let mut acc: [_; C] = read(s, out, first, c, start == 0);
        let qs: [&[[[u8; 4]; 8]]; C] = from_fn(|c| &fours(columns[c].qs)[start..][..n]);
        let scales: [&[f32]; C] = from_fn(|c| &columns[c].scales[start..][..n]);
        let sums: [&[i16]; C] = from_fn(|c| &columns[c].sums[start..][..n]);
        for b in 0..n.min(strip.codes.len()) {
            let mut x = [&qs[0][b]; C];
            for c in 1..C {
                x[c] = &qs[c][b];
            }
            let isum = s.dot_tiles(&strip.codes[b].0, x, F::CODES);
            let dw = s.load(&strip.scales[b]);
            for c in 0..C {
                let (dx, xsum) = (s.splat(scales[c][b]), i32::from(sums[c][b]));
                let isum = if offset == 0 { isum[c] } else { s.sub_ints(isum[c], s.splat_int(offset * xsum)) };
                acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum)));
                // Known when compiled, unlike in `dot_wide`: asked for here, it costs V8 a fifth of the speed.
                if F::HAS_MIN {
                    let mw = s.load(&strip.mins[b]);
                    acc[c] = s.add(acc[c], s.mul(s.mul(mw, dx), s.splat(f32::from(sums[c][b]))));
                }
            }
        }
        write(s, out, first, c, acc);
    }
}

apart! {
    /// Scales of sixteen rows as floats.
    fn as_lanes<S: Simd, T: Scale>(s: S, gathered: &[[T; 16]], out: &mut [[f32; 16]]) {
        for (gathered, out) in gathered.iter().zip(out) {
            *out = s.store(T::lanes(s, *gathered));
        }
    }
}

/// Blocks of 256 in a strip: 22 KB.
pub(super) const WIDE: usize = 4;

/// Sixteen rows of blocks of 256. Integer scales and minima are pairs of i16: pair k of a row belongs to the 16 weights from `32 * k` and
/// the 16 after them.
#[repr(C, align(64))]
pub(super) struct WideStrip {
    pub(super) codes: ArrayVec<Line<[Codes; 8]>, WIDE>,
    pub(super) sub_scales: [Codes; WIDE],
    pub(super) sub_mins: [Codes; WIDE],
    pub(super) scales: [[f32; 16]; WIDE],
    pub(super) mins: [[f32; 16]; WIDE],
}

impl WideStrip {
    /// An empty one.
    #[inline(always)]
    pub(super) fn new() -> Self {
        WideStrip {
            codes: ArrayVec::new_const(),
            sub_scales: [[[0; 64]; 8]; WIDE],
            sub_mins: [[[0; 64]; 8]; WIDE],
            scales: [[0.0; 16]; WIDE],
            mins: [[0.0; 16]; WIDE],
        }
    }

    /// Codes of one more block, to be written.
    #[inline(always)]
    pub(super) fn push(codes: &mut ArrayVec<Line<[Codes; 8]>, WIDE>) -> &mut [Codes; 8] {
        let at = codes.len();
        codes.push(Line([[[0; 64]; 8]; 8]));
        &mut codes[at].0
    }
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(crate) fn matmul_wide<S: Simd, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let form = (shared(s, offset(s, F::CODES, F::OFFSET)), shared(s, F::HAS_MIN));
    over_strips(s, &mut Widely::<F> { form, group: rows.group(0), rows, strip: WideStrip::new() }, WIDE, x, out);
}

/// A matrix of blocks of 256, where a strip of it is.
struct Widely<'a, F: Wide> {
    /// By how much codes are larger than weights, and whether there are minima.
    form: (i32, bool),
    rows: Rows<'a, F::Block>,
    group: Group<'a, F::Block>,
    strip: WideStrip,
}

impl<S: Simd, F: Wide> Unpacked<S> for Widely<'_, F> {
    #[inline(always)]
    fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.group.len())
    }

    #[inline(always)]
    fn group(&mut self, first: usize) {
        self.group = self.rows.group(first);
    }

    #[inline(always)]
    fn unpack(&mut self, s: S, start: usize, n: usize) {
        unpack_wide::<S, F>(s, &self.group, start, n, &mut self.strip);
    }

    #[inline(always)]
    fn dots(&self, s: S, at: Piece, x: Columns<'_>, out: &mut Tile<'_>) {
        wide_dots::<S, F>(s, &self.strip, self.form, at, x, out);
    }
}

/// A strip times all columns; `form` is by how much codes are larger than weights, and whether there are minima.
#[inline(always)]
pub(super) fn wide_dots<S: Simd, F: Wide>(
    s: S,
    strip: &WideStrip,
    form: (i32, bool),
    at: Piece,
    x: Columns<'_>,
    out: &mut Tile<'_>,
) {
    column_groups!(x.n, S::COLUMNS, |c, C| {
        dot_wide::<S, F, C>(s, strip, Piece { c, ..at }, form.0, form.1, &x.wide::<C>(c), out);
    });
}

apart! {
    /// Blocks `start..start + n` of the group become the strip.
    fn unpack_wide<S: Simd, F: Wide>(s: S, group: &Group<'_, F::Block>, start: usize, n: usize, strip: &mut WideStrip) {
        let (mut scales, mut mins) = ([[Half::ZERO; 16]; WIDE], [[Half::ZERO; 16]; WIDE]);
        strip.codes.clear();
        for b in 0..n.min(WIDE) {
            let blocks = group.blocks(start + b);
            let (mut sub_scales, mut sub_mins) = ([[0i16; 16]; 16], [[0i16; 16]; 16]);
            for r in 0..16 {
                prefetch(s, blocks, r);
                let block = blocks.row(r);
                s.row().store_scales(F::sub_scales(s.row(), block), &mut sub_scales[r]);
                scales[b][r] = F::scale(block);
                if F::HAS_MIN {
                    s.row().store_scales(F::sub_mins(s.row(), block), &mut sub_mins[r]);
                    mins[b][r] = F::min(block).negated();
                }
            }
            s.turn(bytemuck::cast_ref(&sub_scales), &mut strip.sub_scales[b]);
            if F::HAS_MIN {
                s.turn(bytemuck::cast_ref(&sub_mins), &mut strip.sub_mins[b]);
            }
            let codes = WideStrip::push(&mut strip.codes);
            for j in 0..8 {
                let mut rows = [[0; 32]; 16];
                for r in 0..16 {
                    s.row().store_bytes(F::codes(s.row(), blocks.row(r), j), &mut rows[r]);
                }
                if F::CODES == CodeRange::Signed {
                    add_offset(s, &mut rows);
                }
                s.turn(&rows, &mut codes[j]);
            }
        }
        as_lanes(s, &scales[..n], &mut strip.scales);
        if F::HAS_MIN {
            as_lanes(s, &mins[..n], &mut strip.mins);
        }
    }
}

apart! {
    #[allow(clippy::too_many_arguments, reason = "the last two of them are the format's")]
    fn dot_wide<S: Simd, F: Wide, const C: usize>(
        s: S,
        strip: &WideStrip,
        Piece { start, n, first, c }: Piece,
        offset: i32,
        has_min: bool,
        columns: &[Column<'_>; C],
        out: &mut Tile<'_>,
    ) {
        let mut acc: [_; C] = read(s, out, first, c, start == 0);
        let qs: [&[[[u8; 4]; 64]]; C] = from_fn(|c| &fours(columns[c].qs)[start..][..n]);
        let scales: [&[f32]; C] = from_fn(|c| &columns[c].scales[start..][..n]);
        let sums: [&[[[i16; 2]; 8]]; C] = from_fn(|c| &columns[c].sums.as_chunks().0.as_chunks().0[start..][..n]);
        for b in 0..n.min(strip.codes.len()) {
            let mut isum = [s.splat_int(0); C];
            if offset != 0 {
                isum = dot_sums(s, &strip.sub_scales[b], sums.map(|sums| &sums[b]));
                for c in 0..C {
                    isum[c] = s.mul_ints(isum[c], s.splat_int(-offset));
                }
            }
            for j in 0..8 {
                let (codes, pairs) = (&strip.codes[b].0[j], &strip.sub_scales[b][j]);
                let mut x: [&[[u8; 4]; 8]; C] = [eight(&qs[0][b], j); C];
                for c in 1..C {
                    x[c] = eight(&qs[c][b], j);
                }
                isum = add_scaled::<S, F, C>(s, isum, codes, pairs, x);
            }
            let dw = s.load(&strip.scales[b]);
            for c in 0..C {
                acc[c] = s.add(acc[c], s.mul(s.mul(dw, s.splat(scales[c][b])), s.to_lanes(isum[c])));
            }
            if has_min {
                let msum = dot_sums(s, &strip.sub_mins[b], sums.map(|sums| &sums[b]));
                let mw = s.load(&strip.mins[b]);
                for c in 0..C {
                    acc[c] = s.add(acc[c], s.mul(s.mul(mw, s.splat(scales[c][b])), s.to_lanes(msum[c])));
                }
            }
        }
        write(s, out, first, c, acc);
    }
}

/// Integer scales or minima of 256 weights times the sums of the columns.
#[inline(always)]
fn dot_sums<S: Simd, const C: usize>(s: S, pairs: &Codes, sums: [&[[i16; 2]; 8]; C]) -> [S::Ints; C] {
    let mut total = [s.splat_int(0); C];
    for k in 0..8 {
        for c in 0..C {
            total[c] = s.dot_pairs(total[c], &pairs[k], sums[c][k]);
        }
    }
    total
}

/// Adds the dots of 32 weights, each 16 times their integer scale; or all 32 where they share it.
#[inline(always)]
fn add_scaled<S: Simd, F: Wide, const C: usize>(
    s: S,
    mut isum: [S::Ints; C],
    codes: &Codes,
    pairs: &[u8; 64],
    x: [&[[u8; 4]; 8]; C],
) -> [S::Ints; C] {
    // 16 products with an activation sum up to what an i16 holds.
    let small = matches!(F::CODES, CodeRange::Unsigned { max: ..=16 });
    if F::SPAN == 32 && !small {
        let (dots, scale) = (s.dot_tiles(codes, x, F::CODES), s.half_of_pair(pairs, 0));
        for c in 0..C {
            isum[c] = s.add_ints(isum[c], s.mul_ints(dots[c], scale));
        }
        return isum;
    }
    for half in 0..2 {
        let mut four: [&[[u8; 4]; 4]; C] = [&x[0].as_chunks().0[half]; C];
        for c in 1..C {
            four[c] = &x[c].as_chunks().0[half];
        }
        let tiles: &[[u8; 64]; 4] = &codes.as_chunks().0[half];
        let (dots, scale) = (s.dot_tiles(tiles, four, F::CODES), s.half_of_pair(pairs, half));
        for c in 0..C {
            isum[c] = match small {
                true => s.add_small_mul(isum[c], dots[c], scale),
                false => s.add_ints(isum[c], s.mul_ints(dots[c], scale)),
            };
        }
    }
    isum
}

/// Signed codes as this machine wants them.
#[inline(always)]
fn add_offset<S: Simd>(s: S, rows: &mut [[u8; 32]; 16]) {
    for code in rows.as_flattened_mut() {
        *code = code.wrapping_add(s.signed_offset() as u8);
    }
}

#[inline(always)]
fn read<S: Simd, const C: usize>(s: S, out: &mut Tile<'_>, first: usize, column: usize, zero: bool) -> [S::Lanes; C] {
    let mut acc = [s.splat(0.0); C];
    if zero {
        return acc;
    }
    for c in 0..C {
        if column + c == out.columns() {
            break;
        }
        let out = &out.column(column + c)[first..];
        acc[c] = match out.first_chunk::<16>() {
            Some(whole) => s.load(whole),
            None => s.load(&padded(out)),
        };
    }
    acc
}

/// The last, incomplete lanes.
#[cold]
fn padded(out: &[f32]) -> [f32; 16] {
    from_fn(|i| out.get(i).copied().unwrap_or(0.0))
}
