//! One batch on its way through the model: "The layer" in `docs/numerics.md`.

use super::kv::Chunk;
use super::ops::{Compute, Flag, operands};
use super::{Error, Feed, Session, Want, experts, memory, mlp, rope};
use crate::kernels::{Activations, Backend, CHUNK, Gathered, Operands, Queries, quantize_column};
use crate::model::{Attention, Config, Ffn, Layer, Mixer, Model, Norm, Norms};
use crate::team::{Parts, Strips, Team, Tile, Tiles, for_parts};
use crate::weights::{Part, WeightsError};
use alloc::vec::Vec;
use core::ops::Range;

/// Columns whose logits are computed together: more would only make the buffer larger.
const LOGIT_COLUMNS: usize = 8;

/// Logits that one part of the work scales and caps.
const LOGIT_STRIP: usize = 4096;

/// The most columns whose attention to one key/value head is one part of the work.
const ATTEND_COLUMNS: usize = 8;

/// A query this large could overflow a score; see "KV cache" in `docs/numerics.md`.
const LARGEST_QUERY: f32 = f32::from_bits((127 + 90) << 23);

/// One token of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) feed: usize,
    pub(super) token: u32,
    pub(super) position: usize,
    pub(super) wanted: Want,
}

/// Everything a step writes, allocated once. Shapes have the column first.
pub(super) struct Buffers {
    /// (columns)
    pub(super) batch: Vec<Column>,
    /// (columns, embedding): the residual stream
    x: Vec<f32>,
    /// input of the next matrix
    input: Activations,
    /// (columns, heads * head_dim), then (columns, feed_forward)
    q_or_gate: Vec<f32>,
    /// (columns, kv_heads * head_dim), then (columns, feed_forward)
    k_or_up: Vec<f32>,
    /// (columns, kv_heads * head_dim), then (columns, embedding): what a layer adds to x
    v_or_delta: Vec<f32>,
    /// (columns / ATTEND_COLUMNS, kv_heads, ATTEND_COLUMNS * group * (padded head_dim + 2)): attention before it is normed
    gathered: Vec<f32>,
    /// (RoPE tables, columns, rope_dims / 2) each
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// (LOGIT_COLUMNS, vocabulary)
    logits: Vec<f32>,
    /// of a mixture of experts
    experts: Option<experts::Buffers>,
}

impl Buffers {
    pub(super) fn new(model: &Model, columns: usize) -> Result<Self, Error> {
        let (c, what) = (&model.config, "the buffers of a batch");
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let wide = c.experts.map_or(c.feed_forward, |e| e.feed_forward);
        let operands = operands(model.layers.iter().flat_map(Layer::weights).chain([&model.output]));
        // Saturated, a product is more than anyone has.
        let room = |columns: usize, n: usize| memory::zeroed(what, columns.saturating_mul(n));
        let floats = |n| room(columns, n);
        let gathered = ATTEND_COLUMNS * c.heads * gathered_per_head(c.head_dim);
        let mut batch = Vec::new();
        memory::reserve(what, &mut batch, columns)?;
        Ok(Buffers {
            batch,
            x: floats(c.embedding)?,
            input: memory::activations(what, columns.saturating_mul(c.embedding.max(q).max(wide)), operands)?,
            q_or_gate: floats(q.max(wide))?,
            k_or_up: floats(kv.max(wide))?,
            v_or_delta: floats(kv.max(c.embedding))?,
            gathered: room(columns.div_ceil(ATTEND_COLUMNS), gathered)?,
            cos: floats(model.ropes.len() * c.rope_dims / 2)?,
            sin: floats(model.ropes.len() * c.rope_dims / 2)?,
            logits: room(LOGIT_COLUMNS.min(columns), c.vocab)?,
            experts: c.experts.map(|e| experts::Buffers::new(c.embedding, e, operands, columns)).transpose()?,
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let floats = [&self.x, &self.q_or_gate, &self.k_or_up, &self.v_or_delta, &self.gathered, &self.cos, &self.sin];
        let floats = floats.iter().map(|f| f.len()).sum::<usize>() + self.logits.len();
        4 * floats + self.input.memory_bytes() + self.experts.as_ref().map_or(0, experts::Buffers::memory_bytes)
    }
}

/// One batch on its way through the model.
pub(super) struct Pass<'a> {
    pub(super) compute: Compute<'a>,
    pub(super) b: &'a mut Buffers,
}

impl Pass<'_> {
    /// x = the embedding of each token; RoPE tables of each position.
    pub(super) fn embed(&mut self, feeds: &[Feed<'_>]) -> Result<(), WeightsError> {
        let (compute, b) = (self.compute, &mut *self.b);
        let Model { config: c, embedding, ropes, .. } = compute.model;
        let embedding = compute.matrix(embedding)?;
        let (pairs, n) = (c.rope_dims / 2, b.batch.len());
        for (i, column) in b.batch.iter().enumerate() {
            let x = &mut b.x[i * c.embedding..][..c.embedding];
            embedding.dequantize_row(column.token as usize, x);
            x.iter_mut().for_each(|x| *x *= c.embedding_scale);
            for (t, table) in ropes.iter().enumerate() {
                let at = (t * n + i) * pairs;
                let (cos, sin) = (&mut b.cos[at..][..pairs], &mut b.sin[at..][..pairs]);
                let freqs = table.freqs(feeds[column.feed].session.context);
                rope::table(column.position, freqs, table.magnitude, cos, sin);
            }
        }
        Ok(())
    }

    /// Layer `i`.
    pub(super) fn layer(&mut self, i: usize, layer: &Layer, feeds: &mut [Feed<'_>]) -> Result<(), Error> {
        let checked = |ok: Result<bool, WeightsError>, stage| match ok {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotFinite { stage, layer: i }),
            Err(cause) => Err(Error::Weights { part: Part::Layer(i), cause }),
        };
        let Mixer::Attention(attention) = &layer.mixer;
        let before = match &layer.norms {
            Norms::Before { mixer: norm, .. } | Norms::Around { mixer: [norm, _], .. } | Norms::Parallel(norm) => {
                Some(norm)
            }
            Norms::After { .. } => None,
        };
        checked(self.attention_input(before, attention), "the attention input")?;
        checked(Ok(self.store_kv(i, feeds)), "the keys and values")?;
        if i + 1 == self.compute.model.layers.len() {
            // Nobody reads what the others would become.
            self.keep_wanted();
            if self.b.batch.is_empty() {
                return Ok(());
            }
        }
        checked(self.attend(i, attention, feeds), "attention")?;
        let readers = operands(layer.ffn.readers());
        let (ok, after) = match &layer.norms {
            Norms::Before { ffn, .. } => {
                self.add_delta(None);
                (self.input(Some(ffn), readers), None)
            }
            Norms::After { mixer, ffn } => {
                self.add_delta(Some(mixer));
                (self.input(None, readers), Some(ffn))
            }
            Norms::Around { mixer: [_, mixer], ffn: [before, after] } => {
                self.add_delta(Some(mixer));
                (self.input(Some(before), readers), Some(after))
            }
            Norms::Parallel(norm) => {
                // The feed-forward part reads x as it was.
                let ok = self.input(Some(norm), readers);
                self.add_delta(None);
                (ok, None)
            }
        };
        checked(self.feed_forward(&layer.ffn).map(|finite| ok && finite), "the feed-forward part")?;
        self.add_delta(after);
        Ok(())
    }

    /// q, k, v of x, normed or not; norms of q and k, and RoPE.
    fn attention_input(&mut self, norm: Option<&Norm>, attention: &Attention) -> Result<bool, WeightsError> {
        let (compute, n) = (self.compute, self.b.batch.len());
        let (c, Attention { wq, wk, wv, .. }) = (&compute.model.config, attention);
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let ok = self.input(norm, operands([wq, wk, wv]));
        let b = &mut *self.b;
        let outs = [(wq, &mut b.q_or_gate[..n * q]), (wk, &mut b.k_or_up[..n * kv]), (wv, &mut b.v_or_delta[..n * kv])];
        compute.matmul(b.input.columns(n, c.embedding), outs)?;
        let pairs = c.rope_dims / 2;
        let tables = attention.rope.map(|t| (&b.cos[t * n * pairs..], &b.sin[t * n * pairs..]));
        let finite = Flag::new();
        // The input has been read, and there is room for q of each column.
        let before = Strips::new(&mut b.input.floats, q, n);
        let parts = (Strips::new(&mut b.q_or_gate, q, n), Strips::new(&mut b.k_or_up, kv, n), before);
        for_parts(compute.team, parts, |i, (q, k, before)| {
            if let Some(norms) = &attention.qk_norm {
                for (row, norm) in [(&mut *q, &norms.q), (&mut *k, &norms.k)] {
                    let (before, width) = (&mut before[..row.len()], norm.weight.len());
                    before.copy_from_slice(row);
                    for (x, out) in before.chunks_exact(width).zip(row.chunks_exact_mut(width)) {
                        compute.norm(norm, x, out);
                    }
                }
            }
            if let Some((cos, sin)) = tables {
                let (cos, sin) = (&cos[i * pairs..][..pairs], &sin[i * pairs..][..pairs]);
                let heads = q.chunks_exact_mut(c.head_dim).chain(k.chunks_exact_mut(c.head_dim));
                heads.for_each(|head| rope::rotate(head, c.arch.rope_pairs, cos, sin));
            }
            finite.and(q.iter().all(|q| q.abs() <= LARGEST_QUERY));
        });
        Ok(ok && finite.get())
    }

    /// Puts keys and values into the caches.
    fn store_kv(&mut self, layer: usize, feeds: &mut [Feed<'_>]) -> bool {
        let (b, Compute { model, backend, .. }) = (&*self.b, self.compute);
        let kv = model.config.kv_heads * model.config.head_dim;
        b.batch.iter().enumerate().fold(true, |ok, (i, column)| {
            let (k, v) = (&b.k_or_up[i * kv..][..kv], &b.v_or_delta[i * kv..][..kv]);
            feeds[column.feed].session.kv.store(backend, layer, column.position, k, v) && ok
        })
    }

    /// Drops the columns that nobody wants anything of, with their x and q.
    fn keep_wanted(&mut self) {
        let (c, b) = (&self.compute.model.config, &mut *self.b);
        let (x, q) = (c.embedding, c.heads * c.head_dim);
        let mut kept = 0;
        for i in 0..b.batch.len() {
            if b.batch[i].wanted != Want::Nothing {
                b.batch[kept] = b.batch[i];
                b.x.copy_within(i * x..(i + 1) * x, kept * x);
                b.q_or_gate.copy_within(i * q..(i + 1) * q, kept * q);
                kept += 1;
            }
        }
        b.batch.truncate(kept);
    }

    /// Attention of every column and key/value head; v_or_delta = output matrix times the result.
    fn attend(&mut self, index: usize, attention: &Attention, feeds: &[Feed<'_>]) -> Result<bool, WeightsError> {
        let (compute, n, b) = (self.compute, self.b.batch.len(), &mut *self.b);
        let (c, backend, Attention { wo, window, .. }) = (&compute.model.config, compute.backend, attention);
        let (batch, q, heads) = (&b.batch, &b.q_or_gate, c.kv_heads);
        // Columns of one session share what is read of its cache; others are better spread over the threads.
        let together = batch.iter().all(|column| column.feed == batch[0].feed);
        let per_part = if together { ATTEND_COLUMNS } else { ATTEND_COLUMNS / 4 };
        let (rows, scratch) = (c.group() * c.head_dim, per_part * c.group() * gathered_per_head(c.head_dim));
        let outs = Tiles::new(&mut b.input.floats[..n * heads * rows], n, rows, per_part);
        let scratch = Strips::new(&mut b.gathered, scratch, outs.count());
        for_parts(compute.team, (outs, scratch), |i, ((rows, mut out), scratch)| {
            let (head, first) = (i % heads, i / heads * per_part);
            let mut at = 0;
            for columns in batch[first..first + out.columns()].chunk_by(|a, b| a.feed == b.feed) {
                let queries = Queries {
                    q: &q[(first + at) * c.heads * c.head_dim + rows.start..],
                    stride: c.heads * c.head_dim,
                    heads: c.group(),
                    head_dim: c.head_dim,
                    scale: c.attention_scale,
                    cap: c.attention_cap,
                };
                let place = AttendPlace { backend, session: feeds[columns[0].feed].session, layer: index, head };
                let outs = (at..at + columns.len(), &mut out);
                attend_columns(place, columns, *window, queries, scratch, outs);
                at += columns.len();
            }
        });
        let parts = b.input.parts(n, c.heads * c.head_dim);
        let finite = Flag::new();
        let operands = operands([wo]);
        for_parts(compute.team, parts, |_, column| finite.and(quantize_column(backend, operands, column)));
        let out = &mut b.v_or_delta[..n * c.embedding];
        compute.matmul(b.input.columns(n, c.heads * c.head_dim), [(wo, out)])?;
        Ok(finite.get())
    }

    /// v_or_delta = the feed-forward part of the input.
    fn feed_forward(&mut self, ffn: &Ffn) -> Result<bool, WeightsError> {
        let (n, b) = (self.b.batch.len(), &mut *self.b);
        let room = mlp::Room { gate: &mut b.q_or_gate, up: &mut b.k_or_up };
        match ffn {
            Ffn::Dense(mlp) => mlp::apply(self.compute, room, mlp, n, &mut b.input, &mut b.v_or_delta),
            Ffn::Experts { router, all } => {
                let buffers = b.experts.as_mut().expect("a model with experts has their buffers");
                experts::feed_forward(self.compute, room, (router, all), n, (&b.input, buffers), &mut b.v_or_delta)
            }
        }
    }

    /// x = x + scale * delta, or the norm of delta.
    fn add_delta(&mut self, norm: Option<&Norm>) {
        let (compute, n, b) = (self.compute, self.b.batch.len(), &mut *self.b);
        let (c, delta) = (&compute.model.config, &b.v_or_delta);
        // The input has been read: it is made anew for the next part.
        let parts = (Strips::new(&mut b.x, c.embedding, n), Strips::new(&mut b.input.floats, c.embedding, n));
        for_parts(compute.team, parts, |i, (x, normed)| {
            let mut delta = &delta[i * c.embedding..][..c.embedding];
            if let Some(norm) = norm {
                compute.norm(norm, delta, normed);
                delta = normed;
            }
            for (x, delta) in x.iter_mut().zip(delta) {
                *x += delta * c.residual_scale;
            }
        });
    }

    /// input = x or its norm, quantised as its readers need it.
    fn input(&mut self, norm: Option<&Norm>, operands: Operands) -> bool {
        let (compute, n, b) = (self.compute, self.b.batch.len(), &mut *self.b);
        let (x, width, finite) = (&b.x, compute.model.config.embedding, Flag::new());
        for_parts(compute.team, b.input.parts(n, width), |i, column| {
            let x = &x[i * width..][..width];
            match norm {
                Some(norm) => compute.norm(norm, x, column.0),
                None => column.0.copy_from_slice(x),
            }
            finite.and(quantize_column(compute.backend, operands, column));
        });
        finite.get()
    }

    /// What is wanted of the columns that are left, in order. False if a value is not finite.
    pub(super) fn output(&mut self, rows: &mut dyn FnMut(usize, usize, &[f32])) -> Result<bool, WeightsError> {
        let mut at = 0;
        while let Some(first) = self.b.batch.get(at) {
            let hidden = first.wanted == Want::Hidden;
            let n = self.b.batch[at..].iter().take_while(|column| (column.wanted == Want::Hidden) == hidden).count();
            let columns = at..at + n;
            if !(if hidden { self.hidden(columns, rows) } else { self.logits(columns, rows)? }) {
                return Ok(false);
            }
            at += n;
        }
        Ok(true)
    }

    /// The output matrix on some columns, a few at a time.
    fn logits(
        &mut self,
        columns: Range<usize>,
        rows: &mut dyn FnMut(usize, usize, &[f32]),
    ) -> Result<bool, WeightsError> {
        let (compute, b) = (self.compute, &mut *self.b);
        let Compute { model, backend, team, .. } = compute;
        let c = &model.config;
        let most = b.logits.len() / c.vocab;
        let x = b.x[columns.start * c.embedding..columns.end * c.embedding].chunks(most * c.embedding);
        for (x, columns) in x.zip(b.batch[columns].chunks(most)) {
            let (n, finite) = (columns.len(), Flag::new());
            for_parts(team, b.input.parts(n, c.embedding), |i, column| {
                compute.norm(&model.output_norm, &x[i * c.embedding..][..c.embedding], column.0);
                finite.and(quantize_column(backend, operands([&model.output]), column));
            });
            let out = &mut b.logits[..n * c.vocab];
            compute.matmul(b.input.columns(n, c.embedding), [(&model.output, &mut *out)])?;
            // Before the cap, which hides an infinity, and after the scale, which can make one.
            let ok = finite.get() && all_finite(out);
            if !ok || (scale_logits(c, backend, team, out) && !all_finite(out)) {
                return Ok(false);
            }
            for (row, column) in out.chunks_exact(c.vocab).zip(columns) {
                rows(column.feed, column.position, row);
            }
        }
        Ok(true)
    }

    /// The normed x of some columns.
    fn hidden(&mut self, columns: Range<usize>, rows: &mut dyn FnMut(usize, usize, &[f32])) -> bool {
        let (compute, b) = (self.compute, &mut *self.b);
        let Model { config: c, output_norm, .. } = compute.model;
        let x = b.x[columns.start * c.embedding..columns.end * c.embedding].chunks_exact(c.embedding);
        x.zip(&b.batch[columns]).all(|(x, column)| {
            let out = &mut b.input.floats[..c.embedding];
            compute.norm(output_norm, x, out);
            rows(column.feed, column.position, out);
            out.iter().all(|x| x.is_finite())
        })
    }
}

/// Floats per query head in `Buffers::gathered`: its values padded for either KV type, a maximum and a sum.
fn gathered_per_head(head_dim: usize) -> usize {
    head_dim.next_multiple_of(32) + 2
}

/// logits = cap(scale * logits), where the model has these; false if it has neither.
fn scale_logits(c: &Config, backend: Backend, team: &dyn Team, logits: &mut [f32]) -> bool {
    if c.logit_scale == 1.0 && c.logit_cap.is_none() {
        return false;
    }
    let strips = logits.len().div_ceil(LOGIT_STRIP);
    for_parts(team, Strips::new(logits, LOGIT_STRIP, strips), |_, logits| {
        logits.iter_mut().for_each(|x| *x *= c.logit_scale);
        if let Some(cap) = c.logit_cap {
            (backend.kernels().soft_cap)(logits, cap);
        }
    });
    true
}

/// Asked of all, without an early exit, which compiles to vectors.
fn all_finite(x: &[f32]) -> bool {
    x.iter().fold(true, |ok, x| ok & x.is_finite())
}

/// Whose keys and values are attended to, and by what.
struct AttendPlace<'a> {
    backend: Backend,
    session: &'a Session,
    layer: usize,
    head: usize,
}

/// Attention of the query heads of one key/value head, of some columns of one feed, over all chunks that they see.
fn attend_columns(
    place: AttendPlace<'_>,
    columns: &[Column],
    window: Option<usize>,
    queries: Queries<'_>,
    scratch: &mut [f32],
    (to, out): (Range<usize>, &mut Tile<'_>),
) {
    let AttendPlace { backend, session, layer, head } = place;
    let (heads, padded) = (queries.heads, session.kv.padded(layer));
    let rows = columns.len() * heads;
    let (max, rest) = scratch.split_at_mut(rows);
    let (sum, gathered) = rest.split_at_mut(rows);
    max.fill(f32::NEG_INFINITY);
    let sees = |c: &Column| window.map_or(0, |window| (c.position + 1).saturating_sub(window))..c.position + 1;
    let all = sees(&columns[0]).start..sees(&columns[columns.len() - 1]).end;
    for chunk in all.start / CHUNK..all.end.div_ceil(CHUNK) {
        // Of this chunk, the first columns may see no more and the last ones nothing yet.
        let (start, end) = (chunk * CHUNK, (chunk + 1) * CHUNK);
        let first = columns.partition_point(|c| sees(c).end <= start);
        let last = columns.partition_point(|c| sees(c).start < end);
        let mut visible = [const { 0..0 }; ATTEND_COLUMNS];
        let visible = &mut visible[..last - first];
        for (visible, column) in visible.iter_mut().zip(&columns[first..last]) {
            let sees = sees(column);
            *visible = sees.start.saturating_sub(start)..(sees.end - start).min(CHUNK);
        }
        let queries = Queries { q: &queries.q[first * queries.stride..], ..queries };
        let (first, last) = (first * heads, last * heads);
        let (max, sum) = (&mut max[first..last], &mut sum[first..last]);
        let mut state = Gathered { max, sum, out: &mut gathered[first * padded..last * padded] };
        match session.kv.chunk(chunk, layer, head) {
            Chunk::F16(chunk) => (backend.kernels().attend_f16)(&queries, &chunk, visible, &mut state),
            Chunk::Q8(chunk) => (backend.kernels().attend_q8)(&queries, &chunk, visible, &mut state),
        }
    }
    let outs = to.flat_map(|c| (0..heads).map(move |h| (c, h)));
    for (r, (c, h)) in outs.enumerate() {
        let inverse = 1.0 / sum[r];
        let out = &mut out.column(c)[h * queries.head_dim..][..queries.head_dim];
        for (out, o) in out.iter_mut().zip(&gathered[r * padded..]) {
            *out = o * inverse;
        }
    }
}
