//! The model file in this memory, where the host has mapped it.
//!
//! ```text
//!   whole     [file]                                   as long as it fits into 32 bits
//!   header    [its beginning]                          all that is needed if the host computes
//!   windows   [tensors outside of layers] [a layer]    the one in use, mapped anew for the next
//! ```

use super::bindings::picolm::engine::weights;
use super::of_host;
use picolm_core::gguf::{self, Gguf};
use picolm_core::model::Plan;
use picolm_core::weights::{InMemory, Lent, Part, Span, Spans, WeightSource, WeightsError};
use picolm_engine::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// WebAssembly's page.
const PAGE: u64 = 64 << 10;

/// What is mapped of a file at first, when only its header is wanted: room for most vocabularies.
const HEADER: u64 = 16 << 20;

/// Most bytes of one `read`.
const READ: usize = 1 << 20;

/// Files larger than this are mapped in windows: there must be room for everything else.
const WHOLE: u64 = 3 << 30;

/// Bytes in the file.
pub(super) fn file_len() -> u64 {
    weights::size()
}

/// The file's header, or so much that it is seen to be none.
pub(super) fn header() -> Result<&'static [u8]> {
    let len = file_len();
    let bytes = Room::new(HEADER.min(len))?.map(0, HEADER.min(len))?;
    match Gguf::parse_header(bytes, len) {
        Err(gguf::Error::Truncated { needed, .. }) if needed <= len && len > HEADER => {
            // The directory of tensors comes last, so that nothing less than a generous part is known to be enough.
            let more = needed.saturating_mul(2).max(8 * HEADER).min(len);
            Room::new(more)?.map(0, more)
        }
        _ => Ok(bytes),
    }
}

/// Where the weights of a plan are read.
pub(super) fn source(plan: &Plan<'_>) -> Result<Arc<dyn WeightSource>> {
    let len = file_len();
    match len <= WHOLE {
        true => Ok(Arc::new(InMemory(Room::new(len)?.map(0, len)?))),
        false => Ok(Arc::new(Windows::new(plan, len)?)),
    }
}

/// Addresses for pieces of the file, one at a time.
#[derive(Debug, Clone, Copy)]
struct Room {
    at: usize,
}

impl Room {
    fn new(len: u64) -> Result<Self> {
        if len == 0 {
            return Ok(Room { at: 0 });
        }
        let too_large = || Error::new(Kind::Memory, "the model is larger than the memory of 32-bit WebAssembly");
        let pages = usize::try_from(len.div_ceil(PAGE)).map_err(|_| too_large())?;
        weights::reserve(len).map_err(of_host)?;
        match core::arch::wasm32::memory_grow::<0>(pages) {
            usize::MAX => Err(too_large()),
            before => Ok(Room { at: before * PAGE as usize }),
        }
    }

    /// Makes `len` bytes from `offset` on appear, in place of what was there: whoever calls this has no use for that any more.
    fn map(self, offset: u64, len: u64) -> Result<&'static [u8]> {
        if len == 0 {
            return Ok(&[]);
        }
        weights::map_range(self.at as u64, offset, len).map_err(of_host)?;
        let start = core::ptr::with_exposed_provenance(self.at);
        // SAFETY: the addresses are the room's, which the allocator does not know: it takes what `memory.grow` gives it, and that was not
        // these. They hold `len` bytes of the file until something else is mapped there, which nobody does who holds these: the header and
        // whole files stay, and a `Window` moves only where nobody borrows from it. Nothing writes them. (If the file changes under the
        // mapping, the host discards what was computed from it.)
        Ok(unsafe { core::slice::from_raw_parts(start, len as usize) })
    }
}

/// A piece of the file.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: u64,
    bytes: &'static [u8],
}

impl Piece {
    fn get(&self, span: Span) -> Option<&'static [u8]> {
        let at = usize::try_from(span.offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(span.len)?)
    }
}

/// A file larger than this memory: each layer is mapped into the window when its turn has come.
struct Windows {
    len: u64,
    /// tensors outside of layers
    kept: Kept,
    /// where the layers' tensors are
    layers: BTreeMap<usize, Range<u64>>,
    window: Mutex<Arc<Window>>,
}

struct Kept(Vec<Piece>);

/// What it shows is borrowed from it, and it can be moved only by who has it alone.
struct Window {
    room: Room,
    shown: Piece,
}

impl Windows {
    fn new(plan: &Plan<'_>, len: u64) -> Result<Self> {
        let mut layers: BTreeMap<usize, Range<u64>> = BTreeMap::new();
        let mut kept = Vec::new();
        for tensor in plan.tensors.tensors() {
            let range = tensor.offset..tensor.offset + tensor.len;
            let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
            match layer.and_then(|(layer, _)| layer.parse().ok()) {
                Some(layer) => {
                    let whole = layers.entry(layer).or_insert(range.clone());
                    *whole = whole.start.min(range.start)..whole.end.max(range.end);
                }
                None => {
                    let (offset, end) = pages(range, len);
                    kept.push(Piece { start: offset, bytes: Room::new(end - offset)?.map(offset, end - offset)? });
                }
            }
        }
        let size = |layer: &Range<u64>| {
            let (start, end) = pages(layer.clone(), len);
            end - start
        };
        let room = Room::new(layers.values().map(size).max().unwrap_or(0))?;
        let window = Window { room, shown: Piece { start: 0, bytes: &[] } };
        Ok(Windows { len, kept: Kept(kept), layers, window: Mutex::new(Arc::new(window)) })
    }
}

/// The whole pages of the file with a range in them.
fn pages(range: Range<u64>, len: u64) -> (u64, u64) {
    (range.start / PAGE * PAGE, range.end.next_multiple_of(PAGE).min(len))
}

impl WeightSource for Windows {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, mut offset: u64, into: &mut [u8]) -> std::result::Result<(), WeightsError> {
        for part in into.chunks_mut(READ) {
            let bytes = weights::read(offset, part.len() as u32).map_err(WeightsError)?;
            let short = || WeightsError(format!("{} bytes instead of {} at {offset}", bytes.len(), part.len()));
            part.copy_from_slice(bytes.get(..part.len()).ok_or_else(short)?);
            offset += part.len() as u64;
        }
        Ok(())
    }

    fn lend(&self, part: Part) -> std::result::Result<Lent<'_>, WeightsError> {
        let range = match part {
            Part::Layer(layer) => self.layers.get(&layer),
            Part::Outside => None,
        };
        let Some(range) = range else { return Ok(Lent::InPlace(&self.kept)) };
        let (start, end) = pages(range.clone(), self.len);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if (window.shown.start, window.shown.bytes.len() as u64) != (start, end - start) {
            let window = Arc::get_mut(&mut window).ok_or_else(|| WeightsError("another layer is in use".into()))?;
            window.shown = Piece { start: 0, bytes: &[] };
            let bytes = window.room.map(start, end - start).map_err(|error| WeightsError(error.message))?;
            window.shown = Piece { start, bytes };
        }
        Ok(Lent::Slot(window.clone()))
    }
}

impl Spans for Kept {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        self.0.iter().find_map(|piece| piece.get(span))
    }
}

impl Spans for Window {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        self.shown.get(span)
    }
}
