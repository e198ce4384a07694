//! Where the bytes of tensors come from.
//!
//! ```text
//!   layer(0) ─► Lent ─► bytes of its matrices ─► given back
//!   layer(1) ─► Lent ─► …                         one layer after the other, again and again: a source may read ahead
//! ```

use crate::kernels::Layout;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// A place in the model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: usize,
}

/// A part of a model that is lent as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What belongs to no layer: the embedding and the output matrix.
    Outside,
    /// The matrices of a layer.
    Layer(usize),
}

/// Why bytes could not be read, in the words of their source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WeightsError(pub String);

/// Bytes that lie in memory, by their place in the file.
pub trait Spans: Send + Sync {
    /// The bytes of a span, if all of them are here. In another layout than the file's there may be more of them, and only the spans of
    /// whole matrices are known.
    fn bytes(&self, span: Span) -> Option<&[u8]>;
    /// How the matrices lie in them.
    fn layout(&self) -> Layout {
        Layout::Rows
    }
}

/// A part of a model, readable for as long as this lives: nobody can write where it lies.
pub enum Lent<'a> {
    /// Where it always lies.
    InPlace(&'a dyn Spans),
    /// In memory that is used for other parts in turn: `Arc::get_mut` gives the source that only when nobody holds it any more.
    Slot(Arc<dyn Spans>),
}

/// Lends the bytes of tensors: a mapped file, a buffer, or slots that are read into.
pub trait WeightSource: Send + Sync {
    /// Length of the file in bytes.
    fn len(&self) -> u64;
    /// Whether there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies bytes of the file, which lie within its length: how the little is read that is kept when a model is loaded.
    ///
    /// # Errors
    /// They cannot be read.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), WeightsError>;
    /// Lends a part. Layers are asked for in order, each when the one before has been given back.
    ///
    /// # Errors
    /// It cannot be read; what was lent before is as it was, and the same part may be asked for again.
    fn lend(&self, part: Part) -> Result<Lent<'_>, WeightsError>;
}

impl Lent<'_> {
    /// The bytes of a tensor of the part.
    ///
    /// # Errors
    /// The source has forgotten it.
    pub fn bytes(&self, span: Span) -> Result<&[u8], WeightsError> {
        self.spans()
            .bytes(span)
            .ok_or_else(|| WeightsError(format!("{} bytes at {} were not lent", span.len, span.offset)))
    }

    /// How the matrices lie in them.
    pub fn layout(&self) -> Layout {
        self.spans().layout()
    }

    fn spans(&self) -> &dyn Spans {
        match self {
            Lent::InPlace(spans) => *spans,
            Lent::Slot(spans) => &**spans,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Outside => f.write_str("the matrices outside of layers"),
            Part::Layer(layer) => write!(f, "layer {layer}"),
        }
    }
}

/// The files of a split model, one behind the other.
#[derive(Debug)]
pub struct Joined<B>(pub Vec<B>);

/// The whole file in memory: anything that is bytes, such as a mapping or a `Vec<u8>`.
#[derive(Debug)]
pub struct InMemory<B>(pub B);

impl<B: AsRef<[u8]> + Send + Sync> Spans for Joined<B> {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        let mut start = usize::try_from(span.offset).ok()?;
        for part in &self.0 {
            let part = part.as_ref();
            if start < part.len() {
                return part[start..].get(..span.len);
            }
            start -= part.len();
        }
        None
    }
}

impl<B: AsRef<[u8]> + Send + Sync> Spans for InMemory<B> {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        self.0.as_ref().get(usize::try_from(span.offset).ok()?..)?.get(..span.len)
    }
}

impl<B: AsRef<[u8]> + Send + Sync> WeightSource for Joined<B> {
    fn len(&self) -> u64 {
        self.0.iter().map(|part| part.as_ref().len() as u64).sum()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), WeightsError> {
        copy(self, offset, into)
    }

    fn lend(&self, _: Part) -> Result<Lent<'_>, WeightsError> {
        Ok(Lent::InPlace(self))
    }
}

impl<B: AsRef<[u8]> + Send + Sync> WeightSource for InMemory<B> {
    fn len(&self) -> u64 {
        self.0.as_ref().len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), WeightsError> {
        copy(self, offset, into)
    }

    fn lend(&self, _: Part) -> Result<Lent<'_>, WeightsError> {
        Ok(Lent::InPlace(self))
    }
}

fn copy(from: &dyn Spans, offset: u64, into: &mut [u8]) -> Result<(), WeightsError> {
    let span = Span { offset, len: into.len() };
    let bytes = from.bytes(span).ok_or_else(|| WeightsError("the file ends before".to_string()))?;
    into.copy_from_slice(bytes);
    Ok(())
}
