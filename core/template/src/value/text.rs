//! Text that knows which of its bytes came with the request.
//!
//! What a template writes itself may be control tokens; what it was given must not become any. So every text keeps its origin: parts of a
//! text have that of their bytes, texts put together have both, and what is computed of a text (in capitals, as JSON) is all the request's
//! if any of it was.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::{Deref, Range};

/// Bytes that a place in a text takes, on a machine of 64 bits: limits are the same on each.
pub(crate) const PLACE: usize = 8;

/// Text that grows: what rendering gives in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traced {
    text: String,
    /// Where the origin changes, ascending. In front of the first the text is the template's own.
    turns: Vec<usize>,
}

/// Text that does not change.
pub(crate) struct Str {
    text: Rc<str>,
    /// As in [`Traced`]; `None` if all of it is the template's own.
    turns: Option<Rc<Vec<usize>>>,
}

impl Traced {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text alone.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The bytes that came with the request: ranges in order, with others between them.
    pub fn given(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.turns.chunks(2).map(|turns| turns[0]..turns.get(1).copied().unwrap_or(self.text.len()))
    }

    /// The same as if all of it were the template's own.
    #[must_use]
    pub fn trusted(self) -> Traced {
        Traced { turns: Vec::new(), ..self }
    }

    /// Takes off, and gives, what stands from `at` on, which has to be the start of a character.
    pub fn split_off(&mut self, at: usize) -> Traced {
        let mut rest = Traced { text: self.text.split_off(at), turns: Vec::new() };
        let given = self.turns.partition_point(|&turn| turn <= at) % 2 == 1;
        rest.turns.extend((given && !rest.text.is_empty()).then_some(0));
        rest.turns.extend(self.turns.iter().filter(|&&turn| turn > at).map(|turn| turn - at));
        self.turns.retain(|&turn| turn < at);
        rest
    }

    /// How often the origin changes.
    pub(crate) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// Adds text of the template's own.
    pub(crate) fn own(&mut self, text: &str) {
        self.add(text, false);
    }

    /// Adds a part of `of`, or else something made of it.
    pub(crate) fn push(&mut self, text: &str, of: &Str) {
        let Some(turns) = &of.turns else { return self.own(text) };
        // A slice of `of` lies within it; nothing else does.
        let start = text.as_ptr().addr().wrapping_sub(of.text.as_ptr().addr());
        let end = start.saturating_add(text.len());
        if end > of.text.len() {
            return self.add(text, true);
        }
        let first = turns.partition_point(|&turn| turn <= start);
        let (mut at, mut given) = (start, first % 2 == 1);
        let inside = turns[first..].iter().copied().take_while(|&turn| turn < end);
        for turn in inside.chain([end]) {
            self.add(&text[at - start..turn - start], given);
            (at, given) = (turn, !given);
        }
    }

    fn add(&mut self, text: &str, given: bool) {
        if !text.is_empty() && given != (self.turns.len() % 2 == 1) {
            self.turns.push(self.text.len());
        }
        self.text.push_str(text);
    }
}

impl Str {
    /// Text of the template's own, or of the program's.
    pub(crate) fn own(text: impl Into<Rc<str>>) -> Str {
        Str { text: text.into(), turns: None }
    }

    /// Text of the request.
    pub(crate) fn given(text: &str) -> Str {
        Str { text: text.into(), turns: Some(Rc::new(Vec::from([0]))) }
    }

    /// A part of `of`, or else something made of it.
    pub(crate) fn of(text: &str, of: &Str) -> Str {
        match &of.turns {
            Some(turns) if **turns != [0] => {
                let mut traced = Traced::default();
                traced.push(text, of);
                traced.into()
            }
            // All of one origin.
            turns => Str { text: text.into(), turns: turns.clone() },
        }
    }

    /// What it takes to know the origin, where that changes within the text.
    pub(crate) fn turn_bytes(&self) -> usize {
        self.turns.as_ref().map_or(0, |turns| PLACE * (turns.len() - 1))
    }
}

impl From<Traced> for Str {
    fn from(Traced { text, turns }: Traced) -> Str {
        Str { text: text.into(), turns: (!turns.is_empty()).then(|| Rc::new(turns)) }
    }
}

impl Clone for Str {
    /// Not inline: there are many, and code is downloaded.
    #[inline(never)]
    fn clone(&self) -> Str {
        Str { text: Rc::clone(&self.text), turns: self.turns.clone() }
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// Texts are equal whoever wrote them.
impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        self.text == other.text
    }
}

/// The characters of a text, as parts of it.
pub(crate) fn characters(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()])
}
