//! Rotary position embedding: tables computed in f64, applied in f32.

use crate::model::arch::RopePairs;

/// Writes cos and sin of `position * freq`, times `magnitude`, for each pair: (pairs) each.
pub(super) fn table(position: usize, freqs: &[f64], magnitude: f64, cos: &mut [f32], sin: &mut [f32]) {
    for ((freq, cos), sin) in freqs.iter().zip(cos).zip(sin) {
        let angle = position as f64 * freq;
        *cos = (libm::cos(angle) * magnitude) as f32;
        *sin = (libm::sin(angle) * magnitude) as f32;
    }
}

/// Turns the first `2 * cos.len()` dimensions of a head.
pub(super) fn rotate(head: &mut [f32], pairs: RopePairs, cos: &[f32], sin: &[f32]) {
    let n = cos.len();
    for i in 0..n {
        let (first, second) = match pairs {
            RopePairs::Neighbours => (2 * i, 2 * i + 1),
            RopePairs::Halves => (i, i + n),
        };
        let (a, b) = (head[first], head[second]);
        head[first] = a * cos[i] - b * sin[i];
        head[second] = a * sin[i] + b * cos[i];
    }
}
