//! What a layer is made of.

use super::Weight;
use alloc::vec::Vec;

/// One transformer layer. Shapes are (outputs, inputs).
#[derive(Debug)]
pub struct Layer {
    /// The part in which positions hear of others.
    pub mixer: Mixer,
    /// The part that each position goes through alone.
    pub ffn: Ffn,
    /// What is normed, and how the two parts are put together.
    pub norms: Norms,
}

/// How positions hear of others.
#[derive(Debug)]
pub enum Mixer {
    /// By queries, keys and values.
    Attention(Attention),
}

/// Attention.
#[derive(Debug)]
pub struct Attention {
    /// (heads * head_dim, embedding)
    pub wq: Weight,
    /// (kv_heads * head_dim, embedding)
    pub wk: Weight,
    /// (kv_heads * head_dim, embedding)
    pub wv: Weight,
    /// (embedding, heads * head_dim)
    pub wo: Weight,
    /// Of q and k before RoPE, if they are normed.
    pub qk_norm: Option<QkNorm>,
    /// Which of the model's RoPE tables turns q and k, if one does.
    pub rope: Option<usize>,
    /// Positions it sees, its own included; `None`: all.
    pub window: Option<usize>,
}

/// Norms of q and k. As many values are normed together as the norm is wide: those of a head, or of all heads of a position.
#[derive(Debug)]
pub struct QkNorm {
    /// (head_dim) or (heads * head_dim)
    pub q: Norm,
    /// (head_dim) or (kv_heads * head_dim)
    pub k: Norm,
}

/// A feed-forward part.
#[derive(Debug)]
pub enum Ffn {
    /// The same for every token.
    Dense(Mlp),
    /// A router chooses some for each token.
    Experts {
        /// (experts, embedding): the matrix that chooses
        router: Weight,
        /// those of all experts, one below the other
        all: Mlp,
    },
}

/// The matrices of a feed-forward part.
#[derive(Debug)]
pub struct Mlp {
    /// (feed_forward, embedding), if it is gated
    pub gate: Option<Weight>,
    /// (feed_forward, embedding)
    pub up: Weight,
    /// (embedding, feed_forward)
    pub down: Weight,
}

/// The norms of a layer (embedding), and where they stand. `r` is the residual scale.
#[derive(Debug)]
pub enum Norms {
    /// `x += r * mixer(norm(x))`, then `x += r * ffn(norm(x))`
    Before {
        /// of what the mixer reads
        mixer: Norm,
        /// of what the feed-forward part reads
        ffn: Norm,
    },
    /// `x += r * norm(mixer(x))`, then `x += r * norm(ffn(x))`
    After {
        /// of what the mixer adds
        mixer: Norm,
        /// of what the feed-forward part adds
        ffn: Norm,
    },
    /// `x += r * norm(mixer(norm(x)))`, then `x += r * norm(ffn(norm(x)))`
    Around {
        /// of what the mixer reads, and of what it adds
        mixer: [Norm; 2],
        /// of what the feed-forward part reads, and of what it adds
        ffn: [Norm; 2],
    },
    /// `h = norm(x)`, `x += r * mixer(h)`, `x += r * ffn(h)`
    Parallel(Norm),
}

/// A norm's weights, and its bias where it is a layer norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// (width)
    pub weight: Vec<f32>,
    /// (width)
    pub bias: Option<Vec<f32>>,
}

impl Layer {
    /// Every matrix of the layer.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        let Mixer::Attention(Attention { wq, wk, wv, wo, .. }) = &self.mixer;
        let (router, mlp) = self.ffn.parts();
        [wq, wk, wv, wo].into_iter().chain(mlp.weights()).chain(router)
    }

    /// Every matrix, in the order of use, those of each of the experts by themselves.
    pub(super) fn matrices(&self, experts: Option<usize>) -> Vec<Weight> {
        let Mixer::Attention(Attention { wq, wk, wv, wo, .. }) = &self.mixer;
        let mut all: Vec<Weight> = [wq, wk, wv, wo].into_iter().cloned().collect();
        let in_order = |mlp: &Mlp| mlp.gate.iter().chain([&mlp.up, &mlp.down]).cloned().collect::<Vec<_>>();
        match &self.ffn {
            Ffn::Dense(mlp) => all.extend(in_order(mlp)),
            Ffn::Experts { router, all: mlp } => {
                let count = experts.unwrap_or(1);
                all.push(router.clone());
                all.extend((0..count).flat_map(|i| in_order(&mlp.expert(i, count))));
            }
        }
        all
    }

    pub(super) fn norms(&self) -> impl Iterator<Item = &Norm> {
        let Mixer::Attention(attention) = &self.mixer;
        let qk = attention.qk_norm.iter().flat_map(|QkNorm { q, k }| [q, k]);
        let of_parts = match &self.norms {
            Norms::Before { mixer, ffn } | Norms::After { mixer, ffn } => [Some(mixer), Some(ffn), None, None],
            Norms::Around { mixer: [a, b], ffn: [c, d] } => [Some(a), Some(b), Some(c), Some(d)],
            Norms::Parallel(norm) => [Some(norm), None, None, None],
        };
        qk.chain(of_parts.into_iter().flatten())
    }
}

impl Ffn {
    /// The router, if there is one, and the matrices.
    fn parts(&self) -> (Option<&Weight>, &Mlp) {
        match self {
            Ffn::Dense(mlp) => (None, mlp),
            Ffn::Experts { router, all } => (Some(router), all),
        }
    }

    /// The matrices that read the layer's stream.
    pub fn readers(&self) -> impl Iterator<Item = &Weight> {
        let (router, mlp) = self.parts();
        [&mlp.up].into_iter().chain(&mlp.gate).chain(router)
    }
}

impl Mlp {
    /// Its matrices.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        [&self.up, &self.down].into_iter().chain(&self.gate)
    }

    /// The part of expert `i` of `count`.
    pub fn expert(&self, i: usize, count: usize) -> Mlp {
        let part = |w: &Weight| w.part(w.rows / count * i..w.rows / count * (i + 1));
        Mlp { gate: self.gate.as_ref().map(part), up: part(&self.up), down: part(&self.down) }
    }
}
