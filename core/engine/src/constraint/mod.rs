//! What an answer may say: the seam for whatever bans or forces tokens.

mod calls;
#[cfg(feature = "grammars")]
mod grammar;
mod json;
mod matched;
mod shown;
mod words;

pub(crate) use calls::CallRules;
pub use json::{Json as JsonAutomaton, JsonAnswer, Vocabulary as JsonVocabulary};
pub use matched::{Matched, Matcher};
pub(crate) use shown::{ShownCalls, calls as shown_calls};

use crate::{Format, Result};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use picolm_core::text::Tokenizer;

/// A rule about the tokens of one answer. What it says is a function of the answer's tokens so far, which only ever grow by a token, so an
/// answer is one of (model, prompt, seed, constraints) alone, with drafts or without.
pub trait Constraint: Send {
    /// Bans what may not follow `answer`, the tokens so far: sets its logits (vocabulary) to -infinity. There is room for `room` tokens
    /// more.
    ///
    /// # Errors
    /// What may follow cannot be said within the constraint's own limits.
    fn mask(&mut self, answer: &[u32], room: usize, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<()>;

    /// The only token that may follow `answer`, where there is but one: it is taken without asking the model.
    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        let _ = answer;
        None
    }

    /// Whether nothing may follow `answer`: it ends here, as if the model had said so.
    fn is_complete(&mut self, answer: &[u32], tokenizer: &Tokenizer) -> bool {
        let _ = (answer, tokenizer);
        false
    }
}

/// What makes constraints of schemas, expressions and grammars. The feature `grammars` has one; without it a host may lend one
/// ([`Batch::lend_grammars`](crate::Batch::lend_grammars)), as the npm package does, where it is a module of its own.
pub trait Grammars: Send {
    /// What keeps an answer to a format: a schema, an expression, a grammar.
    ///
    /// # Errors
    /// A text that is none of these, or that asks for what cannot be enforced, in words that follow the name of a field.
    fn constraint(&mut self, format: &Format, tokenizer: &Arc<Tokenizer>) -> Result<Box<dyn Constraint>>;
}

/// Those of this build, if it has any.
pub fn grammars() -> Option<Box<dyn Grammars>> {
    #[cfg(feature = "grammars")]
    return Some(Box::<grammar::Local>::default());
    #[cfg(not(feature = "grammars"))]
    None
}

/// A set of tokens: token `t` is bit `t % 32` of word `t / 32`.
#[derive(Debug, Clone)]
pub(crate) struct Mask(Vec<u32>);

impl Mask {
    /// No token of so many.
    fn new(vocabulary: usize) -> Self {
        Mask(vec![0; vocabulary.div_ceil(32)])
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn allow(&mut self, token: u32) {
        self.0[token as usize / 32] |= 1 << (token % 32);
    }

    /// Bans all other tokens.
    fn apply(&self, logits: &mut [f32]) {
        keep(&self.0, logits);
    }
}

/// Bans all tokens but those of a mask (vocabulary / 32): token `t` is bit `t % 32` of word `t / 32`.
pub fn keep(mask: &[u32], logits: &mut [f32]) {
    let (known, unknown) = logits.split_at_mut(logits.len().min(32 * mask.len()));
    for (logits, &word) in known.chunks_mut(32).zip(mask) {
        for (bit, logit) in logits.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
    unknown.fill(f32::NEG_INFINITY);
}

/// The tokens that end an answer.
fn ends(tokenizer: &Tokenizer) -> Vec<u32> {
    (0..tokenizer.n_vocab() as u32).filter(|&token| tokenizer.is_end_of_generation(token)).collect()
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
    fn mask(&mut self, answer: &[u32], _: usize, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<()> {
        if answer.len() < self.tokens {
            let ends = self.ends.get_or_insert_with(|| ends(tokenizer));
            ends.iter().for_each(|&end| logits[end as usize] = f32::NEG_INFINITY);
        }
        Ok(())
    }
}
