//! Where a model's bytes are: all of them in wasm memory, or a part of them at a time.
//!
//! ```text
//!   resident   [file 1][file 2]                                 each is filled once, and read in place
//!   streamed   [not in layers, and small tensors][first layers] always there, as far as memory reaches
//!              [the layer in use]                               read again for each pass through the model
//! ```
//!
//! Files are read by the browser's synchronous access handles. What else a file may be (one of Node's, one that a user picked) is made to
//! look like such a handle in TypeScript: `getSize` and `read` are all that is called.

use crate::error::{Fault, Result};
use js_sys::Function;
use picolm_core::gguf::{self, Gguf, Tensor};
use picolm_core::weights::{Joined, Span, WeightSource};
use std::cell::{RefCell, UnsafeCell};
use std::ops::Range;
use std::sync::Arc;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use web_sys::{FileSystemReadWriteOptions, FileSystemSyncAccessHandle as Handle};

/// Bytes read at once: some handles make a copy of them.
const PIECE: usize = 4 << 20;

/// Bytes that hold the header of most models.
const FIRST_HEADER: u64 = 1 << 20;

thread_local! {
    /// The files that are streamed: of the engine's worker, since no other thread can use a handle.
    static STREAMED: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
    /// The first read that failed in the middle of a pass, which has no way to say so.
    static FAILED: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// The files of a model, in order.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Weights {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    /// The whole file, or its header.
    bytes: Bytes,
    len: u64,
    /// where it stays, if it is streamed
    handle: Option<Handle>,
}

/// Bytes that a model and the parser of its header share.
#[derive(Debug, Clone)]
struct Bytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[wasm_bindgen]
impl Weights {
    /// No files yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for the next file, `len` bytes, and returns its address: all of it has to be written before `Engine.load`.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn add(&mut self, len: f64) -> std::result::Result<u32, JsValue> {
        let bytes = zeros(len as u64)?;
        let address = bytes.as_ptr().addr();
        self.files.push(File { bytes: Bytes(Arc::new(bytes)), len: len as u64, handle: None });
        Ok(address as u32)
    }

    /// Reads `len` bytes at `at` of a file there is room for.
    ///
    /// # Errors
    /// `storage_unavailable`.
    pub fn fill(&mut self, file: usize, handle: &Handle, at: f64, len: f64) -> std::result::Result<(), JsValue> {
        let bytes = self.files.get_mut(file).and_then(|file| Arc::get_mut(&mut file.bytes.0));
        let place = bytes.and_then(|bytes| bytes.get_mut(at as usize..(at + len) as usize));
        let place = place.ok_or_else(|| Fault::new("invalid_request", "there is no room for these bytes"))?;
        Ok(read(handle, at as u64, place)?)
    }

    /// The next file stays where it is: its header is read now, layers when they are needed.
    ///
    /// # Errors
    /// `storage_unavailable`, `out_of_memory`.
    pub fn stream(&mut self, handle: Handle) -> std::result::Result<(), JsValue> {
        let len = handle.get_size().map_err(|error| unreadable(&error))? as u64;
        let mut needed = FIRST_HEADER;
        let bytes = loop {
            let mut bytes = zeros(needed.min(len))?;
            read(&handle, 0, &mut bytes)?;
            match Gguf::parse_header(&bytes, len) {
                Err(gguf::Error::Truncated { needed: more, .. }) if more <= len => needed = more.max(2 * needed),
                // What else is wrong with it, `Engine.load` says.
                _ => break bytes,
            }
        };
        self.files.push(File { bytes: Bytes(Arc::new(bytes)), len, handle: Some(handle) });
        Ok(())
    }
}

impl Weights {
    /// The directory over all files.
    pub(crate) fn gguf(&self) -> Result<Gguf<'_>> {
        let parts = self.files.iter().map(|file| Gguf::parse_header(file.bytes.as_ref(), file.len));
        let mut parts = parts.collect::<std::result::Result<Vec<_>, gguf::Error>>()?;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Gguf::join(parts)? })
    }

    /// Whether a part of the model stays outside of memory.
    pub(crate) fn is_streamed(&self) -> bool {
        self.files.iter().any(|file| file.handle.is_some())
    }

    /// The source of a model's bytes. If it is streamed, it keeps up to `budget` bytes in memory, and more if it has to; while it reads
    /// them, `progress` hears how many are there, of how many.
    pub(crate) fn source(&self, gguf: &Gguf<'_>, budget: u64, progress: &Function) -> Result<Arc<dyn WeightSource>> {
        if self.is_streamed() {
            let starts = self.files.iter().scan(0, |start, file| Some(std::mem::replace(start, *start + file.len)));
            STREAMED.set(self.files.iter().filter_map(|file| file.handle.clone()).collect());
            return Ok(Arc::new(Streamed::new(gguf, starts.collect(), budget, progress)?));
        }
        Ok(Arc::new(Joined(self.files.iter().map(|file| file.bytes.clone()).collect())))
    }
}

/// The read that failed since the last call, if one did: what was computed since is worth nothing.
pub(crate) fn take_failure() -> Result<()> {
    FAILED.take().map_or(Ok(()), Err)
}

/// A model that is read layer by layer.
struct Streamed {
    /// where each file starts
    starts: Vec<u64>,
    len: u64,
    /// tensors that are always there, by offset
    kept: Vec<Region>,
    /// the others of each layer
    layers: Vec<Vec<Span>>,
    slot: UnsafeCell<Slot>,
}

/// A tensor in memory.
struct Region {
    span: Span,
    bytes: Vec<u8>,
}

/// The layer that was read last.
struct Slot {
    layer: usize,
    spans: Vec<(Span, usize)>,
    bytes: Vec<u8>,
}

// SAFETY: `slot` is written in `upcoming` alone. The engine calls that on its own thread between two layers: the team's members are not
// in a job then, and nobody holds bytes of the layer before. Everything else is never written after it was made.
unsafe impl Send for Streamed {}
// SAFETY: as above.
unsafe impl Sync for Streamed {}

impl Streamed {
    fn new(gguf: &Gguf<'_>, starts: Vec<u64>, budget: u64, progress: &Function) -> Result<Self> {
        let mut layers: Vec<Vec<Span>> = Vec::new();
        let mut kept = Vec::new();
        for tensor in gguf.tensors() {
            let span = Span { offset: tensor.offset, len: tensor.len as usize };
            match layer_of(tensor) {
                Some(layer) => {
                    layers.resize_with(layers.len().max(layer + 1), Vec::new);
                    layers[layer].push(span);
                }
                None => kept.push(span),
            }
        }
        let bytes = |spans: &[Span]| spans.iter().map(|span| span.len as u64).sum::<u64>();
        let largest = layers.iter().map(|layer| bytes(layer)).max().unwrap_or(0);
        let mut used = bytes(&kept) + largest;
        for layer in &mut layers {
            used += bytes(layer);
            if used > budget {
                break;
            }
            kept.append(layer);
        }
        kept.sort_by_key(|span| span.offset);
        let slot = Slot { layer: usize::MAX, spans: Vec::new(), bytes: room(largest)? };
        let mut streamed =
            Streamed { starts, len: gguf.file_len(), kept: Vec::new(), layers, slot: UnsafeCell::new(slot) };
        let (mut loaded, total) = (0, bytes(&kept));
        for span in kept {
            let mut bytes = zeros(span.len as u64)?;
            streamed.read(span, &mut bytes)?;
            streamed.kept.push(Region { span, bytes });
            loaded += span.len;
            // Whoever hears of it cannot stop it.
            let _ = progress.call2(&JsValue::NULL, &(loaded as f64).into(), &(total as f64).into());
        }
        Ok(streamed)
    }

    fn read(&self, span: Span, into: &mut [u8]) -> Result<()> {
        let file = self.starts.partition_point(|&start| start <= span.offset) - 1;
        STREAMED.with_borrow(|files| read(&files[file], span.offset - self.starts[file], into))
    }

    fn fill(&self, slot: &mut Slot, layer: usize) -> Result<()> {
        slot.layer = usize::MAX;
        slot.spans.clear();
        slot.bytes.clear();
        for &span in &self.layers[layer] {
            let start = slot.bytes.len();
            slot.bytes.resize(start + span.len, 0);
            self.read(span, &mut slot.bytes[start..])?;
            slot.spans.push((span, start));
        }
        slot.layer = layer;
        Ok(())
    }
}

impl WeightSource for Streamed {
    fn bytes(&self, span: Span) -> &[u8] {
        let at = self.kept.partition_point(|region| region.span.offset <= span.offset);
        if let Some(bytes) = at.checked_sub(1).and_then(|i| self.kept[i].bytes.get(within(self.kept[i].span, span)?)) {
            return bytes;
        }
        // SAFETY: nobody writes the slot while bytes are asked for: see above.
        let slot = unsafe { &*self.slot.get() };
        let found = slot
            .spans
            .iter()
            .find_map(|&(whole, start)| within(whole, span).map(|at| start + at.start..start + at.end));
        found.map_or_else(|| unreachable!("bytes of a layer that was not announced"), |at| &slot.bytes[at])
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn upcoming(&self, layer: usize) {
        if self.layers.get(layer).is_none_or(Vec::is_empty) {
            return;
        }
        // SAFETY: as above.
        let slot = unsafe { &mut *self.slot.get() };
        if slot.layer != layer
            && let Err(fault) = self.fill(slot, layer)
        {
            FAILED.with_borrow_mut(|failed| _ = failed.get_or_insert(fault));
            // The pass goes on, over zeros; `take_failure` discards what comes of it.
            slot.spans.clear();
            let mut start = 0;
            for &span in &self.layers[layer] {
                slot.spans.push((span, start));
                start += span.len;
            }
            slot.bytes.clear();
            slot.bytes.resize(start, 0);
        }
    }
}

/// The layer of a matrix; small tensors are none's: they are copied when a model is loaded.
fn layer_of(tensor: &Tensor<'_>) -> Option<usize> {
    let (layer, _) = tensor.name.strip_prefix("blk.")?.split_once('.')?;
    layer.parse().ok().filter(|layer| tensor.n_dims > 1 && *layer < MAX_LAYERS)
}

/// More layers than any model has: names come from the file.
const MAX_LAYERS: usize = 10_000;

/// Where `part` lies in `whole`.
fn within(whole: Span, part: Span) -> Option<Range<usize>> {
    let start = part.offset.checked_sub(whole.offset)? as usize;
    (start + part.len <= whole.len).then_some(start..start + part.len)
}

/// Fills `into` with the bytes of a file at `at`.
fn read(file: &Handle, mut at: u64, into: &mut [u8]) -> Result<()> {
    let options = FileSystemReadWriteOptions::new();
    for piece in into.chunks_mut(PIECE) {
        options.set_at(at as f64);
        let read = file.read_with_u8_array_and_options(piece, &options).map_err(|error| unreadable(&error))?;
        let wanted = piece.len();
        if read as usize != wanted {
            let cut = "the file has become shorter. Download the model again.";
            let message = format!("Only {read} of {wanted} bytes could be read at {at}: {cut}");
            return Err(Fault::new("storage_unavailable", message));
        }
        at += wanted as u64;
    }
    Ok(())
}

fn unreadable(error: &JsValue) -> Fault {
    Fault::new("storage_unavailable", crate::error::message_of(error))
}

/// That many zeros.
fn zeros(bytes: u64) -> Result<Vec<u8>> {
    let mut buffer = room(bytes)?;
    buffer.resize(bytes as usize, 0);
    Ok(buffer)
}

/// An empty buffer with room for `bytes`.
fn room(bytes: u64) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let reserved = usize::try_from(bytes).is_ok_and(|bytes| buffer.try_reserve_exact(bytes).is_ok());
    if reserved { Ok(buffer) } else { Err(Fault::memory("the model", bytes as f64)) }
}
