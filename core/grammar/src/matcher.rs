//! [`Matcher`]: an answer on its way through a grammar.

use crate::{Error, Result};
use llguidance::toktrie::SimpleVob;

/// An answer on its way through a grammar.
///
/// Everything asks about an answer by its tokens so far, of which those are read that are new since the last call: an answer only grows.
/// A clone goes on by itself from where this one is.
pub struct Matcher {
    inner: llguidance::Matcher,
    /// tokens of the vocabulary
    vocabulary: usize,
    /// how many tokens of the answer have been read
    read: usize,
    /// the last mask, while it is one of the answer so far
    mask: Option<SimpleVob>,
}

impl Matcher {
    pub(crate) fn new(inner: llguidance::Matcher, vocabulary: usize) -> Self {
        Matcher { inner, vocabulary, read: 0, mask: None }
    }

    /// The tokens that may follow, the ends of an answer among them: a bit each, token `t` in bit `t % 32` of word `t / 32`.
    ///
    /// # Errors
    /// An answer that the grammar does not allow, or more steps than its limits.
    pub fn mask(&mut self, answer: &[u32]) -> Result<&[u32]> {
        self.read(answer)?;
        if self.mask.is_none() {
            self.mask = Some(self.inner.compute_mask_or_eos().map_err(refused)?);
        }
        Ok(self.mask.as_ref().map_or(&[], |mask| mask.as_slice()))
    }

    /// The tokens that have to follow, where the grammar leaves no choice: as the model's tokenizer writes them, if the vocabulary has it.
    ///
    /// # Errors
    /// As [`mask`](Self::mask).
    pub fn forced(&mut self, answer: &[u32]) -> Result<Vec<u32>> {
        self.read(answer)?;
        if self.inner.is_stopped() {
            return Ok(Vec::new());
        }
        if self.inner.tok_env().map_err(refused)?.tokenize_is_canonical() {
            let forced = self.inner.compute_ff_tokens();
            return match self.inner.get_error() {
                Some(error) => Err(Error::Answer(error)),
                None => Ok(forced),
            };
        }
        let may_end = self.may_end(answer)?;
        let mask = self.mask(answer)?;
        let mut set = (0..).zip(mask).filter(|(_, word)| **word != 0);
        Ok(match (set.next(), set.next()) {
            (Some((at, word)), None) if word.is_power_of_two() && !may_end => vec![32 * at + word.trailing_zeros()],
            _ => Vec::new(),
        })
    }

    /// Whether the answer is whole as it is.
    ///
    /// # Errors
    /// As [`mask`](Self::mask).
    pub fn may_end(&mut self, answer: &[u32]) -> Result<bool> {
        self.read(answer)?;
        Ok(self.is_stopped_well() || self.inner.is_accepting().map_err(refused)?)
    }

    /// Whether the answer is whole and nothing may follow but its end.
    ///
    /// # Errors
    /// As [`mask`](Self::mask).
    pub fn is_over(&mut self, answer: &[u32]) -> Result<bool> {
        self.read(answer)?;
        Ok(self.is_stopped_well())
    }

    fn is_stopped_well(&self) -> bool {
        self.inner.is_stopped() && !self.inner.is_error()
    }

    fn read(&mut self, answer: &[u32]) -> Result<()> {
        let new = answer.get(self.read..).filter(|new| !new.is_empty());
        let Some(new) = new else {
            return if answer.len() < self.read {
                Err(Error::Answer(format!("an answer of {} tokens was one of {} before", answer.len(), self.read)))
            } else {
                Ok(())
            };
        };
        if let Some(token) = new.iter().find(|&&token| token as usize >= self.vocabulary) {
            return Err(Error::Answer(format!("token {token} of a vocabulary of {}", self.vocabulary)));
        }
        self.mask = None;
        self.inner.consume_tokens(new).map_err(refused)?;
        self.read = answer.len();
        Ok(())
    }
}

impl Clone for Matcher {
    fn clone(&self) -> Self {
        Matcher { inner: self.inner.deep_clone(), mask: self.mask.clone(), ..*self }
    }
}

fn refused(error: impl core::fmt::Display) -> Error {
    Error::Answer(error.to_string().replace("\n<non-verbose/>", ""))
}
