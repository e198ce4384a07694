//! Hyperparameters one by one: what a key has to be, and what it means where it is missing.

use super::arch::{Arch, LocalRope, NormKind, Window};
use super::{LoadError, Raw, RawValue, limit};
use alloc::format;
use alloc::vec::Vec;

/// The numbers of a mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experts {
    /// Experts in a layer.
    pub count: usize,
    /// Experts that see a token.
    pub used: usize,
    /// Width inside an expert.
    pub feed_forward: usize,
}

/// Look-ups of this architecture's keys.
pub(super) struct Keys<'a> {
    pub(super) raw: &'a Raw,
    pub(super) arch: &'static Arch,
}

impl Keys<'_> {
    /// A number from 1 to `max`, `None` if absent.
    pub(super) fn optional_count(&self, key: &str, max: usize) -> Result<Option<usize>, LoadError> {
        let found = match self.raw.get(key) {
            Some(RawValue::Ints(list)) => Some(self.same_for_all(key, list)?),
            _ => self.raw.u32(key)?,
        };
        match found {
            None => Ok(None),
            Some(n) if n >= 1 && n as usize <= max => Ok(Some(n as usize)),
            Some(n) => Err(self.raw.bad(key, n, format!("must be 1 to {max}"))),
        }
    }

    /// A number that is written once for each layer, and has to be the same.
    pub(super) fn same_for_all(&self, key: &str, list: &[i64]) -> Result<u32, LoadError> {
        let first = list.first().filter(|first| list.iter().all(|n| n == *first));
        let number = first.and_then(|&n| u32::try_from(n).ok());
        number.ok_or_else(|| self.raw.bad(key, "a list", "one number for all layers is supported"))
    }

    /// Keys that change results in ways picolm does not know, unless they say what it does.
    pub(super) fn refuse_what_is_not_done(&self) -> Result<(), LoadError> {
        // (Granite's RoPE is switched off by the second.)
        for key in ["attention.causal", "rope.scaling.finetuned"] {
            if self.raw.bool(key)? == Some(false) && (key == "attention.causal" || self.arch.scales) {
                return Err(self.raw.bad(key, false, "only true is supported"));
            }
        }
        let floats = [
            ("rope.scaling.yarn_ext_factor", 1.0),
            ("rope.scaling.yarn_attn_factor", 1.0),
            ("rope.scaling.yarn_log_multiplier", 0.0),
        ];
        for (key, done) in floats {
            match self.raw.f32(key)? {
                Some(value) if value != done => {
                    return Err(self.raw.bad(key, value, format!("only {done} is supported")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn attention_scale(&self) -> Result<f32, LoadError> {
        let key = "attention.scale";
        match self.require_positive(key)? {
            scale if scale <= limit::ATTENTION_SCALE => Ok(scale),
            scale => Err(self.raw.bad(key, scale, format!("must be at most {}", limit::ATTENTION_SCALE))),
        }
    }

    /// Logits are divided by what the file says.
    pub(super) fn logit_scale(&self) -> Result<f32, LoadError> {
        let (key, divisor) = ("logit_scale", self.require_positive("logit_scale")?);
        match 1.0 / divisor {
            scale if scale.is_finite() => Ok(scale),
            _ => Err(self.raw.bad(key, divisor, "is too small to divide by")),
        }
    }

    pub(super) fn count(&self, key: &str, max: usize) -> Result<usize, LoadError> {
        let value = self.optional_count(key, max)?;
        value.ok_or_else(|| self.raw.missing(key))
    }

    /// `attention.key_length`, or the embedding divided by the heads, as the format defines it.
    pub(super) fn head_dim(&self, embedding: usize, heads: usize) -> Result<usize, LoadError> {
        let key = self.optional_count("attention.key_length", limit::HEAD_DIM)?;
        let value = self.optional_count("attention.value_length", limit::HEAD_DIM)?;
        let head_dim = match key {
            Some(n) => n,
            None if embedding.is_multiple_of(heads) => embedding / heads,
            None => {
                return Err(self.raw.bad(
                    "attention.head_count",
                    heads,
                    format!("must divide the embedding, {embedding}"),
                ));
            }
        };
        match value {
            Some(n) if n != head_dim => {
                Err(self.raw.bad("attention.value_length", n, format!("must equal the key length, {head_dim}")))
            }
            _ if head_dim > limit::HEAD_DIM => {
                Err(self.raw.bad("attention.head_count", heads, format!("heads of {head_dim} are too wide")))
            }
            _ => Ok(head_dim),
        }
    }

    pub(super) fn positive(&self, key: &str, value: f32) -> Result<f32, LoadError> {
        if value.is_finite() && value > 0.0 {
            return Ok(value);
        }
        Err(self.raw.bad(key, value, "must be a positive number"))
    }

    pub(super) fn optional_positive(&self, key: &str) -> Result<Option<f32>, LoadError> {
        self.raw.f32(key)?.map(|value| self.positive(key, value)).transpose()
    }

    pub(super) fn require_positive(&self, key: &str) -> Result<f32, LoadError> {
        self.positive(key, self.raw.f32(key)?.ok_or_else(|| self.raw.missing(key))?)
    }

    pub(super) fn eps(&self) -> Result<f32, LoadError> {
        self.require_positive(match self.arch.norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        })
    }

    pub(super) fn rope_base(&self) -> Result<f32, LoadError> {
        let key = "rope.freq_base";
        let base = self.optional_positive(key)?.or(self.arch.rope_base);
        base.ok_or_else(|| self.raw.missing(key))
    }

    pub(super) fn local_rope_base(&self, base: f32) -> Result<f32, LoadError> {
        match self.arch.local_rope {
            LocalRope::Same | LocalRope::Unstretched => Ok(base),
            LocalRope::Base(local) => Ok(self.optional_positive("rope.freq_base_swa")?.unwrap_or(local)),
        }
    }

    /// Absent or 0: no cap, unless the architecture has them.
    pub(super) fn cap(&self, key: &str) -> Result<Option<f32>, LoadError> {
        match self.raw.f32(key)? {
            None if self.arch.soft_caps => Err(self.raw.missing(key)),
            None | Some(0.0) => Ok(None),
            Some(cap) => self.positive(key, cap).map(Some),
        }
    }

    /// The window of each layer.
    pub(super) fn windows(&self, layers: usize) -> Result<Vec<Option<usize>>, LoadError> {
        let key = "attention.sliding_window";
        let window = match (self.raw.u32(key)?, self.arch.window) {
            (None, Window::AllBut(_)) => return Err(self.raw.missing(key)),
            (Some(0), Window::AllBut(_)) => return Err(self.raw.bad(key, 0, "must be at least 1")),
            (None | Some(0), _) => None,
            (Some(window), _) => Some(window as usize),
        };
        let every = match self.arch.window {
            Window::Found => None,
            Window::AllBut(n) | Window::FoundAllBut(n) => Some(n),
        };
        let pattern = "attention.sliding_window_pattern";
        let (every, listed) = match self.raw.get(pattern) {
            None => (every, None),
            Some(RawValue::Bools(listed)) if listed.len() == layers => (None, Some(listed)),
            Some(RawValue::Bools(listed)) => {
                let expected = format!("must have an entry for each of {layers} layers");
                return Err(self.raw.bad(pattern, listed.len(), expected));
            }
            Some(RawValue::Ints(_)) => return Err(self.raw.bad(pattern, "a list", "a list must be of booleans")),
            Some(_) => (self.optional_count(pattern, limit::LAYERS)?, None),
        };
        let windowed = |i: usize| match &listed {
            Some(listed) => listed[i],
            None => every.is_none_or(|n| !(i + 1).is_multiple_of(n)),
        };
        Ok((0..layers).map(|i| window.filter(|_| windowed(i))).collect())
    }

    pub(super) fn experts(&self, embedding: usize) -> Result<Option<Experts>, LoadError> {
        let key = "expert_count";
        if !self.arch.experts {
            return match self.raw.u32(key)? {
                None | Some(0) => Ok(None),
                Some(n) => {
                    let family = self.arch.family;
                    Err(self.raw.bad(key, n, format!("mixtures of experts are not supported for {family} models")))
                }
            };
        }
        let count = self.count(key, limit::EXPERTS)?;
        let used =
            self.count("expert_used_count", count.min(limit::EXPERTS_USED).min(limit::EXPERT_VALUES / embedding))?;
        Ok(Some(Experts { count, used, feed_forward: self.count("expert_feed_forward_length", limit::WIDTH)? }))
    }
}
