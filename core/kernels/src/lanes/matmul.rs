//! Matrix times columns: few of them in place from the file's blocks (`side_by_side`, or `rows` where there is nothing to prefetch
//! with), many from unpacked strips (`strips`); float weights.

use super::{rows, side_by_side, strips};
use crate::cast::Rows;
use crate::operand::Columns;
use crate::quant::{Float, Narrow, Wide};
use crate::simd::Simd;
use crate::team::Tile;
use core::array::from_fn;

/// Up to so many columns, unpacking a strip for them would not pay.
const FEW: usize = 2;

/// `out[c][r] = weights[r] · x[c]`; `weights` holds the rows of `out`. An instruction set may have something to choose first.
pub(crate) trait Products: Simd {
    /// For formats of floats.
    #[inline(always)]
    fn matmul_float<F: Float>(self, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
        matmul_float::<Self, F>(self, weights, x, out);
    }

    /// For formats of blocks of 32.
    #[inline(always)]
    fn matmul_narrow<F: Narrow>(self, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
        matmul_narrow::<Self, F>(self, weights, x, out);
    }

    /// For the K formats.
    #[inline(always)]
    fn matmul_wide<F: Wide>(self, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
        matmul_wide::<Self, F>(self, weights, x, out);
    }
}

#[inline(always)]
pub(crate) fn matmul_narrow<S: Simd, F: Narrow>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    match x.n {
        0..=FEW if S::PREFETCHES => side_by_side::matmul_narrow::<_, F>(s.row(), weights, x, out),
        0..=FEW => rows::matmul_narrow::<_, F>(s.row(), weights, x, out),
        _ => strips::matmul_narrow::<_, F>(s, weights, x, out),
    }
}

#[inline(always)]
pub(crate) fn matmul_wide<S: Simd, F: Wide>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    match x.n {
        0..=FEW if S::PREFETCHES => side_by_side::matmul_wide::<_, F>(s.row(), weights, x, out),
        0..=FEW => rows::matmul_wide::<_, F>(s.row(), weights, x, out),
        _ => strips::matmul_wide::<_, F>(s, weights, x, out),
    }
}

/// 16 lanes along the row, then the fixed tree.
#[inline(always)]
fn matmul_float<S: Simd, F: Float>(s: S, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
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

apart! {
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
