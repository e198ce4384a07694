//! What an answer may say: the seam for whatever bans or forces tokens.

use alloc::vec::Vec;
use picolm_core::text::Tokenizer;

/// A rule about the tokens of one answer. What it says is a function of the answer's tokens so far, so an answer is one of (model, prompt,
/// seed, constraints) alone, with drafts or without.
pub trait Constraint: Send {
    /// Bans what may not follow `answer`, the tokens so far: sets its logits (vocabulary) to -infinity.
    fn mask(&mut self, answer: &[u32], tokenizer: &Tokenizer, logits: &mut [f32]);

    /// The only token that may follow `answer`, where there is but one: it is taken without asking the model.
    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        let _ = answer;
        None
    }
}

/// Bans the tokens that end an answer until it has some tokens.
pub(crate) struct MinTokens {
    tokens: usize,
    /// those of the vocabulary that end an answer, once they have been looked for
    ends: Option<Vec<u32>>,
}

impl MinTokens {
    pub(crate) fn new(tokens: usize) -> Self {
        MinTokens { tokens, ends: None }
    }
}

impl Constraint for MinTokens {
    fn mask(&mut self, answer: &[u32], tokenizer: &Tokenizer, logits: &mut [f32]) {
        if answer.len() < self.tokens {
            let all =
                || (0..tokenizer.n_vocab() as u32).filter(|&token| tokenizer.is_end_of_generation(token)).collect();
            self.ends.get_or_insert_with(all).iter().for_each(|&end| logits[end as usize] = f32::NEG_INFINITY);
        }
    }
}
