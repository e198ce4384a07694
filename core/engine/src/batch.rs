//! Many sessions, one batch: what is decoded and what is read of new prompts goes through the model together.
//!
//! ```text
//!   open ─► slot: idle ──► answering ──step, step, …──► over ──close──► idle, its tokens kept for whoever begins with them
//! ```
//!
//! A step feeds the last token of every answer, and of the oldest prompt that is not read yet as much as fits beside them. So a new
//! session joins between two steps and delays the others by a part of its prompt at most. What prompts have in common is read once: who
//! comes later waits for it, and gets a copy.

use crate::answer::Answer;
use crate::arithmetic::{Arithmetic, Feed};
use crate::{Error, Event, Kind, Piece, Request, Result, SessionId, prompt};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use picolm_core::session::Want;
use picolm_core::text::{ChatTemplate, Encode, Tokenizer};

/// What a batch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Most tokens of a session.
    pub context: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Most sessions, those included that wait for another prompt with the same beginning.
    pub sessions: usize,
    /// Most bytes of the keys and values of all sessions; `None` sets no bound.
    pub session_bytes: Option<u64>,
    /// Tokens of prompts read in a step while nobody waits for a token,
    pub prompt_step: usize,
    /// and while somebody does.
    pub prompt_step_beside: usize,
}

/// Tokens in common with another session that are worth a copy of it.
const WORTH_A_COPY: usize = 32;

/// Sessions of one model.
pub struct Batch {
    arithmetic: Box<dyn Arithmetic>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    settings: Settings,
    slots: Vec<Slot>,
    last_id: SessionId,
    /// the session of [`feed`](Self::feed)
    fed: Option<usize>,
}

/// A session of the arithmetic.
struct Slot {
    handle: usize,
    /// what it holds
    tokens: Vec<u32>,
    /// `None`: idle
    answer: Option<Answer>,
    /// the last id that was at work in it: the lowest has been idle for the longest time
    used: SessionId,
    /// most tokens that it will hold as things are
    most: usize,
}

impl Slot {
    fn is_at_work(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.over)
    }

    /// The answer whose prompt is not read yet.
    fn reading(&self) -> Option<&Answer> {
        self.answer.as_ref().filter(|answer| !answer.over && answer.generation.tokens().is_empty())
    }

    /// What it holds, or will as soon as it is fed.
    fn will_hold(&self) -> &[u32] {
        match &self.answer {
            Some(answer) if !answer.over => answer.generation.all(),
            _ => &self.tokens,
        }
    }
}

impl Batch {
    /// No sessions yet.
    pub fn new(
        arithmetic: Box<dyn Arithmetic>,
        tokenizer: Tokenizer,
        template: Option<ChatTemplate>,
        settings: Settings,
    ) -> Self {
        Batch { arithmetic, tokenizer, template, settings, slots: Vec::new(), last_id: 0, fed: None }
    }

    /// The tokens of a text; see [`Encode`].
    pub fn tokenize(&self, text: &str, how: Encode) -> Vec<u32> {
        self.tokenizer.encode(text, how)
    }

    /// The text of tokens; control tokens are written out if `special`.
    pub fn detokenize(&self, tokens: &[u32], special: bool) -> String {
        self.tokenizer.decode(tokens, special)
    }

    /// The tokens of a prompt.
    ///
    /// # Errors
    /// A conversation that is no such thing, or that the template refuses; tokens outside the vocabulary.
    pub fn prompt(&self, request: &Request) -> Result<Vec<u32>> {
        prompt::tokens(&request.prompt, &self.tokenizer, self.template.as_ref())
    }

    /// Prepares an answer; [`step`](Self::step) computes it.
    ///
    /// # Errors
    /// A request that cannot be ([`Kind::Request`], [`Kind::ContextFull`]), or no free session ([`Kind::Busy`]).
    pub fn open(&mut self, request: &Request) -> Result<SessionId> {
        let tokens = self.prompt(request)?;
        let id = self.last_id + 1;
        let room = (self.settings.context, self.settings.vocabulary);
        let mut answer = Answer::new(id, tokens, request, room)?;
        let slot = self.slot_for(&answer)?;
        let slot = &mut self.slots[slot];
        let kept = answer.begin(&slot.tokens);
        self.arithmetic.truncate(slot.handle, kept)?;
        slot.tokens.truncate(kept);
        (slot.used, slot.most) = (id, answer.most);
        slot.answer = Some(answer);
        self.last_id = id;
        Ok(id)
    }

    /// Ends a session, whether its answer is complete or not. What it holds is kept as long as there is room, for prompts that begin so.
    ///
    /// # Errors
    /// There is no such session.
    pub fn close(&mut self, id: SessionId) -> Result<()> {
        let slot = self.find(id)?;
        let slot = &mut self.slots[slot];
        (slot.answer, slot.most) = (None, slot.tokens.len());
        Ok(())
    }

    /// Whether a step would have anything to do.
    pub fn is_idle(&self) -> bool {
        !self.slots.iter().any(Slot::is_at_work)
    }

    /// Computes the next token of every answer and a part of the prompts, and says what came of it. A step that fails for a session
    /// fails for that one alone.
    pub fn step(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.share();
        let feeds = self.feeds();
        if self.forward(&feeds, &mut events).is_err() {
            // One of them is to blame: each by itself, but for those that have their token already (what it follows is fed along with it).
            let shown: Vec<SessionId> = events.iter().map(Event::id).collect();
            for (slot, feed) in feeds {
                if shown.contains(&self.slots[slot].used) {
                    continue;
                }
                if let Err(error) = self.forward(&[(slot, feed)], &mut events) {
                    self.fail(slot, error, &mut events);
                }
            }
        }
        let over = self.slots.iter_mut().filter(|slot| slot.is_at_work());
        events.extend(over.filter_map(|slot| slot.answer.as_mut()?.finish()));
        events
    }

    /// The session's tokens, keys and values as bytes, for [`restore`](Self::restore).
    ///
    /// # Errors
    /// No such session, no memory.
    pub fn save(&mut self, id: SessionId) -> Result<Vec<u8>> {
        let slot = self.find(id)?;
        self.arithmetic.save(self.slots[slot].handle)
    }

    /// Takes what [`save`](Self::save) wrote, for prompts that begin with the same tokens.
    ///
    /// # Errors
    /// Bytes that are no such state ([`Kind::State`]); no free session.
    pub fn restore(&mut self, state: &[u8]) -> Result<usize> {
        let slot = self.free_slot(0)?;
        let handle = self.slots[slot].handle;
        let tokens = self.arithmetic.load(handle, state)?;
        let len = tokens.len();
        self.slots[slot] = Slot { handle, tokens, answer: None, used: self.last_id, most: len };
        Ok(len)
    }

    /// What a text is about: the mean of the last hidden states of its tokens (embedding).
    ///
    /// # Errors
    /// No tokens, unknown ones, or more than the context holds.
    pub fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        if tokens.is_empty() {
            return Err(Error::request("there is nothing to embed"));
        }
        let context = self.settings.context;
        if tokens.len() > context {
            let message = format!("the text has {} tokens, and the context holds {context}", tokens.len());
            return Err(Error::new(Kind::ContextFull, message));
        }
        let session = self.arithmetic.open()?;
        let embedding = self.arithmetic.embed(session, tokens);
        self.arithmetic.close(session);
        embedding
    }

    /// Feeds tokens to a session of its own, for measurements, and calls `logits` with those wanted.
    ///
    /// # Errors
    /// Unknown tokens, no room for them.
    pub fn feed(&mut self, tokens: &[u32], want: Want, logits: &mut dyn FnMut(&[f32])) -> Result<()> {
        let session = match self.fed {
            Some(session) => session,
            None => *self.fed.insert(self.arithmetic.open()?),
        };
        self.arithmetic.forward(&[Feed { session, tokens: tokens.to_vec(), want }], &mut |_, row| logits(row))
    }

    /// Forgets what was fed.
    ///
    /// # Errors
    /// The host's, if it computes.
    pub fn rewind(&mut self) -> Result<()> {
        self.fed.map_or(Ok(()), |session| self.arithmetic.truncate(session, 0))
    }

    fn find(&self, id: SessionId) -> Result<usize> {
        let open = |slot: &Slot| slot.answer.as_ref().is_some_and(|answer| answer.id == id);
        self.slots.iter().position(open).ok_or_else(|| Error::request(format!("there is no session {id}")))
    }

    /// Copies what prompts have in common with sessions that hold it by now.
    fn share(&mut self) {
        for to in 0..self.slots.len() {
            let Some((from, n)) = self.lender(to).filter(|(from, n)| self.slots[*from].tokens.len() >= *n) else {
                continue;
            };
            let (source, handle) = (self.slots[from].handle, self.slots[to].handle);
            let copied = self.arithmetic.save(source).and_then(|state| self.arithmetic.load(handle, &state));
            // Where there is no memory for a copy, the prompt is read once more.
            if let Ok(mut tokens) = copied
                && self.arithmetic.truncate(handle, n).is_ok()
            {
                tokens.truncate(n);
                let slot = &mut self.slots[to];
                if let Some(answer) = &mut slot.answer {
                    answer.begin(&tokens);
                }
                slot.tokens = tokens;
            }
        }
    }

    /// The session with the most of the prompt that session `to` reads, if that is worth a copy, and how many tokens it is. It holds them,
    /// or it came earlier and reads them.
    fn lender(&self, to: usize) -> Option<(usize, usize)> {
        let slot = &self.slots[to];
        let answer = slot.reading()?;
        let shares = self.slots.iter().enumerate().filter(|(from, _)| *from != to).filter_map(|(from, other)| {
            let n = answer.generation.common(other.will_hold());
            let comes = other.tokens.len() >= n || (other.reading().is_some() && other.used < slot.used);
            // The whole of it is copied, so most of it has to be of use.
            (comes && 2 * n >= other.tokens.len()).then_some((n, from))
        });
        let (n, from) = shares.max()?;
        (n >= slot.tokens.len() + WORTH_A_COPY).then_some((from, n))
    }

    /// What to feed in this step, by slot.
    fn feeds(&self) -> Vec<(usize, Feed)> {
        let at_work = || self.slots.iter().enumerate().filter(|(_, slot)| slot.is_at_work());
        let pending = |slot: &Slot| slot.answer.as_ref().map_or(0, |a| a.generation.all().len() - slot.tokens.len());
        let in_answer = |slot: &Slot| slot.answer.as_ref().is_some_and(|a| !a.generation.tokens().is_empty());
        let mut chosen: Vec<(usize, usize)> =
            at_work().filter(|(_, s)| in_answer(s)).map(|(i, s)| (i, pending(s))).collect();
        let beside = if chosen.is_empty() { self.settings.prompt_step } else { self.settings.prompt_step_beside };
        let mut room = beside.max(1);
        let waits = |i: usize| self.lender(i).is_some_and(|(from, n)| self.slots[from].tokens.len() < n);
        let mut prompts: Vec<_> = at_work().filter(|(i, slot)| !in_answer(slot) && !waits(*i)).collect();
        prompts.sort_by_key(|(_, slot)| slot.used);
        for (i, slot) in prompts {
            let n = pending(slot).min(room);
            room -= n;
            chosen.extend((n > 0).then_some((i, n)));
        }
        let feed = |(i, n): (usize, usize)| {
            let slot = &self.slots[i];
            let generation = &slot.answer.as_ref()?.generation;
            let tokens = generation.pending(slot.tokens.len(), n).to_vec();
            let whole = slot.tokens.len() + tokens.len() == generation.all().len();
            let want = if whole { Want::Last } else { Want::Nothing };
            Some((i, Feed { session: slot.handle, tokens, want }))
        };
        chosen.into_iter().filter_map(feed).collect()
    }

    /// Computes feeds; answers that get logits choose a token.
    fn forward(&mut self, feeds: &[(usize, Feed)], events: &mut Vec<Event>) -> Result<()> {
        if feeds.is_empty() {
            return Ok(());
        }
        let Batch { arithmetic, tokenizer, slots, .. } = self;
        let mut failed = Vec::new();
        let all: Vec<Feed> = feeds.iter().map(|(_, feed)| feed.clone()).collect();
        let result = arithmetic.forward(&all, &mut |feed, logits| {
            let slot = feeds[feed].0;
            let Some(answer) = &mut slots[slot].answer else { return };
            match answer.choose(tokenizer, logits) {
                Ok(piece) if piece == Piece::default() => {}
                Ok(piece) => events.push(Event::Piece { id: answer.id, piece }),
                Err(error) => failed.push((slot, error)),
            }
        });
        if result.is_ok() {
            for (slot, feed) in feeds {
                let slot = &mut self.slots[*slot];
                slot.tokens.extend_from_slice(&feed.tokens);
                let Some(answer) = &slot.answer else { continue };
                let (done, of) = (slot.tokens.len(), answer.generation.prompt().len());
                if done <= of {
                    let at = events.iter().position(|event| event.id() == answer.id).unwrap_or(events.len());
                    events.insert(at, Event::Prompt { id: answer.id, done, of });
                }
            }
        }
        failed.into_iter().for_each(|(slot, error)| self.fail(slot, error, events));
        result
    }

    fn fail(&mut self, slot: usize, error: Error, events: &mut Vec<Event>) {
        if let Some(answer) = &mut self.slots[slot].answer {
            answer.over = true;
            events.push(Event::Failed { id: answer.id, error });
        }
    }

    /// The idle session that has most in common with the prompt; where that is little, an empty one.
    fn slot_for(&mut self, answer: &Answer) -> Result<usize> {
        let idle = self.slots.iter().enumerate().filter(|(_, slot)| slot.answer.is_none());
        let best = idle.map(|(i, slot)| (answer.generation.common(&slot.tokens), i)).max();
        match best {
            // One that would lose most of its tokens is better left alone while there is room: its owner may come back.
            Some((n, i)) if n > 0 && (2 * n >= self.slots[i].tokens.len() || !self.may_grow(answer.most)) => Ok(i),
            _ => self.free_slot(answer.most),
        }
    }

    /// An empty session: a new one, or the one that has been idle for the longest time.
    fn free_slot(&mut self, tokens: usize) -> Result<usize> {
        while !self.may_grow(tokens) {
            let idle = self.slots.iter().enumerate().filter(|(_, slot)| slot.answer.is_none());
            let Some((oldest, _)) = idle.min_by_key(|(_, slot)| slot.used) else {
                return Err(Error::new(Kind::Busy, format!("all {} sessions are in use", self.slots.len())));
            };
            let slot = self.slots.remove(oldest);
            self.arithmetic.close(slot.handle);
        }
        let handle = self.arithmetic.open()?;
        self.slots.push(Slot { handle, tokens: Vec::new(), answer: None, used: 0, most: 0 });
        Ok(self.slots.len() - 1)
    }

    /// Whether there is room for one more session, of `tokens`.
    fn may_grow(&self, tokens: usize) -> bool {
        let held: u64 = self.slots.iter().map(|slot| self.arithmetic.session_bytes(slot.most)).sum();
        let more = self.arithmetic.session_bytes(tokens);
        // The first is let in whatever it takes: a bound that nothing fits in would be of no use.
        let fits = self.settings.session_bytes.is_none_or(|most| self.slots.is_empty() || held + more <= most);
        self.slots.len() < self.settings.sessions.max(1) && fits
    }
}
