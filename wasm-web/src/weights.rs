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
use picolm_core::weights::{Joined, Lent, Part, Span, Spans, WeightSource, WeightsError};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use web_sys::{FileSystemReadWriteOptions, FileSystemSyncAccessHandle as Handle};

/// Bytes read at once: some handles make a copy of them.
const PIECE: usize = 4 << 20;

/// Bytes that hold the header of most models.
const FIRST_HEADER: u64 = 1 << 20;

thread_local! {
    /// The files that are streamed: of the engine's worker, since no other thread can use a handle.
    static STREAMED: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
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

/// A model that is read layer by layer.
struct Streamed {
    /// where each file starts
    starts: Vec<u64>,
    len: u64,
    /// tensors that are always there
    kept: Kept,
    /// the others of each layer
    layers: Vec<Vec<Span>>,
    slot: Mutex<Arc<Slot>>,
}

/// Tensors in memory, by offset.
struct Kept(Vec<(Span, Vec<u8>)>);

/// The layer that was read last.
struct Slot {
    layer: Option<usize>,
    spans: Vec<(Span, usize)>,
    bytes: Vec<u8>,
}

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
        let slot = Mutex::new(Arc::new(Slot { layer: None, spans: Vec::new(), bytes: room(largest)? }));
        let mut streamed = Streamed { starts, len: gguf.file_len(), kept: Kept(Vec::new()), layers, slot };
        let (mut loaded, total) = (0, bytes(&kept));
        for span in kept {
            let mut bytes = zeros(span.len as u64)?;
            streamed.read_file(span.offset, &mut bytes)?;
            streamed.kept.0.push((span, bytes));
            loaded += span.len;
            // Whoever hears of it cannot stop it.
            let _ = progress.call2(&JsValue::NULL, &(loaded as f64).into(), &(total as f64).into());
        }
        Ok(streamed)
    }

    fn read_file(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let file = self.starts.partition_point(|&start| start <= offset) - 1;
        STREAMED.with_borrow(|files| read(&files[file], offset - self.starts[file], into))
    }

    fn fill(&self, slot: &mut Slot, layer: usize) -> std::result::Result<(), WeightsError> {
        slot.layer = None;
        slot.spans.clear();
        slot.bytes.clear();
        for &span in &self.layers[layer] {
            let start = slot.bytes.len();
            slot.bytes.resize(start + span.len, 0);
            self.read(span.offset, &mut slot.bytes[start..])?;
            slot.spans.push((span, start));
        }
        slot.layer = Some(layer);
        Ok(())
    }
}

impl WeightSource for Streamed {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> std::result::Result<(), WeightsError> {
        self.read_file(offset, into).map_err(|fault| WeightsError(fault.message()))
    }

    fn lend(&self, part: Part) -> std::result::Result<Lent<'_>, WeightsError> {
        let layer = match part {
            Part::Layer(layer) if self.layers.get(layer).is_some_and(|spans| !spans.is_empty()) => layer,
            _ => return Ok(Lent::InPlace(&self.kept)),
        };
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.layer != Some(layer) {
            let free = Arc::get_mut(&mut slot);
            self.fill(free.ok_or_else(|| WeightsError("another layer is still in use".into()))?, layer)?;
        }
        Ok(Lent::Slot(slot.clone()))
    }
}

impl Spans for Kept {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        let (whole, bytes) = &self.0[self.0.partition_point(|(kept, _)| kept.offset <= span.offset).checked_sub(1)?];
        bytes.get(within(*whole, span)?)
    }
}

impl Spans for Slot {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        let found = self.spans.iter().find_map(|&(whole, start)| Some((within(whole, span)?, start)));
        found.and_then(|(at, start)| self.bytes.get(start + at.start..start + at.end))
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
