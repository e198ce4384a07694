//! Kernels on float vectors: quantising, norms, gates, f16.

use super::access::array;
use crate::math;
use crate::operand::{Activation, ColumnMut, span};
use crate::simd::Simd;

/// Quantises one column in blocks of `block`. Returns false if a value is not finite.
#[inline(always)]
pub(crate) fn quantize<S: Simd>(s: S, x: &[f32], block: usize, out: ColumnMut<'_>) -> bool {
    let mut finite = true;
    let mut sums = out.sums.chunks_exact_mut(block / span(block));
    for ((x, qs), scale) in x.chunks_exact(block).zip(out.qs.chunks_exact_mut(block)).zip(out.scales) {
        // The bits of |x| order like |x|, and non-finite values come last: a maximum without NaN rules.
        let bits = x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff));
        let amax = f32::from_bits(bits);
        finite &= amax.is_finite();
        let d = amax / 127.0;
        *scale = d;
        if d == 0.0 || !amax.is_finite() {
            qs.fill(0);
        } else {
            for (x, q) in x.as_chunks::<16>().0.iter().zip(qs.as_chunks_mut::<16>().0) {
                let rounded = s.round(s.div(s.load(x), s.splat(d)));
                for i in 0..16 {
                    q[i] = rounded[i].clamp(-127, 127) as i8;
                }
            }
        }
        for (sum, qs) in sums.next().expect("sums for each block").iter_mut().zip(qs.chunks_exact(span(block))) {
            *sum = qs.iter().map(|&q| i16::from(q)).sum();
        }
    }
    finite
}

/// RMS norm: `out = x * (1 / sqrt(mean(x²) + eps)) * w`.
#[inline(always)]
pub(crate) fn rms_norm<S: Simd>(s: S, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = 1.0 / math::sqrt(sum_of_squares(s, x) / x.len() as f32 + eps);
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * w;
    }
}

/// Layer norm: `out = d * (1 / sqrt(mean(d²) + eps)) * w + b` with `d = x - mean(x)`.
#[inline(always)]
pub(crate) fn layer_norm<S: Simd>(s: S, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mut sum = s.splat(0.0);
    for i in 0..x.len().div_ceil(16) {
        sum = s.add(sum, s.load(&padded(x, i)));
    }
    let mean = s.reduce_add(sum) / n;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    let scale = 1.0 / math::sqrt(sum_of_squares(s, out) / n + eps);
    for ((out, w), b) in out.iter_mut().zip(weight).zip(bias) {
        *out = (*out * scale) * w + b;
    }
}

#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut acc = s.splat(0.0);
    for i in 0..x.len().div_ceil(16) {
        let x = s.load(&padded(x, i));
        acc = s.add(acc, s.mul(x, x));
    }
    s.reduce_add(acc)
}

/// Values `16 i..16 i + 16`, zeros past the end.
#[inline(always)]
fn padded(x: &[f32], i: usize) -> [f32; 16] {
    let x = &x[16 * i..];
    match x.first_chunk() {
        Some(x) => *x,
        None => {
            let mut lanes = [0.0; 16];
            lanes[..x.len()].copy_from_slice(x);
            lanes
        }
    }
}

/// `out = f(x)`, or `f(x) * up`.
#[inline(always)]
pub(crate) fn activate<S: Simd>(s: S, f: Activation, x: &[f32], up: Option<&[f32]>, out: &mut [f32]) {
    match f {
        Activation::Silu => {
            let ((tiles, rest), (of_tiles, of_rest)) = (out.as_chunks_mut::<16>(), x.as_chunks::<16>());
            for (out, x) in tiles.iter_mut().zip(of_tiles) {
                let gate = s.load(x);
                let divisor = s.add(s.splat(1.0), s.exp(s.mul(gate, s.splat(-1.0))));
                *out = s.store(s.div(gate, divisor));
            }
            for (out, x) in rest.iter_mut().zip(of_rest) {
                *out = math::silu(*x);
            }
        }
        Activation::Gelu => {
            for (out, x) in out.iter_mut().zip(x) {
                *out = math::gelu(*x);
            }
        }
    }
    if let Some(up) = up {
        for (out, up) in out.iter_mut().zip(up) {
            *out *= up;
        }
    }
}

/// `x = cap * tanh(x / cap)`.
#[inline(always)]
pub(crate) fn soft_cap<S: Simd>(_: S, x: &mut [f32], cap: f32) {
    for x in x {
        *x = math::soft_cap(*x, cap);
    }
}

/// Rounds to f16, to nearest even. A value too large becomes an infinity.
#[inline(always)]
pub(crate) fn to_f16<S: Simd>(s: S, x: &[f32], out: &mut [u16]) {
    let whole = x.len() / 16;
    for i in 0..whole {
        out[16 * i..][..16].copy_from_slice(&s.to_f16(s.load(array(x, i))));
    }
    for (x, out) in x[16 * whole..].iter().zip(&mut out[16 * whole..]) {
        *out = half::f16::from_f32(*x).to_bits();
    }
}
