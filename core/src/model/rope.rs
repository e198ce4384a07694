//! Rotary position embedding: how far each pair of dimensions turns per position. "RoPE" in `docs/numerics.md`.

use super::{Config, Yarn};
use alloc::vec::Vec;

/// One table of frequencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// (rope_dims / 2): radians per position of each pair
    pub freqs: Vec<f64>,
    /// A context, and the table of sessions that may grow longer (long-RoPE).
    pub long: Option<(usize, Vec<f64>)>,
    /// Cosine and sine are multiplied by this.
    pub magnitude: f64,
}

impl Rope {
    /// The table of layers that see everything, stretched as the file says.
    pub(super) fn global(c: &Config) -> Rope {
        let (scaling, base) = (&c.rope_scaling, f64::from(c.rope_bases[0]));
        let (factor, attention) = (f64::from(scaling.factor), f64::from(scaling.attention_factor));
        let plain = powers(base, c.rope_dims);
        match scaling.yarn.zip(scaling.original_context) {
            None => {
                let freqs = plain.map(|freq| freq / factor).collect();
                Rope { freqs, long: None, magnitude: attention }
            }
            Some((yarn, original)) => {
                let freqs = plain
                    .zip(yarn.kept(base, c.rope_dims, original))
                    .map(|(f, kept)| f / factor * (1.0 - kept) + f * kept);
                Rope { freqs: freqs.collect(), long: None, magnitude: attention * (1.0 + 0.1 * libm::log(factor)) }
            }
        }
    }

    /// The table of layers that see a window: never stretched.
    pub(super) fn local(c: &Config) -> Rope {
        Rope { freqs: powers(f64::from(c.rope_bases[1]), c.rope_dims).collect(), long: None, magnitude: 1.0 }
    }

    /// The frequencies for a session of up to `context` tokens.
    pub fn freqs(&self, context: usize) -> &[f64] {
        match &self.long {
            Some((original, long)) if context > *original => long,
            _ => &self.freqs,
        }
    }
}

/// `base^(-2i / n)` for each pair i of n dimensions.
fn powers(base: f64, dims: usize) -> impl Iterator<Item = f64> {
    (0..dims / 2).map(move |i| libm::pow(base, -2.0 * i as f64 / dims as f64))
}

impl Yarn {
    /// The share of its frequency that each pair keeps: a ramp from 1 to 0 between two pairs.
    fn kept(self, base: f64, dims: usize, original_context: usize) -> impl Iterator<Item = f64> {
        let (n, context) = (dims as f64, original_context as f64);
        // The pair that turns `beta` times within the original context.
        let pair = |beta: f32| {
            n * libm::log(context / (f64::from(beta) * 2.0 * core::f64::consts::PI)) / (2.0 * libm::log(base))
        };
        let low = libm::floor(pair(self.beta_fast)).max(0.0);
        let high = libm::ceil(pair(self.beta_slow)).min(n - 1.0);
        let width = (high - low).max(0.001);
        (0..dims / 2).map(move |i| 1.0 - ((i as f64 - low) / width).clamp(0.0, 1.0))
    }
}
