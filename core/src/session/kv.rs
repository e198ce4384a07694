//! What a session keeps of its tokens, layer by layer.
//!
//! ```text
//!   layers that see everything   [0..256][256..512][512..768]          blocks as positions come
//!   layers that see a window              [256..512][512..768]         the oldest block becomes the next
//! ```
//! Layers of one kind lie together, in blocks of 256 positions; each block is one chunk of attention.
//!
//! Layouts (`kernels::ChunkF16`, `kernels::ChunkQ8`): keys in tiles of 16 positions, so that attention's lanes are positions; values row
//! by row. A head is padded with zeros to 16 (f16) or 32 (q8_0) dimensions. Allocated memory is zero, and the operating system gives
//! pages only as they are written.

use super::{Error, memory};
use crate::kernels::{Backend, CHUNK, ChunkF16, ChunkQ8, TILE};
use crate::model::Config;
use alloc::vec::Vec;
use half::f16;

mod record;

pub(super) use record::Extent;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    /// Two bytes a value.
    #[default]
    F16,
    /// 34 bytes for 32 values.
    Q8_0,
}

/// How far back a session can always go, whatever its layers see.
pub(super) const SLACK: usize = CHUNK;

/// What a session keeps of all layers.
#[derive(Debug)]
pub(super) struct Cache {
    kv_type: KvType,
    states: Vec<State>,
    /// (layers): its state, and which of the state's layers it is
    layers: Vec<(usize, usize)>,
}

/// What is kept of layers of one kind. A state says by itself how far back it can go: one that cannot at all, such as a convolution's, to its
/// last checkpoint.
#[derive(Debug)]
enum State {
    /// Keys and values of all positions.
    Full(Blocks),
    /// Those of the last positions: as many as a token sees, and [`SLACK`] more.
    Window(Blocks, usize),
}

/// Keys and values of some layers, from one position on.
#[derive(Debug)]
struct Blocks {
    kv_type: KvType,
    layers: usize,
    heads: usize,
    dim: usize,
    padded: usize,
    /// the first position that is there
    start: usize,
    /// from the block with that position on
    blocks: Vec<Block>,
}

/// 256 positions of some layers and all heads. Each buffer is (layers, heads, one head's chunk).
#[derive(Debug)]
enum Block {
    F16 { keys: Vec<u16>, values: Vec<u16> },
    Q8 { keys: Vec<i8>, key_scales: Vec<u16>, values: Vec<i8>, value_scales: Vec<u16> },
}

/// One head's chunk of a block.
pub(super) enum Chunk<'a> {
    F16(ChunkF16<'a>),
    Q8(ChunkQ8<'a>),
}

/// The first position that a token at position `len` sees.
fn first_seen(len: usize, window: usize) -> usize {
    (len + 1).saturating_sub(window)
}

impl Cache {
    pub(super) fn new(config: &Config, kv_type: KvType) -> Result<Self, Error> {
        let what = "a session";
        let mut cache = Cache { kv_type, states: Vec::new(), layers: Vec::new() };
        memory::reserve(what, &mut cache.layers, config.windows.len())?;
        for &window in &config.windows {
            let known = cache.states.iter().position(|state| state.window() == window);
            if known.is_none() {
                memory::reserve(what, &mut cache.states, 1)?;
                cache.states.push(State::new(config, kv_type, window));
            }
            let state = known.unwrap_or(cache.states.len() - 1);
            let blocks = cache.states[state].blocks_mut();
            cache.layers.push((state, blocks.layers));
            blocks.layers += 1;
        }
        Ok(cache)
    }

    /// Most bytes for so many tokens, fed up to 256 at once.
    pub(super) fn bytes_for(config: &Config, kv_type: KvType, tokens: usize) -> u64 {
        let block = Blocks { layers: 1, ..Blocks::new(config, kv_type) }.block_bytes();
        let all = tokens.div_ceil(CHUNK);
        let blocks = |window: &Option<usize>| match window {
            None => all,
            // The positions from the first that is kept to the last that is fed, which begin and end anywhere in a block.
            Some(window) => all.min(window.saturating_add(SLACK + CHUNK - 2).div_ceil(CHUNK).saturating_add(1)),
        };
        config.windows.iter().map(|window| blocks(window) as u64 * block).sum()
    }

    pub(super) fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// Width of a head's values in a layer.
    pub(super) fn padded(&self, layer: usize) -> usize {
        self.states[self.layers[layer].0].blocks().padded
    }

    /// Makes room for positions below `len`. What tokens after the first `certain` do not see, nor need to go back, may be given up.
    pub(super) fn reserve(&mut self, len: usize, certain: usize) -> Result<(), Error> {
        self.states.iter_mut().try_for_each(|state| match state {
            State::Full(blocks) => blocks.reserve(len, 0),
            State::Window(blocks, window) => blocks.reserve(len, first_seen(certain, *window).saturating_sub(SLACK)),
        })
    }

    /// Goes back to `len` tokens, or as far as all states can; returns how far that is.
    pub(super) fn rewind(&mut self, len: usize) -> usize {
        let mut to = len;
        // Where one state goes further, the others have to follow.
        loop {
            match self.states.iter().map(|state| state.reach(to)).min() {
                Some(reached) if reached < to => to = reached,
                _ => break,
            }
        }
        if to == 0 {
            self.states.iter_mut().for_each(|state| state.blocks_mut().start = 0);
        }
        to
    }

    /// How many of `len` tokens can be taken back for certain, up to [`SLACK`].
    pub(super) fn slack(&self, len: usize) -> usize {
        let of = |state: &State| match state {
            State::Window(blocks, window) if blocks.start > 0 => first_seen(len, *window) - blocks.start,
            _ => SLACK,
        };
        self.states.iter().map(of).fold(SLACK, usize::min)
    }

    /// Bytes of 256 positions in all layers.
    pub(super) fn block_bytes(&self) -> u64 {
        self.states.iter().map(|state| state.blocks().block_bytes()).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.states.iter().map(State::blocks).map(|kv| kv.blocks.len() * kv.block_bytes() as usize).sum()
    }

    /// Chunk `chunk` of a head.
    pub(super) fn chunk(&self, chunk: usize, layer: usize, head: usize) -> Chunk<'_> {
        let (state, layer) = self.layers[layer];
        self.states[state].blocks().chunk(chunk, layer, head)
    }

    /// Stores one position of a layer: `k` and `v` are (heads, dim). Returns false if a value is not finite once rounded.
    pub(super) fn store(&mut self, backend: Backend, layer: usize, position: usize, k: &[f32], v: &[f32]) -> bool {
        let (state, layer) = self.layers[layer];
        self.states[state].blocks_mut().store(backend, layer, position, k, v)
    }
}

impl State {
    fn new(config: &Config, kv_type: KvType, window: Option<usize>) -> Self {
        let blocks = Blocks::new(config, kv_type);
        match window {
            None => State::Full(blocks),
            Some(window) => State::Window(blocks, window),
        }
    }

    fn blocks(&self) -> &Blocks {
        let (State::Full(blocks) | State::Window(blocks, _)) = self;
        blocks
    }

    fn blocks_mut(&mut self) -> &mut Blocks {
        let (State::Full(blocks) | State::Window(blocks, _)) = self;
        blocks
    }

    fn window(&self) -> Option<usize> {
        if let State::Window(_, window) = self { Some(*window) } else { None }
    }

    /// The most tokens, `len` at most, that it can go back to.
    fn reach(&self, len: usize) -> usize {
        match self {
            State::Full(_) => len,
            State::Window(blocks, window) => {
                if blocks.start <= first_seen(len, *window) {
                    len
                } else {
                    0
                }
            }
        }
    }
}

impl Blocks {
    fn new(config: &Config, kv_type: KvType) -> Self {
        let (dim, heads) = (config.head_dim, config.kv_heads);
        let padded = dim.next_multiple_of(if kv_type == KvType::F16 { 16 } else { 32 });
        Blocks { kv_type, layers: 0, heads, dim, padded, start: 0, blocks: Vec::new() }
    }

    /// Makes room for positions below `len`; those below `keep` may be given up.
    fn reserve(&mut self, len: usize, keep: usize) -> Result<(), Error> {
        // One block that nobody needs waits to become the next. Others, of a long feed, are given back.
        while self.blocks.len() > 1 && (self.start / CHUNK + 2) * CHUNK <= keep {
            self.drop_first();
        }
        while (self.start / CHUNK + self.blocks.len()) * CHUNK < len {
            let block = match (self.start / CHUNK + 1) * CHUNK <= keep && !self.blocks.is_empty() {
                true => self.drop_first(),
                false => {
                    let block = self.block()?;
                    memory::reserve("the KV cache", &mut self.blocks, 1)?;
                    block
                }
            };
            self.blocks.push(block);
        }
        Ok(())
    }

    fn drop_first(&mut self) -> Block {
        self.start = (self.start / CHUNK + 1) * CHUNK;
        self.blocks.remove(0)
    }

    fn block(&self) -> Result<Block, Error> {
        let what = "256 positions of the KV cache";
        let heads = self.layers * self.heads * CHUNK;
        let (codes, scales) = (heads * self.padded, heads * self.padded / 32);
        Ok(match self.kv_type {
            KvType::F16 => Block::F16 {
                keys: memory::zeroed(what, heads * self.dim)?,
                values: memory::zeroed(what, heads * self.padded)?,
            },
            KvType::Q8_0 => Block::Q8 {
                keys: memory::zeroed(what, codes)?,
                key_scales: memory::zeroed(what, scales)?,
                values: memory::zeroed(what, codes)?,
                value_scales: memory::zeroed(what, scales)?,
            },
        })
    }

    fn block_bytes(&self) -> u64 {
        let positions = self.layers as u64 * self.heads as u64 * CHUNK as u64;
        match self.kv_type {
            KvType::F16 => positions * 2 * (self.dim + self.padded) as u64,
            KvType::Q8_0 => positions * 2 * (self.padded + self.padded / 16) as u64,
        }
    }

    /// Chunk `chunk` of a head.
    fn chunk(&self, chunk: usize, layer: usize, head: usize) -> Chunk<'_> {
        let head = layer * self.heads + head;
        match &self.blocks[chunk - self.start / CHUNK] {
            Block::F16 { keys, values } => Chunk::F16(ChunkF16 {
                keys: nth(keys, head, CHUNK * self.dim),
                values: nth(values, head, CHUNK * self.padded),
            }),
            Block::Q8 { keys, key_scales, values, value_scales } => {
                let (codes, scales) = (CHUNK * self.padded, CHUNK * self.padded / 32);
                Chunk::Q8(ChunkQ8 {
                    keys: nth(keys, head, codes),
                    key_scales: nth(key_scales, head, scales),
                    values: nth(values, head, codes),
                    value_scales: nth(value_scales, head, scales),
                })
            }
        }
    }

    fn store(&mut self, backend: Backend, layer: usize, position: usize, k: &[f32], v: &[f32]) -> bool {
        let (dim, padded, p) = (self.dim, self.padded, position % CHUNK);
        let first = layer * self.heads;
        let heads = k.chunks_exact(dim).zip(v.chunks_exact(dim)).enumerate();
        match &mut self.blocks[position / CHUNK - self.start / CHUNK] {
            Block::F16 { keys, values } => heads.fold(true, |finite, (head, (k, v))| {
                let keys = nth_mut(keys, first + head, CHUNK * dim);
                let values = nth_mut(values, first + head, CHUNK * padded);
                store_f16(backend, p, k, v, keys, &mut values[p * padded..][..dim]) && finite
            }),
            Block::Q8 { keys, key_scales, values, value_scales } => heads.fold(true, |finite, (head, (k, v))| {
                let (codes, scales) = (CHUNK * padded, CHUNK * padded / 32);
                let keys = nth_mut(keys, first + head, codes);
                let key_scales = nth_mut(key_scales, first + head, scales);
                let values = nth_mut(values, first + head, codes);
                let value_scales = nth_mut(value_scales, first + head, scales);
                let stored = store_key_q8(p, k, keys, key_scales);
                let (row, scales) = (p * padded, p * padded / 32);
                stored && store_value_q8(v, &mut values[row..], &mut value_scales[scales..]) && finite
            }),
        }
    }
}

fn nth<T>(data: &[T], i: usize, len: usize) -> &[T] {
    &data[i * len..][..len]
}

fn nth_mut<T>(data: &mut [T], i: usize, len: usize) -> &mut [T] {
    &mut data[i * len..][..len]
}

/// Position `p` of a head. keys: (tiles, dim, TILE); values: this position's row.
fn store_f16(backend: Backend, p: usize, k: &[f32], v: &[f32], keys: &mut [u16], values: &mut [u16]) -> bool {
    let tile = &mut keys[p / TILE * k.len() * TILE..][..k.len() * TILE];
    let finite = |bits: u16| bits & 0x7c00 != 0x7c00;
    let mut ok = true;
    for (k, lanes) in k.chunks(32).zip(tile.chunks_mut(32 * TILE)) {
        let mut halves = [0; 32];
        (backend.kernels().to_f16)(k, &mut halves[..k.len()]);
        for (half, lanes) in halves.iter().zip(lanes.chunks_exact_mut(TILE)) {
            lanes[p % TILE] = *half;
            ok &= finite(*half);
        }
    }
    (backend.kernels().to_f16)(v, values);
    ok && values.iter().all(|&v| finite(v))
}

/// keys: (tiles, padded / 4, TILE, 4); scales: (tiles, padded / 32, TILE).
fn store_key_q8(p: usize, k: &[f32], keys: &mut [i8], scales: &mut [u16]) -> bool {
    let blocks = k.len().div_ceil(32);
    let (tile, lane) = (p / TILE, p % TILE);
    k.chunks(32).enumerate().fold(true, |finite, (b, x)| {
        let block = tile * blocks + b;
        let (scale, codes) = quantize(x);
        scales[block * TILE + lane] = scale;
        for (four, codes) in codes.chunks_exact(4).enumerate() {
            keys[((block * 8 + four) * TILE + lane) * 4..][..4].copy_from_slice(codes);
        }
        finite && f16::from_bits(scale).is_finite()
    })
}

/// values: this position's row of codes, and of scales.
fn store_value_q8(v: &[f32], values: &mut [i8], scales: &mut [u16]) -> bool {
    v.chunks(32).enumerate().fold(true, |finite, (b, x)| {
        let (scale, codes) = quantize(x);
        scales[b] = scale;
        values[32 * b..][..32].copy_from_slice(&codes);
        finite && f16::from_bits(scale).is_finite()
    })
}

/// Up to 32 values as (f16 scale, codes), "KV cache" in `docs/numerics.md`. A scale that is not finite says that a value was not.
fn quantize(x: &[f32]) -> (u16, [i8; 32]) {
    // Largest |x| by its bits, in which NaN and infinity come last.
    let amax = f32::from_bits(x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff)));
    let scale = f16::from_f32(amax / 127.0);
    let d = scale.to_f32();
    let mut codes = [0; 32];
    if d > 0.0 && scale.is_finite() {
        for (code, x) in codes.iter_mut().zip(x) {
            *code = (libm::rintf(x / d) as i32).clamp(-127, 127) as i8;
        }
    }
    (scale.to_bits(), codes)
}
