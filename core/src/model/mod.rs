//! A model: hyperparameters parsed from metadata, and the places of its weights.
//!
//! ```text
//!   Gguf ──► Plan ──► Config   (numbers, checked once: `config.rs`)
//!                 └─► Layer…   (each tensor found by name, its shape and format checked: `load.rs`)
//! ```
//! Nothing is copied but norms and biases (a few KB as f32): a [`Weight`] is a place in the file, and [`Model::matrix`] asks the
//! [`WeightSource`] for its bytes when they are needed.

pub mod arch;
mod check;
mod config;
mod error;
mod fingerprint;
mod load;
mod rope;

pub use arch::Arch;
pub use config::{Config, Experts, MAX_HEAD_DIM};
pub use error::LoadError;
pub use load::Plan;
pub use rope::{Rope, Scaling, Yarn};

use crate::kernels::{Format, Matrix};
use crate::weights::{Span, WeightSource};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A matrix in the file, and a bias in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Format of its blocks.
    pub format: Format,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Where its bytes are.
    pub span: Span,
    /// (rows): added to its outputs
    pub bias: Option<Vec<f32>>,
}

impl Weight {
    /// Some of its rows, as a matrix: a part of q, k, v stored in one, or one expert of many.
    pub fn part(&self, rows: Range<usize>) -> Weight {
        let row = self.format.row_bytes(self.cols);
        let span = Span { offset: self.span.offset + (rows.start * row) as u64, len: rows.len() * row };
        let bias = self.bias.as_ref().map(|bias| bias[rows.clone()].to_vec());
        Weight { format: self.format, rows: rows.len(), cols: self.cols, span, bias }
    }
}

/// A norm's weights, and its bias where it is a layer norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// (width)
    pub weight: Vec<f32>,
    /// (width)
    pub bias: Option<Vec<f32>>,
}

/// One transformer layer. Shapes are (outputs, inputs).
#[derive(Debug)]
pub struct Layer {
    /// (embedding)
    pub attn_norm: Norm,
    /// (heads * head_dim, embedding)
    pub wq: Weight,
    /// (kv_heads * head_dim, embedding)
    pub wk: Weight,
    /// (kv_heads * head_dim, embedding)
    pub wv: Weight,
    /// (embedding, heads * head_dim)
    pub wo: Weight,
    /// (head_dim): norms of q and k, where the architecture has them
    pub qk_norm: Option<(Norm, Norm)>,
    /// (embedding): of what attention adds
    pub post_attn_norm: Option<Norm>,
    /// (embedding); `None`: the feed-forward part reads what attention reads, beside it
    pub ffn_norm: Option<Norm>,
    /// The feed-forward part, of all experts if there are any.
    pub ffn: Ffn,
    /// (experts, embedding): the matrix that chooses them
    pub router: Option<Weight>,
    /// (embedding): of what the feed-forward part adds
    pub post_ffn_norm: Option<Norm>,
    /// Which of the model's RoPE tables turns q and k.
    pub rope: Option<usize>,
    /// Positions it sees, its own included; `None`: all.
    pub window: Option<usize>,
}

/// A feed-forward part, or those of all experts one below the other.
#[derive(Debug)]
pub struct Ffn {
    /// (feed_forward, embedding), if it is gated
    pub gate: Option<Weight>,
    /// (feed_forward, embedding)
    pub up: Weight,
    /// (embedding, feed_forward)
    pub down: Weight,
}

impl Ffn {
    /// The part of expert `i` of `count`.
    pub fn expert(&self, i: usize, count: usize) -> Ffn {
        let part = |w: &Weight| w.part(w.rows / count * i..w.rows / count * (i + 1));
        Ffn { gate: self.gate.as_ref().map(part), up: part(&self.up), down: part(&self.down) }
    }
}

impl Layer {
    /// Every matrix of the layer.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        let always = [&self.wq, &self.wk, &self.wv, &self.wo, &self.ffn.up, &self.ffn.down];
        always.into_iter().chain(&self.ffn.gate).chain(&self.router)
    }

    fn norms(&self) -> impl Iterator<Item = &Norm> {
        let qk = self.qk_norm.iter().flat_map(|(q, k)| [q, k]);
        [&self.attn_norm]
            .into_iter()
            .chain(qk)
            .chain(&self.post_attn_norm)
            .chain(&self.ffn_norm)
            .chain(&self.post_ffn_norm)
    }
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
    pub output_norm: Norm,
    /// (vocabulary, embedding); the embedding itself where the file has no output matrix
    pub output: Weight,
    /// The tables of RoPE: the first, and where they differ the one of layers with a window.
    pub ropes: Vec<Rope>,
    source: Arc<dyn WeightSource>,
    id: ModelId,
    header_hash: u64,
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
        let all = self.layers.iter().flat_map(Layer::weights).map(|w| w.span.len as u64).sum::<u64>();
        let experts = self.layers.iter().filter(|l| l.router.is_some()).map(|l| &l.ffn);
        let experts =
            experts.flat_map(|f| [&f.up, &f.down].into_iter().chain(&f.gate)).map(|w| w.span.len as u64).sum::<u64>();
        let read = self.config.experts.map_or(experts, |e| experts * e.used as u64 / e.count as u64);
        all - experts + read + self.output.span.len as u64
    }

    /// Own memory: the norms, biases and tables.
    pub fn memory_bytes(&self) -> usize {
        let norm = |n: &Norm| n.weight.len() + n.bias.as_ref().map_or(0, Vec::len);
        let bias = |w: &Weight| w.bias.as_ref().map_or(0, Vec::len);
        let layer = |l: &Layer| l.norms().map(norm).sum::<usize>() + l.weights().map(bias).sum::<usize>();
        let floats = self.layers.iter().map(layer).sum::<usize>() + norm(&self.output_norm) + bias(&self.output);
        let freqs = |r: &Rope| r.freqs.len() + r.long.as_ref().map_or(0, |l| l.1.len());
        4 * floats + 8 * self.ropes.iter().map(freqs).sum::<usize>() + self.layers.len() * size_of::<Layer>()
    }
}

impl core::fmt::Debug for Model {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Model").field("config", &self.config).finish_non_exhaustive()
    }
}
