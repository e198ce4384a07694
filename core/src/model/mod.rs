//! A model: hyperparameters parsed from metadata, and the places of its weights.
//!
//! ```text
//!   Gguf ──► Config   (numbers, checked once: `config.rs`)
//!        └─► Layer…   (each tensor found by name, its shape and format checked: `load.rs`)
//! ```
//! Nothing is copied but the norms (a few KB as f32): a [`Weight`] is a place in the file, and [`Model::matrix`] asks the
//! [`WeightSource`](crate::weights::WeightSource) for its bytes when they are needed.

pub mod arch;
mod config;
mod error;
mod load;

pub use arch::Arch;
pub use config::{Config, MAX_HEAD_DIM};
pub use error::LoadError;

use crate::kernels::{Format, Matrix};
use crate::weights::{Span, WeightSource};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A matrix in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// Format of its blocks.
    pub format: Format,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Where its bytes are.
    pub span: Span,
}

/// One transformer layer. Shapes are (outputs, inputs).
#[derive(Debug)]
pub struct Layer {
    /// (embedding)
    pub attn_norm: Vec<f32>,
    /// (heads * head_dim, embedding)
    pub wq: Weight,
    /// (kv_heads * head_dim, embedding)
    pub wk: Weight,
    /// (kv_heads * head_dim, embedding)
    pub wv: Weight,
    /// (embedding, heads * head_dim)
    pub wo: Weight,
    /// (head_dim): norms of q and k, where the architecture has them
    pub qk_norm: Option<(Vec<f32>, Vec<f32>)>,
    /// (embedding)
    pub ffn_norm: Vec<f32>,
    /// (feed_forward, embedding)
    pub gate: Weight,
    /// (feed_forward, embedding)
    pub up: Weight,
    /// (embedding, feed_forward)
    pub down: Weight,
}

/// Tells one loaded model from another in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelId(usize);

impl ModelId {
    fn next() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        ModelId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A loaded model. It borrows nothing, computes nothing, and is shared by sessions.
pub struct Model {
    /// Hyperparameters.
    pub config: Config,
    /// (vocabulary, embedding)
    pub embedding: Weight,
    /// The layers in order.
    pub layers: Vec<Layer>,
    /// (embedding)
    pub output_norm: Vec<f32>,
    /// (vocabulary, embedding); the embedding itself where the file has no output matrix
    pub output: Weight,
    /// (rope_dims / 2): radians per position of each pair
    pub rope_freqs: Vec<f64>,
    source: Arc<dyn WeightSource>,
    id: ModelId,
}

impl Model {
    /// The bytes of a weight.
    pub fn matrix(&self, w: &Weight) -> Matrix<'_> {
        Matrix { format: w.format, cols: w.cols, bytes: self.source.bytes(w.span) }
    }

    /// Which loaded model this is.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// Tells the source that a layer comes next.
    pub fn upcoming(&self, layer: usize) {
        self.source.upcoming(layer);
    }

    /// Bytes of all weights in the file that are read for each token.
    pub fn weight_bytes(&self) -> u64 {
        let layer = |l: &Layer| -> u64 {
            [l.wq, l.wk, l.wv, l.wo, l.gate, l.up, l.down].iter().map(|w| w.span.len as u64).sum()
        };
        self.layers.iter().map(layer).sum::<u64>() + self.output.span.len as u64
    }

    /// Own memory: the norms and tables.
    pub fn memory_bytes(&self) -> usize {
        let qk = |l: &Layer| l.qk_norm.as_ref().map_or(0, |(q, k)| q.len() + k.len());
        let floats: usize = self.layers.iter().map(|l| l.attn_norm.len() + l.ffn_norm.len() + qk(l)).sum();
        4 * (floats + self.output_norm.len()) + 8 * self.rope_freqs.len() + self.layers.len() * size_of::<Layer>()
    }
}

impl core::fmt::Debug for Model {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Model").field("config", &self.config).finish_non_exhaustive()
    }
}
