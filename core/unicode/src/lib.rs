//! Character classes of the pre-tokenisers' regular expressions and of BERT's normaliser, for Unicode 16, and (`accents`) letters
//! without their accents. The tables hold just what these need: the whole of Unicode would be half of a WebAssembly build.
//!
//! ```
//! assert!(picolm_unicode::is_letter('é') && picolm_unicode::is_number('½'));
//! let mut text = String::new();
//! let mut accents = picolm_unicode::Accents::default();
//! "naïve".chars().for_each(|c| accents.strip(c, &mut |c| text.push(c)));
//! accents.finish(&mut |c| text.push(c));
//! assert_eq!(text, "naive");
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod accents;
mod tables;

pub use accents::Accents;

use Class::*;
use tables::CLASS_RUNS;

/// What characters have in common for all the functions below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// No other: white space, and what is not assigned.
    Other,
    /// Lu, Lt
    Upper,
    /// Ll
    Lower,
    /// Lm, Lo
    Uncased,
    /// Mn that other marks may be sorted past (decomposed, they have no combining class of 0)
    Accent,
    /// other Mn
    StillMark,
    /// Mc, Me
    WideMark,
    /// Nd
    Decimal,
    /// Nl, No
    Number,
    /// P
    Punctuation,
    /// S
    Sign,
    /// Cc, Cf, Co
    Control,
}

/// `\p{L}`: letters of any case, modifier letters and ideographs; not marks.
pub fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    matches!(class(c), Upper | Lower | Uncased)
}

/// `\p{M}`: marks that combine with the letter before them.
pub fn is_mark(c: char) -> bool {
    !c.is_ascii() && matches!(class(c), Accent | StillMark | WideMark)
}

/// `\p{Cc}`, `\p{Cf}`, `\p{Co}`: controls, what shapes text unseen, private use.
pub fn is_control(c: char) -> bool {
    class(c) == Control
}

/// `[\p{L}\p{M}]`
pub fn is_letter_or_mark(c: char) -> bool {
    is_letter(c) || is_mark(c)
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what may stand where a word has its capitals.
pub fn is_upper_or_uncased(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_uppercase();
    }
    is_uncased(c) || class(c) == Upper
}

/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what may stand where a word has its small letters.
pub fn is_lower_or_uncased(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_lowercase();
    }
    is_uncased(c) || class(c) == Lower
}

/// `[\p{Lm}\p{Lo}\p{M}]`
pub fn is_uncased(c: char) -> bool {
    !c.is_ascii() && matches!(class(c), Uncased | Accent | StillMark | WideMark)
}

/// `\p{Nd}`: decimal digits.
pub fn is_decimal(c: char) -> bool {
    class(c) == Decimal
}

/// What Python's `repr` shows as it is: no controls, nothing unassigned, of spaces only the plain one.
pub fn is_printable(c: char) -> bool {
    c == ' ' || !matches!(class(c), Control | Other)
}

/// `\p{N}`: decimal digits, letter numbers (Ⅷ) and others (½).
pub fn is_number(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    matches!(class(c), Decimal | Number)
}

/// `\p{P}`: punctuation; in ASCII not ``$+<=>^`|~``.
pub fn is_punctuation(c: char) -> bool {
    class(c) == Punctuation
}

/// `[\p{P}\p{S}]`: punctuation, and signs of mathematics, money and anything else.
pub fn is_punctuation_or_sign(c: char) -> bool {
    matches!(class(c), Punctuation | Sign)
}

/// `\p{P}` and what ASCII has of signs, which others count as punctuation: Hugging Face's `Punctuation` and BERT.
pub fn is_punctuation_or_ascii_sign(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { is_punctuation(c) }
}

/// `\s`: the property White_Space.
pub fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// `\r` or `\n`.
pub fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

/// `[^\s\p{L}\p{N}]`: what is neither blank nor part of a word or number; marks among them.
pub fn is_symbol(c: char) -> bool {
    !is_space(c) && !is_letter(c) && !is_number(c)
}

/// The class of a character: a search among the blocks, then among the runs of one.
fn class(c: char) -> Class {
    let code = c as u32;
    let block = &BLOCKS[BLOCKS.partition_point(|block| block.first <= code).saturating_sub(1)];
    let (mut at, mut first) = (usize::from(block.at), block.first);
    loop {
        let (class, len, next) = run_at(at);
        first += len;
        if code < first {
            return CLASSES[class];
        }
        at = next;
    }
}

/// The classes in the order of their numbers in `CLASS_RUNS`.
const CLASSES: [Class; 12] =
    [Other, Upper, Lower, Uncased, Accent, StillMark, WideMark, Decimal, Number, Punctuation, Sign, Control];

/// Every so many runs a search can begin.
const RUNS_PER_BLOCK: usize = 16;

/// Where a block of runs begins: which character it is the class of, and the place in `CLASS_RUNS`.
struct Block {
    first: u32,
    at: u16,
}

static BLOCKS: [Block; count_runs().div_ceil(RUNS_PER_BLOCK)] = {
    let mut blocks = [const { Block { first: 0, at: 0 } }; _];
    let (mut run, mut at, mut first) = (0, 0, 0);
    while at < CLASS_RUNS.len() {
        if run % RUNS_PER_BLOCK == 0 {
            blocks[run / RUNS_PER_BLOCK] = Block { first, at: at as u16 };
        }
        let (_, len, next) = run_at(at);
        (run, at, first) = (run + 1, next, first + len);
    }
    blocks
};

const fn count_runs() -> usize {
    let (mut count, mut at) = (0, 0);
    while at < CLASS_RUNS.len() {
        (count, at) = (count + 1, run_at(at).2);
    }
    count
}

/// The run at a place of `CLASS_RUNS`: the number of its class, its length, and the place of the next. A byte has the class in its upper
/// half and the length in the lower, less 1; where that is 15, more length follows, 7 bits a byte, the lowest first.
const fn run_at(at: usize) -> (usize, u32, usize) {
    let byte = CLASS_RUNS[at];
    let (class, mut len, mut next) = ((byte >> 4) as usize, (byte & 15) as u32 + 1, at + 1);
    if len == 16 {
        let mut shift = 0;
        loop {
            let more = CLASS_RUNS[next];
            len += ((more & 127) as u32) << shift;
            (shift, next) = (shift + 7, next + 1);
            if more < 128 {
                break;
            }
        }
    }
    (class, len, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_general_category::{GeneralCategory as G, get_general_category};
    use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

    #[test]
    fn every_character_has_the_class_of_its_category() {
        for c in '\0'..=char::MAX {
            let expected = match get_general_category(c) {
                G::UppercaseLetter | G::TitlecaseLetter => Upper,
                G::LowercaseLetter => Lower,
                G::ModifierLetter | G::OtherLetter => Uncased,
                G::NonspacingMark if [c].into_iter().nfd().all(|c| canonical_combining_class(c) != 0) => Accent,
                G::NonspacingMark => StillMark,
                G::SpacingMark | G::EnclosingMark => WideMark,
                G::DecimalNumber => Decimal,
                G::LetterNumber | G::OtherNumber => Number,
                G::ConnectorPunctuation | G::DashPunctuation | G::OpenPunctuation | G::ClosePunctuation => Punctuation,
                G::InitialPunctuation | G::FinalPunctuation | G::OtherPunctuation => Punctuation,
                G::MathSymbol | G::CurrencySymbol | G::ModifierSymbol | G::OtherSymbol => Sign,
                G::Control | G::Format | G::PrivateUse => Control,
                _ => Other,
            };
            assert!(class(c) == expected, "{c:?}");
        }
    }
}
