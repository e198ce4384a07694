//! Regular expressions as JSON Schema has them (ECMA-262), in the syntax that llguidance reads.
//!
//! The two look alike and differ in what they mean: what a dot leaves out, `[a&&b]`, `[[]`, `\s`, `\A`, lone braces. So an expression is read
//! character by character, and everything that is left is written out: escapes as characters, classes as ranges.

use crate::{Error, Limits, Result};
use core::fmt::Write;
use core::iter::Peekable;
use core::str::Chars;

/// A `pattern`: it may match anywhere in a text, but for its anchors.
///
/// # Errors
/// What cannot be enforced in it: in words.
pub(crate) fn search(text: &str, limits: &Limits) -> Result<String, String> {
    Translator::new(text, limits).run()
}

/// An expression for a whole text, as it is; anchors at its ends say nothing.
///
/// # Errors
/// Too many repetitions, and a group `stop`: llguidance takes it for what comes behind.
pub(crate) fn whole<'a>(text: &'a str, limits: &Limits) -> Result<&'a str> {
    if text.contains("<stop>") {
        return Err(Error::Grammar("a group of the name stop".into()));
    }
    let repetitions = text.split('{').skip(1).flat_map(|part| part.split('}').next().unwrap_or("").split(','));
    let most = repetitions.filter_map(|number| number.trim().parse::<u64>().ok()).max().unwrap_or(0);
    if most > limits.repetitions {
        return Err(Error::Limit(format!("{most} repetitions, and the limit is {}", limits.repetitions)));
    }
    Ok(text)
}

/// What `\s` means, and what a dot leaves out.
const SPACE: &str = r"\t\n\x0b\x0c\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";
const LINE_ENDS: &str = r"\n\r\u{2028}\u{2029}";

/// Control characters that a string has no letters for: they cannot be written ([`is_writable`]).
const UNWRITABLE: &str = r"\x00-\x07\x0b\x0e-\x1f\x7f";

/// Whether a string of JSON may have a character without its number.
pub(crate) fn is_writable(c: char) -> bool {
    !c.is_ascii_control() || matches!(c, '\x08' | '\t' | '\n' | '\x0c' | '\r')
}

struct Translator<'a> {
    text: Peekable<Chars<'a>>,
    limits: &'a Limits,
    out: String,
    /// for every open group, whether there is an anchor in it
    groups: Vec<bool>,
    /// whether the group that was closed last has one
    closed: bool,
}

/// A character, or a set of them as the inside of a class.
enum Atom {
    One(char),
    Set { is_negated: bool, ranges: String },
    Property(String),
}

impl<'a> Translator<'a> {
    fn new(text: &'a str, limits: &'a Limits) -> Self {
        Translator { text: text.chars().peekable(), limits, out: String::new(), groups: vec![false], closed: false }
    }

    fn run(mut self) -> Result<String, String> {
        // Whether what a quantifier would repeat has an anchor in it, or is one.
        let mut is_anchored = false;
        while let Some(c) = self.text.next() {
            match c {
                '*' | '+' | '?' if is_anchored => return Err(format!("an anchor that is repeated ({c})")),
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.lazy();
                }
                '{' => match self.repetition()? {
                    Some(_) if is_anchored => return Err("an anchor that is repeated".into()),
                    Some(repetition) => {
                        self.out.push_str(&repetition);
                        self.lazy();
                    }
                    None => self.one('{'),
                },
                '(' => self.open()?,
                ')' => {
                    self.out.push(')');
                    self.closed = self.groups.pop().unwrap_or(false);
                    let outer = self.groups.last_mut().ok_or("a group that was not opened")?;
                    *outer |= self.closed;
                }
                '^' | '$' => {
                    self.out.push(c);
                    *self.groups.last_mut().ok_or("a group that was not opened")? = true;
                }
                '|' => self.out.push('|'),
                '.' => _ = write!(self.out, "[^{LINE_ENDS}{UNWRITABLE}]"),
                '[' => self.class()?,
                '\\' => match self.escape(false)? {
                    Atom::One(c) if !is_writable(c) => return Err(format!("the control character {c:?}")),
                    Atom::One(c) => self.one(c),
                    Atom::Set { is_negated: true, ranges } => _ = write!(self.out, "[^{ranges}{UNWRITABLE}]"),
                    Atom::Set { is_negated: false, ranges } => _ = write!(self.out, "[{ranges}--{UNWRITABLE}]"),
                    Atom::Property(text) => self.out.push_str(&text),
                },
                _ if !is_writable(c) => return Err(format!("the control character {c:?}")),
                _ => self.one(c),
            }
            is_anchored = match c {
                ')' => self.closed,
                '^' | '$' => true,
                _ => false,
            };
        }
        Ok(self.out)
    }

    /// A character as itself.
    fn one(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            self.out.push(c);
        } else {
            _ = write!(self.out, "\\x{:02x}", u32::from(c));
        }
    }

    /// Which of the ways to match is taken says nothing about what matches.
    fn lazy(&mut self) {
        self.text.next_if_eq(&'?');
    }

    fn open(&mut self) -> Result<(), String> {
        self.out.push_str("(?:");
        self.groups.push(false);
        if self.text.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.text.next_if_eq(&'P');
        match (self.text.next(), self.text.peek()) {
            (Some(':'), _) => Ok(()),
            (Some('=' | '!'), _) | (Some('<'), Some('=' | '!')) => Err("look-around cannot be enforced".into()),
            (Some('<'), _) => {
                if self.text.by_ref().any(|c| c == '>') {
                    Ok(())
                } else {
                    Err("a name without an end".into())
                }
            }
            _ => Err("a group of an unknown kind".into()),
        }
    }

    /// What stands behind an opening brace, if it is a repetition.
    fn repetition(&mut self) -> Result<Option<String>, String> {
        let mut ahead = self.text.clone();
        let body: String = ahead.by_ref().take_while(|&c| c != '}').collect();
        let (least, most) = body.split_once(',').unwrap_or((&body, &body));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        if !is_number(least) || !(most.is_empty() || is_number(most)) {
            return Ok(None);
        }
        for number in [least, most] {
            if !number.is_empty() && number.parse().map_or(true, |number: u64| number > self.limits.repetitions) {
                return Err(format!("{number} repetitions, and the limit is {}", self.limits.repetitions));
            }
        }
        self.text = ahead;
        Ok(Some(format!("{{{body}}}")))
    }

    fn class(&mut self) -> Result<(), String> {
        let is_negated = self.text.next_if_eq(&'^').is_some();
        let mut inside = String::new();
        loop {
            let first = match self.text.next().ok_or("a class without an end")? {
                ']' => break,
                '\\' => self.escape(true)?,
                c => Atom::One(c),
            };
            let mut ahead = self.text.clone();
            let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|&c| c != ']');
            match first {
                Atom::One(low) if is_range => {
                    self.text = ahead;
                    let high = match self.text.next().ok_or("a class without an end")? {
                        '\\' => self.escape(true)?,
                        c => Atom::One(c),
                    };
                    match high {
                        Atom::One(high) if low <= high => {
                            _ = write!(inside, "\\u{{{:x}}}-\\u{{{:x}}}", u32::from(low), u32::from(high))
                        }
                        Atom::One(_) => return Err("a range that ends before it begins".into()),
                        _ => return Err("a range to a class".into()),
                    }
                }
                Atom::One(c) => _ = write!(inside, "\\u{{{:x}}}", u32::from(c)),
                Atom::Set { is_negated, ranges } => {
                    _ = write!(inside, "[{}{ranges}]", if is_negated { "^" } else { "" })
                }
                Atom::Property(text) => inside.push_str(&text),
            }
        }
        match (inside.is_empty(), is_negated) {
            (true, true) => _ = write!(self.out, "[^{UNWRITABLE}]"),
            (true, false) => return Err("a class of nothing".into()),
            (false, true) => _ = write!(self.out, "[^{inside}{UNWRITABLE}]"),
            (false, false) => _ = write!(self.out, "[{inside}--{UNWRITABLE}]"),
        }
        Ok(())
    }

    /// What stands behind a backslash.
    fn escape(&mut self, in_class: bool) -> Result<Atom, String> {
        let c = self.text.next().ok_or("a backslash at the end")?;
        let set = |is_negated, ranges: &str| Ok(Atom::Set { is_negated, ranges: ranges.into() });
        let one = |code| char::from_u32(code).map(Atom::One).ok_or_else(|| "half of a pair of surrogates".into());
        match c {
            'd' | 'D' => set(c == 'D', "0-9"),
            'w' | 'W' => set(c == 'W', "0-9A-Za-z_"),
            's' | 'S' => set(c == 'S', SPACE),
            't' => one(9),
            'n' => one(10),
            'v' => one(11),
            'f' => one(12),
            'r' => one(13),
            'b' if in_class => one(8),
            '0' if !self.text.peek().is_some_and(char::is_ascii_digit) => one(0),
            'c' => match self.text.next() {
                Some(letter) if letter.is_ascii_alphabetic() => one(u32::from(letter) % 32),
                _ => Err("\\c without a letter".into()),
            },
            'x' => one(self.hex(2)?),
            'u' if self.text.next_if_eq(&'{').is_some() => {
                let digits: String = self.text.by_ref().take_while(|&c| c != '}').collect();
                one(u32::from_str_radix(&digits, 16).map_err(|_| "\\u{} without a number")?)
            }
            'u' => {
                let high = self.hex(4)?;
                let mut ahead = self.text.clone();
                if (0xd800..0xdc00).contains(&high) && ahead.next() == Some('\\') && ahead.next() == Some('u') {
                    self.text = ahead;
                    let low = self.hex(4)?;
                    return match low {
                        0xdc00..0xe000 => one(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)),
                        _ => Err("half of a pair of surrogates".into()),
                    };
                }
                one(high)
            }
            'p' | 'P' if self.text.next_if_eq(&'{').is_some() => {
                let name: String = self.text.by_ref().take_while(|&c| c != '}').collect();
                let is_name = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'=');
                if is_name {
                    Ok(Atom::Property(format!("\\{c}{{{name}}}")))
                } else {
                    Err(format!("an unknown property {name:?}"))
                }
            }
            'b' | 'B' => Err("word boundaries cannot be enforced".into()),
            '1'..='9' | 'k' => Err("references to groups cannot be enforced".into()),
            c if c.is_alphanumeric() => Err(format!("\\{c} is no escape")),
            c => Ok(Atom::One(c)),
        }
    }

    fn hex(&mut self, digits: usize) -> Result<u32, String> {
        let text: String = self.text.by_ref().take(digits).collect();
        let code = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits);
        code.ok_or_else(|| format!("an escape without {digits} hexadecimal digits"))
    }
}
