//! Log-probabilities of a row of logits.

use crate::TokenLogprob;
use alloc::vec::Vec;
use picolm_core::kernels::math::exp;
use picolm_core::text::Tokenizer;

/// The model's own distribution after some token, before any sampling parameter.
pub(crate) struct Distribution<'a> {
    /// (vocabulary), finite
    logits: &'a [f32],
    /// logarithm of the sum of their exponentials
    total: f64,
}

impl<'a> Distribution<'a> {
    pub(crate) fn new(logits: &'a [f32]) -> Self {
        let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
        // In order of ids: the sum has the same bits everywhere.
        let sum: f64 = logits.iter().map(|&x| f64::from(exp(x - max))).sum();
        Distribution { logits, total: f64::from(max) + libm::log(sum) }
    }

    pub(crate) fn of(&self, token: u32, tokenizer: &Tokenizer) -> TokenLogprob {
        let logit = self.logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let logprob = (f64::from(logit) - self.total) as f32;
        TokenLogprob { token, bytes: tokenizer.token_bytes(token).to_vec(), logprob }
    }

    /// The `n` most likely tokens, best first; of equal ones the lower id.
    pub(crate) fn top(&self, n: usize, tokenizer: &Tokenizer) -> Vec<TokenLogprob> {
        let mut best: Vec<u32> = Vec::with_capacity(n + 1);
        let logit = |token: u32| self.logits[token as usize];
        for token in 0..self.logits.len() as u32 {
            if best.len() < n || best.last().is_some_and(|&last| logit(token) > logit(last)) {
                let at = best.partition_point(|&other| logit(other) >= logit(token));
                best.insert(at, token);
                best.truncate(n);
            }
        }
        best.into_iter().map(|token| self.of(token, tokenizer)).collect()
    }
}
