//! Hyperparameters that come from elsewhere than a file's metadata: the same bounds, number by number.

use super::config::{MAX_VOCABULARY, limit};
use super::{Config, LoadError, MAX_HEAD_DIM};
use alloc::format;
use alloc::string::ToString;
use core::ops::RangeInclusive;

impl Config {
    /// Whether everything is as [`Config::from_gguf`] would have left it, so that nothing downstream has to ask.
    ///
    /// # Errors
    /// [`LoadError::Hyperparameter`] with the field that is not.
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let arch = self.arch;
        in_range("layers", self.layers, 1..=limit::LAYERS)?;
        in_range("embedding", self.embedding, 1..=limit::WIDTH)?;
        in_range("feed_forward", self.feed_forward, if arch.experts { 0..=0 } else { 1..=limit::WIDTH })?;
        in_range("heads", self.heads, 1..=limit::HEADS)?;
        in_range("kv_heads", self.kv_heads, 1..=self.heads)?;
        ensure("kv_heads", self.kv_heads, self.heads.is_multiple_of(self.kv_heads), "must divide the query heads")?;
        in_range("head_dim", self.head_dim, 1..=MAX_HEAD_DIM)?;
        in_range("rope_dims", self.rope_dims, 2..=self.head_dim)?;
        ensure("rope_dims", self.rope_dims, self.rope_dims.is_multiple_of(2), "must be even")?;
        in_range("vocab", self.vocab, 1..=MAX_VOCABULARY)?;
        in_range("context", self.context, 1..=limit::CONTEXT)?;
        in_range("windows", self.windows.len(), self.layers..=self.layers)?;
        self.windows.iter().flatten().try_for_each(|&window| in_range("windows", window, 1..=u32::MAX as usize))?;
        self.check_experts()?;
        self.check_numbers()?;
        self.check_rope()
    }

    fn check_experts(&self) -> Result<(), LoadError> {
        let there = usize::from(self.experts.is_some());
        in_range("experts", there, if self.arch.experts { 1..=1 } else { 0..=0 })?;
        let Some(experts) = self.experts else { return Ok(()) };
        in_range("experts.count", experts.count, 1..=limit::EXPERTS)?;
        let most = experts.count.min(limit::EXPERTS_USED).min(limit::EXPERT_VALUES / self.embedding);
        in_range("experts.used", experts.used, 1..=most)?;
        in_range("experts.feed_forward", experts.feed_forward, 1..=limit::WIDTH)
    }

    fn check_numbers(&self) -> Result<(), LoadError> {
        let positive = [
            ("eps", self.eps),
            ("embedding_scale", self.embedding_scale),
            ("residual_scale", self.residual_scale),
            ("attention_scale", self.attention_scale),
            ("logit_scale", self.logit_scale),
            ("attention_cap", self.attention_cap.unwrap_or(1.0)),
            ("logit_cap", self.logit_cap.unwrap_or(1.0)),
        ];
        positive.into_iter().try_for_each(|(name, value)| positive_number(name, value))?;
        let scale = self.attention_scale;
        ensure("attention_scale", scale, scale <= limit::ATTENTION_SCALE, "is too large")
    }

    fn check_rope(&self) -> Result<(), LoadError> {
        let scaling = &self.rope_scaling;
        self.rope_bases.into_iter().try_for_each(|base| positive_number("rope_bases", base))?;
        positive_number("rope_scaling.factor", scaling.factor)?;
        positive_number("rope_scaling.attention_factor", scaling.attention_factor)?;
        in_range("rope_scaling.original_context", scaling.original_context.unwrap_or(1), 1..=usize::MAX)?;
        let Some(yarn) = scaling.yarn else { return Ok(()) };
        positive_number("rope_scaling.yarn", yarn.beta_fast)?;
        positive_number("rope_scaling.yarn", yarn.beta_slow)?;
        ensure("rope_scaling.factor", scaling.factor, scaling.factor >= 1.0, "must be at least 1 with YaRN")?;
        in_range("rope_scaling.original_context", usize::from(scaling.original_context.is_some()), 1..=1)
    }
}

fn in_range(name: &str, value: usize, range: RangeInclusive<usize>) -> Result<(), LoadError> {
    ensure(name, value, range.contains(&value), &format!("must be {} to {}", range.start(), range.end()))
}

fn positive_number(name: &str, value: f32) -> Result<(), LoadError> {
    ensure(name, value, value.is_finite() && value > 0.0, "must be a positive number")
}

fn ensure(name: &str, value: impl ToString, fine: bool, expected: &str) -> Result<(), LoadError> {
    match fine {
        true => Ok(()),
        false => Err(LoadError::Hyperparameter {
            key: name.to_string(),
            value: value.to_string(),
            expected: expected.to_string(),
        }),
    }
}
