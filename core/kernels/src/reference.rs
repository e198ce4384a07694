//! The specification: every kernel as naively as `docs/numerics.md` states it, one value at a time.
//!
//! It is also the portable backend. Nothing here is shared with `lanes` but the layouts of buffers and the scalar functions of
//! `math`, so that comparing the two with `==` means something.

use crate::backend::Kernels;
use crate::math;
use crate::operand::{Activation, CHUNK, ChunkF16, ChunkQ8, ColumnMut, Columns, Gathered, Queries, TILE, span};
use crate::quant::{Float, Layout, Matrix, Narrow, Scale, Visitor, Wide};
use crate::team::Tile;
use core::ops::Range;
use half::f16;

pub(super) static KERNELS: Kernels = Kernels {
    name: "reference",
    matmul,
    quantize,
    rms_norm,
    layer_norm,
    activate,
    soft_cap,
    to_f16,
    attend_f16,
    attend_q8,
};

/// Sum in 16 lanes, lane i mod 16, and the fixed tree.
fn sum16(terms: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, term) in terms.enumerate() {
        lanes[i % 16] += term;
    }
    for width in [8, 4, 2, 1] {
        for k in 0..width {
            lanes[k] += lanes[k + width];
        }
    }
    lanes[0]
}

/// Nearest integer, ties to even.
fn round(x: f32) -> i32 {
    libm::rintf(x) as i32
}

fn quantize(x: &[f32], block: usize, out: ColumnMut<'_>) -> bool {
    if !x.iter().all(|x| x.is_finite()) {
        return false;
    }
    for (b, x) in x.chunks(block).enumerate() {
        let amax = x.iter().fold(0.0, |m: f32, x| if x.abs() > m { x.abs() } else { m });
        out.scales[b] = amax / 127.0;
        for (i, x) in x.iter().enumerate() {
            out.qs[b * block + i] = code(*x, out.scales[b]);
        }
    }
    for (qs, sum) in out.qs.chunks(span(block)).zip(out.sums) {
        *sum = qs.iter().map(|&q| i16::from(q)).sum();
    }
    true
}

/// `x / d` as an int8; 0 if d is 0.
fn code(x: f32, d: f32) -> i8 {
    if d == 0.0 { 0 } else { round(x / d).clamp(-127, 127) as i8 }
}

/// The block loop is outside the column loop, so that a block is unpacked once; each chain still runs in block order.
fn matmul(w: Matrix<'_>, x: Columns<'_>, out: &mut Tile<'_>) {
    let row_bytes = w.format.row_bytes(x.len);
    for r in 0..out.rows() {
        for c in 0..x.n {
            out.column(c)[r] = 0.0;
        }
        match w.layout {
            Layout::Rows => w.format.visit(Row { weights: &w.bytes[r * row_bytes..][..row_bytes], x, out, r }),
            #[cfg(not(target_family = "wasm"))]
            Layout::Tiles => {
                let mut row = alloc::vec![0; row_bytes];
                w.format.unpack(x.len, w.bytes, r, &mut row);
                w.format.visit(Row { weights: &row, x, out, r });
            }
        }
    }
}

/// One row times all columns, into `out[c][r]`.
struct Row<'a, 'b> {
    weights: &'a [u8],
    x: Columns<'a>,
    out: &'a mut Tile<'b>,
    r: usize,
}

impl Row<'_, '_> {
    fn blocks<B: bytemuck::Pod>(&self) -> &[B] {
        bytemuck::cast_slice(self.weights)
    }
}

/// Sum of products, exact. Integer weights of every format fit an i16.
fn dot(w: &[i16], q: &[i8]) -> i32 {
    w.iter().zip(q).map(|(&w, &q)| i32::from(w) * i32::from(q)).sum()
}

impl Visitor for Row<'_, '_> {
    type Out = ();

    fn float<F: Float>(self) {
        for c in 0..self.x.n {
            let products =
                self.blocks::<F::Block>().iter().zip(self.x.floats(c)).map(|(block, x)| F::to_f32(block) * x);
            let sum = sum16(products);
            self.out.column(c)[self.r] = sum;
        }
    }

    fn narrow<F: Narrow>(self) {
        for (b, block) in bytemuck::cast_slice::<u8, F::Block>(self.weights).iter().enumerate() {
            let w: [i16; 32] = core::array::from_fn(|i| F::weight(block, i) as i16);
            for c in 0..self.x.n {
                let [x] = self.x.narrow(c);
                let (dx, acc) = (x.scales[b], &mut self.out.column(c)[self.r]);
                *acc += (F::scale(block).to_f32() * dx) * dot(&w, &x.qs[32 * b..][..32]) as f32;
                if F::HAS_MIN {
                    *acc += (F::min(block).to_f32() * dx) * f32::from(x.sums[b]);
                }
            }
        }
    }

    fn wide<F: Wide>(self) {
        for (b, block) in bytemuck::cast_slice::<u8, F::Block>(self.weights).iter().enumerate() {
            let w: [i16; 256] = core::array::from_fn(|i| F::sub_scale(block, i / 16) * F::weight(block, i) as i16);
            let m: [i32; 16] = core::array::from_fn(|j| F::sub_min(block, j).into());
            for c in 0..self.x.n {
                let [x] = self.x.wide(c);
                let (dx, acc) = (x.scales[b], &mut self.out.column(c)[self.r]);
                *acc += (F::scale(block).to_f32() * dx) * dot(&w, &x.qs[256 * b..][..256]) as f32;
                if F::HAS_MIN {
                    let msum: i32 = m.iter().zip(&x.sums[16 * b..]).map(|(m, &x)| m * i32::from(x)).sum();
                    *acc += (-F::min(block).to_f32() * dx) * msum as f32;
                }
            }
        }
    }
}

fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = 1.0 / math::sqrt(sum16(x.iter().map(|x| x * x)) / x.len() as f32 + eps);
    for i in 0..x.len() {
        out[i] = (x[i] * scale) * weight[i];
    }
}

fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum16(x.iter().copied()) / n;
    let scale = 1.0 / math::sqrt(sum16(x.iter().map(|x| (x - mean) * (x - mean))) / n + eps);
    for i in 0..x.len() {
        out[i] = ((x[i] - mean) * scale) * weight[i] + bias[i];
    }
}

fn activate(f: Activation, x: &[f32], up: Option<&[f32]>, out: &mut [f32]) {
    for i in 0..out.len() {
        let y = match f {
            Activation::Silu => math::silu(x[i]),
            Activation::Gelu => math::gelu(x[i]),
        };
        out[i] = up.map_or(y, |up| y * up[i]);
    }
}

fn soft_cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = math::soft_cap(*x, cap);
    }
}

fn to_f16(x: &[f32], out: &mut [u16]) {
    for (x, out) in x.iter().zip(out) {
        *out = f16::from_f32(*x).to_bits();
    }
}

fn from_f16(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}

fn attend_f16(q: &Queries<'_>, chunk: &ChunkF16<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>) {
    let (dim, padded) = (q.head_dim, chunk.values.len() / CHUNK);
    for row in 0..state.max.len() {
        let (query, visible) = (q.row(row), visible[row / q.heads].clone());
        let key = |p: usize, d: usize| from_f16(chunk.keys[((p / TILE) * dim + d) * TILE + p % TILE]);
        let score = |p: usize| (0..dim).fold(0.0, |acc, d| acc + query[d] * key(p, d)) * q.scale;
        let value = |e: f32, p: usize, d: usize| e * from_f16(chunk.values[p * padded + d]);
        let score = |p: usize| capped(score(p), q.cap);
        gather(row, visible, padded, score, value, state);
    }
}

fn attend_q8(q: &Queries<'_>, chunk: &ChunkQ8<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>) {
    let padded = chunk.values.len() / CHUNK;
    let blocks = padded / 32;
    for row in 0..state.max.len() {
        let (query, visible) = (q.row(row), visible[row / q.heads].clone());
        let score = |p: usize| {
            let (tile, lane) = (p / TILE, p % TILE);
            let mut acc = 0.0;
            for (b, x) in query.chunks(32).enumerate() {
                let dq = x.iter().fold(0.0, |m: f32, x| if x.abs() > m { x.abs() } else { m }) / 127.0;
                let key = |d: usize| chunk.keys[((tile * blocks + b) * 8 + d / 4) * 4 * TILE + 4 * lane + d % 4];
                let isum: i32 = x.iter().enumerate().map(|(d, x)| i32::from(code(*x, dq)) * i32::from(key(d))).sum();
                let dk = from_f16(chunk.key_scales[(tile * blocks + b) * TILE + lane]);
                acc += (dk * dq) * isum as f32;
            }
            acc * q.scale
        };
        let value = |e: f32, p: usize, d: usize| {
            let dv = from_f16(chunk.value_scales[p * blocks + d / 32]);
            (e * dv) * f32::from(chunk.values[p * padded + d])
        };
        let score = |p: usize| capped(score(p), q.cap);
        gather(row, visible, padded, score, value, state);
    }
}

fn capped(score: f32, cap: Option<f32>) -> f32 {
    cap.map_or(score, |cap| math::soft_cap(score, cap))
}

/// Softmax over the visible positions, the weighted values, and the merge with the chunks before.
fn gather(
    row: usize,
    visible: Range<usize>,
    dim: usize,
    score: impl Fn(usize) -> f32,
    value: impl Fn(f32, usize, usize) -> f32,
    state: &mut Gathered<'_>,
) {
    let mut weights = [0.0; CHUNK];
    visible.clone().for_each(|p| weights[p] = score(p));
    let m = weights[visible.clone()].iter().fold(f32::NEG_INFINITY, |m, &s| if s > m { s } else { m });
    visible.clone().for_each(|p| weights[p] = math::exp(weights[p] - m));
    let l = sum16(weights.iter().copied());
    let o = |d: usize| visible.clone().fold(0.0, |acc, p| acc + value(weights[p], p, d));
    let out = &mut state.out[row * dim..][..dim];
    let (max, sum) = (&mut state.max[row], &mut state.sum[row]);
    if *max == f32::NEG_INFINITY {
        (*max, *sum) = (m, l);
        out.iter_mut().enumerate().for_each(|(d, out)| *out = o(d));
        return;
    }
    let both = if m > *max { m } else { *max };
    let (a, b) = (math::exp(*max - both), math::exp(m - both));
    (*max, *sum) = (both, *sum * a + l * b);
    out.iter_mut().enumerate().for_each(|(d, out)| *out = *out * a + o(d) * b);
}
