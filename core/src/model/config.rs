//! Hyperparameters: parsed and checked once, so that nothing downstream has to.

use super::arch::{Arch, LocalRope, NormKind, REGISTRY, Window};
use super::rope::Scaling;
use super::{LoadError, Raw, RawValue};
use crate::gguf::{Directory, Error as GgufError, Gguf};
use crate::kernels::math::sqrt;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// The numbers of a model. There is one way to get them, [`Config::parse`], so that they are never wrong.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Its architecture.
    pub arch: &'static Arch,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub embedding: usize,
    /// Width inside the feed-forward part.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Dimensions of a head that RoPE turns, even.
    pub rope_dims: usize,
    /// RoPE base, of layers without a window and of those with one.
    pub rope_bases: [f32; 2],
    /// How RoPE is stretched beyond the context first trained for.
    pub rope_scaling: Scaling,
    /// Positions that each layer sees, its own included; `None`: all.
    pub windows: Vec<Option<usize>>,
    /// Epsilon of the norms.
    pub eps: f32,
    /// A mixture of experts.
    pub experts: Option<Experts>,
    /// Embeddings are multiplied by this,
    pub embedding_scale: f32,
    /// what a layer adds by this,
    pub residual_scale: f32,
    /// attention scores by this,
    pub attention_scale: f32,
    /// logits by this.
    pub logit_scale: f32,
    /// Attention scores are held within this: `cap * tanh(score / cap)`;
    pub attention_cap: Option<f32>,
    /// and so are logits.
    pub logit_cap: Option<f32>,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Positions the model was trained for.
    pub context: usize,
}

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

/// Upper bounds that no model reaches, so that products of them cannot overflow and nothing absurd is allocated.
pub(super) mod limit {
    pub(in crate::model) const LAYERS: usize = 1024;
    pub(in crate::model) const WIDTH: usize = 1 << 20;
    pub(in crate::model) const HEADS: usize = 1024;
    pub(in crate::model) const HEAD_DIM: usize = 1024;
    pub(in crate::model) const EXPERTS: usize = 1024;
    /// Experts that see a token, and they times the width.
    pub(in crate::model) const EXPERTS_USED: usize = 64;
    pub(in crate::model) const EXPERT_VALUES: usize = 1 << 20;
    /// Scores stay finite below this: see "KV cache" in `docs/numerics.md`.
    pub(in crate::model) const ATTENTION_SCALE: f32 = 1024.0;
    pub(in crate::model) const CONTEXT: usize = 1 << 28;
    pub(in crate::model) const VOCABULARY: usize = 1 << 24;
    /// Metadata of an architecture, and entries of a list in it.
    pub(in crate::model) const KEYS: usize = 1024;
    pub(in crate::model) const LIST: usize = LAYERS;
}

impl Config {
    /// Reads the hyperparameters of a file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, LoadError> {
        Self::parse(&Raw::from_gguf(gguf)?, gguf.directory())
    }

    /// Makes numbers that nobody has to ask about again of metadata, which may be anything, and of the embedding among the tensors.
    ///
    /// # Errors
    /// An unknown architecture; a key that is missing, of another type, or out of its bounds.
    pub fn parse(raw: &Raw, tensors: &Directory<'_>) -> Result<Self, LoadError> {
        let arch = Arch::find(raw.architecture()).ok_or_else(|| LoadError::Architecture {
            name: raw.architecture().chars().take(64).collect(),
            known: REGISTRY.iter().map(|a| a.name).collect(),
        })?;
        let keys = Keys { raw, arch };
        keys.refuse_what_is_not_done()?;
        let embedding = keys.count("embedding_length", limit::WIDTH)?;
        let layers = keys.count("block_count", limit::LAYERS)?;
        let heads = keys.count("attention.head_count", limit::HEADS)?;
        let kv_heads = keys.optional_count("attention.head_count_kv", limit::HEADS)?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(keys.raw.bad(
                "attention.head_count_kv",
                kv_heads,
                format!("must divide the {heads} query heads"),
            ));
        }
        let head_dim = keys.head_dim(embedding, heads)?;
        let rope_dims = keys.optional_count("rope.dimension_count", head_dim)?.unwrap_or(head_dim);
        if !rope_dims.is_multiple_of(2) {
            return Err(keys.raw.bad("rope.dimension_count", rope_dims, "must be even"));
        }
        let rope_base = keys.rope_base()?;
        let score_dim =
            if arch.wide_scores_at == Some(layers) { embedding as f32 / heads as f32 } else { head_dim as f32 };
        let scale = |key| if arch.scales { keys.require_positive(key) } else { Ok(1.0) };
        Ok(Config {
            arch,
            layers,
            embedding,
            feed_forward: if arch.experts { 0 } else { keys.count("feed_forward_length", limit::WIDTH)? },
            heads,
            kv_heads,
            head_dim,
            rope_dims,
            rope_bases: [rope_base, keys.local_rope_base(rope_base)?],
            rope_scaling: Scaling::from_keys(&keys)?,
            windows: keys.windows(layers)?,
            eps: keys.eps()?,
            experts: keys.experts(embedding)?,
            embedding_scale: if arch.scaled_embedding { sqrt(embedding as f32) } else { scale("embedding_scale")? },
            residual_scale: scale("residual_scale")?,
            attention_scale: if arch.scales { keys.attention_scale()? } else { 1.0 / sqrt(score_dim) },
            logit_scale: if arch.scales { keys.logit_scale()? } else { 1.0 },
            attention_cap: keys.cap("attn_logit_softcapping")?,
            logit_cap: keys.cap("final_logit_softcapping")?,
            vocab: vocab(tensors)?,
            context: keys.count("context_length", limit::CONTEXT)?,
        })
    }

    /// Query heads per key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// Look-ups of this architecture's keys.
pub(super) struct Keys<'a> {
    pub(super) raw: &'a Raw,
    arch: &'static Arch,
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
    fn same_for_all(&self, key: &str, list: &[i64]) -> Result<u32, LoadError> {
        let first = list.first().filter(|first| list.iter().all(|n| n == *first));
        let number = first.and_then(|&n| u32::try_from(n).ok());
        number.ok_or_else(|| self.raw.bad(key, "a list", "one number for all layers is supported"))
    }

    /// Keys that change results in ways picolm does not know, unless they say what it does.
    fn refuse_what_is_not_done(&self) -> Result<(), LoadError> {
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

    fn attention_scale(&self) -> Result<f32, LoadError> {
        let key = "attention.scale";
        match self.require_positive(key)? {
            scale if scale <= limit::ATTENTION_SCALE => Ok(scale),
            scale => Err(self.raw.bad(key, scale, format!("must be at most {}", limit::ATTENTION_SCALE))),
        }
    }

    /// Logits are divided by what the file says.
    fn logit_scale(&self) -> Result<f32, LoadError> {
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
    fn head_dim(&self, embedding: usize, heads: usize) -> Result<usize, LoadError> {
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

    fn positive(&self, key: &str, value: f32) -> Result<f32, LoadError> {
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

    fn eps(&self) -> Result<f32, LoadError> {
        self.require_positive(match self.arch.norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        })
    }

    fn rope_base(&self) -> Result<f32, LoadError> {
        let key = "rope.freq_base";
        let base = self.optional_positive(key)?.or(self.arch.rope_base);
        base.ok_or_else(|| self.raw.missing(key))
    }

    fn local_rope_base(&self, base: f32) -> Result<f32, LoadError> {
        match self.arch.local_rope {
            LocalRope::Same | LocalRope::Unstretched => Ok(base),
            LocalRope::Base(local) => Ok(self.optional_positive("rope.freq_base_swa")?.unwrap_or(local)),
        }
    }

    /// Absent or 0: no cap, unless the architecture has them.
    fn cap(&self, key: &str) -> Result<Option<f32>, LoadError> {
        match self.raw.f32(key)? {
            None if self.arch.soft_caps => Err(self.raw.missing(key)),
            None | Some(0.0) => Ok(None),
            Some(cap) => self.positive(key, cap).map(Some),
        }
    }

    /// The window of each layer.
    fn windows(&self, layers: usize) -> Result<Vec<Option<usize>>, LoadError> {
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

    fn experts(&self, embedding: usize) -> Result<Option<Experts>, LoadError> {
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

/// Rows of the embedding matrix.
fn vocab(tensors: &Directory<'_>) -> Result<usize, LoadError> {
    let name = "token_embd.weight";
    let tensor = tensors.tensor(name).ok_or_else(|| GgufError::MissingTensor(name.to_string()))?;
    match tensor.dims[1] {
        rows if rows <= limit::VOCABULARY as u64 => Ok(rows as usize),
        _ => Err(LoadError::Shape {
            tensor: name.to_string(),
            expected: [tensor.dims[0], limit::VOCABULARY as u64].to_vec(),
            found: tensor.dims.to_vec(),
        }),
    }
}
