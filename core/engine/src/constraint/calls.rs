//! Calls of tools: an answer that begins one is kept to it.
//!
//! ```text
//!   watched: free ──mark──► kept to the rules          what begins with a mark can only be a call
//!            on trial ──a tool is named──► kept        what begins as a call does may be an answer, too
//!                └──against the rules──► free for good
//! ```

use super::{Constraint, ends};
use crate::Result;
use crate::event::Piece;
use crate::tools::{Reader, Rules};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use picolm_core::text::{Tokenizer, Utf8Stream};

/// Keeps calls to the rules of their tools.
pub(crate) struct CallRules {
    tokenizer: Arc<Tokenizer>,
    /// what sees calls begin, and the text that it is given
    reader: Reader,
    characters: Utf8Stream,
    /// tokens of the answer that are read
    read: usize,
    /// what the rules wait for; a whole answer has to keep to them if it is empty
    mark: Vec<u8>,
    rules: Box<dyn Constraint>,
    /// whether they hold for a whole answer from its beginning
    is_sure: bool,
    state: State,
    /// (bytes of the mark): the tokens that would lead on behind it once so many bytes of it have come, when they have been looked for
    beyond: Vec<Option<Vec<u32>>>,
    /// the tokens that end an answer, when they have been looked for
    ends: Option<Vec<u32>>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nothing has begun.
    Free,
    /// From this token on it may be a call,
    OnTrial(usize),
    /// and from this one it has to be.
    Kept(usize),
    /// It is no call, and none will come.
    Over,
}

impl CallRules {
    /// `rules` are the grammar of `Rules`; `reader` is one of the answer, from its beginning.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, reader: Reader, of: Rules, rules: Box<dyn Constraint>) -> Self {
        let state = match (of.mark.is_empty() && !reader.is_thinking(), of.is_sure) {
            (false, _) => State::Free,
            (true, true) => State::Kept(0),
            (true, false) => State::OnTrial(0),
        };
        let (mark, is_sure) = (of.mark.into_bytes(), of.is_sure);
        let beyond = vec![None; mark.len()];
        CallRules {
            tokenizer,
            reader,
            characters: Utf8Stream::new(),
            read: 0,
            mark,
            rules,
            is_sure,
            state,
            beyond,
            ends: None,
        }
    }

    /// Reads what is new of the answer.
    fn see(&mut self, answer: &[u32]) -> Result<()> {
        while self.read < answer.len() && !matches!(self.state, State::Kept(_) | State::Over) {
            if let State::OnTrial(from) = self.state {
                let mut logits = vec![0.0; self.tokenizer.n_vocab()];
                let room = usize::MAX;
                self.rules.mask(&answer[from..self.read], room, &self.tokenizer, &mut logits)?;
                if logits[answer[self.read] as usize] == f32::NEG_INFINITY {
                    self.state = State::Over;
                    return Ok(());
                }
            }
            let thought = self.reader.is_thinking();
            let token = answer[self.read];
            self.read += 1;
            let bytes = self.tokenizer.token_bytes(token);
            if !self.tokenizer.is_special(token) || self.reader.reads(bytes) {
                self.reader.push(self.characters.push(bytes), &mut Piece::default());
            }
            self.state = match self.state {
                State::OnTrial(from) if self.reader.has_named() => State::Kept(from),
                // Behind the thought.
                State::Free if self.mark.is_empty() && thought && !self.reader.is_thinking() => match self.is_sure {
                    true => State::Kept(self.read),
                    false => State::OnTrial(self.read),
                },
                State::Free if !self.mark.is_empty() && self.reader.begun() == Some(self.mark.len()) => {
                    State::Kept(self.read)
                }
                other => other,
            };
        }
        Ok(())
    }

    /// The tokens that would end the mark and lead on behind it: a call begins with a token of its own.
    fn beyond(&mut self) -> &[u32] {
        let begun = self.reader.begun_of(&self.mark);
        let (mark, tokenizer) = (&self.mark, &self.tokenizer);
        self.beyond[begun].get_or_insert_with(|| {
            let rest = &mark[begun..];
            let leads_on = |&token: &u32| {
                let bytes = tokenizer.token_bytes(token);
                !tokenizer.is_special(token)
                    && bytes.len() > rest.len()
                    && (bytes.starts_with(rest)
                        || bytes[..bytes.len() - 1].windows(mark.len()).any(|part| part == mark))
            };
            (0..tokenizer.n_vocab() as u32).filter(leads_on).collect()
        })
    }
}

impl Constraint for CallRules {
    fn mask(&mut self, answer: &[u32], room: usize, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<()> {
        self.see(answer)?;
        match self.state {
            State::Kept(from) => self.rules.mask(&answer[from..], room, tokenizer, logits)?,
            State::Free if !self.mark.is_empty() => {
                self.beyond().iter().for_each(|&token| logits[token as usize] = f32::NEG_INFINITY);
            }
            // Within a thought, behind which there has to be a call.
            State::Free if self.is_sure => {
                let ends = self.ends.get_or_insert_with(|| ends(tokenizer));
                ends.iter().for_each(|&end| logits[end as usize] = f32::NEG_INFINITY);
            }
            State::Free | State::OnTrial(_) | State::Over => {}
        }
        Ok(())
    }

    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        // An error is one of the mask, too.
        self.see(answer).ok()?;
        let State::Kept(from) = self.state else { return None };
        self.rules.forced(&answer[from..])
    }

    fn is_complete(&mut self, answer: &[u32], tokenizer: &Tokenizer) -> bool {
        if self.see(answer).is_err() {
            return false;
        }
        let State::Kept(from) = self.state else { return false };
        self.rules.is_complete(&answer[from..], tokenizer)
    }
}
