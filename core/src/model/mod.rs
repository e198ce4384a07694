//! A model: hyperparameters parsed from metadata, and the places of its weights.
//!
//! ```text
//!   Gguf ──► Plan: Raw, Directory ──► Config   (numbers, checked once: `config.rs`)
//!                                 └─► Layer…   (each tensor found by name, its shape and format checked: `load.rs`)
//! ```
//! Nothing is copied but norms and biases (a few KB as f32): a [`Weight`] is a place in the file, and [`Model::lend`] asks the
//! [`WeightSource`] for its bytes when they are needed.

pub mod arch;
mod config;
mod error;
mod fingerprint;
mod keys;
mod layer;
mod limit;
mod load;
mod raw;
mod rope;
mod scaling;

pub use arch::Arch;
pub use config::Config;
pub use error::LoadError;
pub use keys::Experts;
pub use layer::{Attention, Ffn, Layer, Mixer, Mlp, Norm, Norms, QkNorm};
pub use load::Plan;
pub use raw::{Raw, RawValue};
pub use rope::Rope;
pub use scaling::{Scaling, Yarn};

use crate::kernels::Format;
use crate::weights::{Lent, Part, Span, WeightSource, WeightsError};
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
    fingerprint: u64,
}

impl Model {
    /// Which loaded model this is.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The same model, with its weights from elsewhere.
    pub fn with_source(self, source: Arc<dyn WeightSource>) -> Model {
        Model { source, ..self }
    }

    /// Every matrix in the order of use, as it is asked for when tokens go through the model: experts one by one. One that has two uses comes
    /// twice.
    pub fn matrices(&self) -> impl Iterator<Item = (Part, Weight)> {
        let outside = |weight: &Weight| (Part::Outside, weight.clone());
        let layers = self.layers.iter().enumerate().flat_map(|(i, layer)| {
            let experts = self.config.experts.map(|experts| experts.count);
            layer.matrices(experts).into_iter().map(move |weight| (Part::Layer(i), weight))
        });
        [outside(&self.embedding)].into_iter().chain(layers).chain([outside(&self.output)])
    }

    /// Lends the bytes of a layer's matrices, or of those outside of layers.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn lend(&self, part: Part) -> Result<Lent<'_>, WeightsError> {
        self.source.lend(part)
    }

    /// A number that tells models apart: XXH64 of the file's header and length, and of samples of the matrices outside the layers, of
    /// the first layer and of the last. The same file has the same on any machine; a file whose difference lies only elsewhere has it
    /// too.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Bytes of all weights in the file that are read for each token.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = |weights: &mut dyn Iterator<Item = &Weight>| weights.map(|w| w.span.len as u64).sum::<u64>();
        let all = bytes(&mut self.layers.iter().flat_map(Layer::weights));
        let experts = bytes(
            &mut self
                .layers
                .iter()
                .flat_map(|layer| match &layer.ffn {
                    Ffn::Dense(_) => None,
                    Ffn::Experts { all, .. } => Some(all.weights()),
                })
                .flatten(),
        );
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
