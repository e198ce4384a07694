//! Character classes of the pre-tokenisers' regular expressions and of BERT's normaliser, for Unicode 16.

use unicode_general_category::{GeneralCategory, GeneralCategory::*, get_general_category};

/// `\p{L}`: letters of any case, modifier letters and ideographs; not marks.
pub(super) fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    matches!(category(c), UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter)
}

/// `\p{M}`: marks that combine with the letter before them.
pub(super) fn is_mark(c: char) -> bool {
    !c.is_ascii() && matches!(category(c), NonspacingMark | SpacingMark | EnclosingMark)
}

/// `\p{Mn}`: marks that take no room, such as accents.
pub(super) fn is_nonspacing_mark(c: char) -> bool {
    !c.is_ascii() && category(c) == NonspacingMark
}

/// `\p{Cc}`, `\p{Cf}`, `\p{Co}`: controls, what shapes text unseen, private use.
pub(super) fn is_control(c: char) -> bool {
    matches!(category(c), Control | Format | PrivateUse)
}

/// `[\p{L}\p{M}]`
pub(super) fn is_letter_or_mark(c: char) -> bool {
    is_letter(c) || is_mark(c)
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what may stand where a word has its capitals.
pub(super) fn is_upper_or_uncased(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_uppercase();
    }
    is_uncased(c) || matches!(category(c), UppercaseLetter | TitlecaseLetter)
}

/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what may stand where a word has its small letters.
pub(super) fn is_lower_or_uncased(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_lowercase();
    }
    is_uncased(c) || category(c) == LowercaseLetter
}

/// `[\p{Lm}\p{Lo}\p{M}]`
pub(super) fn is_uncased(c: char) -> bool {
    !c.is_ascii() && (is_mark(c) || matches!(category(c), ModifierLetter | OtherLetter))
}

/// `\p{Nd}`: decimal digits.
pub(super) fn is_decimal(c: char) -> bool {
    category(c) == DecimalNumber
}

/// What Python's `repr` shows as it is: no controls, nothing unassigned, of spaces only the plain one.
pub(super) fn is_printable(c: char) -> bool {
    let hidden = is_control(c)
        || matches!(category(c), Surrogate | Unassigned | SpaceSeparator | LineSeparator | ParagraphSeparator);
    c == ' ' || !hidden
}

/// `\p{N}`: decimal digits, letter numbers (Ⅷ) and others (½).
pub(super) fn is_number(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    matches!(category(c), DecimalNumber | LetterNumber | OtherNumber)
}

/// `\p{P}`: punctuation; in ASCII not ``$+<=>^`|~``.
pub(super) fn is_punctuation(c: char) -> bool {
    matches!(
        category(c),
        ConnectorPunctuation
            | DashPunctuation
            | OpenPunctuation
            | ClosePunctuation
            | InitialPunctuation
            | FinalPunctuation
            | OtherPunctuation
    )
}

/// `[\p{P}\p{S}]`: punctuation, and signs of mathematics, money and anything else.
pub(super) fn is_punctuation_or_sign(c: char) -> bool {
    is_punctuation(c) || matches!(category(c), MathSymbol | CurrencySymbol | ModifierSymbol | OtherSymbol)
}

/// `\p{P}` and what ASCII has of signs, which others count as punctuation: Hugging Face's `Punctuation` and BERT.
pub(super) fn is_punctuation_or_ascii_sign(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { is_punctuation(c) }
}

/// `\s`: the property White_Space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// `\r` or `\n`.
pub(super) fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

/// `[^\s\p{L}\p{N}]`: what is neither blank nor part of a word or number; marks among them.
pub(super) fn is_symbol(c: char) -> bool {
    !is_space(c) && !is_letter(c) && !is_number(c)
}

fn category(c: char) -> GeneralCategory {
    get_general_category(c)
}
