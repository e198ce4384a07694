//! Character classes of the pre-tokenisers' regular expressions, for Unicode 16: `\p{L}`, `\p{N}`, `\s`.

use unicode_general_category::{GeneralCategory, get_general_category};

/// `\p{L}`: letters of any case, modifier letters and ideographs; not marks.
pub(super) fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    use GeneralCategory::*;
    matches!(
        get_general_category(c),
        UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter
    )
}

/// `\p{N}`: decimal digits, letter numbers (Ⅷ) and others (½).
pub(super) fn is_number(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    use GeneralCategory::*;
    matches!(get_general_category(c), DecimalNumber | LetterNumber | OtherNumber)
}

/// `\s`: the property White_Space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// `\r` or `\n`.
pub(super) fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}
