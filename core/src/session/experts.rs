//! A mixture of experts: a router chooses some for each token, and what they say is added up in the order of rank.
//!
//! ```text
//!   router · x ──► the best `used` experts of each column, and their weights
//!   for each expert: its columns are gathered, and go through its feed-forward part together
//!   delta = sum over ranks of weight * what that expert said
//! ```
//! "Experts" in `docs/numerics.md`.

use super::ops::{Compute, Flag, operands};
use super::{Error, memory, mlp};
use crate::kernels::{Activations, Operands, math, quantize_column};
use crate::model::{Experts, Mlp, Weight};
use crate::team::{Strips, for_parts};
use crate::weights::WeightsError;
use alloc::vec::Vec;

/// What choosing and running experts writes.
pub(super) struct Buffers {
    numbers: Experts,
    /// (columns, experts)
    scores: Vec<f32>,
    /// (columns, used), then sorted by expert
    choices: Vec<Choice>,
    /// the columns of one expert
    input: Activations,
    /// (columns, used, embedding): what each choice said, times its weight
    said: Vec<f32>,
}

/// An expert that a column has chosen.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Choice {
    expert: usize,
    column: usize,
    rank: usize,
    weight: f32,
}

impl Buffers {
    pub(super) fn new(embedding: usize, numbers: Experts, operands: Operands, columns: usize) -> Result<Self, Error> {
        let what = "the buffers of the experts";
        let mut choices = Vec::new();
        memory::reserve(what, &mut choices, columns.saturating_mul(numbers.used))?;
        let widest = embedding.max(numbers.feed_forward);
        Ok(Buffers {
            numbers,
            scores: memory::zeroed(what, columns.saturating_mul(numbers.count))?,
            choices,
            input: memory::activations(what, columns.saturating_mul(widest), operands)?,
            said: memory::zeroed(what, columns.saturating_mul(numbers.used).saturating_mul(embedding))?,
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let floats = 4 * (self.scores.len() + self.said.len());
        floats + self.input.memory_bytes() + self.choices.capacity() * size_of::<Choice>()
    }
}

/// delta = the experts of `n` columns of x, which comes quantised. False if a value is not finite.
pub(super) fn feed_forward(
    compute: Compute<'_>,
    room: mlp::Room<'_>,
    (router, all): (&Weight, &Mlp),
    n: usize,
    (x, e): (&Activations, &mut Buffers),
    delta: &mut [f32],
) -> Result<bool, WeightsError> {
    let Experts { count, used, .. } = e.numbers;
    let (width, scores) = (router.cols, &mut e.scores[..n * count]);
    compute.matmul(x.columns(n, width), [(router, &mut *scores)])?;
    if !scores.iter().all(|s| s.is_finite()) {
        return Ok(false);
    }
    e.choices.clear();
    for (column, scores) in scores.chunks_exact_mut(count).enumerate() {
        choose(column, scores, used, &mut e.choices);
    }
    e.choices.sort_unstable_by_key(|c| (c.expert, c.column));
    let mut ok = true;
    for choices in e.choices.chunk_by(|a, b| a.expert == b.expert) {
        let (expert, m, finite) = (all.expert(choices[0].expert, count), choices.len(), Flag::new());
        let operands = operands([&expert.up].into_iter().chain(&expert.gate));
        for_parts(compute.team, e.input.parts(m, width), |i, column| {
            column.0.copy_from_slice(&x.floats[choices[i].column * width..][..width]);
            finite.and(quantize_column(compute.backend, operands, column));
        });
        let room = mlp::Room { gate: &mut *room.gate, up: &mut *room.up };
        ok &= mlp::apply(compute, room, &expert, m, &mut e.input, delta)? && finite.get();
        for (choice, y) in choices.iter().zip(delta.chunks_exact(width)) {
            let said = &mut e.said[(choice.column * used + choice.rank) * width..][..width];
            said.iter_mut().zip(y).for_each(|(said, y)| *said = choice.weight * y);
        }
    }
    let said = &e.said;
    for_parts(compute.team, Strips::new(delta, width, n), |i, delta| {
        delta.fill(0.0);
        for said in said[i * used * width..][..used * width].chunks_exact(width) {
            delta.iter_mut().zip(said).for_each(|(delta, said)| *delta += said);
        }
    });
    Ok(ok)
}

/// The `used` best experts of a column, the lower id first among equals, and their softmax over each other. Overwrites scores.
fn choose(column: usize, scores: &mut [f32], used: usize, choices: &mut Vec<Choice>) {
    let first = choices.len();
    for rank in 0..used {
        let better = |best: usize, expert: usize| if scores[expert] > scores[best] { expert } else { best };
        let expert = (0..scores.len()).reduce(better).expect("a model has experts");
        // Scores are finite: one that is taken is not chosen again.
        let weight = core::mem::replace(&mut scores[expert], f32::NEG_INFINITY);
        choices.push(Choice { expert, column, rank, weight });
    }
    let best = choices[first].weight;
    let mut sum = 0.0;
    for choice in &mut choices[first..] {
        choice.weight = math::exp(choice.weight - best);
        sum += choice.weight;
    }
    choices[first..].iter_mut().for_each(|choice| choice.weight /= sum);
}
