//! Matrix times few columns, in place from the file's blocks: 16 rows at a time, lanes are rows. (Many columns: `strips`.)
//!
//! ```text
//!   for 16 rows, for C columns:
//!       for each block:  isum[row] = codes(row) · x          exact, transposed so that a lane is a row
//!                        acc = acc + (dw * dx) * f32(isum)    one chain per (row, column), in block order
//! ```
//! Past the last row, the last row is computed again and dropped. Sixteen rows at a time are sixteen streams that a prefetcher does
//! not follow, so each block of a group asks for its share of the next group, which lies behind it in one piece.

use super::{Bytewise, Range, RowSums, Simd, strips};
use crate::kernels::activations::{Column, Columns};
use crate::kernels::cast::{Blocks, GROUP, Group, Rows};
use crate::kernels::quant::{F16, Float, Narrow, Scale, Wide};
use crate::team::Tile;
use core::array::from_fn;

/// Up to so many columns, unpacking a strip for them would not pay.
const FEW: usize = 2;

/// Calls `$kernel::<C>(first column)` for groups of 4 columns, then for what is left.
macro_rules! column_groups {
    ($n:expr, |$c:ident, $width:ident| $body:expr) => {{
        let n = $n;
        let mut $c = 0;
        while $c + 4 <= n {
            const $width: usize = 4;
            $body;
            $c += 4;
        }
        if $c + 2 <= n {
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

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `weights` holds the rows of `out`.
#[inline(always)]
pub(in crate::kernels) fn matmul_narrow<S: Simd, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    if x.n > FEW {
        return strips::matmul_narrow::<S, F>(s, weights, x, out);
    }
    few_narrow::<S::Row, F>(s.row(), weights, x, out);
}

#[inline(always)]
fn few_narrow<S: Bytewise, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
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
        let isum = s.sum_rows(&NarrowBlock::<S, F, C> { blocks, x });
        let mut stored = [F::scale(blocks.row(0)); 16];
        for r in 1..16 {
            stored[r] = F::scale(blocks.row(r));
        }
        let dw = F::Scale::lanes(s, stored);
        for c in 0..C {
            let (dx, xsum) = (s.splat(scales[c][b]), i32::from(sums[c][b]));
            let isum = if F::OFFSET == 0 { isum[c] } else { s.sub_ints(isum[c], s.splat_int(F::OFFSET * xsum)) };
            acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum)));
        }
        if F::HAS_MIN {
            let mut stored = [F16::ZERO; 16];
            for r in 0..16 {
                stored[r] = F::min(blocks.row(r));
            }
            let mw = F16::lanes(s, stored);
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
            let x = self.x[c];
            sums[c] = if F::CODES == Range::Signed { s.dot_signed(codes, x) } else { s.dot_unsigned(codes, x) };
        }
        sums
    }
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(in crate::kernels) fn matmul_wide<S: Simd, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    if x.n > FEW {
        return strips::matmul_wide::<S, F>(s, weights, x, out);
    }
    few_wide::<S::Row, F>(s.row(), weights, x, out);
}

#[inline(always)]
fn few_wide<S: Bytewise, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
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
        let isum = s.sum_rows(&block);
        let mut stored = [F16::ZERO; 16];
        for r in 0..16 {
            stored[r] = F::scale(blocks.row(r));
        }
        let dw = F16::lanes(s, stored);
        for c in 0..C {
            let dx = s.splat(scales[c][b]);
            acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum[c])));
        }
        if F::HAS_MIN {
            let msum = s.sum_rows(&WideMins(&block));
            for r in 0..16 {
                stored[r] = F::min(blocks.row(r)).negated();
            }
            let mw = F16::lanes(s, stored);
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
                let dot = if F::CODES == Range::Signed {
                    s.dot_scaled_signed(codes, x, scales, j)
                } else {
                    s.dot_scaled(codes, x, scales, j)
                };
                sums[c] = s.add_sums(sums[c], dot);
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

/// [`matmul_narrow`] for float weights: 16 lanes along the row, then the fixed tree.
#[inline(always)]
pub(in crate::kernels) fn matmul_float<S: Simd, F: Float>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    for r in 0..rows.len() {
        let row = rows.row(r);
        column_groups!(x.n, |c, C| {
            let columns: [&[f32]; C] = from_fn(|k| x.floats(c + k));
            for (k, dot) in float_dots::<S, F, C>(s, row, &columns).into_iter().enumerate() {
                out.column(c + k)[r] = dot;
            }
        });
    }
}

#[inline(always)]
fn float_dots<S: Simd, F: Float, const C: usize>(s: S, row: &[F::Block], columns: &[&[f32]; C]) -> [f32; C] {
    let mut acc = [s.splat(0.0); C];
    let (whole, rest) = row.as_chunks::<16>();
    for (i, blocks) in whole.iter().enumerate() {
        let w = F::lanes(s, blocks);
        for c in 0..C {
            acc[c] = s.add(acc[c], s.mul(w, s.load(array(columns[c], i))));
        }
    }
    if !rest.is_empty() {
        let zero: F::Block = bytemuck::Zeroable::zeroed();
        let w = F::lanes(s, &from_fn(|i| rest.get(i).copied().unwrap_or(zero)));
        for c in 0..C {
            let tail = &columns[c][whole.len() * 16..];
            acc[c] = s.add(acc[c], s.mul(w, s.load(&from_fn(|i| tail.get(i).copied().unwrap_or(0.0)))));
        }
    }
    let mut dots = [0.0; C];
    for c in 0..C {
        dots[c] = s.reduce_add(acc[c]);
    }
    dots
}

#[inline(always)]
pub(super) fn write<S: Simd, const C: usize>(
    s: S,
    out: &mut Tile<'_>,
    first: usize,
    column: usize,
    acc: [S::Lanes; C],
) {
    for (c, acc) in acc.into_iter().enumerate() {
        let out = &mut out.column(column + c)[first..];
        match out.first_chunk_mut::<16>() {
            Some(out) => *out = s.store(acc),
            None => out.copy_from_slice(&s.store(acc)[..out.len()]),
        }
    }
}

/// How far ahead lines are asked for, to be brought into the L2 cache. Measured: 4 and 64 KB are slower.
const FAR: usize = 16 << 10;

/// Asks for the lines of the next group that lie where row `r` of these blocks would, if a row followed the other, and for those that
/// are [`FAR`] behind them. Bit by bit: a CPU has room for a dozen requests or so, and waits when there are more.
#[inline(always)]
pub(super) fn prefetch<S: Simd, B: bytemuck::Pod>(s: S, blocks: Blocks<'_, B>, r: usize) {
    let mut line = (r * size_of::<B>()).next_multiple_of(64);
    while line < (r + 1) * size_of::<B>() {
        s.prefetch(blocks.next().wrapping_add(line));
        s.prefetch_far(blocks.next().wrapping_add(line + FAR));
        line += 64;
    }
}

/// Codes in blocks of 32.
#[inline(always)]
fn codes32(qs: &[i8]) -> &[[u8; 32]] {
    bytemuck::cast_slice::<i8, u8>(qs).as_chunks().0
}

/// Elements `N * i..N * (i + 1)`.
#[inline(always)]
pub(super) fn array<T, const N: usize>(x: &[T], i: usize) -> &[T; N] {
    x[N * i..][..N].try_into().expect("a slice of N elements")
}
