//! Matrix times one column where memory cannot be asked for in time: WebAssembly has no prefetch. (Where there is, `side_by_side`.)
//!
//! A CPU foresees what is read from front to end, and the better if it is read in a few places that are pages apart: four such streams
//! bring as much as memory gives, one brings two thirds, sixteen rows next to each other a third. So the rows of a tile are cut into
//! quarters, and four rows, one of each, are read at once.
//!
//! ```text
//!   for 16 rows, four of each quarter, for each strip of blocks:
//!       for four rows, one of each quarter, for each block:  sums and scales, kept
//!       for each block:  isum[row] = total of the partial sums                        a lane is a row from here on
//!                        acc = acc + (dw * dx) * f32(isum)                            the chain of `side_by_side`
//! ```

use super::matmul::codes32;
use super::strips::{offset, shared};
use super::{Range, RowByRow};
use crate::activations::{Column, Columns};
use crate::cast::{GROUP, Group, Rows};
use crate::quant::{F16, Narrow, Scale, Wide};
use crate::team::Tile;
use core::array::from_fn;

/// Blocks of 32 in a strip.
const NARROW: usize = 32;

/// What is kept of sixteen rows of blocks of 32, 4 or 6 KB.
struct NarrowRows<S: RowByRow, F: Narrow> {
    sums: [[S::Fours; 4]; NARROW],
    scales: [[F::Scale; GROUP]; NARROW],
    mins: [[F16; GROUP]; NARROW],
}

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `weights` holds the rows of `out`.
#[inline(always)]
pub(crate) fn matmul_narrow<S: RowByRow, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    for c in 0..x.n {
        narrow_column::<S, F>(s, weights, x.narrow::<1>(c)[0], c, out);
    }
}

/// A function of its own: engines allocate registers badly in long ones.
#[inline(never)]
fn narrow_column<S: RowByRow, F: Narrow>(s: S, weights: &[u8], column: Column<'_>, c: usize, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let zero = F::scale(&bytemuck::Zeroable::zeroed());
    let mut kept = NarrowRows::<S, F> {
        sums: [[s.total_four([s.no_sums(); 4]); 4]; NARROW],
        scales: [[zero; GROUP]; NARROW],
        mins: [[F16::ZERO; GROUP]; NARROW],
    };
    let offset = shared(offset(s, F::CODES, F::OFFSET));
    for g in 0..rows.len().div_ceil(GROUP) {
        let group = rows.spread_group(g);
        let mut acc = s.splat(0.0);
        for start in (0..group.len()).step_by(NARROW) {
            let n = NARROW.min(group.len() - start);
            for quad in 0..4 {
                keep_narrow(s, &group, column, start, n, quad, &mut kept);
            }
            acc = add_narrow(s, &kept, column, start, n, offset, acc);
        }
        write(s, &rows, g, out.column(c), acc);
    }
}

/// The rows of group `group`, as far as there are so many.
#[inline(always)]
fn write<S: RowByRow, B: bytemuck::Pod>(s: S, rows: &Rows<'_, B>, group: usize, out: &mut [f32], acc: S::Lanes) {
    for (lane, x) in s.store(acc).into_iter().enumerate() {
        if let Some(out) = out.get_mut(rows.spread(group, lane)) {
            *out = x;
        }
    }
}

/// Blocks `start..start + n` of lanes `4 quad..4 quad + 4`, which share the columns.
#[inline(always)]
fn keep_narrow<S: RowByRow, F: Narrow>(
    s: S,
    group: &Group<'_, F::Block>,
    column: Column<'_>,
    start: usize,
    n: usize,
    quad: usize,
    kept: &mut NarrowRows<S, F>,
) {
    let qs = &codes32(column.qs)[start..][..n];
    for b in 0..n.min(NARROW) {
        let blocks = group.blocks(start + b);
        let mut sums = [s.no_sums(); 4];
        for r in 0..4 {
            let block = blocks.row(4 * quad + r);
            let codes = F::codes(s, block);
            sums[r] = s.dot_offset(codes, s.load_bytes(&qs[b]), F::CODES);
            kept.scales[b][4 * quad + r] = F::scale(block);
            if F::HAS_MIN {
                kept.mins[b][4 * quad + r] = F::min(block);
            }
        }
        kept.sums[b][quad] = s.total_four(sums);
    }
}

/// A function of its own, which formats with the same scales share.
#[inline(never)]
fn add_narrow<S: RowByRow, F: Narrow>(
    s: S,
    kept: &NarrowRows<S, F>,
    column: Column<'_>,
    start: usize,
    n: usize,
    offset: i32,
    mut acc: S::Lanes,
) -> S::Lanes {
    let (scales, sums) = (&column.scales[start..][..n], &column.sums[start..][..n]);
    for b in 0..n.min(NARROW) {
        let dw = F::Scale::lanes(s, kept.scales[b]);
        let (dx, xsum) = (s.splat(scales[b]), sums[b]);
        let isum = s.sub_ints(s.join(kept.sums[b]), s.splat_int(offset * i32::from(xsum)));
        acc = s.add(acc, s.mul(s.mul(dw, dx), s.to_lanes(isum)));
        if F::HAS_MIN {
            let mw = F16::lanes(s, kept.mins[b]);
            acc = s.add(acc, s.mul(s.mul(mw, dx), s.splat(f32::from(xsum))));
        }
    }
    acc
}

/// Blocks of 256 in a strip.
const WIDE: usize = 8;

/// What is kept of sixteen rows of blocks of 256.
struct WideRows<S: RowByRow> {
    sums: [[S::Sums; GROUP]; WIDE],
    min_sums: [[S::Sums; GROUP]; WIDE],
    scales: [[F16; GROUP]; WIDE],
    mins: [[F16; GROUP]; WIDE],
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(crate) fn matmul_wide<S: RowByRow, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    for c in 0..x.n {
        wide_column::<S, F>(s, weights, x.wide::<1>(c)[0], c, out);
    }
}

/// A function of its own: engines allocate registers badly in long ones.
#[inline(never)]
fn wide_column<S: RowByRow, F: Wide>(s: S, weights: &[u8], column: Column<'_>, c: usize, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let mut kept = WideRows::<S> {
        sums: [[s.no_sums(); GROUP]; WIDE],
        min_sums: [[s.no_sums(); GROUP]; WIDE],
        scales: [[F16::ZERO; GROUP]; WIDE],
        mins: [[F16::ZERO; GROUP]; WIDE],
    };
    for g in 0..rows.len().div_ceil(GROUP) {
        let group = rows.spread_group(g);
        let mut acc = s.splat(0.0);
        for start in (0..group.len()).step_by(WIDE) {
            let n = WIDE.min(group.len() - start);
            for quad in 0..4 {
                for b in 0..n.min(WIDE) {
                    for r in 4 * quad..4 * quad + 4 {
                        keep_wide::<S, F>(s, group.blocks(start + b).row(r), column, start + b, b, r, &mut kept);
                    }
                }
            }
            acc = add_wide::<S, F>(s, &kept, column, start, n, acc);
        }
        write(s, &rows, g, out.column(c), acc);
    }
}

/// The partial sums of block `at` of row `r`: sub-scale times (code - OFFSET) times x, and the minima times the sums of x.
#[inline(always)]
fn keep_wide<S: RowByRow, F: Wide>(
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
        let dot = match F::CODES {
            Range::Signed => s.dot_scaled_signed(codes, x, scales, j),
            Range::Unsigned { .. } => s.dot_scaled(codes, x, scales, j),
        };
        sums = s.add_sums(sums, dot);
    }
    kept.scales[b][r] = F::scale(block);
    kept.sums[b][r] = sums;
    if F::HAS_MIN {
        kept.mins[b][r] = F::min(block).negated();
        kept.min_sums[b][r] = s.dot_sums(F::sub_mins(s, block), 1, xsums);
    }
}

/// A function of its own, which formats share: those with minima, and the others.
#[inline(never)]
fn add_wide<S: RowByRow, F: Wide>(
    s: S,
    kept: &WideRows<S>,
    column: Column<'_>,
    start: usize,
    n: usize,
    mut acc: S::Lanes,
) -> S::Lanes {
    let scales = &column.scales[start..][..n];
    for b in 0..n.min(WIDE) {
        let (dw, dx) = (F16::lanes(s, kept.scales[b]), s.splat(scales[b]));
        acc = s.add(acc, s.mul(s.mul(dw, dx), s.to_lanes(total(s, &kept.sums[b]))));
        if F::HAS_MIN {
            let mw = F16::lanes(s, kept.mins[b]);
            acc = s.add(acc, s.mul(s.mul(mw, dx), s.to_lanes(total(s, &kept.min_sums[b]))));
        }
    }
    acc
}

/// Lane r is the total of row r.
#[inline(always)]
fn total<S: RowByRow>(s: S, sums: &[S::Sums; GROUP]) -> S::Ints {
    s.join(from_fn(|i| s.total_four([sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]])))
}
