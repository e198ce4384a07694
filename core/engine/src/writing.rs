//! An answer on its way: what of its tokens is chosen, and the text they become.

use crate::constraint::MinTokens;
use crate::logprobs::Distribution;
use crate::request::MAX_LOGPROBS;
use crate::tools::Reader;
use crate::{Constraint, Drafter, Error, Kind, Lookup, Piece, Reason, Request, Result, Usage};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use picolm_core::sampler::{Sampler, StopMatcher};
use picolm_core::text::{Tokenizer, Utf8Stream};

/// What a host may bring to an answer, beside what its request says.
#[derive(Default)]
pub struct Extras {
    /// Makes drafts, in the place of prompt lookup.
    pub drafter: Option<Box<dyn Drafter>>,
    /// Rules that the answer keeps.
    pub constraints: Vec<Box<dyn Constraint>>,
}

/// An answer, of which tokens are chosen one after the other.
pub(crate) struct Writing {
    /// the prompt, then the tokens chosen
    all: Vec<u32>,
    prompt: usize,
    /// most tokens of both
    context: usize,
    max_tokens: usize,
    /// whether sessions that hold a part of the prompt are of use
    pub(crate) reuses: bool,
    sampler: Sampler,
    constraints: Vec<Box<dyn Constraint>>,
    /// (vocabulary), where there are constraints
    masked: Vec<f32>,
    drafter: Box<dyn Drafter>,
    text: Text,
    logprobs: Option<usize>,
    usage: Usage,
    end: Option<Reason>,
}

impl Writing {
    /// An answer to `prompt`, in a session of up to `context` tokens.
    pub(crate) fn new(
        prompt: Vec<u32>,
        request: &Request,
        extras: Extras,
        (context, vocabulary): (usize, usize),
    ) -> Result<Self> {
        if request.logprobs.is_some_and(|n| n > MAX_LOGPROBS) {
            return Err(Error::field("logprobs", format!("has to be a number from 0 to {MAX_LOGPROBS}")));
        }
        check_prompt(&prompt, context)?;
        let mut sampler = Sampler::new(request.sampling.clone(), vocabulary)?;
        let stops = StopMatcher::new(request.stops.iter().cloned())?;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let mut constraints = extras.constraints;
        if request.min_tokens > 0 {
            constraints.push(Box::new(MinTokens::new(request.min_tokens)));
        }
        Ok(Writing {
            usage: Usage { prompt: prompt.len(), ..Usage::default() },
            prompt: prompt.len(),
            all: prompt,
            context,
            max_tokens: if request.max_tokens == 0 { usize::MAX } else { request.max_tokens },
            reuses: request.cache_prompt,
            sampler,
            constraints,
            masked: Vec::new(),
            drafter: extras.drafter.unwrap_or_else(|| Box::new(Lookup::new(request.lookup))),
            text: Text { characters: Utf8Stream::new(), stops, reader: None },
            logprobs: request.logprobs,
            end: None,
        })
    }

    /// The prompt, and the answer so far.
    pub(crate) fn all(&self) -> &[u32] {
        &self.all
    }

    /// The prompt.
    pub(crate) fn prompt(&self) -> &[u32] {
        &self.all[..self.prompt]
    }

    /// The answer so far, without an end token.
    fn answer(&self) -> &[u32] {
        &self.all[self.prompt..]
    }

    /// What the session holds in the end: a last token is not fed, unless an end token came behind it.
    pub(crate) fn fed(&self) -> &[u32] {
        let last = usize::from(self.end.is_some_and(|reason| reason != Reason::Token));
        &self.all[..self.all.len() - last]
    }

    /// Whether there is a token of the answer.
    pub(crate) fn has_begun(&self) -> bool {
        self.all.len() > self.prompt
    }

    /// Most tokens that the session will hold.
    pub(crate) fn most(&self) -> usize {
        self.prompt.saturating_add(self.max_tokens).min(self.context)
    }

    /// Begins in a session that holds that many tokens of the prompt.
    pub(crate) fn reuse(&mut self, tokens: usize) {
        self.usage.reused = tokens;
    }

    /// Why there is no more, and what it took.
    pub(crate) fn end(&self) -> Option<(Reason, Usage)> {
        let end = match self.end? {
            Reason::Token | Reason::Stop if self.text.has_calls() => Reason::Calls,
            other => other,
        };
        Some((end, Usage { answer: self.answer().len(), ..self.usage }))
    }

    /// Tokens that may come next, for which there is room.
    pub(crate) fn draft(&mut self) -> &[u32] {
        let room = (self.context - self.all.len()).min(self.max_tokens - self.answer().len() - 1);
        let draft = self.drafter.propose(&self.all, room);
        &draft[..draft.len().min(room)]
    }

    /// Of the last draft, which had some tokens, so many were right.
    pub(crate) fn drafted(&mut self, tokens: usize, right: usize) {
        self.usage.drafted += tokens;
        self.usage.accepted += right;
        self.drafter.learn(right);
    }

    /// Chooses a token by the logits after all tokens so far, unless the end has come.
    ///
    /// # Errors
    /// Logits of another vocabulary, or all of them banned.
    pub(crate) fn choose(&mut self, tokenizer: &Tokenizer, logits: &[f32]) -> Result<Piece> {
        if self.end.is_some() {
            return Ok(Piece::default());
        }
        let token = match self.forced() {
            Some(token) => token,
            None => self.sample(tokenizer, logits)?,
        };
        let mut piece = self.push(token, tokenizer);
        if let (Some(token), Some(n)) = (piece.token, self.logprobs) {
            let distribution = Distribution::new(logits);
            piece.logprob = Some(distribution.of(token, tokenizer));
            piece.top = distribution.top(n, tokenizer);
        }
        Ok(piece)
    }

    /// A token that has to come next, without asking the model.
    pub(crate) fn force(&mut self, tokenizer: &Tokenizer) -> Option<Piece> {
        // Its probability would have to be asked for.
        if self.end.is_some() || self.logprobs.is_some() {
            return None;
        }
        let token = self.forced()?;
        Some(self.push(token, tokenizer))
    }

    /// The text that is held back, since it may become a stop string.
    pub(crate) fn held_back(&mut self) -> String {
        let mut piece = Piece::default();
        self.text.cut(&mut piece);
        piece.text
    }

    fn forced(&mut self) -> Option<u32> {
        let answer = &self.all[self.prompt..];
        self.constraints.iter_mut().find_map(|constraint| constraint.forced(answer))
    }

    fn sample(&mut self, tokenizer: &Tokenizer, logits: &[f32]) -> Result<u32> {
        let position = self.all.len() as u64;
        if self.constraints.is_empty() {
            return Ok(self.sampler.sample(logits, position)?);
        }
        let (room, answer) = (self.room(), &self.all[self.prompt..]);
        self.masked.clear();
        self.masked.extend_from_slice(logits);
        for constraint in &mut self.constraints {
            constraint.mask(answer, room, tokenizer, &mut self.masked)?;
        }
        Ok(self.sampler.sample(&self.masked, position)?)
    }

    /// Tokens that can still be chosen: the last need not be fed.
    fn room(&self) -> usize {
        (self.context + 1 - self.all.len()).min(self.max_tokens - self.answer().len())
    }

    /// Has what a reader finds told apart from the text.
    pub(crate) fn read_by(&mut self, reader: Option<Reader>) {
        self.text.reader = reader;
    }

    /// Adds the constraint of a format.
    ///
    /// # Errors
    /// It has no answer that there is room for; those of its mask.
    pub(crate) fn keep_to(&mut self, mut constraint: Box<dyn Constraint>, tokenizer: &Tokenizer) -> Result<()> {
        let (room, mut logits) = (self.room(), vec![0.0; tokenizer.n_vocab()]);
        constraint.mask(self.answer(), room, tokenizer, &mut logits)?;
        if logits.iter().all(|&logit| logit == f32::NEG_INFINITY) {
            let none = "which no answer of the form that is asked for fits in";
            return Err(match room == self.max_tokens {
                true => Error::field("max_tokens", format!("is {room}, {none}")),
                false => Error::new(Kind::ContextFull, format!("the context has room for {room} tokens more, {none}")),
            });
        }
        self.constraints.push(constraint);
        Ok(())
    }

    /// Takes a token: the end, or one more of the answer, with the text that is whole by it.
    fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> Piece {
        let mut piece = Piece::default();
        if tokenizer.is_end_of_generation(token) {
            self.end = Some(Reason::Token);
        } else {
            let position = self.all.len();
            self.sampler.accept(token);
            self.all.push(token);
            piece.token = Some(token);
            // Structure that is no end of the answer, such as a stray start of turn, is no text either, but for what marks calls.
            let bytes = tokenizer.token_bytes(token);
            let bytes = if tokenizer.is_special(token) && !self.text.reads(bytes) { &[] } else { bytes };
            let answer = &self.all[self.prompt..];
            let is_complete = self.constraints.iter_mut().any(|constraint| constraint.is_complete(answer, tokenizer));
            self.end = if self.text.push(bytes, &mut piece) {
                Some(Reason::Stop)
            } else if is_complete {
                Some(Reason::Token)
            } else if self.answer().len() >= self.max_tokens {
                Some(Reason::Length)
            } else {
                (position == self.context).then_some(Reason::Context)
            };
        }
        match self.end {
            // It was to go on, and so was its last character.
            Some(Reason::Length | Reason::Context) => self.text.cut(&mut piece),
            Some(_) => self.text.finish(&mut piece),
            None => {}
        }
        piece
    }
}

/// Whether a prompt is one, and fits.
pub(crate) fn check_prompt(prompt: &[u32], context: usize) -> Result<()> {
    match prompt.len() {
        0 => Err(Error::request("the prompt is empty")),
        tokens if tokens > context => Err(Error::new(
            Kind::ContextFull,
            format!(
                "the prompt has {tokens} tokens, and the context holds {context}: shorten it, or ask for a longer context"
            ),
        )),
        _ => Ok(()),
    }
}

/// The text of an answer: bytes of tokens become characters, stop strings end it, and a reader tells calls and thoughts apart.
struct Text {
    characters: Utf8Stream,
    stops: StopMatcher,
    reader: Option<Reader>,
}

impl Text {
    /// Whether a stop string ends the answer, or a call behind which there may be none.
    fn push(&mut self, bytes: &[u8], to: &mut Piece) -> bool {
        let released = self.stops.push(self.characters.push(bytes));
        tell(&mut self.reader, released.text, to);
        released.stop.is_some() || self.reader.as_ref().is_some_and(Reader::is_over)
    }

    fn finish(&mut self, to: &mut Piece) {
        let released = self.stops.push(self.characters.finish());
        tell(&mut self.reader, released.text, to);
        self.cut(to);
    }

    /// Ends it without the bytes of an unfinished character.
    fn cut(&mut self, to: &mut Piece) {
        self.characters.cut();
        tell(&mut self.reader, &self.stops.finish(), to);
        if let Some(reader) = &mut self.reader {
            reader.finish(to);
        }
    }

    /// Whether a token of structure is a mark that has to be read.
    fn reads(&self, token: &[u8]) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.reads(token))
    }

    fn has_calls(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.calls() > 0)
    }
}

fn tell(reader: &mut Option<Reader>, text: &str, to: &mut Piece) {
    match reader {
        Some(reader) => reader.push(text, to),
        None => to.text.push_str(text),
    }
}
