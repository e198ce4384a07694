//! Kernels on float vectors: quantising, norms, gates, f16.

use super::Simd;
use super::matmul::array;
use crate::kernels::activations::{ColumnMut, span};
use crate::kernels::math;

/// Quantises one column in blocks of `block`. Returns false if a value is not finite.
#[inline(always)]
pub(in crate::kernels) fn quantize<S: Simd>(s: S, x: &[f32], block: usize, out: ColumnMut<'_>) -> bool {
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
pub(in crate::kernels) fn rms_norm<S: Simd>(s: S, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut acc = s.splat(0.0);
    let (whole, rest) = x.as_chunks::<16>();
    for x in whole {
        let x = s.load(x);
        acc = s.add(acc, s.mul(x, x));
    }
    if !rest.is_empty() {
        let x = s.load(&core::array::from_fn(|i| rest.get(i).copied().unwrap_or(0.0)));
        acc = s.add(acc, s.mul(x, x));
    }
    let scale = 1.0 / math::sqrt(s.reduce_add(acc) / x.len() as f32 + eps);
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * w;
    }
}

/// `out = silu(gate) * up`.
#[inline(always)]
pub(in crate::kernels) fn silu_mul<S: Simd>(_: S, gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
        *out = math::silu(*g) * u;
    }
}

/// Rounds to f16, to nearest even. A value too large becomes an infinity.
#[inline(always)]
pub(in crate::kernels) fn to_f16<S: Simd>(s: S, x: &[f32], out: &mut [u16]) {
    let whole = x.len() / 16;
    for i in 0..whole {
        out[16 * i..][..16].copy_from_slice(&s.to_f16(s.load(array(x, i))));
    }
    for (x, out) in x[16 * whole..].iter().zip(&mut out[16 * whole..]) {
        *out = half::f16::from_f32(*x).to_bits();
    }
}
