//! The forward pass.

use super::kv::Chunk;
use super::{Error, Session, rope};
use crate::kernels::{
    Activations, Backend, CHUNK, Columns, FloatEnv, Gathered, Matrix, Operands, Queries, quantize_column,
};
use crate::model::{Layer, MAX_HEAD_DIM, Model, Weight};
use crate::team::{Strips, Team, Tiles, for_parts};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

/// Tokens to be fed to one session.
#[derive(Debug)]
pub struct Feed<'a> {
    /// The session they continue.
    pub session: &'a mut Session,
    /// The tokens.
    pub tokens: &'a [u32],
    /// Which logits to compute.
    pub want: Want,
}

/// Positions of a feed whose logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// None.
    Nothing,
    /// Those after its last token.
    Last,
    /// Those after every token.
    All,
}

/// A model, the threads that run it, and their buffers.
pub struct Engine {
    model: Arc<Model>,
    backend: Backend,
    team: Arc<dyn Team>,
    columns: usize,
    buffers: Buffers,
}

/// Columns whose logits are computed together: more would only make the buffer larger.
const LOGIT_COLUMNS: usize = 8;

/// A query this large could overflow a score; see "KV cache" in `docs/numerics.md`.
const LARGEST_QUERY: f32 = f32::from_bits((127 + 100) << 23);

/// One token of a batch.
#[derive(Debug, Clone, Copy)]
struct Column {
    feed: usize,
    token: u32,
    position: usize,
    wanted: bool,
}

/// Everything a step writes, allocated once. Shapes have the column first.
struct Buffers {
    /// (columns)
    batch: Vec<Column>,
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
    /// (columns, kv_heads, group * (padded head_dim + 2)): attention before it is normed
    gathered: Vec<f32>,
    /// (columns, rope_dims / 2) each
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// (LOGIT_COLUMNS, vocabulary)
    logits: Vec<f32>,
}

impl Engine {
    /// An engine that takes up to `columns` tokens through the layers at once (64 is a good number).
    pub fn new(model: Arc<Model>, backend: Backend, team: Arc<dyn Team>, columns: usize) -> Self {
        let columns = columns.max(1);
        let buffers = Buffers::new(&model, columns);
        Engine { model, backend, team, columns, buffers }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The kernels it uses.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Bytes of its buffers.
    pub fn memory_bytes(&self) -> usize {
        let b = &self.buffers;
        let floats = [&b.x, &b.q_or_gate, &b.k_or_up, &b.v_or_delta, &b.gathered, &b.cos, &b.sin, &b.logits];
        floats.iter().map(|f| 4 * f.len()).sum::<usize>() + b.input.memory_bytes()
    }

    /// Feeds tokens to sessions, and calls `logits(feed, position, logits)` for the positions wanted, in order.
    ///
    /// # Errors
    /// Too many tokens, an unknown token, or a value that is not finite; the sessions are then as they were.
    pub fn forward(
        &mut self,
        feeds: &mut [Feed<'_>],
        logits: &mut dyn FnMut(usize, usize, &[f32]),
    ) -> Result<(), Error> {
        for feed in feeds.iter() {
            self.check(feed)?;
        }
        let _env = FloatEnv::enter();
        let (mut feed, mut at) = (0, 0);
        while feed < feeds.len() {
            (feed, at) = self.gather_batch(feeds, feed, at);
            if !self.buffers.batch.is_empty() {
                self.step(feeds, logits)?;
            }
        }
        for feed in feeds {
            feed.session.len += feed.tokens.len();
        }
        Ok(())
    }

    fn check(&self, feed: &Feed<'_>) -> Result<(), Error> {
        let session = &feed.session;
        if session.model != self.model.id() {
            return Err(Error::OtherModel);
        }
        if feed.tokens.len() > session.context - session.len {
            let (tokens, used, context) = (feed.tokens.len(), session.len, session.context);
            return Err(Error::ContextFull { tokens, used, context });
        }
        let vocab = self.model.config.vocab;
        match feed.tokens.iter().find(|&&t| t as usize >= vocab) {
            Some(&token) => Err(Error::Token { token, vocab }),
            None => Ok(()),
        }
    }

    /// Fills the batch from token `at` of feed `feed` on; returns where the next one starts.
    fn gather_batch(&mut self, feeds: &mut [Feed<'_>], mut feed: usize, mut at: usize) -> (usize, usize) {
        let batch = &mut self.buffers.batch;
        batch.clear();
        while feed < feeds.len() {
            let f = &mut feeds[feed];
            while at < f.tokens.len() {
                if batch.len() == self.columns {
                    return (feed, at);
                }
                let last = at + 1 == f.tokens.len();
                let wanted = f.want == Want::All || (f.want == Want::Last && last);
                batch.push(Column { feed, token: f.tokens[at], position: f.session.len + at, wanted });
                at += 1;
            }
            (feed, at) = (feed + 1, 0);
        }
        (feed, at)
    }

    /// Takes the batch through the model.
    fn step(&mut self, feeds: &mut [Feed<'_>], logits: &mut dyn FnMut(usize, usize, &[f32])) -> Result<(), Error> {
        for column in &self.buffers.batch {
            feeds[column.feed].session.kv.reserve(column.position + 1);
        }
        let model = self.model.clone();
        let mut pass = Pass { model: &model, backend: self.backend, team: &*self.team, b: &mut self.buffers };
        pass.embed();
        for (i, layer) in model.layers.iter().enumerate() {
            model.upcoming(i);
            let checked = |ok, stage| if ok { Ok(()) } else { Err(Error::NotFinite { stage, layer: i }) };
            checked(pass.attention_input(layer), "the attention input")?;
            checked(pass.store_kv(i, feeds), "the keys and values")?;
            checked(pass.attend(i, layer, feeds), "attention")?;
            pass.add_delta();
            checked(pass.feed_forward(layer), "the feed-forward part")?;
            pass.add_delta();
        }
        match pass.logits(logits) {
            true => Ok(()),
            false => Err(Error::NotFinite { stage: "the output", layer: model.layers.len() }),
        }
    }
}

impl Buffers {
    fn new(model: &Model, columns: usize) -> Self {
        let c = &model.config;
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let operands = model.layers.iter().flat_map(|l| [&l.wq, &l.wk, &l.wv, &l.wo, &l.gate, &l.up, &l.down]);
        let operands = operands.chain([&model.output]).fold(Operands::default(), |set, w| set.with(w.format.operand()));
        let floats = |n: usize| vec![0.0; columns * n];
        Buffers {
            batch: Vec::with_capacity(columns),
            x: floats(c.embedding),
            input: Activations::new(columns * c.embedding.max(q).max(c.feed_forward), operands),
            q_or_gate: floats(q.max(c.feed_forward)),
            k_or_up: floats(kv.max(c.feed_forward)),
            v_or_delta: floats(kv.max(c.embedding)),
            gathered: floats(c.heads * gathered_per_head(c.head_dim)),
            cos: floats(c.rope_dims / 2),
            sin: floats(c.rope_dims / 2),
            logits: vec![0.0; LOGIT_COLUMNS.min(columns) * c.vocab],
        }
    }
}

/// One batch on its way through the model.
struct Pass<'a> {
    model: &'a Model,
    backend: Backend,
    team: &'a dyn Team,
    b: &'a mut Buffers,
}

impl Pass<'_> {
    /// x = the embedding of each token; RoPE tables of each position.
    fn embed(&mut self) {
        let (c, b) = (&self.model.config, &mut *self.b);
        let embedding = self.model.matrix(&self.model.embedding);
        let pairs = c.rope_dims / 2;
        for (i, column) in b.batch.iter().enumerate() {
            let x = &mut b.x[i * c.embedding..][..c.embedding];
            embedding.format.dequantize(embedding.row(column.token as usize), x);
            let (cos, sin) = (&mut b.cos[i * pairs..][..pairs], &mut b.sin[i * pairs..][..pairs]);
            rope::table(column.position, &self.model.rope_freqs, cos, sin);
        }
    }

    /// q, k, v of the normed x; norms of heads and RoPE on q and k.
    fn attention_input(&mut self, layer: &Layer) -> bool {
        let (c, n) = (&self.model.config, self.b.batch.len());
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let ok = self.norm_input(&layer.attn_norm, &[layer.wq, layer.wk, layer.wv]);
        let b = &mut *self.b;
        let outs = [
            (&layer.wq, &mut b.q_or_gate[..n * q]),
            (&layer.wk, &mut b.k_or_up[..n * kv]),
            (&layer.wv, &mut b.v_or_delta[..n * kv]),
        ];
        matmul(self.model, self.backend, self.team, b.input.columns(n, c.embedding), outs);
        let (pairs, rms_norm) = (c.rope_dims / 2, self.backend.kernels().rms_norm);
        let (cos, sin) = (&b.cos, &b.sin);
        let finite = Flag::new();
        let parts = (Strips::new(&mut b.q_or_gate, q, n), Strips::new(&mut b.k_or_up, kv, n));
        for_parts(self.team, parts, |i, (q, k)| {
            let (cos, sin) = (&cos[i * pairs..][..pairs], &sin[i * pairs..][..pairs]);
            let norms = layer.qk_norm.as_ref();
            for (heads, norm) in [(&mut *q, norms.map(|n| &n.0)), (k, norms.map(|n| &n.1))] {
                for head in heads.chunks_exact_mut(c.head_dim) {
                    if let Some(norm) = norm {
                        let mut copy = [0.0; MAX_HEAD_DIM];
                        copy[..c.head_dim].copy_from_slice(head);
                        rms_norm(&copy[..c.head_dim], norm, c.eps, head);
                    }
                    rope::rotate(head, c.arch.rope_pairs, cos, sin);
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

    /// Attention of every column and key/value head; v_or_delta = output matrix times the result.
    fn attend(&mut self, index: usize, layer: &Layer, feeds: &[Feed<'_>]) -> bool {
        let (c, n, b) = (&self.model.config, self.b.batch.len(), &mut *self.b);
        let (group, backend, batch, q) = (c.group() * c.head_dim, self.backend, &b.batch, &b.q_or_gate);
        let items = n * c.kv_heads;
        let parts = (
            Strips::new(&mut b.input.floats, group, items),
            Strips::new(&mut b.gathered, c.group() * gathered_per_head(c.head_dim), items),
        );
        for_parts(self.team, parts, |i, (out, scratch)| {
            let (column, head) = (batch[i / c.kv_heads], i % c.kv_heads);
            let session = &*feeds[column.feed].session;
            let scale = 1.0 / crate::kernels::math::sqrt(c.head_dim as f32);
            let queries = Queries { q: &q[i * group..][..group], head_dim: c.head_dim, scale };
            attend_head(backend, session, (index, head), column.position, &queries, scratch, out);
        });
        let parts = b.input.parts(n, c.heads * c.head_dim);
        let finite = Flag::new();
        let operands = operands(&[layer.wo]);
        for_parts(self.team, parts, |_, column| finite.and(quantize_column(backend, operands, column)));
        let out = &mut b.v_or_delta[..n * c.embedding];
        matmul(self.model, backend, self.team, b.input.columns(n, c.heads * c.head_dim), [(&layer.wo, out)]);
        finite.get()
    }

    /// v_or_delta = down(silu(gate) * up) of the normed x.
    fn feed_forward(&mut self, layer: &Layer) -> bool {
        let ok = self.norm_input(&layer.ffn_norm, &[layer.gate, layer.up]);
        let (c, n, b) = (&self.model.config, self.b.batch.len(), &mut *self.b);
        let (backend, wide) = (self.backend, c.feed_forward);
        let (gate, up) = (&mut b.q_or_gate[..n * wide], &mut b.k_or_up[..n * wide]);
        let outs = [(&layer.gate, &mut *gate), (&layer.up, &mut *up)];
        matmul(self.model, backend, self.team, b.input.columns(n, c.embedding), outs);
        let (finite, operands) = (Flag::new(), operands(&[layer.down]));
        for_parts(self.team, b.input.parts(n, wide), |i, column| {
            let columns = i * wide..(i + 1) * wide;
            (backend.kernels().silu_mul)(&gate[columns.clone()], &up[columns], column.0);
            finite.and(quantize_column(backend, operands, column));
        });
        let out = &mut b.v_or_delta[..n * c.embedding];
        matmul(self.model, backend, self.team, b.input.columns(n, wide), [(&layer.down, out)]);
        ok && finite.get()
    }

    /// x = x + delta.
    fn add_delta(&mut self) {
        let (width, n, b) = (self.model.config.embedding, self.b.batch.len(), &mut *self.b);
        let delta = &b.v_or_delta;
        for_parts(self.team, Strips::new(&mut b.x, width, n), |i, x| {
            for (x, delta) in x.iter_mut().zip(&delta[i * width..]) {
                *x += delta;
            }
        });
    }

    /// input = norm(x), quantised as `readers` need it.
    fn norm_input(&mut self, norm: &[f32], readers: &[Weight]) -> bool {
        let (c, n, b, backend) = (&self.model.config, self.b.batch.len(), &mut *self.b, self.backend);
        let (x, operands, finite) = (&b.x, operands(readers), Flag::new());
        for_parts(self.team, b.input.parts(n, c.embedding), |i, column| {
            (backend.kernels().rms_norm)(&x[i * c.embedding..][..c.embedding], norm, c.eps, column.0);
            finite.and(quantize_column(backend, operands, column));
        });
        finite.get()
    }

    /// The output matrix on the columns wanted, a few at a time.
    fn logits(&mut self, logits: &mut dyn FnMut(usize, usize, &[f32])) -> bool {
        let (model, backend, b) = (self.model, self.backend, &mut *self.b);
        let c = &model.config;
        let mut next = 0;
        loop {
            let mut wanted = [0; LOGIT_COLUMNS];
            let mut n = 0;
            while next < b.batch.len() && n < b.logits.len() / c.vocab {
                wanted[n] = next;
                n += usize::from(b.batch[next].wanted);
                next += 1;
            }
            if n == 0 {
                return true;
            }
            let (x, finite) = (&b.x, Flag::new());
            for_parts(self.team, b.input.parts(n, c.embedding), |i, column| {
                let x = &x[wanted[i] * c.embedding..][..c.embedding];
                (backend.kernels().rms_norm)(x, &model.output_norm, c.eps, column.0);
                finite.and(quantize_column(backend, operands(&[model.output]), column));
            });
            let out = &mut b.logits[..n * c.vocab];
            matmul(model, backend, self.team, b.input.columns(n, c.embedding), [(&model.output, &mut *out)]);
            if !finite.get() || !out.iter().all(|x| x.is_finite()) {
                return false;
            }
            for (row, &i) in out.chunks_exact(c.vocab).zip(&wanted[..n]) {
                logits(b.batch[i].feed, b.batch[i].position, row);
            }
        }
    }
}

/// Floats per query head in `Buffers::gathered`: its values padded for either KV type, a maximum and a sum.
fn gathered_per_head(head_dim: usize) -> usize {
    head_dim.next_multiple_of(32) + 2
}

/// What the columns must be quantised to for these matrices.
fn operands(readers: &[Weight]) -> Operands {
    readers.iter().fold(Operands::default(), |set, w| set.with(w.format.operand()))
}

/// Several matrices times the same columns, in one fork: out is (columns, rows) each.
fn matmul<const N: usize>(
    model: &Model,
    backend: Backend,
    team: &dyn Team,
    x: Columns<'_>,
    jobs: [(&Weight, &mut [f32]); N],
) {
    let matrices = jobs.each_ref().map(|(w, _)| model.matrix(w));
    // Multiples of 16 rows, the height of a kernel's group; larger where a matrix has many, to take fewer turns.
    let tiles = jobs.map(|(w, out)| Tiles::new(out, x.n, if w.rows < 4096 { 32 } else { 128 }));
    for_parts(team, tiles, |_, (which, (rows, mut tile))| {
        let matrix: &Matrix<'_> = &matrices[which];
        (backend.kernels().matmul)(matrix.format, matrix.rows(rows), x, &mut tile);
    });
}

/// Attention of the query heads of one key/value head at one position, over all chunks up to it.
fn attend_head(
    backend: Backend,
    session: &Session,
    (layer, head): (usize, usize),
    position: usize,
    queries: &Queries<'_>,
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let (dim, padded) = (queries.head_dim, session.kv.padded());
    let heads = out.len() / dim;
    let (max, rest) = scratch.split_at_mut(heads);
    let (sum, rest) = rest.split_at_mut(heads);
    let gathered = &mut rest[..heads * padded];
    max.fill(f32::NEG_INFINITY);
    let mut state = Gathered { max, sum, out: gathered };
    for chunk in 0..=position / CHUNK {
        let visible = 0..(position + 1 - chunk * CHUNK).min(CHUNK);
        match session.kv.chunk(chunk, layer, head) {
            Chunk::F16(chunk) => (backend.kernels().attend_f16)(queries, &chunk, visible, &mut state),
            Chunk::Q8(chunk) => (backend.kernels().attend_q8)(queries, &chunk, visible, &mut state),
        }
    }
    for (h, out) in out.chunks_exact_mut(dim).enumerate() {
        let inverse = 1.0 / state.sum[h];
        for (out, o) in out.iter_mut().zip(&state.out[h * padded..]) {
            *out = o * inverse;
        }
    }
}

/// True until a part says false.
struct Flag(AtomicBool);

impl Flag {
    fn new() -> Self {
        Flag(AtomicBool::new(true))
    }

    fn and(&self, ok: bool) {
        if !ok {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
