//! Matrix times columns: few of them in place from the file's blocks (`side_by_side`, or `rows` where there is nothing to prefetch
//! with), many from unpacked strips (`strips`); float weights.

use super::Simd;
use crate::activations::Columns;
use crate::cast::{Blocks, GROUP, Rows};
use crate::quant::{Float, Narrow, Wide};
use crate::team::Tile;
use core::array::from_fn;

/// Up to so many columns, unpacking a strip for them would not pay.
const FEW: usize = 2;

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `weights` holds the rows of `out`.
#[inline(always)]
pub(crate) fn matmul_narrow<S: Simd, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    if x.n > FEW {
        return s.many_narrow::<F>(weights, x, out);
    }
    s.few_narrow::<F>(weights, x, out);
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(crate) fn matmul_wide<S: Simd, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    if x.n > FEW {
        return s.many_wide::<F>(weights, x, out);
    }
    s.few_wide::<F>(weights, x, out);
}

/// [`matmul_narrow`] for float weights: 16 lanes along the row, then the fixed tree.
#[inline(always)]
pub(crate) fn matmul_float<S: Simd, F: Float>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let rows = Rows::<F::Block>::new(weights, out.rows());
    for r in 0..rows.len() {
        let row = rows.row(r);
        if x.n == 1 {
            out.column(0)[r] = float_dots::<S, F, 1>(s, row, [x.floats(0)])[0];
            continue;
        }
        for c in (0..x.n).step_by(4) {
            // Past the end, the last column again.
            let dots = float_dots::<S, F, 4>(s, row, from_fn(|k| x.floats((c + k).min(x.n - 1))));
            for (k, dot) in dots.into_iter().enumerate().take(x.n - c) {
                out.column(c + k)[r] = dot;
            }
        }
    }
}

#[cfg_attr(target_family = "wasm", inline(never))]
#[cfg_attr(not(target_family = "wasm"), inline(always))]
fn float_dots<S: Simd, F: Float, const C: usize>(s: S, row: &[F::Block], columns: [&[f32]; C]) -> [f32; C] {
    let mut acc = [s.splat(0.0); C];
    let (mut last, mut last_of) = ([bytemuck::Zeroable::zeroed(); 16], [[0.0; 16]; C]);
    for start in (0..row.len()).step_by(16) {
        let w = F::lanes(s, padded(&row[start..], &mut last));
        for c in 0..C {
            acc[c] = s.add(acc[c], s.mul(w, s.load(padded(&columns[c][start..], &mut last_of[c]))));
        }
    }
    let mut dots = [0.0; C];
    for c in 0..C {
        dots[c] = s.reduce_add(acc[c]);
    }
    dots
}

/// The first sixteen of `x`; if it has less, they are put before the zeros of `last`.
#[inline(always)]
fn padded<'a, T: Copy>(x: &'a [T], last: &'a mut [T; 16]) -> &'a [T; 16] {
    match x.first_chunk() {
        Some(whole) => whole,
        None => {
            last[..x.len()].copy_from_slice(x);
            last
        }
    }
}

/// Sixteen rows of `C` columns, as far as there are so many.
#[inline(always)]
pub(super) fn write<S: Simd, const C: usize>(
    s: S,
    out: &mut Tile<'_>,
    first: usize,
    column: usize,
    acc: [S::Lanes; C],
) {
    for (c, acc) in acc.into_iter().enumerate() {
        if column + c == out.columns() {
            return;
        }
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
    prefetch_lines(s, blocks, r, r + 1);
}

/// The same for all sixteen rows: for blocks that are small, and in loops that would not know `r`.
#[inline(always)]
pub(super) fn prefetch_all<S: Simd, B: bytemuck::Pod>(s: S, blocks: Blocks<'_, B>) {
    prefetch_lines(s, blocks, 0, GROUP);
}

#[inline(always)]
fn prefetch_lines<S: Simd, B: bytemuck::Pod>(s: S, blocks: Blocks<'_, B>, from: usize, to: usize) {
    let mut line = (from * size_of::<B>()).next_multiple_of(64);
    while line < to * size_of::<B>() {
        s.prefetch(blocks.next().wrapping_add(line));
        s.prefetch_far(blocks.next().wrapping_add(line + FAR));
        line += 64;
    }
}

/// Codes in blocks of 32.
#[inline(always)]
pub(super) fn codes32(qs: &[i8]) -> &[[u8; 32]] {
    bytemuck::cast_slice::<i8, u8>(qs).as_chunks().0
}

/// Elements `N * i..N * (i + 1)`.
#[inline(always)]
pub(super) fn array<T, const N: usize>(x: &[T], i: usize) -> &[T; N] {
    x[N * i..][..N].try_into().expect("a slice of N elements")
}
