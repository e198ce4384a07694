//! Pre-tokenisers: how text is cut into words before byte-level merges.
//!
//! Each is a list of [`Split`]s; every piece of one is cut again by the next. A `Split` is a regular expression written
//! out by hand: its alternatives are tried in order at the beginning of the text, and it says how long the match is. That
//! keeps a regex engine out of the core and makes every rule linear: whatever a match looks at beyond its end is at most
//! a run of white space, looked at twice.
//!
//! To add one: a line in [`RULES`], and a function if no existing one does. Sources: the `pre_tokenizer` of the models'
//! `tokenizer.json`, and `llama-vocab.cpp` of llama.cpp for the names that GGUF files use.

use super::unicode::{is_letter, is_newline, is_number, is_space};
use alloc::string::String;

/// Bytes of the next piece of a non-empty text: at least one character, ending at a character boundary.
pub(super) type Split = fn(&str) -> usize;

/// One pre-tokeniser.
#[derive(Debug)]
pub(super) struct Rule {
    /// The value of `tokenizer.ggml.pre`.
    name: &'static str,
    splits: &'static [Split],
    /// A word that is itself a token is that token, whatever the merges say (`ignore_merges` in `tokenizer.json`).
    pub(super) whole_words: bool,
    /// Whether BOS is added when the file does not say.
    pub(super) add_bos: bool,
}

/// Every pre-tokeniser picolm knows.
static RULES: &[Rule] = &[
    Rule { name: "gpt-2", splits: &[gpt2], whole_words: false, add_bos: false },
    Rule { name: "llama-bpe", splits: &[llama3], whole_words: true, add_bos: true },
    Rule { name: "qwen2", splits: &[qwen2], whole_words: false, add_bos: false },
    Rule { name: "smollm", splits: &[single_numbers, gpt2], whole_words: false, add_bos: false },
];

impl Rule {
    /// Looks a pre-tokeniser up.
    pub(super) fn find(name: &str) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.name == name)
    }

    /// All names, for an error message.
    pub(super) fn known() -> String {
        let names: alloc::vec::Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        names.join(", ")
    }

    /// Calls `word` with every piece of `text`, in order.
    pub(super) fn split<'t>(&self, text: &'t str, word: &mut dyn FnMut(&'t str)) {
        split(self.splits, text, word);
    }
}

fn split<'t>(splits: &[Split], mut text: &'t str, word: &mut dyn FnMut(&'t str)) {
    let Some((first, others)) = splits.split_first() else { return word(text) };
    while !text.is_empty() {
        let (piece, rest) = text.split_at(first(text));
        split(others, piece, word);
        text = rest;
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
fn gpt2(text: &str) -> usize {
    if let Some(n) = contraction(text, false) {
        return n;
    }
    let space = usize::from(text.starts_with(' '));
    for class in [is_letter, is_number, is_symbol] {
        let n = run(&text[space..], class);
        if n > 0 {
            return space + n;
        }
    }
    spaces(text)
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn llama3(text: &str) -> usize {
    llama3_with_numbers(text, 3)
}

/// As [`llama3`], with `\p{N}` for `\p{N}{1,3}`.
fn qwen2(text: &str) -> usize {
    llama3_with_numbers(text, 1)
}

fn llama3_with_numbers(text: &str, max_digits: usize) -> usize {
    if let Some(n) = contraction(text, true) {
        return n;
    }
    let prefix = first_len(text, |c| !is_newline(c) && !is_letter(c) && !is_number(c));
    let letters = run(&text[prefix..], is_letter);
    if letters > 0 {
        return prefix + letters;
    }
    let digits: usize = text.chars().take(max_digits).take_while(|&c| is_number(c)).map(char::len_utf8).sum();
    if digits > 0 {
        return digits;
    }
    let space = usize::from(text.starts_with(' '));
    let symbols = run(&text[space..], is_symbol);
    if symbols > 0 {
        return space + symbols + run(&text[space + symbols..], is_newline);
    }
    let blank = run(text, is_space);
    match text[..blank].rfind(is_newline) {
        Some(last) => last + 1,
        None => spaces(text),
    }
}

/// `\p{N}`, each on its own: one number, or all up to the next.
fn single_numbers(text: &str) -> usize {
    match first_len(text, is_number) {
        0 => run(text, |c| !is_number(c)),
        n => n,
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d`, in lower case or (`any_case`) as `(?i:…)`. Case folding makes ſ (U+017F) an s.
fn contraction(text: &str, any_case: bool) -> Option<usize> {
    let rest = text.strip_prefix('\'')?;
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
    ["s", "t", "re", "ve", "m", "ll", "d"].into_iter().find_map(starts_with)
}

/// `\s+(?!\S)|\s+`, for a text that begins with white space: a run of it, but its last character is left to the word
/// that follows, if one does.
fn spaces(text: &str) -> usize {
    let n = run(text, is_space);
    match text[..n].chars().next_back() {
        Some(last) if n < text.len() && n > last.len_utf8() => n - last.len_utf8(),
        // Every rule's classes cover all characters; should one not, a single character goes through.
        _ => n.max(first_len(text, |_| true)),
    }
}

/// `[^\s\p{L}\p{N}]`
fn is_symbol(c: char) -> bool {
    !is_space(c) && !is_letter(c) && !is_number(c)
}

/// Bytes of the longest prefix of one class.
fn run(text: &str, class: impl Fn(char) -> bool) -> usize {
    text.find(|c| !class(c)).unwrap_or(text.len())
}

/// Bytes of the first character if it is of a class, else 0.
fn first_len(text: &str, class: impl Fn(char) -> bool) -> usize {
    text.chars().next().filter(|&c| class(c)).map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let mut words = Vec::new();
        Rule::find(name).unwrap().split(text, &mut |word| words.push(word));
        words
    }

    // Expected pieces: Hugging Face `tokenizers` with the models' own regular expressions.
    #[test]
    fn white_space_is_left_to_the_word_after_it() {
        assert_eq!(words("gpt-2", "a   b  "), ["a", "  ", " b", "  "]);
        assert_eq!(words("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(words("llama-bpe", "a \n  b\u{a0}c"), ["a", " \n", " ", " b", "\u{a0}c"]);
    }

    #[test]
    fn numbers() {
        assert_eq!(words("gpt-2", "x 1234½"), ["x", " 1234½"]);
        assert_eq!(words("smollm", "x 12a"), ["x", " ", "1", "2", "a"]);
        assert_eq!(words("llama-bpe", "x 12345"), ["x", " ", "123", "45"]);
        assert_eq!(words("qwen2", "x 12"), ["x", " ", "1", "2"]);
    }

    #[test]
    fn contractions() {
        assert_eq!(words("gpt-2", "we'll WE'LL"), ["we", "'ll", " WE", "'", "LL"]);
        assert_eq!(words("llama-bpe", "WE'LL x'ſa"), ["WE", "'LL", " x", "'ſ", "a"]);
    }

    #[test]
    fn every_rule_keeps_every_byte() {
        let text = " \u{2028}'s\u{0}e\u{301}٣Ⅷ🦙\r\n\t \u{3000}x'\u{10ffff} ";
        for rule in RULES {
            assert_eq!(words(rule.name, text).concat(), text, "{}", rule.name);
        }
    }
}
