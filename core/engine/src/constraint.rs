//! What an answer may say: the seam for whatever bans or forces tokens.

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
