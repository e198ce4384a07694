//! An answer, step by step: what every host's loop does.
//!
//! ```text
//!   prompt ──begin──► Generation ──step──► part of the prompt is fed, nothing to show
//!   (tokens)              │      ──step──► …, and the first token chosen: its text
//!                         │      ──step──► a token (or a draft of several): its text
//!                         └──────► end: a token of the model, a stop string, a limit
//! ```
//!
//! Of a prompt that begins with the tokens of the session, only the rest is fed. Between two steps a host looks at its clock and its
//! messages; to stop early it just takes no further step.

use crate::sampler::{self, Params, Sampler, StopMatcher};
use crate::session::{self, Engine, Feed, Lookup, Session, Want};
use crate::text::{Tokenizer, Utf8Stream};
use alloc::string::String;
use alloc::vec::Vec;

/// What a request may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How tokens are drawn.
    pub sampling: Params,
    /// Texts that end the answer, in front of them.
    pub stops: Vec<String>,
    /// Most tokens of the answer; 0 is as many as there is room for.
    pub max_tokens: usize,
    /// Longest draft of prompt lookup; 0 is none. It changes no answer.
    pub lookup: usize,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model said so.
    Token,
    /// A stop string.
    Stop,
    /// [`Options::max_tokens`].
    Length,
    /// No room for another token.
    Context,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to continue.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt is longer than the context.
    #[error("the prompt has {tokens} tokens, and the context holds {context}: shorten it, or ask for a longer context")]
    PromptTooLong {
        /// tokens of the prompt
        tokens: usize,
        /// tokens of the context
        context: usize,
    },
    /// The engine's.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// The sampler's: parameters out of range, stop strings that are empty.
    #[error(transparent)]
    Sampler(#[from] sampler::Error),
}

/// An answer on its way.
#[derive(Debug)]
pub struct Generation {
    reused: usize,
    sampler: Sampler,
    lookup: Lookup,
    /// tokens of drafts that were tried, and that were right
    drafts: (usize, usize),
    answer: Answer,
}

/// What was chosen so far.
#[derive(Debug)]
struct Answer {
    /// the prompt, then the tokens chosen
    all: Vec<u32>,
    prompt: usize,
    text: AnswerText,
    context: usize,
    max_tokens: usize,
    /// An error has no other way out of the engine than to wait here.
    end: Result<Option<End>, sampler::Error>,
}

impl Generation {
    /// Prepares an answer to a prompt (special tokens and all). Keeps what the session has in common with it, and forgets the rest.
    ///
    /// # Errors
    /// A prompt without tokens or with too many, and options out of range; the session is then as it was.
    pub fn begin(prompt: Vec<u32>, session: &mut Session, vocab: usize, options: Options) -> Result<Self, Error> {
        let mut generation = Self::new(prompt, session.context(), vocab, options)?;
        generation.reused = generation.common(session.tokens());
        session.truncate(generation.reused);
        Ok(generation)
    }

    /// The same for a host that feeds its sessions, each of up to `context` tokens, by itself: see [`pending`](Self::pending).
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn new(prompt: Vec<u32>, context: usize, vocab: usize, options: Options) -> Result<Self, Error> {
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() > context {
            return Err(Error::PromptTooLong { tokens: prompt.len(), context });
        }
        let mut sampler = Sampler::new(options.sampling, vocab)?;
        let text = AnswerText {
            characters: Utf8Stream::new(),
            stops: StopMatcher::new(options.stops)?,
            released: String::new(),
        };
        prompt.iter().for_each(|&token| sampler.accept(token));
        let max_tokens = if options.max_tokens == 0 { usize::MAX } else { options.max_tokens };
        let answer = Answer { prompt: prompt.len(), all: prompt, text, context, max_tokens, end: Ok(None) };
        Ok(Generation { reused: 0, sampler, lookup: Lookup::new(options.lookup), drafts: (0, 0), answer })
    }

    /// How many of a session's `tokens` the prompt begins with. The prompt's last is fed in any case: its logits are wanted.
    pub fn common(&self, tokens: &[u32]) -> usize {
        let prompt = self.prompt();
        tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count().min(prompt.len() - 1)
    }

    /// Tokens of the prompt that were in the session already.
    pub fn reused(&self) -> usize {
        self.reused
    }

    /// The tokens of the prompt.
    pub fn prompt(&self) -> &[u32] {
        &self.answer.all[..self.answer.prompt]
    }

    /// The tokens of the answer, without an end token. All but perhaps the last are in the session.
    pub fn tokens(&self) -> &[u32] {
        self.answer.tokens()
    }

    /// Tokens that lookup proposed, and how many of them were right.
    pub fn drafts(&self) -> (usize, usize) {
        self.drafts
    }

    /// Why there is no more.
    pub fn end(&self) -> Option<End> {
        *self.answer.end.as_ref().unwrap_or(&None)
    }

    /// Feeds up to `most` tokens of the prompt, or the last token of the answer, and returns the text that is new: often none, since
    /// characters and stop strings are held back until they are whole. At the [`end`](Self::end) it does nothing.
    ///
    /// # Errors
    /// Broken weights, no memory. The session holds what was fed before.
    pub fn step(
        &mut self,
        engine: &mut Engine,
        session: &mut Session,
        tokenizer: &Tokenizer,
        most: usize,
    ) -> Result<&str, Error> {
        self.answer.text.released.clear();
        if self.end().is_some() {
            return Ok("");
        }
        match self.answer.tokens() {
            [] => self.feed_prompt(engine, session, tokenizer, most.max(1))?,
            _ => self.feed_token(engine, session, tokenizer)?,
        }
        self.released()
    }

    /// What follows the `fed` tokens that are in the session: up to `most` tokens of the prompt, or the last of the answer. For hosts that
    /// feed many sessions in one batch; the logits behind the last of [`all`](Self::all) tokens are for [`choose`](Self::choose).
    pub fn pending(&self, fed: usize, most: usize) -> &[u32] {
        let all = self.all();
        &all[fed.min(all.len())..fed.saturating_add(most).min(all.len())]
    }

    /// The prompt, and the answer so far.
    pub fn all(&self) -> &[u32] {
        &self.answer.all
    }

    /// Chooses the next token by the logits after all others, and returns the text that is new.
    ///
    /// # Errors
    /// Logits of another vocabulary, or all of them banned.
    pub fn choose(&mut self, tokenizer: &Tokenizer, logits: &[f32]) -> Result<&str, Error> {
        self.answer.text.released.clear();
        if self.end().is_none() {
            let position = self.all().len();
            self.answer.choose(&mut self.sampler, tokenizer, position, logits);
        }
        self.released()
    }

    /// What the step has released.
    fn released(&mut self) -> Result<&str, Error> {
        self.answer.end.clone()?;
        if self.end().is_some() {
            self.answer.text.finish();
        }
        Ok(&self.answer.text.released)
    }

    /// The text that was held back, for a host that stops early.
    pub fn stop(&mut self) -> &str {
        self.answer.text.released.clear();
        self.answer.text.finish();
        &self.answer.text.released
    }

    fn feed_prompt(
        &mut self,
        engine: &mut Engine,
        session: &mut Session,
        tokenizer: &Tokenizer,
        most: usize,
    ) -> Result<(), Error> {
        let (start, len) = (session.len(), self.prompt().len());
        let end = start.saturating_add(most).min(len);
        let tokens = &self.prompt()[start..end].to_vec();
        let want = if end < len { Want::Nothing } else { Want::Last };
        let (answer, sampler) = (&mut self.answer, &mut self.sampler);
        engine.forward(&mut [Feed { session, tokens, want }], &mut |_, position, logits| {
            answer.choose(sampler, tokenizer, position + 1, logits);
        })?;
        Ok(())
    }

    /// Feeds the last token and what may follow it, and chooses what does.
    fn feed_token(&mut self, engine: &mut Engine, session: &mut Session, tokenizer: &Tokenizer) -> Result<(), Error> {
        let (answer, sampler) = (&mut self.answer, &mut self.sampler);
        let room = (answer.context - session.len() - 1).min(answer.max_tokens - answer.tokens().len() - 1);
        let tokens = self.lookup.propose(&answer.all, room);
        let right = engine.forward_draft(session, tokens, &mut |position, logits| {
            answer.choose(sampler, tokenizer, position, logits)
        })?;
        self.drafts = (self.drafts.0 + tokens.len() - 1, self.drafts.1 + right);
        self.lookup.learn(right);
        Ok(())
    }
}

impl Answer {
    fn tokens(&self) -> &[u32] {
        &self.all[self.prompt..]
    }

    /// Chooses the token for a position. `None` at the end.
    fn choose(&mut self, sampler: &mut Sampler, tokenizer: &Tokenizer, position: usize, logits: &[f32]) -> Option<u32> {
        self.end = self.try_choose(sampler, tokenizer, position, logits);
        self.tokens().last().copied().filter(|_| matches!(self.end, Ok(None)))
    }

    fn try_choose(
        &mut self,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
        position: usize,
        logits: &[f32],
    ) -> Result<Option<End>, sampler::Error> {
        let token = sampler.sample(logits, position as u64)?;
        if tokenizer.is_end_of_generation(token) {
            return Ok(Some(End::Token));
        }
        sampler.accept(token);
        self.all.push(token);
        // Structure that is no end of the answer, such as a stray start of turn, is no text either.
        let bytes = if tokenizer.is_special(token) { &[] } else { tokenizer.token_bytes(token) };
        Ok(if self.text.push(bytes) {
            Some(End::Stop)
        } else if self.tokens().len() >= self.max_tokens {
            Some(End::Length)
        } else if position == self.context {
            Some(End::Context)
        } else {
            None
        })
    }
}

/// The text of an answer: bytes of tokens become characters, and stop strings end it.
#[derive(Debug)]
struct AnswerText {
    characters: Utf8Stream,
    stops: StopMatcher,
    /// in the present step
    released: String,
}

impl AnswerText {
    /// Whether a stop string ends the answer.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let released = self.stops.push(self.characters.push(bytes));
        self.released.push_str(released.text);
        released.stop.is_some()
    }

    fn finish(&mut self) {
        let released = self.stops.push(self.characters.finish());
        self.released.push_str(released.text);
        self.released.push_str(&self.stops.finish());
    }
}
