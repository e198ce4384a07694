//! What the rules are put together from: lengths, in bytes, of what a text begins with.

use picolm_unicode::{is_newline, is_space};

/// A class of characters.
pub(super) type Class = fn(char) -> bool;

/// The longest prefix of one class.
pub(super) fn run(text: &str, class: Class) -> usize {
    prefix(text, class, true)
}

/// The longest prefix of what is in a class, or is not.
fn prefix(text: &str, class: Class, within: bool) -> usize {
    text.find(|c| class(c) != within).unwrap_or(text.len())
}

/// As [`run`], of at most `max` characters.
pub(super) fn run_upto(text: &str, max: usize, class: Class) -> usize {
    text.chars().take(max).take_while(|&c| class(c)).map(char::len_utf8).sum()
}

/// The first character if it is of a class, else 0.
pub(super) fn first(text: &str, class: Class) -> usize {
    run_upto(text, 1, class)
}

/// `head? class+`, or 0. The two may share characters: what one gives back the other may take.
pub(super) fn headed(text: &str, head: Class, class: Class) -> usize {
    let head = first(text, head);
    match run(&text[head..], class) {
        0 => run(text, class),
        n => head + n,
    }
}

/// `class+`, isolated: a run of the class, or of the others.
pub(super) fn runs(text: &str, class: Class) -> usize {
    match prefix(text, class, true) {
        0 => prefix(text, class, false),
        n => n,
    }
}

/// What matches at the beginning, or else everything before the first place where something does. `at` gives the length
/// of a match, or 0.
pub(super) fn isolated(text: &str, at: &dyn Fn(&str) -> usize) -> usize {
    match at(text) {
        0 => text.char_indices().map(|(i, _)| i).skip(1).find(|&i| at(&text[i..]) > 0).unwrap_or(text.len()),
        n => n,
    }
}

/// `\s+(?!\S)|\s+`, for a text that begins with white space: a run of it, but its last character is left to the word
/// that follows, if one does. 0 if it does not begin so.
pub(super) fn spaces(text: &str) -> usize {
    let n = run(text, is_space);
    match text[..n].chars().next_back() {
        Some(last) if n < text.len() && n > last.len_utf8() => n - last.len_utf8(),
        _ => n,
    }
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+`: to the last line's end in a run of white space, else as [`spaces`].
pub(super) fn lines_or_spaces(text: &str) -> usize {
    let blank = run(text, is_space);
    match text[..blank].rfind(is_newline) {
        Some(last) => last + 1,
        None => spaces(text),
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d`, in lower case or (`any_case`) as `(?i:…)`, or 0. Case folding makes ſ (U+017F) an s.
pub(super) fn contraction(text: &str, any_case: bool) -> usize {
    let Some(rest) = text.strip_prefix('\'') else { return 0 };
    let starts_with = |ending: &str| -> Option<usize> {
        let mut chars = rest.char_indices();
        for e in ending.chars() {
            let (_, c) = chars.next()?;
            if c != e && !(any_case && (c.to_ascii_lowercase() == e || (c, e) == ('ſ', 's'))) {
                return None;
            }
        }
        Some(1 + chars.offset())
    };
    ["s", "t", "re", "ve", "m", "ll", "d"].into_iter().find_map(starts_with).unwrap_or(0)
}
