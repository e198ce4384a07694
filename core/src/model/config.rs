//! Hyperparameters: parsed and checked once, so that nothing downstream has to.

use super::LoadError;
use super::arch::{Arch, REGISTRY};
use crate::gguf::Gguf;
use alloc::format;
use alloc::string::{String, ToString};

/// The numbers of a model.
#[derive(Debug, Clone, PartialEq)]
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
    /// RoPE base.
    pub rope_base: f32,
    /// RoPE positions are divided by this (linear scaling).
    pub rope_scale: f32,
    /// Epsilon of the RMS norms.
    pub eps: f32,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Positions the model was trained for.
    pub context: usize,
}

/// Widest head.
pub const MAX_HEAD_DIM: usize = 1024;

/// Upper bounds that no model reaches, so that products of them cannot overflow and nothing absurd is allocated.
mod limit {
    pub(super) const LAYERS: usize = 1024;
    pub(super) const WIDTH: usize = 1 << 20;
    pub(super) const HEADS: usize = 1024;
    pub(super) const CONTEXT: usize = 1 << 28;
}

impl Config {
    /// Reads the hyperparameters of a file.
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, LoadError> {
        let name = gguf.require_str("general.architecture")?;
        let arch = Arch::find(name).ok_or_else(|| LoadError::Architecture {
            name: name.to_string(),
            known: REGISTRY.iter().map(|a| a.name).collect(),
        })?;
        let keys = Keys { gguf, arch };
        let embedding = keys.count("embedding_length", limit::WIDTH)?;
        let heads = keys.count("attention.head_count", limit::HEADS)?;
        let kv_heads = keys.optional_count("attention.head_count_kv", limit::HEADS)?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(keys.bad("attention.head_count_kv", kv_heads, format!("must divide the {heads} query heads")));
        }
        let head_dim = keys.head_dim(embedding, heads)?;
        let rope_dims = keys.optional_count("rope.dimension_count", head_dim)?.unwrap_or(head_dim);
        if !rope_dims.is_multiple_of(2) {
            return Err(keys.bad("rope.dimension_count", rope_dims, "must be even".to_string()));
        }
        if let Some(experts @ 1..) = gguf.u32(&keys.name("expert_count"))? {
            return Err(keys.bad("expert_count", experts, "mixtures of experts are not supported".to_string()));
        }
        Ok(Config {
            arch,
            layers: keys.count("block_count", limit::LAYERS)?,
            embedding,
            feed_forward: keys.count("feed_forward_length", limit::WIDTH)?,
            heads,
            kv_heads,
            head_dim,
            rope_dims,
            rope_base: keys.rope_base()?,
            rope_scale: keys.rope_scale()?,
            eps: keys.eps()?,
            vocab: vocab(gguf)?,
            context: keys.count("context_length", limit::CONTEXT)?,
        })
    }

    /// Query heads per key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// Look-ups of this architecture's keys.
struct Keys<'g, 'a> {
    gguf: &'g Gguf<'a>,
    arch: &'static Arch,
}

impl Keys<'_, '_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.arch.name)
    }

    fn bad(&self, key: &str, value: impl ToString, expected: String) -> LoadError {
        LoadError::Hyperparameter { key: self.name(key), value: value.to_string(), expected }
    }

    /// A number from 1 to `max`, `None` if absent.
    fn optional_count(&self, key: &str, max: usize) -> Result<Option<usize>, LoadError> {
        match self.gguf.u32(&self.name(key))? {
            None => Ok(None),
            Some(n) if n >= 1 && n as usize <= max => Ok(Some(n as usize)),
            Some(n) => Err(self.bad(key, n, format!("must be 1 to {max}"))),
        }
    }

    fn count(&self, key: &str, max: usize) -> Result<usize, LoadError> {
        let value = self.optional_count(key, max)?;
        value.ok_or_else(|| crate::gguf::Error::MissingKey(self.name(key)).into())
    }

    /// `attention.key_length`, or the embedding divided by the heads, as the format defines it.
    fn head_dim(&self, embedding: usize, heads: usize) -> Result<usize, LoadError> {
        let key = self.optional_count("attention.key_length", MAX_HEAD_DIM)?;
        let value = self.optional_count("attention.value_length", MAX_HEAD_DIM)?;
        let head_dim = match key {
            Some(n) => n,
            None if embedding.is_multiple_of(heads) => embedding / heads,
            None => {
                return Err(self.bad("attention.head_count", heads, format!("must divide the embedding, {embedding}")));
            }
        };
        match value {
            Some(n) if n != head_dim => {
                Err(self.bad("attention.value_length", n, format!("must equal the key length, {head_dim}")))
            }
            _ if head_dim > MAX_HEAD_DIM => {
                Err(self.bad("attention.head_count", heads, format!("heads of {head_dim} are too wide")))
            }
            _ => Ok(head_dim),
        }
    }

    fn positive(&self, key: &str, value: f32) -> Result<f32, LoadError> {
        if value.is_finite() && value > 0.0 {
            return Ok(value);
        }
        Err(self.bad(key, value, "must be a positive number".to_string()))
    }

    fn eps(&self) -> Result<f32, LoadError> {
        let key = "attention.layer_norm_rms_epsilon";
        self.positive(key, self.gguf.require_f32(&self.name(key))?)
    }

    fn rope_base(&self) -> Result<f32, LoadError> {
        let key = "rope.freq_base";
        match (self.gguf.f32(&self.name(key))?, self.arch.rope_base) {
            (Some(base), _) => self.positive(key, base),
            (None, Some(base)) => Ok(base),
            (None, None) => Err(crate::gguf::Error::MissingKey(self.name(key)).into()),
        }
    }

    fn rope_scale(&self) -> Result<f32, LoadError> {
        let (kind, factor) = ("rope.scaling.type", "rope.scaling.factor");
        match self.gguf.str(&self.name(kind))? {
            None | Some("none") => Ok(1.0),
            Some("linear") => self.positive(factor, self.gguf.require_f32(&self.name(factor))?),
            Some(other) => Err(self.bad(kind, other, "supported: none, linear".to_string())),
        }
    }
}

/// Rows of the embedding matrix.
fn vocab(gguf: &Gguf<'_>) -> Result<usize, LoadError> {
    let tensor = gguf.require_tensor("token_embd.weight")?;
    let rows = tensor.dims[1];
    if rows > 1 << 24 {
        return Err(LoadError::Shape {
            tensor: tensor.name.to_string(),
            expected: [tensor.dims[0], 1 << 24].to_vec(),
            found: tensor.dims.to_vec(),
        });
    }
    Ok(rows as usize)
}
