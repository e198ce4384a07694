//! Many sessions, one batch: what is decoded and what is read of new prompts goes through the model together.
//!
//! ```text
//!   open ─► slot: idle ──► at work ──step, step, …──► over ──close──► idle, its tokens kept for whoever begins with them
//! ```
//!
//! A step feeds the last token of every answer, with a draft of those after it where there is one, and of the oldest prompt that is not
//! read yet as much as fits beside them. So a new session joins between two steps and delays the others by a part of its prompt at most.
//! What prompts have in common is read once: who comes later waits for it, and gets a copy.

use crate::arithmetic::{Arithmetic, Feed, Read, Write};
use crate::constraint::{CallRules, ShownCalls, grammars, shown_calls};
use crate::slot::{Embedding, Slot, Work};
use crate::tools::{Form, Reader};
use crate::writing::{Extras, Writing};
use crate::{
    Chat, Constraint, Error, Event, Format, Grammars, JsonAnswer, JsonVocabulary, Kind, Prompt, Request, Result,
    SessionId, Task, ToolChoice, prompt,
};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use picolm_core::session::Want;
use picolm_core::text::{ChatTemplate, Encode, Tokenizer, Traced};

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

/// Most calls of an answer.
fn most_calls(chat: &Chat) -> usize {
    let one = !chat.parallel_tool_calls || matches!(chat.tool_choice, ToolChoice::Named(_));
    if one { 1 } else { usize::MAX }
}

/// Tokens at the end of a prompt that a mark of thoughts stands in.
const MARK_TOKENS: usize = 32;

/// Sessions of one model.
pub struct Batch<A = Box<dyn Arithmetic>> {
    arithmetic: A,
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    settings: Settings,
    /// of the tokenizer, once an answer has to be JSON
    json: Option<Arc<JsonVocabulary>>,
    /// what knows schemas and grammars, if anything does
    grammars: Option<Box<dyn Grammars>>,
    /// how the template's model writes calls and thoughts, once that was of use
    form: Option<Arc<Form>>,
    slots: Vec<Slot>,
    last_id: SessionId,
    /// the session of [`feed`](Self::feed)
    fed: Option<usize>,
}

/// What a slot feeds in a step.
struct Part {
    slot: usize,
    feed: Feed,
    /// tokens at its end that are a draft
    draft: usize,
}

impl<A: Arithmetic> Batch<A> {
    /// No sessions yet.
    pub fn new(arithmetic: A, tokenizer: Tokenizer, template: Option<ChatTemplate>, settings: Settings) -> Self {
        Batch {
            arithmetic,
            tokenizer: Arc::new(tokenizer),
            template,
            settings,
            json: None,
            grammars: grammars(),
            form: None,
            slots: Vec::new(),
            last_id: 0,
            fed: None,
        }
    }

    /// Lends it what makes constraints of schemas and grammars.
    pub fn lend_grammars(&mut self, grammars: Box<dyn Grammars>) {
        self.grammars = Some(grammars);
    }

    /// What computes.
    pub fn arithmetic(&mut self) -> &mut A {
        &mut self.arithmetic
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether the model has a chat template, which conversations need.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// What it may take.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Lets there be that many sessions from now on.
    pub fn set_sessions(&mut self, sessions: usize) {
        self.settings.sessions = sessions;
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
    pub fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        prompt::tokens(prompt, &self.tokenizer, self.template.as_ref())
    }

    /// The text of a prompt: of a conversation, what the model's chat template makes of it.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    pub fn render(&self, prompt: &Prompt) -> Result<String> {
        match prompt {
            Prompt::Text(text) => Ok(text.clone()),
            Prompt::Tokens(tokens) => Ok(self.detokenize(tokens, true)),
            Prompt::Chat(chat) => self.trace(chat).map(Traced::into_text),
        }
    }

    /// What the model's chat template makes of a conversation, and which of it came with the request.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    pub fn trace(&self, chat: &Chat) -> Result<Traced> {
        prompt::render(chat, self.template.as_ref())
    }

    /// Prepares an answer, or an embedding; [`step`](Self::step) computes it.
    ///
    /// # Errors
    /// A request that cannot be ([`Kind::Request`], [`Kind::ContextFull`]), or no free session ([`Kind::Busy`]).
    pub fn open(&mut self, request: &Request) -> Result<SessionId> {
        self.open_with(request, Extras::default())
    }

    /// The same with a drafter and constraints of the host's own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(&mut self, request: &Request, extras: Extras) -> Result<SessionId> {
        let tokens = self.prompt(&request.prompt)?;
        let Settings { context, vocabulary, .. } = self.settings;
        let mut work = match request.task {
            Task::Answer => {
                let reader = self.reader(request, &tokens)?;
                let rules = match (&request.prompt, &reader) {
                    (Prompt::Chat(chat), Some(reader)) => self.call_rules(chat, reader, &request.format)?,
                    _ => None,
                };
                let mut writing = Writing::new(tokens, request, extras, (context, vocabulary))?;
                // What has a form of its own is neither a thought nor a call, unless calls are told apart from it.
                if rules.is_some() || request.format == Format::Text {
                    writing.read_by(reader);
                }
                let constraint = match rules {
                    Some(rules) => Some(rules),
                    None => self
                        .constraint(&request.format)?
                        .map(|form| self.shown(request, writing.prompt(), form))
                        .transpose()?,
                };
                if let Some(constraint) = constraint {
                    writing.keep_to(constraint, &self.tokenizer)?;
                }
                Work::Writing(Box::new(writing))
            }
            Task::Embed => Work::Embedding(Embedding::new(request, tokens, context)?),
        };
        let slot = if work.reuses() { self.slot_for(&work)? } else { self.free_slot(work.most())? };
        let slot = &mut self.slots[slot];
        let kept = if work.reuses() { work.common(&slot.tokens) } else { 0 };
        let kept = self.arithmetic.rewind(slot.handle, kept)?;
        slot.tokens.truncate(kept);
        work.reuse(kept);
        self.last_id += 1;
        (slot.id, slot.most, slot.over, slot.alone) = (self.last_id, work.most(), false, false);
        slot.work = Some(work);
        Ok(self.last_id)
    }

    /// What tells calls and thoughts from the text of an answer, if there can be any.
    fn reader(&mut self, request: &Request, tokens: &[u32]) -> Result<Option<Reader>> {
        let (Prompt::Chat(chat), Some(template)) = (&request.prompt, &self.template) else { return Ok(None) };
        let tools = prompt::tools(chat)?.map(|(_, tools)| tools).unwrap_or_default();
        let form = self.form.get_or_insert_with(|| Arc::new(Form::of(template)));
        if tools.is_empty() && !(chat.reasoning_apart && form.has_thoughts()) {
            return Ok(None);
        }
        let mut form = form.clone();
        if !chat.reasoning_apart {
            form = Arc::new(Form::clone(&form).without_thinking());
        }
        if request.format != Format::Text && !chat.tool_choice.must().0 {
            form = Arc::new(Form::clone(&form).in_tags());
        }
        let end = &tokens[tokens.len().saturating_sub(MARK_TOKENS)..];
        let thinks = form.thinks_after(&self.tokenizer.decode(end, true));
        Ok(Some(Reader::new(form, tools, thinks, tokens.len()).at_most(most_calls(chat))))
    }

    /// What keeps calls to their tools, and an answer without any to its format. Where a form of calls has no grammar, or this build has none,
    /// they are only read.
    fn call_rules(&mut self, chat: &Chat, reader: &Reader, format: &Format) -> Result<Option<Box<dyn Constraint>>> {
        let tools = reader.tools();
        if tools.is_empty() {
            return Ok(None);
        }
        let (must, only) = chat.tool_choice.must();
        let otherwise = match format {
            Format::Text => None,
            // Calls are the whole answer.
            _ if must => None,
            Format::JsonObject => Some("{\"type\": \"object\"}"),
            Format::JsonSchema(schema) => Some(schema.as_str()),
            Format::Regex(_) | Format::Grammar(_) => {
                let why =
                    "is not supported beside tools that may be called or not: tool_choice none, required or a name is";
                return Err(Error::unsupported(format.field(), why));
            }
        };
        let rules = reader.form().rules(tools, only, (most_calls(chat), must), otherwise, &self.tokenizer);
        let (Some(rules), Some(grammars)) = (rules, &mut self.grammars) else {
            let why = "is not supported with this model: nothing makes it call a tool in its form; auto is";
            return if must { Err(Error::unsupported("tool_choice", why)) } else { Ok(None) };
        };
        let constraint = match grammars.constraint(&Format::Grammar(rules.grammar.clone()), &self.tokenizer) {
            Ok(constraint) => constraint,
            Err(error) => {
                // Which of them is it?
                self.constraint(format)?;
                let Some(grammars) = &mut self.grammars else { return Err(error) };
                for (i, schema) in tools.schemas() {
                    let format = Format::JsonSchema(schema.to_string());
                    if let Err(error) = grammars.constraint(&format, &self.tokenizer) {
                        let name = format!("tools[{i}].function.parameters");
                        let why = error.message.strip_prefix(format.field()).unwrap_or(&error.message).trim_start();
                        return Err(Error::field(name, why));
                    }
                }
                return Err(Error::field("tools", error.message));
            }
        };
        Ok(Some(Box::new(CallRules::new(self.tokenizer.clone(), reader.clone(), rules, constraint))))
    }

    /// The same, with calls as a raw prompt shows them, where that is JSON.
    fn shown(&mut self, request: &Request, tokens: &[u32], form: Box<dyn Constraint>) -> Result<Box<dyn Constraint>> {
        let (Prompt::Text(_) | Prompt::Tokens(_), Format::JsonObject, Some(grammars)) =
            (&request.prompt, &request.format, &mut self.grammars)
        else {
            return Ok(form);
        };
        let Some(calls) = shown_calls(&self.tokenizer.decode(tokens, true)) else { return Ok(form) };
        let rules = grammars.constraint(&Format::Grammar(calls), &self.tokenizer)?;
        Ok(Box::new(ShownCalls::new(form, rules)))
    }

    /// What keeps an answer to a format.
    fn constraint(&mut self, format: &Format) -> Result<Option<Box<dyn Constraint>>> {
        match format {
            Format::Text => Ok(None),
            Format::JsonObject => {
                let vocabulary = match &self.json {
                    Some(vocabulary) => vocabulary,
                    None => self.json.insert(Arc::new(JsonVocabulary::new(&self.tokenizer)?)),
                };
                Ok(Some(Box::new(JsonAnswer::new(vocabulary.clone()))))
            }
            other => match &mut self.grammars {
                Some(grammars) => grammars.constraint(other, &self.tokenizer).map(Some),
                None => {
                    Err(Error::unsupported(other.field(), "is not supported: this build has no schemas and grammars"))
                }
            },
        }
    }

    /// Ends a session, whether its answer is complete or not. What it holds is kept as long as there is room, for prompts that begin so.
    /// Returns the text of an incomplete answer that was held back, since it could have become a stop string.
    ///
    /// # Errors
    /// There is no such session.
    pub fn close(&mut self, id: SessionId) -> Result<String> {
        let at = self.find(id)?;
        let slot = &mut self.slots[at];
        match slot.work.take() {
            Some(Work::Writing(mut writing)) => {
                slot.most = slot.tokens.len();
                Ok(if slot.over { String::new() } else { writing.held_back() })
            }
            // No answer begins in it.
            _ => {
                let slot = self.slots.remove(at);
                self.arithmetic.close(slot.handle);
                Ok(String::new())
            }
        }
    }

    /// Ends all sessions and forgets what they held.
    pub fn reset(&mut self) {
        self.slots.drain(..).for_each(|slot| self.arithmetic.close(slot.handle));
    }

    /// Whether a step would have anything to do.
    pub fn is_idle(&self) -> bool {
        !self.slots.iter().any(Slot::is_at_work)
    }

    /// Computes the next token of every answer and a part of the prompts, and says what came of it. A step that fails for a session
    /// fails for that one alone.
    pub fn step(&mut self) -> Vec<Event> {
        self.step_with(self.settings.prompt_step)
    }

    /// The same, for a host that looks at its clock: reads up to `prompt_step` tokens of prompts while nobody waits for a token.
    pub fn step_with(&mut self, prompt_step: usize) -> Vec<Event> {
        let mut events = Vec::new();
        self.share();
        let mut parts = self.parts(prompt_step);
        if self.forward(&parts, &mut events).is_err() {
            // One of them is to blame: each by itself and without a draft, but for those that have their token already (what it follows is
            // fed along with it).
            let shown: Vec<SessionId> = events.iter().map(Event::id).collect();
            parts.retain(|part| !shown.contains(&self.slots[part.slot].id));
            for mut part in parts {
                part.leave_draft();
                let slot = part.slot;
                if let Err(error) = self.forward(&[part], &mut events) {
                    self.slots[slot].fail(error, &mut events);
                }
            }
        }
        self.slots.iter_mut().for_each(|slot| slot.finish(&mut events));
        events
    }

    /// Writes a session's tokens, keys and values as bytes, for [`restore`](Self::restore): one that is open, or that was closed and
    /// has not been used for another prompt since.
    ///
    /// # Errors
    /// No such session, no memory; those of `write`.
    pub fn save(&mut self, id: SessionId, write: Write<'_>) -> Result<()> {
        let slot = self.slot(id)?;
        self.arithmetic.save(slot.handle, write)
    }

    /// Takes what [`save`](Self::save) wrote, for prompts that begin with the same tokens. Returns the number of its session.
    ///
    /// # Errors
    /// Bytes that are no such state ([`Kind::State`]); no free session; those of `read`.
    pub fn restore(&mut self, read: Read<'_>) -> Result<SessionId> {
        let at = self.free_slot(0)?;
        let handle = self.slots[at].handle;
        let loaded = self.arithmetic.load(handle, read).and_then(|tokens| {
            // How many they are is known only now.
            self.make_room(tokens.len(), Some(handle))?;
            Ok(tokens)
        });
        let at = self.at(handle);
        match loaded {
            Ok(tokens) => {
                self.last_id += 1;
                self.slots[at] = Slot { id: self.last_id, most: tokens.len(), tokens, ..Slot::new(handle) };
                Ok(self.last_id)
            }
            Err(error) => {
                self.slots.remove(at);
                self.arithmetic.close(handle);
                Err(error)
            }
        }
    }

    /// The tokens of a session whose keys and values it holds.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn held(&self, id: SessionId) -> Result<&[u32]> {
        Ok(&self.slot(id)?.tokens)
    }

    /// Feeds tokens to a session of its own, for measurements, and calls `rows` with what is wanted of them.
    ///
    /// # Errors
    /// Unknown tokens, no room for them.
    pub fn feed(&mut self, tokens: &[u32], want: Want, rows: &mut dyn FnMut(&[f32])) -> Result<()> {
        let session = match self.fed {
            Some(session) => session,
            None => *self.fed.insert(self.arithmetic.open()?),
        };
        self.arithmetic.forward(&[Feed { session, tokens: tokens.to_vec(), want }], &mut |_, row| rows(row))
    }

    /// Forgets what was fed.
    ///
    /// # Errors
    /// The host's, if it computes.
    pub fn rewind(&mut self) -> Result<()> {
        self.fed.map_or(Ok(()), |session| self.arithmetic.rewind(session, 0).map(drop))
    }

    /// The slot of an open session.
    fn find(&self, id: SessionId) -> Result<usize> {
        let open = |slot: &Slot| slot.id == id && slot.work.is_some();
        self.slots.iter().position(open).ok_or_else(|| no_session(id))
    }

    /// The slot that a session was in last.
    fn slot(&self, id: SessionId) -> Result<&Slot> {
        self.slots.iter().find(|slot| slot.id == id).ok_or_else(|| no_session(id))
    }

    /// Copies what prompts have in common with sessions that hold it by now.
    fn share(&mut self) {
        for to in 0..self.slots.len() {
            let Some((from, n)) = self.lender(to).filter(|(from, n)| self.slots[*from].tokens.len() >= *n) else {
                continue;
            };
            // Where there is no memory for a copy, the prompt is read once more.
            if let Ok(tokens) = self.copy(self.slots[from].handle, self.slots[to].handle, n) {
                let slot = &mut self.slots[to];
                if let Some(work) = &mut slot.work {
                    work.reuse(tokens.len());
                }
                slot.alone = tokens.len() < n;
                slot.tokens = tokens;
            }
        }
    }

    /// Makes one session the first `n` tokens of another, or fewer if it cannot be taken back so far; returns them.
    fn copy(&mut self, from: usize, to: usize, n: usize) -> Result<Vec<u32>> {
        let mut state = Vec::new();
        self.arithmetic.save(from, &mut |bytes| append(&mut state, bytes))?;
        let mut rest = &state[..];
        let mut tokens = self.arithmetic.load(to, &mut |into| Ok(take(&mut rest, into)))?;
        tokens.truncate(self.arithmetic.rewind(to, n)?);
        Ok(tokens)
    }

    /// The session with the most of the prompt that session `to` reads, if that is worth a copy, and how many tokens it is. It holds them,
    /// or it came earlier and reads them.
    fn lender(&self, to: usize) -> Option<(usize, usize)> {
        let slot = &self.slots[to];
        let work = slot.reading().filter(|work| work.reuses() && !slot.alone)?;
        let shares = self.slots.iter().enumerate().filter(|(from, _)| *from != to).filter_map(|(from, other)| {
            let n = work.common(other.will_hold());
            let comes = other.tokens.len() >= n || (other.reading().is_some() && other.id < slot.id);
            // The whole of it is copied, so most of it has to be of use.
            (comes && 2 * n >= other.tokens.len()).then_some((n, from))
        });
        let (n, from) = shares.max()?;
        (n >= slot.tokens.len() + WORTH_A_COPY).then_some((from, n))
    }

    /// What to feed in this step.
    fn parts(&mut self, prompt_step: usize) -> Vec<Part> {
        let at_work = |slots: &[Slot], reading: bool| -> Vec<usize> {
            let chosen = |slot: &Slot| slot.is_at_work() && slot.reading().is_some() == reading;
            (0..slots.len()).filter(|&i| chosen(&slots[i])).collect()
        };
        let mut parts: Vec<Part> =
            at_work(&self.slots, false).into_iter().filter_map(|slot| self.part(slot, usize::MAX)).collect();
        let mut room = if parts.is_empty() { prompt_step } else { self.settings.prompt_step_beside }.max(1);
        let waits = |i: usize| self.lender(i).is_some_and(|(from, n)| self.slots[from].tokens.len() < n);
        let mut prompts: Vec<usize> = at_work(&self.slots, true).into_iter().filter(|&i| !waits(i)).collect();
        prompts.sort_by_key(|&i| self.slots[i].id);
        for slot in prompts {
            let part = self.part(slot, room);
            room -= part.as_ref().map_or(0, |part| part.feed.tokens.len());
            parts.extend(part);
        }
        parts
    }

    /// What follows the tokens that a session holds: up to `most` of the prompt, or the last of the answer, and perhaps a draft.
    fn part(&mut self, slot: usize, most: usize) -> Option<Part> {
        let Slot { handle, tokens: held, work, .. } = &mut self.slots[slot];
        let work = work.as_mut()?;
        let pending = &work.all()[held.len()..];
        let whole = pending.len() <= most;
        let mut tokens = pending[..pending.len().min(most)].to_vec();
        let (want, mut draft) = match work {
            Work::Embedding(_) => (Want::Hidden, 0),
            Work::Writing(_) if !whole => (Want::Nothing, 0),
            Work::Writing(_) => (Want::Last, 0),
        };
        if let Work::Writing(writing) = work
            && tokens.len() == 1
            && writing.has_begun()
        {
            tokens.extend_from_slice(writing.draft());
            draft = tokens.len() - 1;
        }
        let want = if draft > 0 { Want::All } else { want };
        (!tokens.is_empty()).then_some(Part { slot, feed: Feed { session: *handle, tokens, want }, draft })
    }

    /// Computes parts; answers that get logits choose tokens.
    fn forward(&mut self, parts: &[Part], events: &mut Vec<Event>) -> Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        let Batch { arithmetic, tokenizer, slots, .. } = self;
        let feeds: Vec<Feed> = parts.iter().map(|part| part.feed.clone()).collect();
        let (mut failed, mut row) = (Vec::new(), (usize::MAX, 0));
        let result = arithmetic.forward(&feeds, &mut |i, values| {
            row = if row.0 == i { (i, row.1 + 1) } else { (i, 0) };
            let Part { slot, feed, .. } = &parts[i];
            // The tokens that the row was computed from.
            let seen = if feed.want == Want::Last { feed.tokens.len() } else { row.1 + 1 };
            if let Err(error) = slots[*slot].take_row(tokenizer, &feed.tokens[..seen], values, events) {
                failed.push((*slot, error));
            }
        });
        if result.is_ok() {
            parts.iter().for_each(|part| self.advance(part, events));
        }
        failed.into_iter().for_each(|(slot, error)| self.slots[slot].fail(error, events));
        result
    }

    /// Keeps what was fed, but for the wrong tokens of a draft.
    fn advance(&mut self, part: &Part, events: &mut Vec<Event>) {
        let slot = &mut self.slots[part.slot];
        let (before, fed) = (slot.tokens.len(), &part.feed.tokens);
        slot.tokens.extend_from_slice(fed);
        let Some(work) = &mut slot.work else { return };
        if part.draft > 0
            && let Work::Writing(writing) = work
        {
            // An end token is no token of the answer, and so no right one either.
            let right =
                fed.iter().zip(&writing.fed()[before..]).skip(1).take_while(|(fed, chosen)| fed == chosen).count();
            writing.drafted(part.draft, right);
            if right < part.draft {
                match self.arithmetic.rewind(slot.handle, before + 1 + right) {
                    Ok(kept) => slot.tokens.truncate(kept),
                    Err(error) => return slot.fail(error, events),
                }
            }
        }
        slot.tell_progress(events);
    }

    /// The idle session that has most in common with the prompt; where that is little, an empty one.
    fn slot_for(&mut self, work: &Work) -> Result<usize> {
        let idle = self.slots.iter().enumerate().filter(|(_, slot)| slot.work.is_none());
        let best = idle.map(|(i, slot)| (work.common(&slot.tokens), i)).max();
        match best {
            // One that would lose most of its tokens is better left alone while there is room: its owner may come back.
            Some((n, i)) if n > 0 && (2 * n >= self.slots[i].tokens.len() || !self.has_room(work.most(), None)) => {
                let handle = self.slots[i].handle;
                self.make_room(work.most(), Some(handle))?;
                Ok(self.at(handle))
            }
            _ => self.free_slot(work.most()),
        }
    }

    /// An empty session, in the place of those that have been idle for the longest time if there is no room beside them.
    fn free_slot(&mut self, tokens: usize) -> Result<usize> {
        self.make_room(tokens, None)?;
        self.slots.push(Slot::new(self.arithmetic.open()?));
        Ok(self.slots.len() - 1)
    }

    /// Makes room for `tokens` in one more session, or in the one with this handle: closes idle ones, the longest idle first.
    fn make_room(&mut self, tokens: usize, again: Option<usize>) -> Result<()> {
        while !self.has_room(tokens, again) {
            let idle = self.slots.iter().filter(|slot| slot.work.is_none() && Some(slot.handle) != again);
            let Some(oldest) = idle.min_by_key(|slot| slot.id).map(|slot| slot.handle) else {
                return Err(Error::new(Kind::Busy, format!("all {} sessions are in use", self.slots.len())));
            };
            self.slots.remove(self.at(oldest));
            self.arithmetic.close(oldest);
        }
        Ok(())
    }

    /// Whether there is room for `tokens` in one more session, or in the one with this handle.
    fn has_room(&self, tokens: usize, again: Option<usize>) -> bool {
        let others = self.slots.iter().filter(|slot| Some(slot.handle) != again);
        let held: u64 = others.clone().map(|slot| self.arithmetic.session_bytes(slot.most)).sum();
        let (others, more) = (others.count(), self.arithmetic.session_bytes(tokens));
        // The first is let in whatever it takes: a bound that nothing fits in would be of no use.
        let fits = self.settings.session_bytes.is_none_or(|most| others == 0 || held + more <= most);
        others < self.settings.sessions.max(1) && fits
    }

    /// Where the slot with this handle is.
    fn at(&self, handle: usize) -> usize {
        self.slots.iter().position(|slot| slot.handle == handle).unwrap_or(self.slots.len())
    }
}

impl Part {
    /// Goes without the draft.
    fn leave_draft(&mut self) {
        if self.draft > 0 {
            self.feed.tokens.truncate(self.feed.tokens.len() - self.draft);
            (self.feed.want, self.draft) = (Want::Last, 0);
        }
    }
}

fn no_session(id: SessionId) -> Error {
    Error::request(format!("there is no session {id}"))
}

/// Adds to a state in memory.
///
/// # Errors
/// There is no memory for it.
pub fn append(state: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    state.try_reserve(bytes.len()).map_err(|_| Error::new(Kind::Memory, "there is no memory for the state"))?;
    state.extend_from_slice(bytes);
    Ok(())
}

/// Takes the next bytes of a state in memory; returns how many.
pub fn take(state: &mut &[u8], into: &mut [u8]) -> usize {
    let (part, rest) = state.split_at(into.len().min(state.len()));
    into[..part.len()].copy_from_slice(part);
    *state = rest;
    part.len()
}
