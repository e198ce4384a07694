//! JSON, byte by byte: RFC 8259 as an automaton, and the [`Constraint`] that keeps an answer to it.
//!
//! ```text
//!                 ┌───────────────────────────────────────────┐
//!   Value ──"──► String ──"──► After ──,──► Value, or Key     │   what is open is a stack of bits: an object, or a list
//!         ──-0-9► Number ────►       ──] }──► After           │
//!         ──t f n► Literal ──►                                │
//!         ──{──► Key ──"──► String ──"──► Colon ──:───────────┘
//! ```
//!
//! What the standard leaves open is decided so that every reader takes the text: escapes are no lone surrogates, nothing is nested deeper
//! than [`MAX_DEPTH`], and no number is too large for 64 bits (whole part up to [`MAX_DIGITS`] digits, exponent up to 2). Names in an object
//! may come twice, as the standard allows; readers take the last. An answer, unlike a text that is only looked at, is an object, has no
//! more whitespace than indenting takes, and ends with its last brace.

use super::words::Words;
use super::{Constraint, Mask};
use crate::{Error, Result};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use picolm_core::text::Tokenizer;

/// Objects and lists within each other.
pub const MAX_DEPTH: u8 = 64;

/// Digits before the point: with an exponent of 2 digits they stay below 10^308.
pub const MAX_DIGITS: u8 = 200;

/// A text that is JSON so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json {
    at: At,
    /// objects and lists that are open
    depth: u8,
    /// which of them are objects: the innermost is bit 0
    objects: u64,
    /// It is an answer.
    answer: bool,
    /// bytes of whitespace just now
    white: u16,
}

/// Where in the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A value begins; `closes`: or the list ends.
    Value { closes: bool },
    /// A name begins; `closes`: or the object ends.
    Key { closes: bool },
    /// Behind a name.
    Colon,
    /// Behind a value.
    After,
    /// In a text; `key`: it is a name.
    String { key: bool, part: Part },
    /// In a number.
    Number(Number),
    /// In `true`, `false` or `null`: what is left of it.
    Literal(&'static [u8]),
}

/// Where in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Between two characters.
    Plain,
    /// In a character of UTF-8: so many bytes are left, the next of them within bounds.
    Bytes { left: u8, low: u8, high: u8 },
    /// Behind a backslash.
    Escape,
    /// In `\u`: digits that are left, and those before; `low`: the second of a pair of surrogates.
    Hex { left: u8, value: u16, low: bool },
    /// Behind the first of a pair of surrogates: `\` comes, or `u` behind that.
    Pair { backslash: bool },
}

/// Where in a number: behind what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Digits(u8),
    Point,
    Fraction,
    E,
    Sign,
    Exponent(u8),
}

impl Json {
    /// Any text of RFC 8259.
    pub fn text() -> Self {
        Json { at: At::Value { closes: false }, depth: 0, objects: 0, answer: false, white: 0 }
    }

    /// An answer: an object.
    pub fn answer() -> Self {
        Json { answer: true, ..Json::text() }
    }

    /// What it is with one byte more, if it is JSON with that.
    pub fn step(self, byte: u8) -> Option<Self> {
        let to = |at: At| Some(Json { at, white: 0, ..self });
        match self.at {
            At::String { key, part } => self.in_string(key, part, byte),
            At::Literal(rest) => {
                let (first, rest) = rest.split_first()?;
                (*first == byte).then_some(())?;
                to(if rest.is_empty() { At::After } else { At::Literal(rest) })
            }
            At::Number(number) => match number.step(byte) {
                Some(number) => to(At::Number(number)),
                // What ends a number is what follows it.
                None => number.may_end().then_some(Json { at: At::After, ..self })?.step(byte),
            },
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => self.whitespace(),
            At::Value { closes } => match byte {
                b']' if closes => self.close(),
                b'{' => self.open(true),
                _ if self.answer && self.depth == 0 => None,
                b'[' => self.open(false),
                b'"' => to(At::String { key: false, part: Part::Plain }),
                b't' => to(At::Literal(b"rue")),
                b'f' => to(At::Literal(b"alse")),
                b'n' => to(At::Literal(b"ull")),
                _ => to(At::Number(Number::begin(byte)?)),
            },
            At::Key { closes } => match byte {
                b'"' => to(At::String { key: true, part: Part::Plain }),
                b'}' if closes => self.close(),
                _ => None,
            },
            At::Colon if byte == b':' => to(At::Value { closes: false }),
            At::Colon => None,
            At::After => match byte {
                _ if self.depth == 0 => None,
                b',' if self.in_object() => to(At::Key { closes: false }),
                b',' => to(At::Value { closes: false }),
                b'}' if self.in_object() => self.close(),
                b']' if !self.in_object() => self.close(),
                _ => None,
            },
        }
    }

    /// Whether it is a whole value.
    pub fn is_whole(self) -> bool {
        self.depth == 0
            && match self.at {
                At::After => true,
                At::Number(number) => number.may_end(),
                _ => false,
            }
    }

    /// The fewest bytes that make a whole value of it.
    pub fn to_whole(self) -> usize {
        // A name is followed by `:0`; what is open takes a byte each.
        let here = match self.at {
            At::Value { closes: true } | At::Key { closes: true } | At::After => 0,
            At::Value { closes: false } if self.answer && self.depth == 0 => 2,
            At::Value { closes: false } => 1,
            At::Key { closes: false } => 4,
            At::Colon => 2,
            At::String { key, part } => part.to_end() + if key { 2 } else { 0 },
            At::Number(number) => usize::from(!number.may_end()),
            At::Literal(rest) => rest.len(),
        };
        here + usize::from(self.depth)
    }

    /// Whether it stands between two characters of a text, where all text may follow that has nothing to be escaped.
    pub(super) fn is_in_text(self) -> bool {
        matches!(self.at, At::String { part: Part::Plain, .. })
    }

    /// Whether it ends within a character.
    pub(super) fn is_in_character(self) -> bool {
        matches!(self.at, At::String { part: Part::Bytes { .. }, .. })
    }

    fn in_object(self) -> bool {
        self.objects & 1 == 1
    }

    fn open(self, object: bool) -> Option<Self> {
        let at = if object { At::Key { closes: true } } else { At::Value { closes: true } };
        let (depth, objects) = (self.depth + 1, self.objects << 1 | u64::from(object));
        (depth <= MAX_DEPTH).then_some(Json { at, depth, objects, white: 0, ..self })
    }

    fn close(self) -> Option<Self> {
        Some(Json { at: At::After, depth: self.depth - 1, objects: self.objects >> 1, white: 0, ..self })
    }

    fn whitespace(self) -> Option<Self> {
        let white = self.white.saturating_add(1);
        // A line's end and four columns a level; nothing behind the last brace.
        let most = 2 + 4 * (u16::from(self.depth) + 1);
        let fits = white <= most && !self.is_whole();
        (fits || !self.answer).then_some(Json { white, ..self })
    }

    fn in_string(self, key: bool, part: Part, byte: u8) -> Option<Self> {
        if part == Part::Plain && byte == b'"' {
            return Some(Json { at: if key { At::Colon } else { At::After }, ..self });
        }
        Some(Json { at: At::String { key, part: part.step(byte)? }, ..self })
    }
}

impl Part {
    fn step(self, byte: u8) -> Option<Self> {
        let digits = |value, low| Part::Hex { left: 4, value, low };
        Some(match self {
            Part::Plain => match byte {
                b'\\' => Part::Escape,
                0x20..0x80 => Part::Plain,
                // The Unicode Standard, table 3-7: well-formed UTF-8.
                0xC2..=0xDF => Part::Bytes { left: 1, low: 0x80, high: 0xBF },
                0xE0 => Part::Bytes { left: 2, low: 0xA0, high: 0xBF },
                0xED => Part::Bytes { left: 2, low: 0x80, high: 0x9F },
                0xE1..=0xEF => Part::Bytes { left: 2, low: 0x80, high: 0xBF },
                0xF0 => Part::Bytes { left: 3, low: 0x90, high: 0xBF },
                0xF1..=0xF3 => Part::Bytes { left: 3, low: 0x80, high: 0xBF },
                0xF4 => Part::Bytes { left: 3, low: 0x80, high: 0x8F },
                _ => return None,
            },
            Part::Bytes { left, low, high } if (low..=high).contains(&byte) => match left {
                1 => Part::Plain,
                _ => Part::Bytes { left: left - 1, low: 0x80, high: 0xBF },
            },
            Part::Escape => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Part::Plain,
                b'u' => digits(0, false),
                _ => return None,
            },
            Part::Hex { left, value, low } => {
                let digit = char::from(byte).to_digit(16)? as u16;
                let value = value << 4 | digit;
                // `\uD8..` to `\uDB..` begin a pair, `\uDC..` to `\uDF..` end it, and nothing else does.
                let fits = match left {
                    4 => !low || digit == 0xD,
                    3 => low == (0xDC..0xE0).contains(&value),
                    _ => true,
                };
                match left {
                    _ if !fits => return None,
                    1 if !low && (0xD800..0xDC00).contains(&value) => Part::Pair { backslash: true },
                    1 => Part::Plain,
                    _ => Part::Hex { left: left - 1, value, low },
                }
            }
            Part::Pair { backslash: true } if byte == b'\\' => Part::Pair { backslash: false },
            Part::Pair { backslash: false } if byte == b'u' => digits(0, true),
            _ => return None,
        })
    }

    /// The fewest bytes to the end of the text, its quotation mark included.
    fn to_end(self) -> usize {
        // `\uDC00`
        const SECOND: usize = 6;
        1 + match self {
            Part::Plain => 0,
            Part::Bytes { left, .. } => left.into(),
            Part::Escape => 1,
            Part::Hex { left, value, low } => {
                // Of the digits so far, two or three say that it is the first of a pair.
                let begins = !low
                    && match left {
                        2 => (0xD8..0xDC).contains(&value),
                        1 => (0xD80..0xDC0).contains(&value),
                        _ => false,
                    };
                usize::from(left) + if begins { SECOND } else { 0 }
            }
            Part::Pair { backslash } => SECOND - usize::from(!backslash),
        }
    }
}

impl Number {
    fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Number::Minus),
            _ => Number::Minus.step(byte),
        }
    }

    fn step(self, byte: u8) -> Option<Self> {
        use Number::*;
        Some(match (self, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') => Digits(1),
            (Digits(n), b'0'..=b'9') if n < MAX_DIGITS => Digits(n + 1),
            (Zero | Digits(_), b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Digits(_) | Fraction, b'e' | b'E') => E,
            (E, b'+' | b'-') => Sign,
            (E | Sign, b'0'..=b'9') => Exponent(1),
            (Exponent(1), b'0'..=b'9') => Exponent(2),
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        !matches!(self, Number::Minus | Number::Point | Number::E | Number::Sign)
    }
}

/// A vocabulary, as JSON has it.
pub struct Vocabulary {
    /// tokens that are whole characters with nothing to be escaped: in a text, all of them may follow
    plain: Words,
    plain_mask: Mask,
    /// the others
    rest: Words,
    /// Characters can be ended a byte at a time.
    characters: bool,
}

impl Vocabulary {
    /// Sorts the tokens of a vocabulary.
    ///
    /// # Errors
    /// Without a token for each character that JSON is made of, an answer could not be ended at any place.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let tokens = || (0..tokenizer.n_vocab() as u32).filter(|&token| Words::is_word(tokenizer, token));
        let mut single = [false; 256];
        for token in tokens() {
            if let [byte] = tokenizer.token_bytes(token) {
                single[usize::from(*byte)] = true;
            }
        }
        let needed = b"{}[]\":,\\0123456789abcdefABCDEFtruefalsenull";
        if let Some(missing) = needed.iter().find(|&&byte| !single[usize::from(byte)]) {
            let missing = char::from(*missing);
            return Err(Error::unsupported(
                "response_format",
                format!("is JSON, and the model has no token for {missing:?}"),
            ));
        }
        let text = Json { at: At::String { key: false, part: Part::Plain }, ..Json::text() };
        let is_plain = |token: &u32| {
            let bytes = tokenizer.token_bytes(*token);
            bytes
                .iter()
                .try_fold(text, |text, &byte| {
                    text.step(byte).filter(|text| text.is_in_text() || text.is_in_character())
                })
                .is_some_and(Json::is_in_text)
        };
        let (plain, rest) = tokens().partition::<Vec<u32>, _>(is_plain);
        let mut plain_mask = Mask::new(tokenizer.n_vocab());
        plain.iter().for_each(|&token| plain_mask.allow(token));
        Ok(Vocabulary {
            plain: Words::new(plain, tokenizer),
            plain_mask,
            rest: Words::new(rest, tokenizer),
            characters: single[0x80..0xC0].iter().all(|&there| there),
        })
    }
}

/// An answer that is a JSON object, whole within the tokens that there is room for.
pub struct JsonAnswer {
    vocabulary: Arc<Vocabulary>,
    json: Json,
    /// tokens of the answer that it has seen
    seen: usize,
    mask: Mask,
}

impl JsonAnswer {
    /// Nothing so far.
    pub fn new(vocabulary: Arc<Vocabulary>) -> Self {
        let mask = vocabulary.plain_mask.clone();
        JsonAnswer { vocabulary, json: Json::answer(), seen: 0, mask }
    }

    fn see(&mut self, answer: &[u32], tokenizer: &Tokenizer) {
        for &token in &answer[self.seen..] {
            // The mask lets nothing else through.
            self.json = tokenizer
                .token_bytes(token)
                .iter()
                .try_fold(self.json, |json, &byte| json.step(byte))
                .unwrap_or(self.json);
        }
        self.seen = answer.len();
    }
}

impl Constraint for JsonAnswer {
    fn mask(&mut self, answer: &[u32], room: usize, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<()> {
        self.see(answer, tokenizer);
        let JsonAnswer { vocabulary, json, mask, .. } = self;
        // Each byte that ends it is a token, whatever else may be one.
        let fits = |json: Json| json.to_whole() < room && (vocabulary.characters || !json.is_in_character());
        match json.is_in_text() && fits(*json) {
            true => mask.clone_from(&vocabulary.plain_mask),
            false => {
                mask.clear();
                vocabulary.plain.allow(tokenizer, *json, Json::step, fits, mask);
            }
        }
        vocabulary.rest.allow(tokenizer, *json, Json::step, fits, mask);
        mask.apply(logits);
        Ok(())
    }

    fn is_complete(&mut self, answer: &[u32], tokenizer: &Tokenizer) -> bool {
        self.see(answer, tokenizer);
        self.json.is_whole()
    }
}
