//! Matrix times one or two columns where memory cannot be asked for in time: WebAssembly has no prefetch, so weights are read in the
//! order in which they lie, which a CPU foresees. (Where there is, `side_by_side` keeps nothing.)
//!
//! ```text
//!   for 16 rows, for each strip of blocks:
//!       for each row (or four), for each block:  sums and scales, kept               the weights, from front to end
//!       for each block:  isum[row] = total of the partial sums                        a lane is a row from here on
//!                        acc = acc + (dw * dx) * f32(isum)                            the chain of `side_by_side`
//! ```

use super::matmul::{codes32, write};
use super::strips::offset;
use super::{Range, RowByRow};
use crate::kernels::activations::{Column, Columns};
use crate::kernels::cast::{GROUP, Group, Rows};
use crate::kernels::quant::{F16, Narrow, Scale, Wide};
use crate::team::Tile;
use core::array::from_fn;

/// Calls `$body` for two columns, then for one that is left.
macro_rules! column_groups {
    ($n:expr, |$c:ident, $width:ident| $body:expr) => {{
        let n = $n;
        let mut $c = 0;
        while $c + 2 <= n {
            const $width: usize = 2;
            $body;
            $c += 2;
        }
        if $c < n {
            const $width: usize = 1;
            $body;
        }
    }};
}

/// Blocks of 32 in a strip.
const NARROW: usize = 32;

/// What is kept of sixteen rows of blocks of 32, for `C` columns: 4 or 6 KB.
struct NarrowRows<S: RowByRow, F: Narrow, const C: usize> {
    sums: [[[S::Fours; 4]; C]; NARROW],
    scales: [[F::Scale; GROUP]; NARROW],
    mins: [[F16; GROUP]; NARROW],
}

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `weights` holds the rows of `out`.
#[inline(always)]
pub(in crate::kernels) fn matmul_narrow<S: RowByRow, F: Narrow>(
    s: S,
    weights: &[u8],
    x: Columns<'_>,
    out: &mut Tile<'_>,
) {
    column_groups!(x.n, |c, C| narrow_columns::<S, F, C>(s, weights, &x.narrow::<C>(c), c, out));
}

/// A function of its own: engines allocate registers badly in long ones.
#[inline(never)]
fn narrow_columns<S: RowByRow, F: Narrow, const C: usize>(
    s: S,
    weights: &[u8],
    columns: &[Column<'_>; C],
    c: usize,
    out: &mut Tile<'_>,
) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let zero = F::scale(&bytemuck::Zeroable::zeroed());
    let mut kept = NarrowRows::<S, F, C> {
        sums: [[[s.total_four([s.no_sums(); 4]); 4]; C]; NARROW],
        scales: [[zero; GROUP]; NARROW],
        mins: [[F16::ZERO; GROUP]; NARROW],
    };
    for first in (0..rows.len()).step_by(GROUP) {
        let group = rows.group(first);
        let mut acc = [s.splat(0.0); C];
        for start in (0..group.len()).step_by(NARROW) {
            let n = NARROW.min(group.len() - start);
            for quad in 0..4 {
                keep_narrow(s, &group, columns, start, n, quad, &mut kept);
            }
            add_narrow(s, &kept, columns, start, n, &mut acc);
        }
        write(s, out, first, c, acc);
    }
}

/// Blocks `start..start + n` of rows `4 quad..4 quad + 4`. Four at once share the columns, and a CPU still foresees them.
#[inline(always)]
fn keep_narrow<S: RowByRow, F: Narrow, const C: usize>(
    s: S,
    group: &Group<'_, F::Block>,
    columns: &[Column<'_>; C],
    start: usize,
    n: usize,
    quad: usize,
    kept: &mut NarrowRows<S, F, C>,
) {
    let qs: [&[[u8; 32]]; C] = from_fn(|c| &codes32(columns[c].qs)[start..][..n]);
    for b in 0..n.min(NARROW) {
        let blocks = group.blocks(start + b);
        let mut sums = [[s.no_sums(); 4]; C];
        for r in 0..4 {
            let block = blocks.row(4 * quad + r);
            let codes = F::codes(s, block);
            for c in 0..C {
                sums[c][r] = s.dot_offset(codes, s.load_bytes(&qs[c][b]), F::CODES);
            }
            kept.scales[b][4 * quad + r] = F::scale(block);
            if F::HAS_MIN {
                kept.mins[b][4 * quad + r] = F::min(block);
            }
        }
        for c in 0..C {
            kept.sums[b][c][quad] = s.total_four(sums[c]);
        }
    }
}

#[inline(always)]
fn add_narrow<S: RowByRow, F: Narrow, const C: usize>(
    s: S,
    kept: &NarrowRows<S, F, C>,
    columns: &[Column<'_>; C],
    start: usize,
    n: usize,
    acc: &mut [S::Lanes; C],
) {
    let scales: [&[f32]; C] = from_fn(|c| &columns[c].scales[start..][..n]);
    let sums: [&[i16]; C] = from_fn(|c| &columns[c].sums[start..][..n]);
    let offset = offset(s, F::CODES, F::OFFSET);
    for b in 0..n.min(NARROW) {
        let dw = F::Scale::lanes(s, kept.scales[b]);
        for c in 0..C {
            let (dx, xsum) = (s.splat(scales[c][b]), sums[c][b]);
            let isum = s.join(kept.sums[b][c]);
            let isum = s.sub_ints(isum, s.splat_int(offset * i32::from(xsum)));
            acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum)));
            if F::HAS_MIN {
                let mw = F16::lanes(s, kept.mins[b]);
                acc[c] = s.add(acc[c], s.mul(s.mul(mw, dx), s.splat(f32::from(xsum))));
            }
        }
    }
}

/// Blocks of 256 in a strip.
const WIDE: usize = 8;

/// What is kept of sixteen rows of blocks of 256, for `C` columns.
struct WideRows<S: RowByRow, const C: usize> {
    sums: [[[S::Sums; GROUP]; C]; WIDE],
    min_sums: [[[S::Sums; GROUP]; C]; WIDE],
    scales: [[F16; GROUP]; WIDE],
    mins: [[F16; GROUP]; WIDE],
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(in crate::kernels) fn matmul_wide<S: RowByRow, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    column_groups!(x.n, |c, C| wide_columns::<S, F, C>(s, weights, &x.wide::<C>(c), c, out));
}

/// A function of its own: engines allocate registers badly in long ones.
#[inline(never)]
fn wide_columns<S: RowByRow, F: Wide, const C: usize>(
    s: S,
    weights: &[u8],
    columns: &[Column<'_>; C],
    c: usize,
    out: &mut Tile<'_>,
) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    let mut kept = WideRows::<S, C> {
        sums: [[[s.no_sums(); GROUP]; C]; WIDE],
        min_sums: [[[s.no_sums(); GROUP]; C]; WIDE],
        scales: [[F16::ZERO; GROUP]; WIDE],
        mins: [[F16::ZERO; GROUP]; WIDE],
    };
    for first in (0..rows.len()).step_by(GROUP) {
        let mut acc = [s.splat(0.0); C];
        for start in (0..rows.row(0).len()).step_by(WIDE) {
            let n = WIDE.min(rows.row(0).len() - start);
            for r in 0..GROUP.min(rows.len() - first) {
                for (b, block) in rows.row(first + r)[start..][..n].iter().enumerate().take(WIDE) {
                    keep_wide::<S, F, C>(s, block, columns, start + b, b, r, &mut kept);
                }
            }
            for b in 0..n {
                add_wide::<S, F, C>(s, &kept, columns, start + b, b, &mut acc);
            }
        }
        write(s, out, first, c, acc);
    }
}

/// The partial sums of block `at` of row `r`: sub-scale times (code - OFFSET) times x, and the minima times the sums of x.
#[inline(always)]
fn keep_wide<S: RowByRow, F: Wide, const C: usize>(
    s: S,
    block: &F::Block,
    columns: &[Column<'_>; C],
    at: usize,
    b: usize,
    r: usize,
    kept: &mut WideRows<S, C>,
) {
    let qs: [&[[u8; 32]; 8]; C] = from_fn(|c| &codes32(columns[c].qs).as_chunks().0[at]);
    let xsums: [&[i16; 16]; C] = from_fn(|c| &columns[c].sums.as_chunks().0[at]);
    let scales = F::sub_scales(s, block);
    let mut sums = [s.no_sums(); C];
    if F::OFFSET != 0 {
        for c in 0..C {
            sums[c] = s.dot_sums(scales, -(F::OFFSET as i16), xsums[c]);
        }
    }
    for j in 0..8 {
        let codes = F::codes(s, block, j);
        for c in 0..C {
            let x = s.load_bytes(&qs[c][j]);
            let dot = if F::CODES == Range::Signed {
                s.dot_scaled_signed(codes, x, scales, j)
            } else {
                s.dot_scaled(codes, x, scales, j)
            };
            sums[c] = s.add_sums(sums[c], dot);
        }
    }
    kept.scales[b][r] = F::scale(block);
    for c in 0..C {
        kept.sums[b][c][r] = sums[c];
    }
    if F::HAS_MIN {
        let mins = F::sub_mins(s, block);
        kept.mins[b][r] = F::min(block).negated();
        for c in 0..C {
            kept.min_sums[b][c][r] = s.dot_sums(mins, 1, xsums[c]);
        }
    }
}

#[inline(always)]
fn add_wide<S: RowByRow, F: Wide, const C: usize>(
    s: S,
    kept: &WideRows<S, C>,
    columns: &[Column<'_>; C],
    at: usize,
    b: usize,
    acc: &mut [S::Lanes; C],
) {
    let dw = F16::lanes(s, kept.scales[b]);
    for c in 0..C {
        let dx = s.splat(columns[c].scales[at]);
        acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(total(s, &kept.sums[b][c]))));
        if F::HAS_MIN {
            let mw = F16::lanes(s, kept.mins[b]);
            acc[c] = s.add(acc[c], s.mul(s.mul(mw, dx), s.to_lanes(total(s, &kept.min_sums[b][c]))));
        }
    }
}

/// Lane r is the total of row r.
#[inline(always)]
fn total<S: RowByRow>(s: S, sums: &[S::Sums; GROUP]) -> S::Ints {
    s.join(from_fn(|i| s.total_four([sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]])))
}
