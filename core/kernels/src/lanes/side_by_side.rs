//! Matrix times one or two columns, in place from the file's blocks: 16 rows side by side, lanes are rows.
//!
//! ```text
//!   for 16 rows, for C columns:
//!       for each block:  isum[row] = codes(row) · x          exact, transposed so that a lane is a row
//!                        acc = acc + (dw * dx) * f32(isum)    one chain per (row, column), in block order
//! ```
//! Past the last row, the last row is computed again and dropped. Sixteen rows at a time are sixteen streams that a prefetcher does
//! not follow, so each block of a group asks for its share of the next group, which lies behind it in one piece.

use super::access::{codes32, prefetch, write};
use crate::cast::{Blocks, GROUP, Group, Rows};
use crate::operand::{Column, Columns};
use crate::quant::{Half, Narrow, Scale, Wide};
use crate::simd::{Bytewise, CodeRange};
use crate::team::Tile;
use core::array::from_fn;

/// Calls `$kernel::<C>(first column)` for groups of 2 columns, then for what is left.
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

/// The partial sums of 16 rows, each computed when it is asked for, so that few are alive at once.
///
/// A trait and not a closure: a closure could not be `#[inline(always)]`, and one that is not inlined is compiled without the
/// instruction set.
trait RowSums<S: Bytewise, const C: usize> {
    /// The sums of row `r`, for `C` columns.
    fn row(&self, s: S, r: usize) -> [S::Sums; C];
}

/// Lane r is the total of row r, for each column. Eight rows at a time, as code for sixteen would be twice as long.
#[inline(always)]
fn sum_rows<S: Bytewise, const C: usize>(s: S, rows: &impl RowSums<S, C>) -> [S::Ints; C] {
    let mut fours = [[s.total_four([s.no_sums(); 4]); 4]; C];
    for half in 0..2 {
        let (a, b) = (four_rows(s, rows, 8 * half), four_rows(s, rows, 8 * half + 4));
        for c in 0..C {
            fours[c][2 * half] = a[c];
            fours[c][2 * half + 1] = b[c];
        }
    }
    let mut out = [s.join(fours[0]); C];
    for c in 1..C {
        out[c] = s.join(fours[c]);
    }
    out
}

/// The totals of rows `first..first + 4`.
#[inline(always)]
fn four_rows<S: Bytewise, const C: usize>(s: S, rows: &impl RowSums<S, C>, first: usize) -> [S::Fours; C] {
    let (a, b) = (rows.row(s, first), rows.row(s, first + 1));
    let (c, d) = (rows.row(s, first + 2), rows.row(s, first + 3));
    let mut out = [s.total_four([a[0], b[0], c[0], d[0]]); C];
    for i in 1..C {
        out[i] = s.total_four([a[i], b[i], c[i], d[i]]);
    }
    out
}

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `weights` holds the rows of `out`.
#[inline(always)]
pub(crate) fn matmul_narrow<S: Bytewise, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    for first in (0..rows.len()).step_by(GROUP) {
        let group = rows.group(first);
        column_groups!(x.n, |c, C| {
            let columns = x.narrow::<C>(c);
            write(s, out, first, c, narrow_group::<S, F, C>(s, &group, &columns));
        });
    }
}

#[inline(always)]
fn narrow_group<S: Bytewise, F: Narrow, const C: usize>(
    s: S,
    group: &Group<'_, F::Block>,
    columns: &[Column<'_>; C],
) -> [S::Lanes; C] {
    let mut acc = [s.splat(0.0); C];
    let n = group.len();
    let offset = if F::CODES == CodeRange::Signed { s.dot_offset() } else { F::OFFSET };
    // Cut to the length of the loop, which spares checking each index.
    let qs: [&[[u8; 32]]; C] = from_fn(|c| &codes32(columns[c].qs)[..n]);
    let scales: [&[f32]; C] = from_fn(|c| &columns[c].scales[..n]);
    let sums: [&[i16]; C] = from_fn(|c| &columns[c].sums[..n]);
    for b in 0..n {
        let blocks = group.blocks(b);
        let mut x = [s.load_bytes(&qs[0][b]); C];
        for c in 1..C {
            x[c] = s.load_bytes(&qs[c][b]);
        }
        let isum = sum_rows(s, &NarrowBlock::<S, F, C> { blocks, x });
        let mut stored = [F::scale(blocks.row(0)); 16];
        for r in 1..16 {
            stored[r] = F::scale(blocks.row(r));
        }
        let dw = F::Scale::lanes(s, stored);
        for c in 0..C {
            let (dx, xsum) = (s.splat(scales[c][b]), i32::from(sums[c][b]));
            let isum = if offset == 0 { isum[c] } else { s.sub_ints(isum[c], s.splat_int(offset * xsum)) };
            acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum)));
        }
        if F::HAS_MIN {
            let mut stored = [Half::ZERO; 16];
            for r in 0..16 {
                stored[r] = F::min(blocks.row(r));
            }
            let mw = Half::lanes(s, stored);
            for c in 0..C {
                let (dx, xsum) = (s.splat(scales[c][b]), s.splat(f32::from(sums[c][b])));
                acc[c] = s.add(acc[c], s.mul(s.mul(mw, dx), xsum));
            }
        }
    }
    acc
}

/// Block `b` of 16 rows, and of the columns.
struct NarrowBlock<'a, S: Bytewise, F: Narrow, const C: usize> {
    blocks: Blocks<'a, F::Block>,
    x: [S::Bytes; C],
}

impl<S: Bytewise, F: Narrow, const C: usize> RowSums<S, C> for NarrowBlock<'_, S, F, C> {
    #[inline(always)]
    fn row(&self, s: S, r: usize) -> [S::Sums; C] {
        prefetch(s, self.blocks, r);
        let codes = F::codes(s, self.blocks.row(r));
        let mut sums = [s.no_sums(); C];
        for c in 0..C {
            sums[c] = s.dot(codes, self.x[c], F::CODES);
        }
        sums
    }
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(crate) fn matmul_wide<S: Bytewise, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    for first in (0..rows.len()).step_by(GROUP) {
        let group = rows.group(first);
        column_groups!(x.n, |c, C| {
            let columns = x.wide::<C>(c);
            write(s, out, first, c, wide_group::<S, F, C>(s, &group, &columns));
        });
    }
}

#[inline(always)]
fn wide_group<S: Bytewise, F: Wide, const C: usize>(
    s: S,
    group: &Group<'_, F::Block>,
    columns: &[Column<'_>; C],
) -> [S::Lanes; C] {
    let mut acc = [s.splat(0.0); C];
    let n = group.len();
    let qs: [&[[[u8; 32]; 8]]; C] = from_fn(|c| &codes32(columns[c].qs).as_chunks().0[..n]);
    let scales: [&[f32]; C] = from_fn(|c| &columns[c].scales[..n]);
    let sums: [&[[i16; 16]]; C] = from_fn(|c| &columns[c].sums.as_chunks().0[..n]);
    for b in 0..n {
        let blocks = group.blocks(b);
        let block = WideBlock::<F, C> { blocks, qs: from_fn(|c| &qs[c][b]), sums: from_fn(|c| &sums[c][b]) };
        let isum = sum_rows(s, &block);
        let mut stored = [Half::ZERO; 16];
        for r in 0..16 {
            stored[r] = F::scale(blocks.row(r));
        }
        let dw = Half::lanes(s, stored);
        for c in 0..C {
            let dx = s.splat(scales[c][b]);
            acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum[c])));
        }
        if F::HAS_MIN {
            let msum = sum_rows(s, &WideMins(&block));
            for r in 0..16 {
                stored[r] = F::min(blocks.row(r)).negated();
            }
            let mw = Half::lanes(s, stored);
            for c in 0..C {
                let dx = s.splat(scales[c][b]);
                acc[c] = s.add(acc[c], s.mul(s.mul(mw, dx), s.to_lanes(msum[c])));
            }
        }
    }
    acc
}

/// Block `b` of 16 rows times the columns: sub-scale times (code - OFFSET) times x.
struct WideBlock<'a, F: Wide, const C: usize> {
    blocks: Blocks<'a, F::Block>,
    qs: [&'a [[u8; 32]; 8]; C],
    sums: [&'a [i16; 16]; C],
}

impl<S: Bytewise, F: Wide, const C: usize> RowSums<S, C> for WideBlock<'_, F, C> {
    #[inline(always)]
    fn row(&self, s: S, r: usize) -> [S::Sums; C] {
        prefetch(s, self.blocks, r);
        let block = self.blocks.row(r);
        let scales = F::sub_scales(s, block);
        let mut sums = [s.no_sums(); C];
        if F::OFFSET != 0 {
            for c in 0..C {
                sums[c] = s.dot_sums(scales, -(F::OFFSET as i16), self.sums[c]);
            }
        }
        for j in 0..8 {
            let codes = F::codes(s, block, j);
            for c in 0..C {
                let x = s.load_bytes(&self.qs[c][j]);
                sums[c] = s.add_sums(sums[c], s.dot_scaled(codes, x, scales, j, F::CODES));
            }
        }
        sums
    }
}

/// The minima of the same block times the sums of the columns.
struct WideMins<'a, F: Wide, const C: usize>(&'a WideBlock<'a, F, C>);

impl<S: Bytewise, F: Wide, const C: usize> RowSums<S, C> for WideMins<'_, F, C> {
    #[inline(always)]
    fn row(&self, s: S, r: usize) -> [S::Sums; C] {
        let mins = F::sub_mins(s, self.0.blocks.row(r));
        let mut sums = [s.no_sums(); C];
        for c in 0..C {
            sums[c] = s.dot_sums(mins, 1, self.0.sums[c]);
        }
        sums
    }
}
