//! GPT-2's rule, and those that cut numbers or punctuation off before it: SmolLM, StarCoder, Falcon, BLOOM.

use super::scan::{contraction, isolated, run, run_upto, runs, spaces};
use picolm_unicode::{is_letter, is_number, is_punctuation, is_punctuation_or_ascii_sign, is_space, is_symbol};

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
pub(super) fn gpt2(text: &str) -> usize {
    let n = contraction(text, false);
    if n > 0 {
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

/// `\p{N}`, each on its own: one number, or all up to the next.
pub(super) fn single_numbers(text: &str) -> usize {
    numbers_upto(text, 1)
}

/// `\p{N}{1,3}`
pub(super) fn numbers_upto_3(text: &str) -> usize {
    numbers_upto(text, 3)
}

/// `\p{N}+`
pub(super) fn numbers(text: &str) -> usize {
    runs(text, is_number)
}

/// `[0-9]+`
pub(super) fn ascii_digits(text: &str) -> usize {
    runs(text, |c| c.is_ascii_digit())
}

/// `[0-9][0-9][0-9]`: from the left, so that what is left over comes last.
pub(super) fn three_digits(text: &str) -> usize {
    isolated(text, &|text| match run_upto(text, 3, |c| c.is_ascii_digit()) {
        3 => 3,
        _ => 0,
    })
}

/// ``[\p{P}$+<=>^`|~]+``: Hugging Face's `Punctuation`, runs kept together.
pub(super) fn punctuation(text: &str) -> usize {
    runs(text, is_punctuation_or_ascii_sign)
}

/// `[\p{P}$+<=>^~|]+`: as [`punctuation`], but for the backtick.
pub(super) fn some_punctuation(text: &str) -> usize {
    runs(text, |c| is_punctuation(c) || "$+<=>^~|".contains(c))
}

/// ` ?[^(\s|[.,!?…。，、।۔،])]+`, where the brackets and the bar within stand for themselves.
pub(super) fn bloom(text: &str) -> usize {
    let word = |c| !is_space(c) && !"(|.,!?…。，、।۔،)".contains(c);
    isolated(text, &|text| {
        let space = usize::from(text.starts_with(' '));
        match run(&text[space..], word) {
            0 => 0,
            n => space + n,
        }
    })
}

fn numbers_upto(text: &str, max: usize) -> usize {
    match run_upto(text, max, is_number) {
        0 => run(text, |c| !is_number(c)),
        n => n,
    }
}
