//! How RoPE is stretched, as a file says it: "RoPE" in `docs/numerics.md`.

use super::LoadError;
use super::keys::Keys;

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
