//! One position of the KV cache as bytes, in an order that does not depend on the layout in memory: `docs/state-format.md`.
//!
//! A record is (layers, heads, [key, value]), of the layers that keep the position. A row is the head's values as f16, or blocks of a scale (f16) and 32 codes: those of GGUF's
//! F16 and Q8_0.

use super::{Block, Blocks, CHUNK, Cache, KvType, State, TILE, first_seen, nth, nth_mut};
use core::ops::Range;
use half::f16;

/// Bytes of a block of 32 values.
const Q8_BLOCK: usize = 34;

/// Which positions are saved: of layers with a window those that the next token sees, and some more.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Extent {
    /// Tokens.
    pub(in crate::session) len: usize,
    /// How many of them can be taken back.
    pub(in crate::session) slack: usize,
}

impl Cache {
    /// Length of the record of a position, without its token.
    pub(in crate::session) fn record_bytes(&self, position: usize, extent: Extent) -> usize {
        self.states
            .iter()
            .filter(|state| position >= state.saved_from(extent))
            .map(|state| state.blocks().rows_bytes())
            .sum()
    }

    /// Length of the records of all positions.
    pub(in crate::session) fn records_bytes(&self, extent: Extent) -> u64 {
        let bytes = |state: &State| {
            let positions = extent.len.saturating_sub(state.saved_from(extent));
            (positions as u64).saturating_mul(state.blocks().rows_bytes() as u64)
        };
        self.states.iter().map(bytes).fold(0, u64::saturating_add)
    }

    /// Begins, empty, where what was saved does.
    pub(in crate::session) fn begin(&mut self, extent: Extent) {
        self.states.iter_mut().for_each(|state| state.blocks_mut().start = state.saved_from(extent));
    }

    /// Writes the record of a position that is there.
    pub(in crate::session) fn save(&self, position: usize, extent: Extent, mut record: &mut [u8]) {
        for &(state, layer) in &self.layers {
            let state = &self.states[state];
            if position >= state.saved_from(extent) {
                let (rows, rest) = record.split_at_mut(state.blocks().layer_bytes());
                state.blocks().save(position, layer, rows);
                record = rest;
            }
        }
    }

    /// Reads the record of a position for which there is room. Returns false if it holds what is never stored: a value that is not
    /// finite, or a code of -128.
    pub(in crate::session) fn load(&mut self, position: usize, extent: Extent, mut record: &[u8]) -> bool {
        let mut storable = true;
        for &(state, layer) in &self.layers {
            let state = &mut self.states[state];
            if position >= state.saved_from(extent) {
                let (rows, rest) = record.split_at(state.blocks().layer_bytes());
                storable &= state.blocks_mut().load(position, layer, rows);
                record = rest;
            }
        }
        storable
    }
}

impl State {
    fn saved_from(&self, extent: Extent) -> usize {
        self.window().map_or(0, |window| first_seen(extent.len, window).saturating_sub(extent.slack))
    }
}

impl Blocks {
    /// Bytes of a position in all layers.
    fn rows_bytes(&self) -> usize {
        self.layers * self.layer_bytes()
    }

    fn layer_bytes(&self) -> usize {
        self.heads * 2 * self.row_bytes()
    }

    /// The heads of a layer among those of all.
    fn heads_of(&self, layer: usize) -> Range<usize> {
        layer * self.heads..(layer + 1) * self.heads
    }

    fn row_bytes(&self) -> usize {
        match self.kv_type {
            KvType::F16 => 2 * self.dim,
            KvType::Q8_0 => self.padded / 32 * Q8_BLOCK,
        }
    }

    fn save(&self, position: usize, layer: usize, record: &mut [u8]) {
        let (dim, padded, p) = (self.dim, self.padded, position % CHUNK);
        let row = self.row_bytes();
        let rows = self.heads_of(layer).zip(record.chunks_exact_mut(2 * row).map(|both| both.split_at_mut(row)));
        match &self.blocks[position / CHUNK - self.start / CHUNK] {
            Block::F16 { keys, values } => rows.for_each(|(head, (key, value))| {
                let keys = nth(keys, head, CHUNK * dim);
                let values = nth(values, head, CHUNK * padded);
                for (d, (key, value)) in halves_mut(key).zip(halves_mut(value)).enumerate() {
                    *key = keys[key_f16(dim, p, d)].to_le_bytes();
                    *value = values[p * padded + d].to_le_bytes();
                }
            }),
            Block::Q8 { keys, key_scales, values, value_scales } => rows.for_each(|(head, (key, value))| {
                let (codes, scales) = (CHUNK * padded, CHUNK * padded / 32);
                let (keys, key_scales) = (nth(keys, head, codes), nth(key_scales, head, scales));
                let (values, value_scales) = (nth(values, head, codes), nth(value_scales, head, scales));
                for (b, block) in key.chunks_exact_mut(Q8_BLOCK).enumerate() {
                    let (scale, codes) = block.split_at_mut(2);
                    scale.copy_from_slice(&key_scales[key_scale(padded, p, b)].to_le_bytes());
                    for (four, codes) in codes.chunks_exact_mut(4).enumerate() {
                        codes.copy_from_slice(bytemuck::cast_slice(&keys[key_codes(padded, p, b, four)..][..4]));
                    }
                }
                for (b, block) in value.chunks_exact_mut(Q8_BLOCK).enumerate() {
                    let (scale, codes) = block.split_at_mut(2);
                    scale.copy_from_slice(&value_scales[p * padded / 32 + b].to_le_bytes());
                    codes.copy_from_slice(bytemuck::cast_slice(&values[p * padded + 32 * b..][..32]));
                }
            }),
        }
    }

    fn load(&mut self, position: usize, layer: usize, record: &[u8]) -> bool {
        let (dim, padded, p) = (self.dim, self.padded, position % CHUNK);
        let row = self.row_bytes();
        let rows = self.heads_of(layer).zip(record.chunks_exact(2 * row).map(|both| both.split_at(row)));
        match &mut self.blocks[position / CHUNK - self.start / CHUNK] {
            Block::F16 { keys, values } => rows.for_each(|(head, (key, value))| {
                let keys = nth_mut(keys, head, CHUNK * dim);
                let values = nth_mut(values, head, CHUNK * padded);
                for (d, (key, value)) in halves(key).zip(halves(value)).enumerate() {
                    keys[key_f16(dim, p, d)] = key;
                    values[p * padded + d] = value;
                }
            }),
            Block::Q8 { keys, key_scales, values, value_scales } => rows.for_each(|(head, (key, value))| {
                let (codes, scales) = (CHUNK * padded, CHUNK * padded / 32);
                let (keys, key_scales) = (nth_mut(keys, head, codes), nth_mut(key_scales, head, scales));
                let (values, value_scales) = (nth_mut(values, head, codes), nth_mut(value_scales, head, scales));
                for (b, block) in key.chunks_exact(Q8_BLOCK).enumerate() {
                    key_scales[key_scale(padded, p, b)] = half(block);
                    for (four, codes) in block[2..].chunks_exact(4).enumerate() {
                        keys[key_codes(padded, p, b, four)..][..4].copy_from_slice(bytemuck::cast_slice(codes));
                    }
                }
                for (b, block) in value.chunks_exact(Q8_BLOCK).enumerate() {
                    value_scales[p * padded / 32 + b] = half(block);
                    values[p * padded + 32 * b..][..32].copy_from_slice(bytemuck::cast_slice(&block[2..]));
                }
            }),
        }
        self.is_storable(record)
    }

    fn is_storable(&self, record: &[u8]) -> bool {
        let finite = |half| f16::from_bits(half).is_finite();
        match self.kv_type {
            KvType::F16 => halves(record).all(finite),
            KvType::Q8_0 => record
                .chunks_exact(Q8_BLOCK)
                .all(|block| finite(half(block)) && !block[2..].contains(&i8::MIN.cast_unsigned())),
        }
    }
}

/// keys: (tiles, dim, TILE).
fn key_f16(dim: usize, p: usize, d: usize) -> usize {
    (p / TILE * dim + d) * TILE + p % TILE
}

/// scales: (tiles, padded / 32, TILE).
fn key_scale(padded: usize, p: usize, b: usize) -> usize {
    (p / TILE * (padded / 32) + b) * TILE + p % TILE
}

/// keys: (tiles, padded / 4, TILE, 4): where the codes `4 * four..` of block `b` begin.
fn key_codes(padded: usize, p: usize, b: usize, four: usize) -> usize {
    ((p / TILE * (padded / 4) + 8 * b + four) * TILE + p % TILE) * 4
}

fn half(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

fn halves(row: &[u8]) -> impl Iterator<Item = u16> {
    row.as_chunks().0.iter().map(|half| u16::from_le_bytes(*half))
}

fn halves_mut(row: &mut [u8]) -> impl Iterator<Item = &mut [u8; 2]> {
    row.as_chunks_mut().0.iter_mut()
}
