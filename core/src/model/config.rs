//! Hyperparameters: parsed and checked once, so that nothing downstream has to.

use super::arch::{Arch, REGISTRY};
use super::keys::{Experts, Keys};
use super::scaling::Scaling;
use super::{LoadError, Raw, limit};
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
