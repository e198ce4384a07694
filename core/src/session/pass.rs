//! One batch on its way through the model: "The layer" in `docs/numerics.md`.

use super::kv::Chunk;
use super::{Error, Feed, Session, Want, experts, memory, rope};
use crate::kernels::{Activations, Backend, CHUNK, Columns, Gathered, Matrix, Operands, Queries, quantize_column};
use crate::model::{Config, Ffn, Layer, MAX_HEAD_DIM, Model, Norm, Weight};
use crate::team::{Parts, Strips, Team, Tile, Tiles, for_parts};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

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
    pub(super) input: Activations,
    /// (columns, heads * head_dim), then (columns, feed_forward)
    pub(super) q_or_gate: Vec<f32>,
    /// (columns, kv_heads * head_dim), then (columns, feed_forward)
    pub(super) k_or_up: Vec<f32>,
    /// (columns, kv_heads * head_dim), then (columns, embedding): what a layer adds to x
    pub(super) v_or_delta: Vec<f32>,
    /// (columns / ATTEND_COLUMNS, kv_heads, ATTEND_COLUMNS * group * (padded head_dim + 2)): attention before it is normed
    gathered: Vec<f32>,
    /// (RoPE tables, columns, rope_dims / 2) each
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// (LOGIT_COLUMNS, vocabulary)
    logits: Vec<f32>,
    /// of a mixture of experts
    pub(super) experts: Option<experts::Buffers>,
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
    pub(super) model: &'a Model,
    pub(super) backend: Backend,
    pub(super) team: &'a dyn Team,
    pub(super) b: &'a mut Buffers,
}

impl Pass<'_> {
    /// x = the embedding of each token; RoPE tables of each position.
    pub(super) fn embed(&mut self, feeds: &[Feed<'_>]) {
        let (c, b) = (&self.model.config, &mut *self.b);
        let embedding = self.model.matrix(&self.model.embedding);
        let (pairs, n) = (c.rope_dims / 2, b.batch.len());
        for (i, column) in b.batch.iter().enumerate() {
            let x = &mut b.x[i * c.embedding..][..c.embedding];
            embedding.format.dequantize(embedding.row(column.token as usize), x);
            x.iter_mut().for_each(|x| *x *= c.embedding_scale);
            for (t, table) in self.model.ropes.iter().enumerate() {
                let at = (t * n + i) * pairs;
                let (cos, sin) = (&mut b.cos[at..][..pairs], &mut b.sin[at..][..pairs]);
                let freqs = table.freqs(feeds[column.feed].session.context);
                rope::table(column.position, freqs, table.magnitude, cos, sin);
            }
        }
    }

    /// Layer `i`. The error says where a value was not finite.
    pub(super) fn layer(&mut self, i: usize, layer: &Layer, feeds: &mut [Feed<'_>]) -> Result<(), &'static str> {
        let checked = |ok, stage| if ok { Ok(()) } else { Err(stage) };
        checked(self.attention_input(layer), "the attention input")?;
        checked(self.store_kv(i, feeds), "the keys and values")?;
        if i + 1 == self.model.layers.len() {
            // Nobody reads what the others would become.
            self.keep_wanted();
            if self.b.batch.is_empty() {
                return Ok(());
            }
        }
        checked(self.attend(i, layer, feeds), "attention")?;
        // Beside attention, the feed-forward part reads x as it was.
        let ok = match &layer.ffn_norm {
            Some(norm) => {
                self.add_delta(layer.post_attn_norm.as_ref());
                self.ffn_input(norm, layer)
            }
            None => {
                let ok = self.ffn_input(&layer.attn_norm, layer);
                self.add_delta(None);
                ok
            }
        };
        checked(ok && self.feed_forward(layer), "the feed-forward part")?;
        self.add_delta(layer.post_ffn_norm.as_ref());
        Ok(())
    }

    /// q, k, v of the normed x; norms of heads and RoPE on q and k.
    fn attention_input(&mut self, layer: &Layer) -> bool {
        let (c, n) = (&self.model.config, self.b.batch.len());
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let ok = self.norm_input(&layer.attn_norm, operands([&layer.wq, &layer.wk, &layer.wv]));
        let b = &mut *self.b;
        let outs = [
            (&layer.wq, &mut b.q_or_gate[..n * q]),
            (&layer.wk, &mut b.k_or_up[..n * kv]),
            (&layer.wv, &mut b.v_or_delta[..n * kv]),
        ];
        matmul(self.model, self.backend, self.team, b.input.columns(n, c.embedding), outs);
        let (pairs, backend) = (c.rope_dims / 2, self.backend);
        let tables = layer.rope.map(|t| (&b.cos[t * n * pairs..], &b.sin[t * n * pairs..]));
        let finite = Flag::new();
        let parts = (Strips::new(&mut b.q_or_gate, q, n), Strips::new(&mut b.k_or_up, kv, n));
        for_parts(self.team, parts, |i, (q, k)| {
            let norms = layer.qk_norm.as_ref();
            for (heads, norm) in [(&mut *q, norms.map(|n| &n.0)), (k, norms.map(|n| &n.1))] {
                for head in heads.chunks_exact_mut(c.head_dim) {
                    if let Some(norm) = norm {
                        let mut copy = [0.0; MAX_HEAD_DIM];
                        copy[..c.head_dim].copy_from_slice(head);
                        apply_norm(backend, norm, c, &copy[..c.head_dim], head);
                    }
                    if let Some((cos, sin)) = tables {
                        rope::rotate(head, c.arch.rope_pairs, &cos[i * pairs..][..pairs], &sin[i * pairs..][..pairs]);
                    }
                }
            }
            finite.and(q.iter().all(|q| q.abs() <= LARGEST_QUERY));
        });
        ok && finite.get()
    }

    /// Puts keys and values into the caches.
    fn store_kv(&mut self, layer: usize, feeds: &mut [Feed<'_>]) -> bool {
        let (b, kv) = (&*self.b, self.model.config.kv_heads * self.model.config.head_dim);
        b.batch.iter().enumerate().fold(true, |ok, (i, column)| {
            let (k, v) = (&b.k_or_up[i * kv..][..kv], &b.v_or_delta[i * kv..][..kv]);
            feeds[column.feed].session.kv.store(self.backend, layer, column.position, k, v) && ok
        })
    }

    /// Drops the columns that nobody wants anything of, with their x and q.
    fn keep_wanted(&mut self) {
        let (c, b) = (&self.model.config, &mut *self.b);
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
    fn attend(&mut self, index: usize, layer: &Layer, feeds: &[Feed<'_>]) -> bool {
        let (c, n, b) = (&self.model.config, self.b.batch.len(), &mut *self.b);
        let (backend, batch, q, heads) = (self.backend, &b.batch, &b.q_or_gate, c.kv_heads);
        // Columns of one session share what is read of its cache; others are better spread over the threads.
        let together = batch.iter().all(|column| column.feed == batch[0].feed);
        let per_part = if together { ATTEND_COLUMNS } else { ATTEND_COLUMNS / 4 };
        let (rows, scratch) = (c.group() * c.head_dim, per_part * c.group() * gathered_per_head(c.head_dim));
        let outs = Tiles::new(&mut b.input.floats[..n * heads * rows], n, rows, per_part);
        let scratch = Strips::new(&mut b.gathered, scratch, outs.count());
        for_parts(self.team, (outs, scratch), |i, ((rows, mut out), scratch)| {
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
                attend_columns(place, columns, layer.window, queries, scratch, outs);
                at += columns.len();
            }
        });
        let parts = b.input.parts(n, c.heads * c.head_dim);
        let finite = Flag::new();
        let operands = operands([&layer.wo]);
        for_parts(self.team, parts, |_, column| finite.and(quantize_column(backend, operands, column)));
        let out = &mut b.v_or_delta[..n * c.embedding];
        matmul(self.model, backend, self.team, b.input.columns(n, c.heads * c.head_dim), [(&layer.wo, out)]);
        finite.get()
    }

    fn ffn_input(&mut self, norm: &Norm, layer: &Layer) -> bool {
        self.norm_input(norm, operands([&layer.ffn.up].into_iter().chain(&layer.ffn.gate).chain(&layer.router)))
    }

    /// v_or_delta = the feed-forward part of the input.
    fn feed_forward(&mut self, layer: &Layer) -> bool {
        if let Some(router) = &layer.router {
            return experts::feed_forward(self, router, &layer.ffn);
        }
        let (n, b) = (self.b.batch.len(), &mut *self.b);
        let place = Place { backend: self.backend, team: self.team, gate: &mut b.q_or_gate, up: &mut b.k_or_up };
        apply_ffn(self.model, place, &layer.ffn, n, &mut b.input, &mut b.v_or_delta)
    }

    /// x = x + scale * delta, or the norm of delta.
    fn add_delta(&mut self, norm: Option<&Norm>) {
        let (c, n, b, backend) = (&self.model.config, self.b.batch.len(), &mut *self.b, self.backend);
        let delta = &b.v_or_delta;
        // The input is free to hold the norm: who has one after a part has one before the next.
        let parts = (Strips::new(&mut b.x, c.embedding, n), Strips::new(&mut b.input.floats, c.embedding, n));
        for_parts(self.team, parts, |i, (x, normed)| {
            let mut delta = &delta[i * c.embedding..][..c.embedding];
            if let Some(norm) = norm {
                apply_norm(backend, norm, c, delta, normed);
                delta = normed;
            }
            for (x, delta) in x.iter_mut().zip(delta) {
                *x += delta * c.residual_scale;
            }
        });
    }

    /// input = norm(x), quantised as its readers need it.
    fn norm_input(&mut self, norm: &Norm, operands: Operands) -> bool {
        let (c, n, b, backend) = (&self.model.config, self.b.batch.len(), &mut *self.b, self.backend);
        let (x, finite) = (&b.x, Flag::new());
        for_parts(self.team, b.input.parts(n, c.embedding), |i, column| {
            apply_norm(backend, norm, c, &x[i * c.embedding..][..c.embedding], column.0);
            finite.and(quantize_column(backend, operands, column));
        });
        finite.get()
    }

    /// What is wanted of the columns that are left, in order. False if a value is not finite.
    pub(super) fn output(&mut self, rows: &mut dyn FnMut(usize, usize, &[f32])) -> bool {
        let mut at = 0;
        while let Some(first) = self.b.batch.get(at) {
            let hidden = first.wanted == Want::Hidden;
            let n = self.b.batch[at..].iter().take_while(|column| (column.wanted == Want::Hidden) == hidden).count();
            let columns = at..at + n;
            if !(if hidden { self.hidden(columns, rows) } else { self.logits(columns, rows) }) {
                return false;
            }
            at += n;
        }
        true
    }

    /// The output matrix on some columns, a few at a time.
    fn logits(&mut self, columns: Range<usize>, rows: &mut dyn FnMut(usize, usize, &[f32])) -> bool {
        let (model, backend, b) = (self.model, self.backend, &mut *self.b);
        let c = &model.config;
        let most = b.logits.len() / c.vocab;
        let x = b.x[columns.start * c.embedding..columns.end * c.embedding].chunks(most * c.embedding);
        for (x, columns) in x.zip(b.batch[columns].chunks(most)) {
            let (n, finite) = (columns.len(), Flag::new());
            for_parts(self.team, b.input.parts(n, c.embedding), |i, column| {
                let x = &x[i * c.embedding..][..c.embedding];
                apply_norm(backend, &model.output_norm, c, x, column.0);
                finite.and(quantize_column(backend, operands([&model.output]), column));
            });
            let out = &mut b.logits[..n * c.vocab];
            matmul(model, backend, self.team, b.input.columns(n, c.embedding), [(&model.output, &mut *out)]);
            // Before the cap, which hides an infinity, and after the scale, which can make one.
            let ok = finite.get() && all_finite(out);
            if !ok || (scale_logits(c, backend, self.team, out) && !all_finite(out)) {
                return false;
            }
            for (row, column) in out.chunks_exact(c.vocab).zip(columns) {
                rows(column.feed, column.position, row);
            }
        }
        true
    }

    /// The normed x of some columns.
    fn hidden(&mut self, columns: Range<usize>, rows: &mut dyn FnMut(usize, usize, &[f32])) -> bool {
        let (model, b) = (self.model, &mut *self.b);
        let c = &model.config;
        let x = b.x[columns.start * c.embedding..columns.end * c.embedding].chunks_exact(c.embedding);
        x.zip(&b.batch[columns]).all(|(x, column)| {
            let out = &mut b.input.floats[..c.embedding];
            apply_norm(self.backend, &model.output_norm, c, x, out);
            rows(column.feed, column.position, out);
            out.iter().all(|x| x.is_finite())
        })
    }
}

/// Threads and room for [`apply_ffn`].
pub(super) struct Place<'a> {
    pub(super) backend: Backend,
    pub(super) team: &'a dyn Team,
    /// (columns, feed_forward) each
    pub(super) gate: &'a mut [f32],
    pub(super) up: &'a mut [f32],
}

/// out = down(f(gate) * up) of `n` columns of `x`, or down(f(up)). `x` comes quantised, and is overwritten. False if a value is not
/// finite.
pub(super) fn apply_ffn(
    model: &Model,
    place: Place<'_>,
    ffn: &Ffn,
    n: usize,
    x: &mut Activations,
    out: &mut [f32],
) -> bool {
    let Place { backend, team, gate, up } = place;
    let (wide, narrow, f) = (ffn.up.rows, ffn.up.cols, model.config.arch.activation);
    let (gate, up) = (&mut gate[..n * wide], &mut up[..n * wide]);
    match &ffn.gate {
        Some(w) => matmul(model, backend, team, x.columns(n, narrow), [(w, &mut *gate), (&ffn.up, &mut *up)]),
        None => matmul(model, backend, team, x.columns(n, narrow), [(&ffn.up, &mut *up)]),
    }
    let (finite, operands) = (Flag::new(), operands([&ffn.down]));
    for_parts(team, x.parts(n, wide), |i, column| {
        let (gate, up) = (&gate[i * wide..][..wide], &up[i * wide..][..wide]);
        match &ffn.gate {
            Some(_) => (backend.kernels().activate)(f, gate, Some(up), column.0),
            None => (backend.kernels().activate)(f, up, None, column.0),
        }
        finite.and(quantize_column(backend, operands, column));
    });
    matmul(model, backend, team, x.columns(n, wide), [(&ffn.down, &mut out[..n * narrow])]);
    finite.get()
}

/// Floats per query head in `Buffers::gathered`: its values padded for either KV type, a maximum and a sum.
fn gathered_per_head(head_dim: usize) -> usize {
    head_dim.next_multiple_of(32) + 2
}

/// What the columns must be quantised to for these matrices.
pub(super) fn operands<'w>(readers: impl IntoIterator<Item = &'w Weight>) -> Operands {
    readers.into_iter().fold(Operands::default(), |set, w| set.with(w.format.operand()))
}

fn apply_norm(backend: Backend, norm: &Norm, c: &Config, x: &[f32], out: &mut [f32]) {
    match &norm.bias {
        None => (backend.kernels().rms_norm)(x, &norm.weight, c.eps, out),
        Some(bias) => (backend.kernels().layer_norm)(x, &norm.weight, bias, c.eps, out),
    }
}

/// Several matrices times the same columns, in one fork: out is (columns, rows) each.
pub(super) fn matmul<const N: usize>(
    model: &Model,
    backend: Backend,
    team: &dyn Team,
    x: Columns<'_>,
    jobs: [(&Weight, &mut [f32]); N],
) {
    let matrices = jobs.each_ref().map(|(w, _)| (model.matrix(w), w.bias.as_deref()));
    // Multiples of 16 rows, the height of a kernel's group; larger where a matrix has many, to take fewer turns.
    let tiles = jobs.map(|(w, out)| Tiles::new(out, x.n, if w.rows < 4096 { 32 } else { 128 }, x.n));
    for_parts(team, tiles, |_, (which, (rows, mut tile))| {
        let (matrix, bias): &(Matrix<'_>, Option<&[f32]>) = &matrices[which];
        (backend.kernels().matmul)(matrix.format, matrix.rows(rows.clone()), x, &mut tile);
        if let Some(bias) = bias {
            for c in 0..x.n {
                tile.column(c).iter_mut().zip(&bias[rows.clone()]).for_each(|(y, b)| *y += b);
            }
        }
    });
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
    let (heads, padded) = (queries.heads, session.kv.padded());
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

/// True until a part says false.
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn new() -> Self {
        Flag(AtomicBool::new(true))
    }

    pub(super) fn and(&self, ok: bool) {
        if !ok {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
