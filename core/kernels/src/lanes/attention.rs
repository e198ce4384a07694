//! Attention of query heads over one chunk: scores, softmax, weighted values, and the merge with the chunks before.
//!
//! Keys lie in tiles of 16 positions: a lane is a position, and a score is one chain over the head, without a reduction. Heads that share
//! a key/value head, of one token or of several, are rows that go through the chunk together, so that what is cached is read once for
//! all of them. Positions that only some of the rows see have the weight 0 in the others, and adding 0 changes no bit of a sum that
//! began with +0.
//!
//! A chain of additions waits four cycles for each: rows times tiles (or 16s of a value) make [`Simd::CHAINS`] chains that do not wait
//! for each other.

use super::access::array;
use crate::math;
use crate::operand::{CHUNK, ChunkF16, ChunkQ8, Gathered, Queries, TILE};
use crate::simd::Simd;
use core::array::from_fn;
use core::ops::Range;

/// The scores of a chunk for `G` rows; after the softmax, the weights.
type Scores<const G: usize> = [[f32; CHUNK]; G];

/// Attention over an f16 chunk.
#[inline(always)]
pub(crate) fn attend_f16<S: Simd>(
    s: S,
    queries: &Queries<'_>,
    chunk: &ChunkF16<'_>,
    visible: &[Range<usize>],
    state: &mut Gathered<'_>,
) {
    attend(s, queries, chunk, visible, state);
}

/// Attention over a q8_0 chunk. The queries are quantised here, in blocks of 32.
#[inline(always)]
pub(crate) fn attend_q8<S: Simd>(
    s: S,
    queries: &Queries<'_>,
    chunk: &ChunkQ8<'_>,
    visible: &[Range<usize>],
    state: &mut Gathered<'_>,
) {
    attend(s, queries, chunk, visible, state);
}

#[inline(always)]
fn attend<S: Simd>(
    s: S,
    queries: &Queries<'_>,
    chunk: &impl Cached<S>,
    visible: &[Range<usize>],
    state: &mut Gathered<'_>,
) {
    let (wide, rows) = (S::CHAINS >= 8, state.max.len());
    let mut r = 0;
    while r < rows {
        r += match rows - r {
            8.. if wide => attend_rows::<S, 8, 1>(s, queries, chunk, visible, state, r),
            4.. if wide => attend_rows::<S, 4, 2>(s, queries, chunk, visible, state, r),
            3 if wide => attend_rows::<S, 3, 2>(s, queries, chunk, visible, state, r),
            4.. => attend_rows::<S, 4, 1>(s, queries, chunk, visible, state, r),
            2 | 3 => attend_rows::<S, 2, 2>(s, queries, chunk, visible, state, r),
            _ => attend_rows::<S, 1, 2>(s, queries, chunk, visible, state, r),
        };
    }
}

apart! {
    /// Rows `first..first + G`; returns how many that are.
    fn attend_rows<S: Simd, const G: usize, const U: usize>(
        s: S,
        queries: &Queries<'_>,
        chunk: &impl Cached<S>,
        visible: &[Range<usize>],
        state: &mut Gathered<'_>,
        first: usize,
    ) -> usize {
        let q: [&[f32]; G] = from_fn(|g| queries.row(first + g));
        let visible: [Range<usize>; G] = from_fn(|g| visible[(first + g) / queries.heads].clone());
        // Later tokens see no less of the end, and no more of the beginning.
        let all = visible[0].start..visible[G - 1].end;
        let mut scores: Scores<G> = [[0.0; CHUNK]; G];
        chunk.scores::<G, U>(s, q, queries.scale, all.clone(), &mut scores);
        let mut merge = [Merge::FIRST; G];
        for g in 0..G {
            let chunk = softmax(s, &mut scores[g], visible[g].clone(), queries.cap);
            scores[g][all.start..visible[g].start].fill(0.0);
            scores[g][visible[g].end..all.end].fill(0.0);
            merge[g] = merged(chunk, &mut state.max[first + g], &mut state.sum[first + g]);
        }
        let (padded, mut d) = (chunk.padded(), 0);
        while d + 16 * U <= padded {
            add_values::<S, G, U>(s, chunk, &scores, all.clone(), d, &merge, first, state);
            d += 16 * U;
        }
        while d < padded {
            add_values::<S, G, 1>(s, chunk, &scores, all.clone(), d, &merge, first, state);
            d += 16;
        }
        G
    }
}

/// Dimensions `d..d + 16 U` of the weighted values.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a piece of `attend_rows`")]
fn add_values<S: Simd, const G: usize, const U: usize>(
    s: S,
    chunk: &impl Cached<S>,
    scores: &Scores<G>,
    positions: Range<usize>,
    d: usize,
    merge: &[Merge; G],
    first: usize,
    state: &mut Gathered<'_>,
) {
    let mut acc = [[s.splat(0.0); U]; G];
    for p in positions {
        for u in 0..U {
            let (v, scale) = chunk.value(s, p, d + 16 * u);
            for g in 0..G {
                let weight = scale.map_or(scores[g][p], |scale| scores[g][p] * scale);
                acc[g][u] = s.add(acc[g][u], s.mul(s.splat(weight), v));
            }
        }
    }
    for g in 0..G {
        for u in 0..U {
            merge[g].values(s, acc[g][u], &mut state.out[(first + g) * chunk.padded() + d + 16 * u..][..16]);
        }
    }
}

/// A chunk of the KV cache, in one of its types.
trait Cached<S: Simd> {
    /// Width of a value.
    fn padded(&self) -> usize;
    /// The scores of all tiles that have one of `positions`, `U` tiles at a time.
    fn scores<const G: usize, const U: usize>(
        &self,
        s: S,
        q: [&[f32]; G],
        scale: f32,
        positions: Range<usize>,
        scores: &mut Scores<G>,
    );
    /// Dimensions `d..d + 16` of the value at a position, and what else they are multiplied with.
    fn value(&self, s: S, p: usize, d: usize) -> (S::Lanes, Option<f32>);
}

impl<S: Simd> Cached<S> for ChunkF16<'_> {
    #[inline(always)]
    fn padded(&self) -> usize {
        self.values.len() / CHUNK
    }

    #[inline(always)]
    fn scores<const G: usize, const U: usize>(
        &self,
        s: S,
        q: [&[f32]; G],
        scale: f32,
        positions: Range<usize>,
        scores: &mut Scores<G>,
    ) {
        let dim = q[0].len();
        for first in tiles::<U>(positions) {
            let keys: [&[u16]; U] = from_fn(|u| &self.keys[(first + u) * dim * TILE..][..dim * TILE]);
            let mut acc = [[s.splat(0.0); U]; G];
            for d in 0..dim {
                for u in 0..U {
                    let k = s.load_f16(array(keys[u], d));
                    for g in 0..G {
                        acc[g][u] = s.add(acc[g][u], s.mul(s.splat(q[g][d]), k));
                    }
                }
            }
            for g in 0..G {
                for u in 0..U {
                    put(s, &mut scores[g], first + u, s.mul(acc[g][u], s.splat(scale)));
                }
            }
        }
    }

    #[inline(always)]
    fn value(&self, s: S, p: usize, d: usize) -> (S::Lanes, Option<f32>) {
        let at = p * Cached::<S>::padded(self) + d;
        (s.load_f16(self.values[at..][..16].try_into().expect("16 values")), None)
    }
}

impl<S: Simd> Cached<S> for ChunkQ8<'_> {
    #[inline(always)]
    fn padded(&self) -> usize {
        self.values.len() / CHUNK
    }

    /// Per block of 32, the integers first; the chain over blocks waits in `scores`.
    #[inline(always)]
    fn scores<const G: usize, const U: usize>(
        &self,
        s: S,
        q: [&[f32]; G],
        scale: f32,
        positions: Range<usize>,
        scores: &mut Scores<G>,
    ) {
        let blocks = q[0].len().div_ceil(32);
        for b in 0..blocks {
            let mut x = [(0.0, [0; 32]); G];
            for g in 0..G {
                x[g] = quantize_query(s, &q[g][32 * b..q[g].len().min(32 * b + 32)]);
            }
            for tile in tiles::<1>(positions.clone()) {
                let mut isum = [s.splat_int(0); G];
                for k in 0..8 {
                    let keys = array(self.keys, (tile * blocks + b) * 8 + k);
                    for g in 0..G {
                        isum[g] = s.dot_tile(isum[g], keys, *array(&x[g].1, k));
                    }
                }
                let dk = s.load_f16(array(self.key_scales, tile * blocks + b));
                for g in 0..G {
                    let sum =
                        s.add(s.load(array(&scores[g], tile)), s.mul(s.mul(dk, s.splat(x[g].0)), s.to_lanes(isum[g])));
                    put(s, &mut scores[g], tile, if b + 1 < blocks { sum } else { s.mul(sum, s.splat(scale)) });
                }
            }
        }
    }

    #[inline(always)]
    fn value(&self, s: S, p: usize, d: usize) -> (S::Lanes, Option<f32>) {
        let at = p * Cached::<S>::padded(self) + d;
        let codes: &[i8; 16] = self.values[at..][..16].try_into().expect("16 codes");
        let mut v = [0.0; 16];
        for i in 0..16 {
            v[i] = f32::from(codes[i]);
        }
        (s.load(&v), Some(half::f16::from_bits(self.value_scales[at / 32]).to_f32_const()))
    }
}

/// The first of each `U` tiles that have one of the positions. A chunk has a whole number of these.
#[inline(always)]
fn tiles<const U: usize>(positions: Range<usize>) -> impl Iterator<Item = usize> {
    (positions.start / TILE / U * U..positions.end.div_ceil(TILE)).step_by(U)
}

#[inline(always)]
fn put<S: Simd>(s: S, scores: &mut [f32; CHUNK], tile: usize, lanes: S::Lanes) {
    scores[tile * TILE..][..TILE].copy_from_slice(&s.store(lanes));
}

apart! {
    /// One block of a query, up to 32 values, as activations are quantised.
    fn quantize_query<S: Simd>(s: S, q: &[f32]) -> (f32, [i8; 32]) {
        let mut x = [0.0; 32];
        x[..q.len()].copy_from_slice(q);
        let d = f32::from_bits(x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff))) / 127.0;
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
}

apart! {
    /// Turns the visible scores into `exp(score - max)`, the others of their tiles into 0; returns (max, sum).
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
        let max = s.reduce_max(lanes);
        let (mut sum, less) = (s.splat(0.0), s.splat(-max));
        for tile in scores.iter_mut() {
            let weights = s.exp(s.add(s.load(tile), less));
            *tile = s.store(weights);
            sum = s.add(sum, weights);
        }
        (max, s.reduce_add(sum))
    }
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

apart! {
    /// Updates maximum and sum, and keeps the two factors for the values.
    fn merged((m, l): (f32, f32), max: &mut f32, sum: &mut f32) -> Merge {
        if *max == f32::NEG_INFINITY {
            (*max, *sum) = (m, l);
            return Merge::FIRST;
        }
        let both = if m > *max { m } else { *max };
        let (old, new) = (math::exp(*max - both), math::exp(m - both));
        (*max, *sum) = (both, *sum * old + l * new);
        Merge { first: false, old, new }
    }
}
