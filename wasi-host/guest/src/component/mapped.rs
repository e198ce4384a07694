//! The model file in this memory, where the host has mapped it.

use super::bindings::picolm::engine::weights;
use super::of_host;
use crate::{Error, Kind, Result};
use picolm_core::gguf::{self, Gguf};
use picolm_core::weights::{Span, WeightSource};

/// WebAssembly's page.
const PAGE: u64 = 64 << 10;

/// What is mapped of a file at first, when only its header is wanted: room for most vocabularies.
const HEADER: u64 = 16 << 20;

/// Bytes of the file, from its beginning.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    bytes: &'static [u8],
}

impl Mapped {
    /// Bytes in the file.
    pub(super) fn file_len() -> u64 {
        weights::size()
    }

    /// All of the file.
    pub(super) fn whole() -> Result<Self> {
        Self::map(Self::file_len())
    }

    /// The file's header, or so much that it is seen to be none.
    pub(super) fn header() -> Result<Self> {
        let len = Self::file_len();
        let mapped = Self::map(HEADER.min(len))?;
        match Gguf::parse_header(mapped.bytes, len) {
            Err(gguf::Error::Truncated { needed, .. }) if needed <= len && len > HEADER => {
                // The directory of tensors comes last, so that nothing less than a generous part is known to be enough.
                Self::map(needed.saturating_mul(2).max(8 * HEADER).min(len))
            }
            _ => Ok(mapped),
        }
    }

    /// Bytes 0..len of the file in new room.
    fn map(len: u64) -> Result<Self> {
        if len == 0 {
            return Ok(Mapped { bytes: &[] });
        }
        let too_large = || Error::new(Kind::Memory, "the model is larger than the memory of 32-bit WebAssembly");
        let pages = usize::try_from(len.div_ceil(PAGE)).map_err(|_| too_large())?;
        weights::reserve(len).map_err(of_host)?;
        let before = core::arch::wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return Err(too_large());
        }
        let at = before * PAGE as usize;
        weights::map_range(at as u64, 0, len).map_err(of_host)?;
        // SAFETY: the pages are new, so nobody else knows them: the allocator takes what `memory.grow` gives it, and that was not these.
        // They hold `len` bytes of the file for as long as the component lives; nothing writes them. (If the file changes under the
        // mapping, the host discards what was computed from it.)
        Ok(Mapped {
            bytes: unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(at), len as usize) },
        })
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

impl WeightSource for Mapped {
    fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.offset as usize..][..span.len]
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}
