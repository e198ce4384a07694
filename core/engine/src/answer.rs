//! An answer of one session, on its way.

use crate::logprobs::Distribution;
use crate::request::MAX_LOGPROBS;
use crate::{Error, Event, Piece, Reason, Request, Result, SessionId, Usage};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use picolm_core::generation::{End, Generation, Options};
use picolm_core::text::Tokenizer;

/// A generation, and what its events need.
pub(crate) struct Answer {
    pub(crate) id: SessionId,
    pub(crate) generation: Generation,
    /// most tokens that the session will hold
    pub(crate) most: usize,
    reused: usize,
    logprobs: Option<usize>,
    /// No step has anything more to do: finished, or failed.
    pub(crate) over: bool,
}

impl Answer {
    /// An answer to `prompt`, in a session of up to `context` tokens.
    pub(crate) fn new(
        id: SessionId,
        prompt: Vec<u32>,
        request: &Request,
        (context, vocab): (usize, usize),
    ) -> Result<Self> {
        if request.logprobs.is_some_and(|n| n > MAX_LOGPROBS) {
            return Err(Error::request(format!("at most {MAX_LOGPROBS} log-probabilities stand beside a token")));
        }
        let options = Options {
            sampling: request.sampling.clone(),
            stops: request.stops.clone(),
            max_tokens: request.max_tokens,
            lookup: 0,
        };
        let answer = if request.max_tokens == 0 { usize::MAX } else { request.max_tokens };
        let most = prompt.len().saturating_add(answer).min(context);
        let generation = Generation::new(prompt, context, vocab, options)?;
        Ok(Answer { id, generation, most, reused: 0, logprobs: request.logprobs, over: false })
    }

    /// Begins in a session that holds `tokens`; returns how many of them are of use.
    pub(crate) fn begin(&mut self, tokens: &[u32]) -> usize {
        self.reused = self.generation.common(tokens);
        self.reused
    }

    /// Chooses a token by the logits after all tokens so far.
    pub(crate) fn choose(&mut self, tokenizer: &Tokenizer, logits: &[f32]) -> Result<Piece> {
        let before = self.generation.tokens().len();
        let text = self.generation.choose(tokenizer, logits)?.to_string();
        let token = self.generation.tokens().get(before).copied();
        let mut piece = Piece { token, text, ..Piece::default() };
        if let (Some(n), Some(token)) = (self.logprobs, token) {
            let distribution = Distribution::new(logits);
            piece.logprob = Some(distribution.of(token, tokenizer));
            piece.top = distribution.top(n, tokenizer);
        }
        Ok(piece)
    }

    /// The end, once it has come.
    pub(crate) fn finish(&mut self) -> Option<Event> {
        let reason = match self.generation.end()? {
            End::Token => Reason::Token,
            End::Stop => Reason::Stop,
            End::Length => Reason::Length,
            End::Context => Reason::Context,
        };
        self.over = true;
        let (prompt, answer) = (self.generation.prompt().len(), self.generation.tokens().len());
        Some(Event::Finished { id: self.id, reason, usage: Usage { prompt, reused: self.reused, answer } })
    }
}
