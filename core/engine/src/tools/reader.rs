//! Reads an answer as it comes: what is said, what is thought, which tools are called.
//!
//! ```text
//!   Start ──open──► Thinking ──close──► Start ──► Text ──mark──► Between ⇄ Call
//!                                                  ▲               │ no call after all, or something else behind one
//!                                                  └───────────────┘
//! ```
//!
//! What may become a mark is held back. A call is held until it is whole; one that turns out to be none is text up to where that was
//! seen, and reading goes on behind it. So each byte is read once, and cutting the text into other pieces changes nothing.

use super::call::{Progress, Reading};
use super::harmony::{self, Found, Harmony};
use super::marks::{Begins, MAX_SPACE, begins, longest_start, without_space};
use super::tool::Tools;
use super::{Calls, Form, Marked, Thinking};
use crate::event::{Call, Piece};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

/// Bytes read at a time: what is told is taken from the beginning of what is held, which is short then.
const PIECE: usize = 64;

/// Reads one answer.
#[derive(Debug, Clone)]
pub struct Reader {
    form: Arc<Form>,
    tools: Tools,
    most: usize,
    /// where the answer stands, in ids
    place: usize,
    calls: usize,
    state: State,
    /// What is not told yet,
    held: String,
    /// and how much of it is read.
    at: usize,
    /// Whether any text was told but white space,
    begun: bool,
    /// and whether white space is dropped until then.
    fresh: bool,
}

#[derive(Debug, Clone)]
enum State {
    Start,
    Thinking,
    Text,
    /// In front of a call, or behind one: whether there was one since the text.
    Between(bool),
    Call(Reading),
    Harmony(Harmony),
    /// There are as many calls as may be.
    Over,
}

impl Reader {
    /// A reader of an answer in that form. Without `tools`, what looks like a call is text. `thinking`: the prompt has begun it. Ids of calls
    /// are made of `place`, which is another for each answer of a conversation.
    pub fn new(form: Arc<Form>, tools: Tools, thinking: bool, place: usize) -> Self {
        let state = match &form.calls {
            Calls::Harmony => State::Harmony(Harmony::default()),
            Calls::Marked(_) if thinking => State::Thinking,
            Calls::Marked(_) => State::Start,
        };
        Reader {
            form,
            tools,
            most: usize::MAX,
            place,
            calls: 0,
            state,
            held: String::new(),
            at: 0,
            begun: false,
            fresh: thinking,
        }
    }

    /// The same, for no more than so many calls: what comes behind them is dropped.
    #[must_use]
    pub fn at_most(self, calls: usize) -> Self {
        Reader { most: calls, ..self }
    }

    /// Whether a token of structure, which is no text otherwise, has to be read.
    pub fn reads(&self, token: &[u8]) -> bool {
        core::str::from_utf8(token).is_ok_and(|text| self.form.has_mark(text, !self.tools.is_empty()))
    }

    /// How many calls were told.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// How calls are written.
    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    /// The tools that may be called.
    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Whether what comes is a thought.
    pub(crate) fn is_thinking(&self) -> bool {
        matches!(self.state, State::Thinking)
    }

    /// How many bytes there are of what may be the first call, its mark included, if it has begun.
    pub(crate) fn begun(&self) -> Option<usize> {
        match &self.state {
            State::Between(_) | State::Call(_) if self.calls == 0 => Some(self.held.trim_start().len()),
            State::Harmony(harmony) if harmony.is_head() => self.held.find(harmony::TO).map(|at| self.held.len() - at),
            _ => None,
        }
    }

    /// How many bytes of a mark may have come, while it is waited for.
    pub(crate) fn begun_of(&self, mark: &[u8]) -> usize {
        let held = self.held.as_bytes();
        let longest = held.len().min(mark.len().saturating_sub(1));
        let waits = match &self.state {
            State::Harmony(harmony) => harmony.is_head(),
            state => matches!(state, State::Start | State::Text),
        };
        (1..=longest).rev().find(|&bytes| waits && mark.starts_with(&held[held.len() - bytes..])).unwrap_or(0)
    }

    /// Whether what may be a call names a tool that is there.
    pub(crate) fn has_named(&self) -> bool {
        let State::Call(reading) = &self.state else { return false };
        reading.has_name() || self.tools.names().any(|name| self.held.contains(&format!("\"{name}\"")))
    }

    /// Whether nothing more will be told.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Reads the next piece of text, and tells what is new.
    pub fn push(&mut self, text: &str, to: &mut Piece) {
        let mut rest = text;
        while !rest.is_empty() {
            let end =
                (PIECE.min(rest.len())..=rest.len()).find(|&end| rest.is_char_boundary(end)).unwrap_or(rest.len());
            self.held.push_str(&rest[..end]);
            self.go_on(false, to);
            rest = &rest[end..];
        }
    }

    /// Tells what was held back: nothing more comes.
    pub fn finish(&mut self, to: &mut Piece) {
        self.go_on(true, to);
        let left = self.held.len();
        match self.state {
            State::Thinking => self.think(left, to),
            State::Text if self.calls > 0 && self.held.trim().is_empty() => {}
            State::Between(true) if self.only_marks() => {}
            State::Over => {}
            _ => self.tell(left, to),
        }
        self.held.clear();
    }

    fn go_on(&mut self, ended: bool, to: &mut Piece) {
        let form = self.form.clone();
        while !self.held.is_empty() && self.step(&form, ended, to) {}
    }

    /// One step; whether another may follow.
    fn step(&mut self, form: &Form, ended: bool, to: &mut Piece) -> bool {
        let (marked, thinking) = match &form.calls {
            Calls::Marked(marked) => (marked, form.thinking.as_ref()),
            Calls::Harmony => return self.step_harmony(ended, to),
        };
        match &self.state {
            State::Start => self.start(thinking),
            State::Thinking => self.thought(thinking, to),
            State::Text => self.text(marked, to),
            State::Between(called) => self.between(marked, *called, ended, to),
            State::Call(_) => self.call(marked, ended, to),
            State::Harmony(_) | State::Over => {
                self.held.clear();
                false
            }
        }
    }

    /// At the beginning of the answer, or behind a thought.
    fn start(&mut self, thinking: Option<&Thinking>) -> bool {
        let text = self.held.trim_start();
        let space = self.held.len() - text.len();
        if text.is_empty() && space <= MAX_SPACE {
            return false;
        }
        if let Some(Thinking { open, .. }) = thinking {
            if text.starts_with(open.as_str()) {
                self.held.drain(..space + open.len());
                (self.state, self.fresh) = (State::Thinking, true);
                return true;
            }
            if open.starts_with(text) && !text.is_empty() {
                return false;
            }
        }
        self.state = State::Text;
        true
    }

    /// Within a thought.
    fn thought(&mut self, thinking: Option<&Thinking>, to: &mut Piece) -> bool {
        let close = thinking.map_or("", |thinking| thinking.close.as_str());
        let Some(end) = self.held.find(close) else {
            self.think(self.held.len() - longest_start(&self.held, close), to);
            return false;
        };
        self.think(end, to);
        // White space in front of the mark, if it is not dropped already.
        let end = self.held.find(close).unwrap_or(0);
        self.held.drain(..end + close.len());
        (self.state, self.fresh) = (State::Start, true);
        true
    }

    /// In text: up to where a call may begin.
    fn text(&mut self, marked: &Marked, to: &mut Piece) -> bool {
        if self.tools.is_empty() {
            self.tell(self.held.len(), to);
            return false;
        }
        let trimmed = self.held.trim_start();
        let (trigger, bare) = (marked.trigger(), marked.bare && !self.begun && self.calls == 0);
        let begins = if bare { begins_bare(marked, trimmed) } else { Begins::No };
        let found = match begins {
            Begins::Whole(_) => Some(self.held.len() - trimmed.len()),
            Begins::Part => return false,
            Begins::No if trigger.is_empty() => None,
            Begins::No => self.held.find(trigger),
        };
        if let Some(found) = found {
            // White space in front of calls is told only if they turn out to be none.
            let text = without_space(&self.held[..found]);
            self.tell(text, to);
            self.at = found - text;
            self.state = State::Between(false);
            return true;
        }
        let shown = self.held.len() - longest_start(&self.held, trigger);
        self.tell(without_space(&self.held[..shown]), to);
        false
    }

    /// In front of a call or behind one, where marks are.
    fn between(&mut self, marked: &Marked, called: bool, ended: bool, to: &mut Piece) -> bool {
        let rest = self.held[self.at..].trim_start();
        self.at = self.held.len() - rest.len();
        if rest.is_empty() {
            return false;
        }
        let Marked { open, head, shape, tail, between, close, .. } = marked;
        if let Begins::Whole(bytes) = begins(rest, head) {
            let behind = rest[bytes..].trim_start();
            if Reading::can_begin(shape, behind) {
                self.at = self.held.len() - behind.len();
                self.state = State::Call(Reading::new(shape));
                return true;
            }
            if behind.is_empty() && rest.len() <= bytes + MAX_SPACE {
                return false;
            }
        } else if marked.may_lack_tags() && Reading::can_begin(shape, rest) {
            self.state = State::Call(Reading::new(shape));
            return true;
        }
        let marks = [open, tail, between, close].into_iter().filter(|mark| !mark.is_empty());
        let waits = [head].into_iter().chain(marks.clone()).any(|mark| begins(rest, mark) == Begins::Part);
        if waits && !ended {
            return false;
        }
        let taken =
            marks.filter_map(|mark| if let Begins::Whole(bytes) = begins(rest, mark) { Some(bytes) } else { None });
        if let Some(bytes) = taken.max() {
            self.at += bytes;
            if called {
                self.drop_read();
            }
            return true;
        }
        if waits && called {
            return false;
        }
        if called {
            // Behind the last call.
            self.drop_read();
            (self.state, self.fresh) = (State::Text, true);
        } else {
            // With the mark that led here, or whatever stands in its place.
            let trigger = if rest.starts_with(marked.trigger()) { marked.trigger().len() } else { 0 };
            let first = rest.chars().next().map_or(0, char::len_utf8);
            self.give_up(if self.at + trigger > 0 { self.at + trigger } else { first }, to);
        }
        true
    }

    /// Within a call.
    fn call(&mut self, marked: &Marked, ended: bool, to: &mut Piece) -> bool {
        let State::Call(reading) = &mut self.state else { return false };
        match reading.go_on(&self.held, &mut self.at, ended, &marked.shape, &self.tools) {
            Progress::Maybe => return false,
            Progress::None => {
                let next = self.held[self.at..].chars().next().map_or(0, char::len_utf8);
                self.give_up(if self.at == 0 { next } else { self.at }, to);
            }
            Progress::Call(name, arguments) => {
                self.drop_read();
                self.state = State::Between(true);
                self.tell_call(name, arguments.to_string(), to);
            }
        }
        true
    }

    fn step_harmony(&mut self, ended: bool, to: &mut Piece) -> bool {
        let State::Harmony(mut harmony) = core::mem::replace(&mut self.state, State::Over) else { return false };
        let found = harmony.go_on(&self.held, ended, &self.tools);
        self.state = State::Harmony(harmony);
        match found {
            Found::Nothing => return false,
            Found::Text(bytes) => self.tell(bytes, to),
            Found::Thought(bytes) => self.think(bytes, to),
            Found::Mark(bytes) => drop(self.held.drain(..bytes)),
            Found::Call(bytes, name, arguments) => {
                self.held.drain(..bytes);
                self.tell_call(name, arguments.to_string(), to);
            }
        }
        true
    }

    fn tell_call(&mut self, name: String, arguments: String, to: &mut Piece) {
        let index = self.calls;
        let id = format!("{:07x}{:02x}", self.place & 0xfff_ffff, index & 0xff);
        let id = if self.form.short_ids { id } else { format!("call_{id}") };
        to.calls.push(Call { index, id, name, arguments });
        self.calls += 1;
        if self.calls >= self.most {
            self.held.clear();
            self.state = State::Over;
        }
    }

    /// What was read is no call: it is text, and so is what follows.
    fn give_up(&mut self, bytes: usize, to: &mut Piece) {
        self.tell(bytes, to);
        (self.at, self.state) = (0, State::Text);
    }

    fn drop_read(&mut self) {
        self.held.drain(..self.at);
        self.at = 0;
    }

    /// Whether what is left behind a call is white space, or marks that have only begun.
    fn only_marks(&self) -> bool {
        let Calls::Marked(marked) = &self.form.calls else { return false };
        let Marked { tail, between, close, .. } = &**marked;
        let rest = self.held.trim();
        rest.is_empty() || [tail, between, close].into_iter().any(|mark| begins(rest, mark) == Begins::Part)
    }

    /// Tells the first bytes of what is held as text.
    fn tell(&mut self, bytes: usize, to: &mut Piece) {
        let mut text = &self.held[..bytes];
        if self.fresh {
            text = text.trim_start();
        }
        if !text.is_empty() {
            self.fresh = false;
            self.begun |= !text.trim().is_empty();
            to.text.push_str(text);
        }
        self.held.drain(..bytes);
    }

    /// Tells the first bytes of what is held as thought, without white space around it.
    fn think(&mut self, bytes: usize, to: &mut Piece) {
        let read = without_space(&self.held[..bytes]);
        let mut thought = &self.held[..read];
        if self.fresh {
            thought = thought.trim_start();
        }
        if !thought.is_empty() {
            self.fresh = false;
            to.reasoning.push_str(thought);
        }
        self.held.drain(..read);
    }
}

/// Whether an answer begins with a call, perhaps without a mark in front.
fn begins_bare(marked: &Marked, text: &str) -> Begins {
    let mark = if marked.open.is_empty() { &marked.head } else { &marked.open };
    let may_lack_tags = marked.may_lack_tags();
    match begins(text, mark) {
        Begins::No if Reading::can_begin(&marked.shape, text) && (marked.head.is_empty() || may_lack_tags) => {
            Begins::Whole(0)
        }
        Begins::No if may_lack_tags => begins(text, &marked.head),
        Begins::Whole(0) if !Reading::can_begin(&marked.shape, text) => Begins::No,
        // So much of white space is not held back.
        Begins::Part if text.is_empty() => Begins::No,
        other => other,
    }
}
