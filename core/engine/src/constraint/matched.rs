//! [`Matched`]: an answer that a grammar follows, wherever that grammar is.

use super::Constraint;
use crate::Result;
use alloc::vec::Vec;
use picolm_core::text::Tokenizer;

/// A grammar that follows one answer, which only grows: the matcher of `picolm-grammar`, or one in another module.
pub trait Matcher: Send {
    /// Bans what may not follow `answer`: sets its logits (vocabulary) to -infinity.
    ///
    /// # Errors
    /// An answer that does not keep to the grammar, or cannot be followed within its limits.
    fn mask(&mut self, answer: &[u32], logits: &mut [f32]) -> Result<()>;

    /// The tokens that have to follow `answer`, if there is no choice. What fails here fails in the mask, too.
    fn forced(&mut self, answer: &[u32]) -> Vec<u32>;

    /// Whether `answer` is whole, and nothing may follow.
    fn is_over(&mut self, answer: &[u32]) -> bool;
}

/// A constraint that asks a [`Matcher`]. When it asks what is forced decides which tokens those are, so all hosts ask as this does.
pub struct Matched<M> {
    matcher: M,
    /// tokens that have to follow the first `at` of the answer
    forced: Vec<u32>,
    at: usize,
}

impl<M: Matcher> Matched<M> {
    /// An answer that has not begun.
    pub fn new(matcher: M) -> Self {
        Matched { matcher, forced: Vec::new(), at: 0 }
    }
}

impl<M: Matcher> Constraint for Matched<M> {
    fn mask(&mut self, answer: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<()> {
        self.matcher.mask(answer, logits)
    }

    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        let new = answer.get(self.at..)?;
        if self.forced.len() <= new.len() || !self.forced.starts_with(new) {
            (self.forced, self.at) = (self.matcher.forced(answer), answer.len());
        }
        self.forced.get(answer.len() - self.at).copied()
    }

    fn is_complete(&mut self, answer: &[u32], _: &Tokenizer) -> bool {
        self.matcher.is_over(answer)
    }
}
