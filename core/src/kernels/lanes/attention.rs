//! Attention of one token's query heads over one chunk: scores, softmax, weighted values, and the merge with the chunks before.
//!
//! Keys lie in tiles of 16 positions: a lane is a position, and a score is one chain over the head, without a reduction. Heads
//! that share a key/value head go through the chunk together, up to four at a time.

use super::Simd;
use super::matmul::array;
use crate::kernels::{CHUNK, ChunkF16, ChunkQ8, Gathered, Queries, TILE, math};
use core::array::from_fn;
use core::ops::Range;

/// The scores of a chunk for `G` heads; after the softmax, the weights.
type Scores<const G: usize> = [[f32; CHUNK]; G];

macro_rules! head_groups {
    ($heads:expr, |$first:ident, $width:ident| $body:expr) => {{
        let heads = $heads;
        let mut $first = 0;
        while $first < heads {
            match heads - $first {
                1 => {
                    const $width: usize = 1;
                    $body;
                    $first += 1
                }
                2 => {
                    const $width: usize = 2;
                    $body;
                    $first += 2
                }
                3 => {
                    const $width: usize = 3;
                    $body;
                    $first += 3
                }
                _ => {
                    const $width: usize = 4;
                    $body;
                    $first += 4
                }
            }
        }
    }};
}

/// Attention over the `visible` positions of an f16 chunk.
#[inline(always)]
pub(in crate::kernels) fn attend_f16<S: Simd>(
    s: S,
    queries: &Queries<'_>,
    chunk: &ChunkF16<'_>,
    visible: Range<usize>,
    state: &mut Gathered<'_>,
) {
    let dim = queries.head_dim;
    let padded = chunk.values.len() / CHUNK;
    head_groups!(state.max.len(), |first, G| {
        let q: [&[f32]; G] = from_fn(|g| &queries.q[(first + g) * dim..][..dim]);
        let mut scores: Scores<G> = [[0.0; CHUNK]; G];
        for tile in visible.start / TILE..visible.end.div_ceil(TILE) {
            let keys = &chunk.keys[tile * dim * TILE..][..dim * TILE];
            let mut acc = [s.splat(0.0); G];
            for d in 0..dim {
                let k = s.load_f16(array(keys, d));
                for g in 0..G {
                    acc[g] = s.add(acc[g], s.mul(s.splat(q[g][d]), k));
                }
            }
            put_scores(s, &mut scores, tile, acc, queries.scale);
        }
        let mut merge = [Merge::FIRST; G];
        for g in 0..G {
            let chunk = softmax(s, &mut scores[g], visible.clone(), queries.cap);
            merge[g] = Merge::new(chunk, &mut state.max[first + g], &mut state.sum[first + g]);
        }
        for d in (0..padded).step_by(16) {
            let mut acc = [s.splat(0.0); G];
            for p in visible.clone() {
                let v = s.load_f16(chunk.values[p * padded + d..][..16].try_into().expect("16 values"));
                for g in 0..G {
                    acc[g] = s.add(acc[g], s.mul(s.splat(scores[g][p]), v));
                }
            }
            for g in 0..G {
                merge[g].values(s, acc[g], &mut state.out[(first + g) * padded + d..][..16]);
            }
        }
    });
}

/// Attention over the `visible` positions of a q8_0 chunk. The queries are quantised here, in blocks of 32.
#[inline(always)]
pub(in crate::kernels) fn attend_q8<S: Simd>(
    s: S,
    queries: &Queries<'_>,
    chunk: &ChunkQ8<'_>,
    visible: Range<usize>,
    state: &mut Gathered<'_>,
) {
    let dim = queries.head_dim;
    let padded = chunk.values.len() / CHUNK;
    let blocks = padded / 32;
    head_groups!(state.max.len(), |first, G| {
        let mut scores: Scores<G> = [[0.0; CHUNK]; G];
        for g in 0..G {
            let q = &queries.q[(first + g) * dim..][..dim];
            score_q8(s, q, queries.scale, chunk, visible.clone(), &mut scores[g]);
        }
        let mut merge = [Merge::FIRST; G];
        for g in 0..G {
            let chunk = softmax(s, &mut scores[g], visible.clone(), queries.cap);
            merge[g] = Merge::new(chunk, &mut state.max[first + g], &mut state.sum[first + g]);
        }
        for d in (0..padded).step_by(16) {
            let mut acc = [s.splat(0.0); G];
            for p in visible.clone() {
                let codes: &[i8; 16] = chunk.values[p * padded + d..][..16].try_into().expect("16 codes");
                let mut v = [0.0; 16];
                for i in 0..16 {
                    v[i] = f32::from(codes[i]);
                }
                let v = s.load(&v);
                let dv = half::f16::from_bits(chunk.value_scales[p * blocks + d / 32]).to_f32_const();
                for g in 0..G {
                    acc[g] = s.add(acc[g], s.mul(s.splat(scores[g][p] * dv), v));
                }
            }
            for g in 0..G {
                merge[g].values(s, acc[g], &mut state.out[(first + g) * padded + d..][..16]);
            }
        }
    });
}

/// The scores of one head over a q8_0 chunk: per block of 32, lanes are positions.
#[inline(always)]
fn score_q8<S: Simd>(
    s: S,
    q: &[f32],
    scale: f32,
    chunk: &ChunkQ8<'_>,
    visible: Range<usize>,
    scores: &mut [f32; CHUNK],
) {
    let blocks = q.len().div_ceil(32);
    for tile in visible.start / TILE..visible.end.div_ceil(TILE) {
        let mut acc = s.splat(0.0);
        for (b, q) in q.chunks(32).enumerate() {
            let (dq, codes) = quantize_query(s, q);
            let mut isum = s.splat_int(0);
            for k in 0..8 {
                let keys = array(chunk.keys, (tile * blocks + b) * 8 + k);
                isum = s.dot_tile(isum, keys, *array(&codes, k));
            }
            let dk = s.load_f16(array(chunk.key_scales, tile * blocks + b));
            acc = s.add(acc, s.mul(s.mul(dk, s.splat(dq)), s.to_lanes(isum)));
        }
        let tile_scores = s.mul(acc, s.splat(scale));
        scores[tile * TILE..][..TILE].copy_from_slice(&s.store(tile_scores));
    }
}

/// One block of a query, up to 32 values, as activations are quantised.
#[inline(always)]
fn quantize_query<S: Simd>(s: S, q: &[f32]) -> (f32, [i8; 32]) {
    let mut x = [0.0; 32];
    x[..q.len()].copy_from_slice(q);
    let d = x.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
    if d == 0.0 {
        return (0.0, [0; 32]);
    }
    let mut codes = [0; 32];
    for (x, codes) in x.as_chunks::<16>().0.iter().zip(codes.as_chunks_mut::<16>().0) {
        let rounded = s.round(s.div(s.load(x), s.splat(d)));
        for i in 0..16 {
            codes[i] = rounded[i].clamp(-127, 127) as i8;
        }
    }
    (d, codes)
}

#[inline(always)]
fn put_scores<S: Simd, const G: usize>(s: S, scores: &mut Scores<G>, tile: usize, acc: [S::Lanes; G], scale: f32) {
    for g in 0..G {
        scores[g][tile * TILE..][..TILE].copy_from_slice(&s.store(s.mul(acc[g], s.splat(scale))));
    }
}

/// Turns the visible scores into `exp(score - max)`, the others of their tiles into 0; returns (max, sum).
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32; CHUNK], visible: Range<usize>, cap: Option<f32>) -> (f32, f32) {
    let tiles = visible.start / TILE * TILE..visible.end.next_multiple_of(TILE);
    if let Some(cap) = cap {
        for x in &mut scores[tiles.clone()] {
            *x = math::soft_cap(*x, cap);
        }
    }
    scores[tiles.start..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..tiles.end].fill(f32::NEG_INFINITY);
    let scores = &mut scores[tiles].as_chunks_mut::<TILE>().0;
    let mut lanes = s.splat(f32::NEG_INFINITY);
    for tile in scores.iter() {
        lanes = s.max(lanes, s.load(tile));
    }
    let max = s.store(lanes).into_iter().fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m });
    let mut sum = s.splat(0.0);
    for tile in scores.iter_mut() {
        for x in tile.iter_mut() {
            *x = math::exp(*x - max);
        }
        sum = s.add(sum, s.load(tile));
    }
    (max, s.reduce_add(sum))
}

/// How a chunk joins the chunks before it.
#[derive(Clone, Copy)]
struct Merge {
    first: bool,
    old: f32,
    new: f32,
}

impl Merge {
    const FIRST: Merge = Merge { first: true, old: 0.0, new: 1.0 };

    /// Updates maximum and sum, and keeps the two factors for the values.
    #[inline(always)]
    fn new((m, l): (f32, f32), max: &mut f32, sum: &mut f32) -> Merge {
        if *max == f32::NEG_INFINITY {
            (*max, *sum) = (m, l);
            return Self::FIRST;
        }
        let both = if m > *max { m } else { *max };
        let (old, new) = (math::exp(*max - both), math::exp(m - both));
        (*max, *sum) = (both, *sum * old + l * new);
        Merge { first: false, old, new }
    }

    #[inline(always)]
    fn values<S: Simd>(&self, s: S, acc: S::Lanes, out: &mut [f32]) {
        let out: &mut [f32; 16] = out.try_into().expect("16 values");
        *out = if self.first {
            s.store(acc)
        } else {
            s.store(s.add(s.mul(s.load(out), s.splat(self.old)), s.mul(acc, s.splat(self.new))))
        };
    }
}
