//! One session of a batch, and what is made of its prompt.

use crate::writing::{Writing, check_prompt};
use crate::{Error, Event, Piece, Prompt, Request, Result, SessionId, Usage};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use picolm_core::text::Tokenizer;

/// A session of the arithmetic.
pub(crate) struct Slot {
    pub(crate) handle: usize,
    /// the last session that was at work in it: the lowest has been idle for the longest time
    pub(crate) id: SessionId,
    /// what it holds
    pub(crate) tokens: Vec<u32>,
    /// `None`: idle
    pub(crate) work: Option<Work>,
    /// No step has anything more to do for the work: finished, or failed.
    pub(crate) over: bool,
    /// most tokens that it will hold as things are
    pub(crate) most: usize,
    /// It reads its prompt by itself: what another holds could not be taken back as far as it has to be.
    pub(crate) alone: bool,
}

/// What is made of a prompt.
pub(crate) enum Work {
    Writing(Box<Writing>),
    Embedding(Embedding),
}

/// The mean of a text's last hidden states.
pub(crate) struct Embedding {
    prompt: Vec<u32>,
    /// (embedding), in f64 and in order of position: the same bits however tokens are cut into batches
    sum: Vec<f64>,
    rows: usize,
}

impl Embedding {
    pub(crate) fn new(request: &Request, prompt: Vec<u32>, context: usize) -> Result<Self> {
        if matches!(request.prompt, Prompt::Chat(_)) {
            return Err(Error::request("a conversation has no embedding: send a text"));
        }
        check_prompt(&prompt, context)?;
        Ok(Embedding { prompt, sum: Vec::new(), rows: 0 })
    }

    fn add(&mut self, state: &[f32]) {
        if self.sum.is_empty() {
            self.sum = vec![0.0; state.len()];
        }
        self.sum.iter_mut().zip(state).for_each(|(sum, x)| *sum += f64::from(*x));
        self.rows += 1;
    }

    /// (embedding), of length 1, once all states are there.
    fn finish(&self) -> Option<Vec<f32>> {
        if self.rows < self.prompt.len() {
            return None;
        }
        let length = libm::sqrt(self.sum.iter().map(|x| x * x).sum());
        let unit = if length > 0.0 { length } else { 1.0 };
        Some(self.sum.iter().map(|x| (x / unit) as f32).collect())
    }
}

impl Work {
    /// The prompt, and an answer so far.
    pub(crate) fn all(&self) -> &[u32] {
        match self {
            Work::Writing(writing) => writing.all(),
            Work::Embedding(embedding) => &embedding.prompt,
        }
    }

    pub(crate) fn prompt(&self) -> &[u32] {
        match self {
            Work::Writing(writing) => writing.prompt(),
            Work::Embedding(embedding) => &embedding.prompt,
        }
    }

    /// Most tokens that the session will hold.
    pub(crate) fn most(&self) -> usize {
        match self {
            Work::Writing(writing) => writing.most(),
            Work::Embedding(embedding) => embedding.prompt.len(),
        }
    }

    /// Whether it may begin with what another session computed. An embedding needs the states of all tokens.
    pub(crate) fn reuses(&self) -> bool {
        matches!(self, Work::Writing(writing) if writing.reuses)
    }

    /// How many of a session's `tokens` the prompt begins with. Its last is fed in any case: its logits are wanted.
    pub(crate) fn common(&self, tokens: &[u32]) -> usize {
        let prompt = self.prompt();
        tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count().min(prompt.len() - 1)
    }

    /// Begins in a session that holds that many tokens of the prompt.
    pub(crate) fn reuse(&mut self, tokens: usize) {
        if let Work::Writing(writing) = self {
            writing.reuse(tokens);
        }
    }
}

impl Slot {
    pub(crate) fn new(handle: usize) -> Self {
        Slot { handle, id: 0, tokens: Vec::new(), work: None, over: false, most: 0, alone: false }
    }

    pub(crate) fn is_at_work(&self) -> bool {
        self.work.is_some() && !self.over
    }

    /// The work whose prompt is not read yet.
    pub(crate) fn reading(&self) -> Option<&Work> {
        self.work.as_ref().filter(|work| !self.over && work.all().len() == work.prompt().len())
    }

    /// What it holds, or will as soon as it is fed.
    pub(crate) fn will_hold(&self) -> &[u32] {
        match &self.work {
            Some(work) if !self.over => work.all(),
            _ => &self.tokens,
        }
    }

    /// Takes a row of what was wanted, computed from what the session holds and these tokens behind it.
    pub(crate) fn take_row(
        &mut self,
        tokenizer: &Tokenizer,
        behind: &[u32],
        row: &[f32],
        events: &mut Vec<Event>,
    ) -> Result<()> {
        let id = self.id;
        let mut tell = |piece: Piece| {
            if piece != Piece::default() {
                events.push(Event::Piece { id, piece });
            }
        };
        match &mut self.work {
            // Shown again, after a batch that failed for another session, it is added once.
            Some(Work::Embedding(embedding)) if embedding.rows < self.tokens.len() + behind.len() => embedding.add(row),
            // The rows behind a wrong token of a draft are of no use.
            Some(Work::Writing(writing)) if writing.all()[self.tokens.len()..] == *behind => {
                tell(writing.choose(tokenizer, row)?);
                while let Some(piece) = writing.force(tokenizer) {
                    tell(piece);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Says how far the prompt is read, in front of what came of it.
    pub(crate) fn tell_progress(&self, events: &mut Vec<Event>) {
        let Some(work) = &self.work else { return };
        let (done, of) = (self.tokens.len(), work.prompt().len());
        if done <= of {
            let at = events.iter().position(|event| event.id() == self.id).unwrap_or(events.len());
            events.insert(at, Event::Prompt { id: self.id, done, of });
        }
    }

    /// Says that the end has come, if it has.
    pub(crate) fn finish(&mut self, events: &mut Vec<Event>) {
        if !self.is_at_work() {
            return;
        }
        let id = self.id;
        let event = match &self.work {
            Some(Work::Writing(writing)) => writing.end().map(|(reason, usage)| Event::Finished { id, reason, usage }),
            Some(Work::Embedding(embedding)) => embedding.finish().map(|embedding| {
                let usage = Usage { prompt: self.tokens.len(), ..Usage::default() };
                Event::Embedded { id, embedding, usage }
            }),
            None => None,
        };
        self.over = event.is_some();
        events.extend(event);
    }

    pub(crate) fn fail(&mut self, error: Error, events: &mut Vec<Event>) {
        if self.work.is_some() {
            self.over = true;
            events.push(Event::Failed { id: self.id, error });
        }
    }
}
