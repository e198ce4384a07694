//! The rules of Llama 3, Qwen and GPT-4o: words with the sign before them, numbers of a few digits, lines.

use super::scan::{Class, contraction, first, headed, isolated, lines_or_spaces, run, run_upto};
use picolm_unicode::{
    is_letter, is_letter_or_mark, is_lower_or_uncased, is_mark, is_newline, is_number, is_symbol, is_uncased,
    is_upper_or_uncased,
};

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
pub(super) fn llama3(text: &str) -> usize {
    word(text, is_letter).unwrap_or_else(|| others(text, 3, is_symbol, is_newline))
}

/// As [`llama3`], with `\p{N}` for `\p{N}{1,3}`.
pub(super) fn qwen2(text: &str) -> usize {
    word(text, is_letter).unwrap_or_else(|| others(text, 1, is_symbol, is_newline))
}

/// As [`qwen2`], with marks counted among the letters: `[\p{L}\p{M}]+`, `[^\s\p{L}\p{M}\p{N}]+`.
pub(super) fn qwen35(text: &str) -> usize {
    let symbol = |c| is_symbol(c) && !is_mark(c);
    word(text, is_letter_or_mark).unwrap_or_else(|| others(text, 1, symbol, is_newline))
}

/// As [`qwen2`], with ` ?[^\s\p{L}\p{N}\r\n]+` for symbols: no line ends after them.
pub(super) fn seed_coder(text: &str) -> usize {
    word(text, is_letter).unwrap_or_else(|| others(text, 1, is_symbol, |_| false))
}

/// ```text
/// [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
/// ```
pub(super) fn gpt4o(text: &str) -> usize {
    match cased_word(text) {
        0 => others(text, 3, is_symbol, |c| is_newline(c) || c == '/'),
        n => n + contraction(&text[n..], true),
    }
}

/// As [`gpt4o`], without contractions and with `\p{N}` for `\p{N}{1,3}`.
pub(super) fn tekken(text: &str) -> usize {
    match cased_word(text) {
        0 => others(text, 1, is_symbol, |c| is_newline(c) || c == '/'),
        n => n,
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?letter+`
fn word(text: &str, letter: Class) -> Option<usize> {
    let n = match contraction(text, true) {
        0 => headed(text, may_begin_a_word, letter),
        n => n,
    };
    (n > 0).then_some(n)
}

/// `\p{N}{1,digits}| ?symbol+tail*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn others(text: &str, digits: usize, symbol: Class, tail: Class) -> usize {
    isolated(text, &|text| {
        let numbers = run_upto(text, digits, is_number);
        if numbers > 0 {
            return numbers;
        }
        let space = usize::from(text.starts_with(' '));
        match run(&text[space..], symbol) {
            0 => lines_or_spaces(text),
            n => space + n + run(&text[space + n..], tail),
        }
    })
}

/// `head?upper*lower+|head?upper+lower*`, or 0: upper and lower share the letters without case. A sign before the word,
/// if it is a mark, may also be the word's first letter.
fn cased_word(text: &str) -> usize {
    let head = first(text, may_begin_a_word);
    for ending in [ends_in_lower, begins_in_upper] {
        for start in [head, 0] {
            let n = ending(&text[start..]);
            if n > 0 {
                return start + n;
            }
        }
    }
    0
}

/// `upper*lower+`, or 0. If no lower letter follows the run of upper ones, the run gives back what is not both.
fn ends_in_lower(text: &str) -> usize {
    let upper = run(text, is_upper_or_uncased);
    match run(&text[upper..], is_lower_or_uncased) {
        0 => text[..upper].char_indices().rfind(|(_, c)| is_uncased(*c)).map_or(0, |(at, c)| at + c.len_utf8()),
        lower => upper + lower,
    }
}

/// `upper+lower*`, or 0.
fn begins_in_upper(text: &str) -> usize {
    match run(text, is_upper_or_uncased) {
        0 => 0,
        upper => upper + run(&text[upper..], is_lower_or_uncased),
    }
}

/// `[^\r\n\p{L}\p{N}]`
fn may_begin_a_word(c: char) -> bool {
    !is_newline(c) && !is_letter(c) && !is_number(c)
}
