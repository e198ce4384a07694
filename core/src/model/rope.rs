//! Rotary position embedding: how far each pair of dimensions turns per position. "RoPE" in `docs/numerics.md`.

use super::config::Keys;
use super::{Config, LoadError};
use alloc::vec::Vec;

/// How RoPE is stretched beyond the context first trained for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Positions are divided by this, wholly (linear) or as YaRN says.
    pub factor: f32,
    /// What YaRN needs besides.
    pub yarn: Option<Yarn>,
    /// Cosine and sine are multiplied by this.
    pub attention_factor: f32,
    /// Positions first trained for.
    pub original_context: Option<usize>,
}

/// The numbers of YaRN (Peng and others, 2023): pairs that turn more than `beta_fast` times within the original context keep
/// their frequency, those that turn less than `beta_slow` times have it divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// 32 where the file does not say.
    pub beta_fast: f32,
    /// 1 where the file does not say.
    pub beta_slow: f32,
}

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

impl Scaling {
    const NONE: Scaling = Scaling { factor: 1.0, yarn: None, attention_factor: 1.0, original_context: None };

    pub(super) fn from_keys(keys: &Keys<'_>) -> Result<Self, LoadError> {
        let (kind_key, factor_key) = ("rope.scaling.type", "rope.scaling.factor");
        let original_context = keys.optional_count("rope.scaling.original_context_length", usize::MAX)?;
        let attention_factor = keys.optional_positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
        let scaling = Scaling { attention_factor, original_context, ..Self::NONE };
        let kind = keys.raw.text(kind_key)?;
        match kind {
            Some("none" | "longrope") => Ok(scaling),
            // Where a factor stands alone, it is linear.
            None => {
                let old = keys.optional_positive("rope.scale_linear")?;
                let factor = keys.optional_positive(factor_key)?.or(old).unwrap_or(1.0);
                Ok(Scaling { factor, ..scaling })
            }
            Some("linear") => Ok(Scaling { factor: keys.require_positive(factor_key)?, ..scaling }),
            Some("yarn") => {
                let beta = |key| keys.optional_positive(key);
                let yarn = Yarn {
                    beta_fast: beta("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    beta_slow: beta("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                };
                let original_context = Some(keys.count("rope.scaling.original_context_length", usize::MAX)?);
                match keys.require_positive(factor_key)? {
                    factor if factor >= 1.0 => Ok(Scaling { factor, yarn: Some(yarn), original_context, ..scaling }),
                    factor => Err(keys.raw.bad(factor_key, factor, "must be at least 1")),
                }
            }
            Some(other) => Err(keys.raw.bad(kind_key, other, "supported: none, linear, yarn, longrope")),
        }
    }
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
