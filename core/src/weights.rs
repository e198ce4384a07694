//! Where the bytes of tensors come from.

use alloc::vec::Vec;

/// A place in the model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: usize,
}

/// Hands out the bytes of tensors: a mapped file, a buffer, or a window that streams.
pub trait WeightSource: Send + Sync {
    /// The bytes of a span, which lies within [`WeightSource::len`].
    fn bytes(&self, span: Span) -> &[u8];
    /// Length of the file in bytes.
    fn len(&self) -> u64;
    /// Whether there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Layer `layer` is read next.
    fn upcoming(&self, _layer: usize) {}
}

/// The files of a split model, one behind the other.
#[derive(Debug)]
pub struct Joined<B>(pub Vec<B>);

impl<B: AsRef<[u8]> + Send + Sync> WeightSource for Joined<B> {
    fn bytes(&self, span: Span) -> &[u8] {
        let mut start = span.offset as usize;
        for part in &self.0 {
            let part = part.as_ref();
            if start < part.len() {
                return &part[start..][..span.len];
            }
            start -= part.len();
        }
        unreachable!("spans lie within the files: Model::load checks their length")
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|part| part.as_ref().len() as u64).sum()
    }
}

/// The whole file in memory: anything that is bytes, such as a mapping or a `Vec<u8>`.
#[derive(Debug)]
pub struct InMemory<B>(pub B);

impl<B: AsRef<[u8]> + Send + Sync> WeightSource for InMemory<B> {
    fn bytes(&self, span: Span) -> &[u8] {
        &self.0.as_ref()[span.offset as usize..][..span.len]
    }

    fn len(&self) -> u64 {
        self.0.as_ref().len() as u64
    }
}
