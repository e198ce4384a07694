//! Matrix times columns from tiles of packed weights (`quant/tile.rs`): a lane is a row from the start, and nothing is turned.
//!
//! ```text
//!   for each tile of 16 rows, for C columns:
//!       for each block:  isum[row] = codes(row) · x               exact; a quad is four codes of each row
//!                        acc = acc + (dw * dx) * f32(isum)         the chain of the other kernels
//! ```
//! A tile is read from front to end, so one stream of memory keeps the kernel busy. Up to eight columns read codes where they lie; for more,
//! a strip of them is written out once, and the kernels of `strips` go over it.

use super::access::{FAR, eight, fours, offset, write};
use super::strips::{self, NARROW, NarrowStrip, Piece, Unpacked, WIDE, WideStrip, over_strips};
use crate::operand::{Column, Columns};
use crate::quant::tile::plane_quad;
use crate::quant::{Half, Narrow, Scale, TILE_ROWS, Wide};
use crate::simd::{CodeRange, Quads, Tiled};
use crate::team::Tile;
use bytemuck::Pod;
use core::array::from_fn;
use core::marker::PhantomData;

/// Up to so many columns, writing codes out would not pay.
const FEW: usize = 8;

/// How far ahead lines are asked for, to be brought into the L1 cache. Measured: 1 KB is slower.
const NEAR: usize = 4 << 10;

/// Calls `$body` for groups of 8 (where `$most` is), 4, 2 and 1 columns, of which the last may go past the end.
macro_rules! column_groups {
    ($n:expr, $most:expr, |$c:ident, $width:ident| $body:expr) => {{
        let n = $n;
        let mut $c = 0;
        while $c < n {
            $c += match n - $c {
                1 => column_groups!(@one 1, $width, $body),
                2 => column_groups!(@one 2, $width, $body),
                5.. if $most == 8 => column_groups!(@one 8, $width, $body),
                _ => column_groups!(@one 4, $width, $body),
            };
        }
    }};
    (@one $n:literal, $width:ident, $body:expr) => {{
        const $width: usize = $n;
        $body;
        $width
    }};
}

/// `out[c][r] = weights[r] · x[c]` for formats of blocks of 32. `tiles` holds the rows of `out`.
#[inline(always)]
pub(crate) fn matmul_narrow<S: Tiled, F: Narrow>(s: S, tiles: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let tiles = Tiles::new(tiles, out.rows(), x.len / F::LEN);
    if x.n > FEW {
        let mut w = Narrowly::<F> {
            offset: offset(s, F::CODES, F::OFFSET),
            tile: tiles.tile(0),
            tiles,
            strip: NarrowStrip::new(),
        };
        return over_strips(s, &mut w, NARROW, x, out);
    }
    for first in (0..out.rows()).step_by(TILE_ROWS) {
        let (codes, scales) = tiles.tile(first);
        column_groups!(x.n, S::COLUMNS, |c, C| {
            let acc = narrow_dots::<S, F, C>(s, codes, scales, &x.narrow::<C>(c));
            write(s, out, first, c, acc);
        });
    }
}

#[inline(always)]
fn narrow_dots<S: Tiled, F: Narrow, const C: usize>(
    s: S,
    codes: &[F::Quads],
    scales: &[F::Scales],
    columns: &[Column<'_>; C],
) -> [S::Lanes; C] {
    let mut acc = [s.splat(0.0); C];
    let n = codes.len();
    let offset = offset(s, F::CODES, F::OFFSET);
    // Cut to the length of the loop, which spares checking each index.
    let scales = &scales[..n];
    let qs: [&[[[u8; 4]; 8]]; C] = from_fn(|c| &fours(columns[c].qs)[..n]);
    let dxs: [&[f32]; C] = from_fn(|c| &columns[c].scales[..n]);
    let sums: [&[i16]; C] = from_fn(|c| &columns[c].sums[..n]);
    for b in 0..n {
        prefetch(s, &codes[b]);
        prefetch(s, &scales[b]);
        let mut x = [&qs[0][b]; C];
        for c in 1..C {
            x[c] = &qs[c][b];
        }
        let isum = s.dot_quads(NarrowCodes::<F>(&codes[b]), x, F::CODES);
        let stored = scales[b].as_ref();
        let dw = F::Scale::load(s, &stored[0]);
        for c in 0..C {
            let (dx, xsum) = (s.splat(dxs[c][b]), i32::from(sums[c][b]));
            let isum = if offset == 0 { isum[c] } else { s.sub_ints(isum[c], s.splat_int(offset * xsum)) };
            acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum)));
        }
        if F::HAS_MIN {
            let mw = F::Scale::load(s, &stored[1]);
            for c in 0..C {
                let (dx, xsum) = (s.splat(dxs[c][b]), s.splat(f32::from(sums[c][b])));
                acc[c] = s.add(acc[c], s.mul(s.mul(mw, dx), xsum));
            }
        }
    }
    acc
}

/// Asks for the lines that lie [`NEAR`] behind something, and for those [`FAR`] behind it.
#[inline(always)]
fn prefetch<S: Tiled, T>(s: S, what: &T) {
    let at = (&raw const *what).cast::<u8>();
    for line in (0..size_of::<T>()).step_by(64) {
        s.prefetch(at.wrapping_add(line + NEAR));
        s.prefetch_far(at.wrapping_add(line + FAR));
    }
}

/// [`matmul_narrow`] for the K formats.
#[inline(always)]
pub(crate) fn matmul_wide<S: Tiled, F: Wide>(s: S, tiles: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
    let tiles = Tiles::new(tiles, out.rows(), x.len / F::LEN);
    if x.n > FEW {
        let mut w =
            Widely::<F> { offset: offset(s, F::CODES, F::OFFSET), tile: tiles.tile(0), tiles, strip: WideStrip::new() };
        return over_strips(s, &mut w, WIDE, x, out);
    }
    for first in (0..out.rows()).step_by(TILE_ROWS) {
        let (codes, scales) = tiles.tile(first);
        // With sub-scales of 16 weights there are no registers for eight.
        let most = if F::SPAN == 32 { S::COLUMNS } else { 4 };
        column_groups!(x.n, most, |c, C| {
            let acc = wide_dots::<S, F, C>(s, codes, scales, &x.wide::<C>(c));
            write(s, out, first, c, acc);
        });
    }
}

#[inline(always)]
fn wide_dots<S: Tiled, F: Wide, const C: usize>(
    s: S,
    codes: &[F::Quads],
    scales: &[F::Scales],
    columns: &[Column<'_>; C],
) -> [S::Lanes; C] {
    let mut acc = [s.splat(0.0); C];
    let n = codes.len();
    let offset = offset(s, F::CODES, F::OFFSET);
    let scales = &scales[..n];
    let qs: [&[[[u8; 4]; 64]]; C] = from_fn(|c| &fours(columns[c].qs)[..n]);
    let dxs: [&[f32]; C] = from_fn(|c| &columns[c].scales[..n]);
    let sums: [&[[i16; 16]]; C] = from_fn(|c| &columns[c].sums.as_chunks().0[..n]);
    for b in 0..n {
        prefetch(s, &codes[b]);
        prefetch(s, &scales[b]);
        let block = WideBlock::<F, C> {
            quads: &codes[b],
            subs: scales[b].as_ref(),
            qs: from_fn(|c| &qs[c][b]),
            sums: from_fn(|c| &sums[c][b]),
        };
        let (isum, msum) = block.sums(s, offset);
        let (dw, mw) = halves::<S, F>(s, &scales[b]);
        for c in 0..C {
            let dx = s.splat(dxs[c][b]);
            acc[c] = s.add(acc[c], s.mul(s.mul(dw, dx), s.to_lanes(isum[c])));
            if F::HAS_MIN {
                acc[c] = s.add(acc[c], s.mul(s.mul(mw, dx), s.to_lanes(msum[c])));
            }
        }
    }
    acc
}

/// The scales and the negated scales of minima of sixteen rows; without minima, the scales twice.
#[inline(always)]
fn halves<S: Tiled, F: Wide>(s: S, scales: &F::Scales) -> (S::Lanes, S::Lanes) {
    let pieces = scales.as_ref();
    let at = pieces.len() - if F::HAS_MIN { 4 } else { 2 };
    let lanes: &[[Half; TILE_ROWS]] = bytemuck::cast_slice(&pieces[at..]);
    let dw = Half::load(s, &lanes[0]);
    // Exact, as the other sign would be.
    let mw = if F::HAS_MIN { s.mul(Half::load(s, &lanes[1]), s.splat(-1.0)) } else { dw };
    (dw, mw)
}

/// A block of sixteen rows, and of the columns.
struct WideBlock<'a, F: Wide, const C: usize> {
    quads: &'a F::Quads,
    /// sub-scales in front
    subs: &'a [[u8; TILE_ROWS]],
    qs: [&'a [[u8; 4]; 64]; C],
    sums: [&'a [i16; 16]; C],
}

/// Integer sums of a block, for each column.
struct Sums<I, const C: usize> {
    /// sub-scale times code times x
    codes: [I; C],
    /// sub-scale times x
    scales: [I; C],
    /// integer minimum times x
    mins: [I; C],
}

impl<F: Wide, const C: usize> WideBlock<'_, F, C> {
    /// Sub-scale times (code - offset) times x, and the minima times x.
    #[inline(always)]
    fn sums<S: Tiled>(&self, s: S, offset: i32) -> ([S::Ints; C], [S::Ints; C]) {
        let zero = [s.splat_int(0); C];
        let mut sums = Sums { codes: zero, scales: zero, mins: zero };
        for j in 0..8 {
            let mut x: [&[[u8; 4]; 8]; C] = [eight(self.qs[0], j); C];
            for c in 1..C {
                x[c] = eight(self.qs[c], j);
            }
            if F::SPAN == 32 {
                self.add::<S, 8, 0>(s, j, x, offset, &mut sums);
            } else {
                let mut low: [&[[u8; 4]; 4]; C] = [&x[0].as_chunks().0[0]; C];
                let mut high: [&[[u8; 4]; 4]; C] = [&x[0].as_chunks().0[1]; C];
                for c in 1..C {
                    (low[c], high[c]) = (&x[c].as_chunks().0[0], &x[c].as_chunks().0[1]);
                }
                self.add::<S, 4, 0>(s, j, low, offset, &mut sums);
                self.add::<S, 4, 4>(s, j, high, offset, &mut sums);
            }
        }
        if offset != 0 {
            for c in 0..C {
                sums.codes[c] = s.sub_ints(sums.codes[c], s.mul_ints(sums.scales[c], s.splat_int(offset)));
            }
        }
        (sums.codes, sums.mins)
    }

    /// Adds the `4 T` weights from `32 * j + 4 * FIRST` on, which share a sub-scale. (Where they are in a plane is known when this is compiled.)
    #[inline(always)]
    fn add<S: Tiled, const T: usize, const FIRST: usize>(
        &self,
        s: S,
        j: usize,
        x: [&[[u8; 4]; T]; C],
        offset: i32,
        sums: &mut Sums<S::Ints, C>,
    ) {
        let at = (8 * j + FIRST) / T;
        let scale = F::tile_sub_scale(s, self.subs, at);
        let codes = WideCodes::<F, FIRST> { quads: self.quads, j };
        sums.codes = s.add_scaled_quads(sums.codes, codes, x, F::CODES, scale);
        for c in 0..C {
            let of_16 = self.sums[c];
            let xsum = if T == 8 { of_16[2 * j] + of_16[2 * j + 1] } else { of_16[2 * j + FIRST / 4] };
            let xsum = s.splat_int(xsum.into());
            if offset != 0 {
                sums.scales[c] = s.add_small_mul(sums.scales[c], xsum, scale);
            }
            if F::HAS_MIN {
                sums.mins[c] = s.add_small_mul(sums.mins[c], xsum, F::tile_sub_min(s, self.subs, at));
            }
        }
    }
}

/// A matrix in tiles of codes and scales.
struct Tiles<'a, Q, T> {
    bytes: &'a [u8],
    rows: usize,
    /// in a row
    blocks: usize,
    kinds: PhantomData<(Q, T)>,
}

impl<'a, Q: Pod, T: Pod> Tiles<'a, Q, T> {
    /// `rows` rows that fill `bytes`.
    #[inline(always)]
    fn new(bytes: &'a [u8], rows: usize, blocks: usize) -> Self {
        Tiles { bytes, rows, blocks, kinds: PhantomData }
    }

    /// The blocks of the rows from `first` on: their codes, and their scales.
    #[inline(always)]
    fn tile(&self, first: usize) -> (&'a [Q], &'a [T]) {
        let len = self.bytes.len() / self.rows.div_ceil(TILE_ROWS);
        let tile = &self.bytes[first / TILE_ROWS * len..][..len];
        let (codes, scales) = tile.split_at(self.blocks * size_of::<Q>());
        (bytemuck::cast_slice(codes), bytemuck::cast_slice(&scales[..self.blocks * size_of::<T>()]))
    }
}

/// A matrix of blocks of 32, and the tile that is next to be written out.
struct Narrowly<'a, F: Narrow> {
    /// By how much codes are larger than weights.
    offset: i32,
    tiles: Tiles<'a, F::Quads, F::Scales>,
    tile: (&'a [F::Quads], &'a [F::Scales]),
    strip: NarrowStrip,
}

impl<S: Tiled, F: Narrow> Unpacked<S> for Narrowly<'_, F> {
    #[inline(always)]
    fn size(&self) -> (usize, usize) {
        (self.tiles.rows, self.tiles.blocks)
    }

    #[inline(always)]
    fn group(&mut self, first: usize) {
        self.tile = self.tiles.tile(first);
    }

    #[inline(always)]
    fn unpack(&mut self, s: S, start: usize, n: usize) {
        let (codes, scales) = self.tile;
        let strip = &mut self.strip;
        strip.codes.clear();
        for (b, (codes, scales)) in codes[start..][..n].iter().zip(&scales[start..][..n]).enumerate() {
            prefetch(s, codes);
            prefetch(s, scales);
            write_out(s, NarrowCodes::<F>(codes), strip.push());
            let stored = scales.as_ref();
            strip.scales[b] = s.store(F::Scale::load(s, &stored[0]));
            if F::HAS_MIN {
                strip.mins[b] = s.store(F::Scale::load(s, &stored[1]));
            }
        }
    }

    #[inline(always)]
    fn dots(&self, s: S, at: Piece, x: Columns<'_>, out: &mut Tile<'_>) {
        strips::narrow_dots::<S, F>(s, &self.strip, self.offset, at, x, out);
    }
}

/// 32 codes of sixteen rows as bytes.
#[inline(always)]
fn write_out<S: Tiled>(s: S, codes: impl Quads<S>, out: &mut [[u8; 64]; 8]) {
    for t in 0..8 {
        s.store_quad(codes.quad(s, t), &mut out[t]);
    }
}

/// A matrix of blocks of 256, and the tile that is next to be written out.
struct Widely<'a, F: Wide> {
    /// By how much codes are larger than weights.
    offset: i32,
    tiles: Tiles<'a, F::Quads, F::Scales>,
    tile: (&'a [F::Quads], &'a [F::Scales]),
    strip: WideStrip,
}

impl<S: Tiled, F: Wide> Unpacked<S> for Widely<'_, F> {
    #[inline(always)]
    fn size(&self) -> (usize, usize) {
        (self.tiles.rows, self.tiles.blocks)
    }

    #[inline(always)]
    fn group(&mut self, first: usize) {
        self.tile = self.tiles.tile(first);
    }

    #[inline(always)]
    fn unpack(&mut self, s: S, start: usize, n: usize) {
        let (codes, scales) = self.tile;
        let strip = &mut self.strip;
        strip.codes.clear();
        for (b, (quads, scales)) in codes[start..][..n].iter().zip(&scales[start..][..n]).enumerate() {
            prefetch(s, quads);
            prefetch(s, scales);
            let (out, subs) = (WideStrip::push(&mut strip.codes), scales.as_ref());
            for j in 0..8 {
                write_out(s, WideCodes::<F, 0> { quads, j }, &mut out[j]);
            }
            for j in 0..8 {
                let (first, second) = if F::SPAN == 32 { (j, j) } else { (2 * j, 2 * j + 1) };
                let (low, high) = (F::tile_sub_scale(s, subs, first), F::tile_sub_scale(s, subs, second));
                s.store_pairs(low, high, &mut strip.sub_scales[b][j]);
                if F::HAS_MIN {
                    let (low, high) = (F::tile_sub_min(s, subs, first), F::tile_sub_min(s, subs, second));
                    s.store_pairs(low, high, &mut strip.sub_mins[b][j]);
                }
            }
            let (dw, mw) = halves::<S, F>(s, scales);
            strip.scales[b] = s.store(dw);
            strip.mins[b] = s.store(mw);
        }
    }

    #[inline(always)]
    fn dots(&self, s: S, at: Piece, x: Columns<'_>, out: &mut Tile<'_>) {
        strips::wide_dots::<S, F>(s, &self.strip, (self.offset, F::HAS_MIN), at, x, out);
    }
}

/// What stored codes stand for, as this machine multiplies it.
#[inline(always)]
fn as_multiplied<S: Tiled>(s: S, codes: S::Quads, table: Option<&[i8; 16]>, range: CodeRange) -> S::Quads {
    let offset = if range == CodeRange::Signed { s.signed_offset() as u8 } else { 0 };
    match table {
        Some(table) => {
            let mut sums = *table;
            for x in &mut sums {
                *x = x.wrapping_add(offset as i8);
            }
            s.lookup_quad(&sums, codes)
        }
        None if offset != 0 => s.add_quads(codes, s.splat_quad(offset)),
        None => codes,
    }
}

/// The codes of a block of a tile.
struct NarrowCodes<'a, F: Narrow>(&'a F::Quads);

/// Those of the weights from `32 * j + 4 * FIRST` on.
struct WideCodes<'a, F: Wide, const FIRST: usize> {
    quads: &'a F::Quads,
    j: usize,
}

impl<F: Narrow> Clone for NarrowCodes<'_, F> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Narrow> Copy for NarrowCodes<'_, F> {}

impl<F: Wide, const FIRST: usize> Clone for WideCodes<'_, F, FIRST> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Wide, const FIRST: usize> Copy for WideCodes<'_, F, FIRST> {}

impl<S: Tiled, F: Narrow> Quads<S> for NarrowCodes<'_, F> {
    #[inline(always)]
    fn quad(self, s: S, t: usize) -> S::Quads {
        as_multiplied(s, plane_quad(s, self.0.as_ref(), t), F::TABLE, F::CODES)
    }
}

impl<S: Tiled, F: Wide, const FIRST: usize> Quads<S> for WideCodes<'_, F, FIRST> {
    #[inline(always)]
    fn quad(self, s: S, t: usize) -> S::Quads {
        as_multiplied(s, F::tile_codes(s, self.quads.as_ref(), self.j, FIRST + t), F::TABLE, F::CODES)
    }
}
