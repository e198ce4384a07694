//! Packed weights: tiles of 16 rows, in the order in which a kernel reads them ([docs/packed.md]).
//!
//! ```text
//!   matrix   ─► tiles of 16 rows, the last filled up with rows of zeros
//!   tile     ─► the codes of all blocks, then their scales, then zeros up to a multiple of 64 bytes
//!   codes    ─► quads: four codes, or bits of them, of each of 16 rows           [quads][16 rows][4]
//!   scales   ─► sub-scales as bytes [sub-scales][16 rows], then d [16 rows], then m [16 rows]
//! ```
//! A quad is what one load reads: a lane is a row, and holds what is multiplied with four activations. Nothing is lost: all bits of a block
//! are somewhere in its tile. Floats have no tiles: their lanes are positions in a row already, so "packed" they lie as they did.
//!
//! [docs/packed.md]: https://github.com/picolm/picolm/blob/main/docs/packed.md

use super::{Dequantize, Float, Format, Half, Narrow, Visitor, Wide};
use crate::simd::{Quad, Tiled};
use bytemuck::Pod;
use core::marker::PhantomData;

/// Rows of a tile: the lanes of a kernel.
pub const TILE_ROWS: usize = 16;

/// Bytes that a tile is a multiple of.
const LINE: usize = 64;

/// The most quads and bytes of scales that a block has.
const MOST_QUADS: usize = 64;
const MOST_SCALES: usize = 32;

/// Cuts 32 codes of as many bits as there are planes into planes of 8, 4, 2 or 1 bits, the lowest bits first. A plane of w bits has w fours:
/// four l has, from its lowest bits on, fours l, l + w, l + 2 w … of the codes.
#[inline(always)]
fn split_planes(codes: &[u8; 32], planes: &mut [[u8; 4]]) {
    let words: [u32; 8] = core::array::from_fn(|t| word(&codes.as_chunks().0[t]));
    each_plane(planes.len(), |at, width, low| {
        let mask = byte_mask(width);
        for l in 0..width {
            let packed = (0..8 / width).map(|k| ((words[l + width * k] >> low) & mask) << (width * k));
            planes[at + l] = packed.fold(0, |all, bits| all | bits).to_le_bytes();
        }
    });
}

/// The codes that [`split_planes`] cut.
#[inline(always)]
fn join_planes(planes: &[[u8; 4]]) -> [u8; 32] {
    let mut words = [0u32; 8];
    each_plane(planes.len(), |at, width, low| {
        for l in 0..width {
            for k in 0..8 / width {
                words[l + width * k] |= ((word(&planes[at + l]) >> (width * k)) & byte_mask(width)) << low;
            }
        }
    });
    bytemuck::cast(words.map(u32::to_le_bytes))
}

/// Calls `plane(its first four, its bits, the lowest bit of the code in it)` for the planes of codes of `bits` bits.
#[inline(always)]
fn each_plane(bits: usize, mut plane: impl FnMut(usize, usize, usize)) {
    let mut before = 0;
    for width in [8, 4, 2, 1] {
        if bits & width != 0 {
            plane(before, width, before);
            before += width;
        }
    }
}

fn word(four: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*four)
}

/// The lowest `bits` bits of each byte.
fn byte_mask(bits: usize) -> u32 {
    0x0101_0101 * ((1 << bits) - 1)
}

/// Codes `4 t..4 t + 4` of the 32 in these planes. (Without [`each_plane`]: a closure would be compiled without the instruction set.)
#[inline(always)]
pub(crate) fn plane_quad<S: Tiled>(s: S, planes: &[Quad], t: usize) -> S::Quads {
    let (bits, mut before, mut code) = (planes.len(), 0, s.splat_quad(0));
    for width in [8, 4, 2, 1] {
        if bits & width != 0 {
            let plane = s.load_quad(&planes[before + t % width]);
            code = s.or_quads(code, s.field(plane, t / width * width, before, width));
            before += width;
        }
    }
    code
}

/// The codes of a block of 256 as planes of 32 at a time.
#[inline(always)]
pub(super) fn split_codes(planes: &mut [[u8; 4]], code: impl Fn(usize) -> u8) {
    let bits = planes.len() / 8;
    for (j, planes) in planes.chunks_exact_mut(bits).enumerate() {
        let mut codes = [0; 32];
        for (l, out) in codes.iter_mut().enumerate() {
            *out = code(32 * j + l);
        }
        split_planes(&codes, planes);
    }
}

/// The codes that [`split_codes`] cut.
#[inline(always)]
pub(super) fn join_codes(planes: &[[u8; 4]]) -> [u8; 256] {
    let mut codes = [[0; 32]; 8];
    for (codes, planes) in codes.iter_mut().zip(planes.chunks_exact(planes.len() / 8)) {
        *codes = join_planes(planes);
    }
    bytemuck::cast(codes)
}

/// How the blocks of a row become a share of a tile.
trait Tiling {
    type Block: Pod;
    /// Weights in a block.
    const LEN: usize;
    /// Quads of a block.
    const QUADS: usize;
    /// Bytes of its scales in a row, and how many of them stand alone; the others are halves.
    const SCALES: usize;
    const SUBS: usize;
    fn split(block: &Self::Block, codes: &mut [[u8; 4]], scales: &mut [u8]);
    fn join(codes: &[[u8; 4]], scales: &[u8]) -> Self::Block;

    /// Bytes of a tile of `blocks` blocks.
    fn tile_bytes(blocks: usize) -> usize {
        (blocks * TILE_ROWS * (4 * Self::QUADS + Self::SCALES)).next_multiple_of(LINE)
    }

    /// Where byte `i` of the scales of row `r` is.
    fn scale_at(i: usize, r: usize) -> usize {
        match i.checked_sub(Self::SUBS) {
            None => i * TILE_ROWS + r,
            Some(half) => (Self::SUBS + half / 2 * 2) * TILE_ROWS + 2 * r + half % 2,
        }
    }
}

struct OfNarrow<F>(PhantomData<F>);

impl<F: Narrow> Tiling for OfNarrow<F> {
    type Block = F::Block;
    const LEN: usize = F::LEN;
    const QUADS: usize = size_of::<F::Quads>() / size_of::<Quad>();
    const SCALES: usize = size_of::<F::Scales>() / TILE_ROWS;
    const SUBS: usize = size_of::<F::Scale>() % 2;

    #[inline(always)]
    fn split(block: &F::Block, codes: &mut [[u8; 4]], scales: &mut [u8]) {
        let mut all = [0; 32];
        for (i, code) in all.iter_mut().enumerate() {
            *code = F::code(block, i);
        }
        split_planes(&all, codes);
        let (scale, min) = scales.split_at_mut(size_of::<F::Scale>());
        scale.copy_from_slice(bytemuck::bytes_of(&F::scale(block)));
        min.copy_from_slice(&bytemuck::bytes_of(&F::min(block))[..min.len()]);
    }

    fn join(codes: &[[u8; 4]], scales: &[u8]) -> F::Block {
        let (scale, min) = scales.split_at(size_of::<F::Scale>());
        let min = if F::HAS_MIN { bytemuck::pod_read_unaligned(min) } else { Half::ZERO };
        F::block(&join_planes(codes), bytemuck::pod_read_unaligned(scale), min)
    }
}

struct OfWide<F>(PhantomData<F>);

impl<F: Wide> Tiling for OfWide<F> {
    type Block = F::Block;
    const LEN: usize = F::LEN;
    const QUADS: usize = size_of::<F::Quads>() / size_of::<Quad>();
    const SCALES: usize = size_of::<F::Scales>() / TILE_ROWS;
    const SUBS: usize = Self::SCALES - if F::HAS_MIN { 4 } else { 2 };

    #[inline(always)]
    fn split(block: &F::Block, codes: &mut [[u8; 4]], scales: &mut [u8]) {
        let (subs, halves) = scales.split_at_mut(Self::SUBS);
        F::split(block, codes, subs);
        let both = [F::scale(block), F::min(block)];
        halves.copy_from_slice(&bytemuck::bytes_of(&both)[..halves.len()]);
    }

    fn join(codes: &[[u8; 4]], scales: &[u8]) -> F::Block {
        let (subs, halves) = scales.split_at(Self::SUBS);
        let min = if F::HAS_MIN { bytemuck::pod_read_unaligned(&halves[2..]) } else { Half::ZERO };
        F::join(codes, subs, bytemuck::pod_read_unaligned(&halves[..2]), min)
    }
}

impl Format {
    /// Bytes of `rows` rows of `cols` weights in tiles.
    pub fn packed_bytes(self, rows: usize, cols: usize) -> usize {
        self.visit(TilesOf { format: self, rows, cols })
    }

    /// Writes rows of `cols` weights, one after the other, as tiles, which [`Format::packed_bytes`] says the length of. Floats are copied.
    pub fn pack(self, cols: usize, rows: &[u8], tiles: &mut [u8]) {
        self.visit(Pack { row_bytes: self.row_bytes(cols), rows, tiles });
    }

    /// Writes the rows from `first` on that [`Format::pack`] was given, as many as there is room for.
    pub fn unpack(self, cols: usize, tiles: &[u8], first: usize, rows: &mut [u8]) {
        self.visit(Unpack { row_bytes: self.row_bytes(cols), tiles, first, rows });
    }

    /// Writes row `row` of tiles as floats: (cols).
    pub fn dequantize_packed(self, cols: usize, tiles: &[u8], row: usize, out: &mut [f32]) {
        self.visit(DequantizeRow { row_bytes: self.row_bytes(cols), tiles, row, out });
    }
}

struct TilesOf {
    format: Format,
    rows: usize,
    cols: usize,
}

impl Visitor for TilesOf {
    type Out = usize;

    fn float<F: Float>(self) -> usize {
        self.rows * self.format.row_bytes(self.cols)
    }

    fn narrow<F: Narrow>(self) -> usize {
        self.rows.div_ceil(TILE_ROWS) * OfNarrow::<F>::tile_bytes(self.cols / F::LEN)
    }

    fn wide<F: Wide>(self) -> usize {
        self.rows.div_ceil(TILE_ROWS) * OfWide::<F>::tile_bytes(self.cols / F::LEN)
    }
}

struct Pack<'a> {
    row_bytes: usize,
    rows: &'a [u8],
    tiles: &'a mut [u8],
}

impl Pack<'_> {
    fn pack<T: Tiling>(self) {
        let blocks = self.row_bytes / size_of::<T::Block>();
        let tiles = self.tiles.chunks_exact_mut(T::tile_bytes(blocks));
        for (rows, tile) in self.rows.chunks(TILE_ROWS * self.row_bytes).zip(tiles) {
            let rows: &[T::Block] = bytemuck::cast_slice(rows);
            let (codes, scales) = tile.split_at_mut(blocks * T::QUADS * size_of::<Quad>());
            let (scales, rest) = scales.split_at_mut(blocks * T::SCALES * TILE_ROWS);
            rest.fill(0);
            let (codes, _) = codes.as_chunks_mut::<64>();
            for b in 0..blocks {
                let codes = &mut codes[b * T::QUADS..][..T::QUADS];
                let scales = &mut scales[b * T::SCALES * TILE_ROWS..][..T::SCALES * TILE_ROWS];
                for r in 0..TILE_ROWS {
                    let (mut fours, mut bytes) = ([[0; 4]; MOST_QUADS], [0; MOST_SCALES]);
                    // Rows past the end are zeros.
                    if let Some(block) = rows.get(r * blocks + b) {
                        T::split(block, &mut fours[..T::QUADS], &mut bytes[..T::SCALES]);
                    }
                    codes.iter_mut().zip(fours).for_each(|(quad, four)| quad[4 * r..4 * r + 4].copy_from_slice(&four));
                    bytes[..T::SCALES].iter().enumerate().for_each(|(i, byte)| scales[T::scale_at(i, r)] = *byte);
                }
            }
        }
    }
}

impl Visitor for Pack<'_> {
    type Out = ();

    fn float<F: Float>(self) {
        self.tiles.copy_from_slice(self.rows);
    }

    fn narrow<F: Narrow>(self) {
        self.pack::<OfNarrow<F>>();
    }

    fn wide<F: Wide>(self) {
        self.pack::<OfWide<F>>();
    }
}

/// The blocks of a row, from the tiles of `blocks` blocks that it is in.
fn row_blocks<T: Tiling>(tiles: &[u8], blocks: usize, row: usize) -> impl Iterator<Item = T::Block> {
    let (tile_bytes, r) = (T::tile_bytes(blocks), row % TILE_ROWS);
    let tile = &tiles[row / TILE_ROWS * tile_bytes..][..tile_bytes];
    let (codes, scales) = tile.split_at(blocks * T::QUADS * size_of::<Quad>());
    let codes = codes.as_chunks().0.chunks_exact(T::QUADS);
    codes.zip(scales.chunks_exact(T::SCALES * TILE_ROWS)).map(move |(quads, scales)| {
        let (mut fours, mut bytes) = ([[0; 4]; MOST_QUADS], [0; MOST_SCALES]);
        fours.iter_mut().zip(quads).for_each(|(four, quad): (_, &Quad)| *four = quad.as_chunks().0[r]);
        bytes[..T::SCALES].iter_mut().enumerate().for_each(|(i, byte)| *byte = scales[T::scale_at(i, r)]);
        T::join(&fours[..T::QUADS], &bytes[..T::SCALES])
    })
}

struct Unpack<'a> {
    row_bytes: usize,
    tiles: &'a [u8],
    first: usize,
    rows: &'a mut [u8],
}

impl Unpack<'_> {
    fn unpack<T: Tiling>(self) {
        let blocks = self.row_bytes / size_of::<T::Block>();
        for (i, row) in self.rows.chunks_exact_mut(self.row_bytes).enumerate() {
            let row: &mut [T::Block] = bytemuck::cast_slice_mut(row);
            let found = row_blocks::<T>(self.tiles, blocks, self.first + i);
            row.iter_mut().zip(found).for_each(|(block, found)| *block = found);
        }
    }
}

impl Visitor for Unpack<'_> {
    type Out = ();

    fn float<F: Float>(self) {
        self.rows.copy_from_slice(&self.tiles[self.first * self.row_bytes..][..self.rows.len()]);
    }

    fn narrow<F: Narrow>(self) {
        self.unpack::<OfNarrow<F>>();
    }

    fn wide<F: Wide>(self) {
        self.unpack::<OfWide<F>>();
    }
}

struct DequantizeRow<'a> {
    row_bytes: usize,
    tiles: &'a [u8],
    row: usize,
    out: &'a mut [f32],
}

impl<'a> DequantizeRow<'a> {
    fn blocks<T: Tiling>(self) -> impl Iterator<Item = (T::Block, &'a mut [f32])> {
        let blocks = self.row_bytes / size_of::<T::Block>();
        row_blocks::<T>(self.tiles, blocks, self.row).zip(self.out.chunks_exact_mut(T::LEN))
    }
}

impl Visitor for DequantizeRow<'_> {
    type Out = ();

    fn float<F: Float>(self) {
        let bytes = &self.tiles[self.row * self.row_bytes..][..self.row_bytes];
        Dequantize { bytes, out: self.out }.float::<F>();
    }

    fn narrow<F: Narrow>(self) {
        self.blocks::<OfNarrow<F>>()
            .for_each(|(block, out)| Dequantize { bytes: bytemuck::bytes_of(&block), out }.narrow::<F>());
    }

    fn wide<F: Wide>(self) {
        self.blocks::<OfWide<F>>()
            .for_each(|(block, out)| Dequantize { bytes: bytemuck::bytes_of(&block), out }.wide::<F>());
    }
}
