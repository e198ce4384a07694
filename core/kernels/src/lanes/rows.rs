//! Matrix times one column where memory cannot be asked for in time: WebAssembly has no prefetch. (Where there is, `side_by_side`.)
//!
//! A CPU foresees what is read from front to end, and the better if it is read in a few places that are pages apart: four such streams
//! bring as much as memory gives, one brings two thirds, sixteen rows next to each other a third. So the rows of a tile are cut into
//! quarters, and four rows, one of each, are read at once.
//!
//! ```text
//!   for 16 rows, four of each quarter, for each strip of blocks:
//!       for four rows, one of each quarter, for each block:  isum[row], kept
//!       for each block:  acc = acc + (dw * dx) * f32(isum)                            a lane is a row; the chain of `side_by_side`
//! ```

use super::access::{codes32, shared};
use crate::cast::{GROUP, Quarters, Rows};
use crate::operand::{Column, Columns};
use crate::quant::{Half, Narrow, Scale, Wide};
use crate::simd::{Bytewise, CodeRange};
use crate::team::Tile;
use core::array::from_fn;

/// Blocks of 32 in a strip.
const NARROW: usize = 32;

/// What is kept of a block of 32 of each of sixteen rows, 128 or 192 bytes.
#[derive(Clone, Copy)]
struct Kept<Sums, Scale> {
    sums: [Sums; 4],
    scales: [Scale; GROUP],
    mins: [Half; GROUP],
}

type NarrowRow<S, F> = Kept<<S as Bytewise>::Fours, <F as Narrow>::Scale>;

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `weights` holds the rows of `out`.
#[inline(always)]
pub(crate) fn matmul_narrow<S: Bytewise, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    one_by_one(s, weights, x, |x, c| x.narrow::<1>(c)[0], narrow_column::<S, F>, out);
}

/// Matrix times one column, whose number is given, too.
type OneColumn<S> = fn(S, &[u8], Column<'_>, usize, &mut Tile<'_>);

/// All columns. A function of its own, which formats share.
#[inline(never)]
fn one_by_one<S: Bytewise>(
    s: S,
    weights: &[u8],
    x: Columns<'_>,
    column: for<'a> fn(&Columns<'a>, usize) -> Column<'a>,
    one: OneColumn<S>,
    out: &mut Tile<'_>,
) {
    for c in 0..x.n {
        one(s, weights, column(&x, c), c, out);
    }
}

/// A function of its own: engines allocate registers badly in long ones.
#[inline(never)]
fn narrow_column<S: Bytewise, F: Narrow>(s: S, weights: &[u8], column: Column<'_>, c: usize, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let zero = F::scale(&bytemuck::Zeroable::zeroed());
    let none = s.total_four([s.no_sums(); 4]);
    let mut kept = [Kept { sums: [none; 4], scales: [zero; GROUP], mins: [Half::ZERO; GROUP] }; NARROW];
    let offset = if F::CODES == CodeRange::Signed { s.dot_offset() } else { F::OFFSET };
    let (offset, has_min) = (shared(s, offset), shared(s, F::HAS_MIN));
    for g in 0..rows.len().div_ceil(GROUP) {
        let group = rows.quarters(g);
        let mut acc = s.splat(0.0);
        for start in (0..group.len()).step_by(NARROW) {
            let n = NARROW.min(group.len() - start);
            for quad in 0..4 {
                keep_narrow::<S, F>(s, &group, column, start, n, quad, &mut kept);
            }
            acc = add_narrow::<S, F>(s, &kept[..n], column, start, offset, has_min, acc);
        }
        write(s, &group, out.column(c), acc);
    }
}

/// The rows of a group.
#[inline(always)]
fn write<S: Bytewise, B: bytemuck::Pod>(s: S, group: &Quarters<'_, B>, out: &mut [f32], acc: S::Lanes) {
    for (lane, x) in s.store(acc).into_iter().enumerate() {
        out[group.row(lane)] = x;
    }
}

/// Blocks `start..start + n` of lanes `4 quad..4 quad + 4`, which share the columns.
#[inline(always)]
fn keep_narrow<S: Bytewise, F: Narrow>(
    s: S,
    group: &Quarters<'_, F::Block>,
    column: Column<'_>,
    start: usize,
    n: usize,
    quad: usize,
    kept: &mut [NarrowRow<S, F>; NARROW],
) {
    let row = |r: usize| group.strip(4 * quad + r, start, n);
    let rows = row(0).iter().zip(row(1)).zip(row(2)).zip(row(3));
    let qs = &codes32(column.qs)[start..][..n];
    for (((((w0, w1), w2), w3), qs), kept) in rows.zip(qs).zip(kept) {
        // Written out: a loop that the compiler leaves one would take its registers through memory.
        let x = s.load_bytes(qs);
        let dot0 = s.dot(F::codes(s, w0), x, F::CODES);
        let dot1 = s.dot(F::codes(s, w1), x, F::CODES);
        let dot2 = s.dot(F::codes(s, w2), x, F::CODES);
        let dot3 = s.dot(F::codes(s, w3), x, F::CODES);
        kept.sums[quad] = s.total_four([dot0, dot1, dot2, dot3]);
        kept.scales[4 * quad..][..4].copy_from_slice(&[F::scale(w0), F::scale(w1), F::scale(w2), F::scale(w3)]);
        if F::HAS_MIN {
            kept.mins[4 * quad..][..4].copy_from_slice(&[F::min(w0), F::min(w1), F::min(w2), F::min(w3)]);
        }
    }
}

/// A function of its own, which formats with the same scales share.
#[inline(never)]
fn add_narrow<S: Bytewise, F: Narrow>(
    s: S,
    kept: &[NarrowRow<S, F>],
    column: Column<'_>,
    start: usize,
    offset: i32,
    has_min: bool,
    mut acc: S::Lanes,
) -> S::Lanes {
    let (scales, sums) = (&column.scales[start..], &column.sums[start..]);
    for ((kept, dx), xsum) in kept.iter().zip(scales).zip(sums) {
        let (dw, dx) = (F::Scale::lanes(s, kept.scales), s.splat(*dx));
        let isum = s.sub_ints(s.join(kept.sums), s.splat_int(offset * i32::from(*xsum)));
        acc = s.add(acc, s.mul(s.mul(dw, dx), s.to_lanes(isum)));
        if has_min {
            let mw = Half::lanes(s, kept.mins);
            acc = s.add(acc, s.mul(s.mul(mw, dx), s.splat(f32::from(*xsum))));
        }
    }
    acc
}

/// Blocks of 256 in a strip.
const WIDE: usize = 8;

/// What is kept of sixteen rows of blocks of 256.
struct WideRows<S: Bytewise> {
    sums: [[S::Sums; GROUP]; WIDE],
    min_sums: [[S::Sums; GROUP]; WIDE],
    scales: [[Half; GROUP]; WIDE],
    mins: [[Half; GROUP]; WIDE],
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(crate) fn matmul_wide<S: Bytewise, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    one_by_one(s, weights, x, |x, c| x.wide::<1>(c)[0], wide_column::<S, F>, out);
}

/// A function of its own: engines allocate registers badly in long ones.
#[inline(never)]
fn wide_column<S: Bytewise, F: Wide>(s: S, weights: &[u8], column: Column<'_>, c: usize, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let mut kept = WideRows::<S> {
        sums: [[s.no_sums(); GROUP]; WIDE],
        min_sums: [[s.no_sums(); GROUP]; WIDE],
        scales: [[Half::ZERO; GROUP]; WIDE],
        mins: [[Half::ZERO; GROUP]; WIDE],
    };
    for g in 0..rows.len().div_ceil(GROUP) {
        let group = rows.quarters(g);
        let mut acc = s.splat(0.0);
        for start in (0..group.len()).step_by(WIDE) {
            let n = WIDE.min(group.len() - start);
            for quad in 0..4 {
                for b in 0..n.min(WIDE) {
                    for lane in 4 * quad..4 * quad + 4 {
                        let block = &group.strip(lane, start + b, 1)[0];
                        keep_wide::<S, F>(s, block, column, start + b, b, lane, &mut kept);
                    }
                }
            }
            acc = add_wide(s, &kept, column, start, n, shared(s, F::HAS_MIN), acc);
        }
        write(s, &group, out.column(c), acc);
    }
}

/// The partial sums of block `at` of row `r`: sub-scale times (code - OFFSET) times x, and the minima times the sums of x.
#[inline(always)]
fn keep_wide<S: Bytewise, F: Wide>(
    s: S,
    block: &F::Block,
    column: Column<'_>,
    at: usize,
    b: usize,
    r: usize,
    kept: &mut WideRows<S>,
) {
    let qs: &[[u8; 32]; 8] = &codes32(column.qs).as_chunks().0[at];
    let xsums: &[i16; 16] = &column.sums.as_chunks().0[at];
    let scales = F::sub_scales(s, block);
    let mut sums = s.no_sums();
    if F::OFFSET != 0 {
        sums = s.dot_sums(scales, -(F::OFFSET as i16), xsums);
    }
    for j in 0..8 {
        let (codes, x) = (F::codes(s, block, j), s.load_bytes(&qs[j]));
        sums = s.add_sums(sums, s.dot_scaled(codes, x, scales, j, F::CODES));
    }
    kept.scales[b][r] = F::scale(block);
    kept.sums[b][r] = sums;
    if F::HAS_MIN {
        kept.mins[b][r] = F::min(block).negated();
        kept.min_sums[b][r] = s.dot_sums(F::sub_mins(s, block), 1, xsums);
    }
}

/// A function of its own, which formats share.
#[inline(never)]
fn add_wide<S: Bytewise>(
    s: S,
    kept: &WideRows<S>,
    column: Column<'_>,
    start: usize,
    n: usize,
    has_min: bool,
    mut acc: S::Lanes,
) -> S::Lanes {
    let scales = &column.scales[start..][..n];
    for b in 0..n.min(WIDE) {
        let (dw, dx) = (Half::lanes(s, kept.scales[b]), s.splat(scales[b]));
        acc = s.add(acc, s.mul(s.mul(dw, dx), s.to_lanes(total(s, &kept.sums[b]))));
        if has_min {
            let mw = Half::lanes(s, kept.mins[b]);
            acc = s.add(acc, s.mul(s.mul(mw, dx), s.to_lanes(total(s, &kept.min_sums[b]))));
        }
    }
    acc
}

/// Lane r is the total of row r.
#[inline(always)]
fn total<S: Bytewise>(s: S, sums: &[S::Sums; GROUP]) -> S::Ints {
    s.join(from_fn(|i| s.total_four([sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]])))
}
