//! Pre-tokenisers: how text is cut into words before byte-level merges.
//!
//! Each is a list of [`Split`]s; every piece of one is cut again by the next. A `Split` is a regular expression written
//! out by hand: its alternatives are tried in order at the beginning of the text, and it says how long the match is. Where
//! nothing matches, what lies before the next match is a piece of its own. That keeps a regex engine out of the core and
//! makes every rule linear: whatever a match looks at beyond its end is at most a run of one class, looked at a few times.
//!
//! To add one: a line in [`RULES`], a function if no existing one does, and a fixture (`tests/tokenizers/`; a rule without
//! one fails the tests). Sources: the `pre_tokenizer` of the models' `tokenizer.json`, and `llama-vocab.cpp` of llama.cpp
//! for the names that GGUF files use and for what is added by default. Where the two differ in how words are cut, the
//! model's own `tokenizer.json` counts.
//!
//! Normalisation to NFC, which the `tokenizer.json` of Qwen 2, OLMo, Command R and others asks for before this, GGUF says
//! nothing of. As in llama.cpp it is not done: text comes back as it was written.

mod classic;
mod deepseek;
mod scan;
mod words;

use alloc::string::String;
use alloc::vec::Vec;
use classic::{
    ascii_digits, bloom, gpt2, numbers, numbers_upto_3, punctuation, single_numbers, some_punctuation, three_digits,
};
use deepseek::{
    ascii_and_cjk_punctuation, cased_letters, hanzi_and_kana, ideographs, letters, punctuated, single_newlines,
    trailing_spaces, v3_words,
};
use words::{gpt4o, llama3, qwen2, qwen35, seed_coder, tekken};

/// Bytes of the next piece of a non-empty text: at least one character, ending at a character boundary.
type Split = fn(&str) -> usize;

/// One pre-tokeniser.
#[derive(Debug)]
pub(super) struct Rule {
    /// The values of `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    splits: &'static [Split],
    /// A word that is itself a token is that token, whatever the merges say (`ignore_merges` in `tokenizer.json`).
    pub(super) whole_words: bool,
    /// Whether BOS is added when the file does not say.
    pub(super) add_bos: bool,
}

const fn rule(names: &'static [&'static str], splits: &'static [Split]) -> Rule {
    Rule { names, splits, whole_words: false, add_bos: false }
}

/// Every pre-tokeniser picolm knows.
static RULES: &[Rule] = &[
    // Named by files whose converter did not know the model: old Falcon's rule, or nearly. llama.cpp warns of it.
    rule(&["default"], &[some_punctuation, gpt2, numbers, three_digits]),
    rule(
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
            "mellum",
            "modern-bert",
            "gigachat",
            "a.x-4.0",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
        ],
        &[gpt2],
    ),
    rule(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[single_numbers, gpt2],
    ),
    Rule {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        splits: &[llama3],
        whole_words: true,
        add_bos: true,
    },
    rule(&["smaug-bpe", "dbrx", "glm4", "chatglm-bpe"], &[llama3]),
    Rule { names: &["minicpm5"], splits: &[numbers_upto_3, llama3], whole_words: true, add_bos: false },
    rule(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "stablelm2",
            "megrez",
            "hunyuan",
            "solar-open",
            "grok-2",
            "kormo",
            "f2llmv2",
            "bailingmoe",
            "bailingmoe2",
            "llada-moe",
        ],
        &[qwen2],
    ),
    rule(&["qwen35"], &[qwen35]),
    rule(&["seed-coder"], &[seed_coder]),
    rule(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[gpt4o]),
    Rule { names: &["tekken"], splits: &[tekken], whole_words: true, add_bos: true },
    // `tokenizer.json` cuts numbers after bytes have become letters: around ASCII digits, and around bytes such as BD, whose
    // letter is ½. The latter is left out: its training cut there too, so that no merge of the vocabulary crosses it.
    rule(&["falcon"], &[punctuation, gpt2, ascii_digits, three_digits]),
    rule(
        &["deepseek-llm"],
        &[single_newlines, cased_letters, ascii_and_cjk_punctuation, trailing_spaces, ideographs, single_numbers],
    ),
    rule(&["deepseek-coder"], &[single_newlines, letters, punctuated, ideographs, single_numbers]),
    rule(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], &[numbers_upto_3, hanzi_and_kana, v3_words]),
    rule(&["bloom", "poro-chat", "gpt3-finnish"], &[bloom]),
    rule(&["viking"], &[bloom, single_numbers]),
];

impl Rule {
    /// Looks a pre-tokeniser up.
    pub(super) fn find(name: &str) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.names.contains(&name))
    }

    /// All names, for an error message.
    pub(super) fn known() -> String {
        let names: Vec<&str> = RULES.iter().flat_map(|rule| rule.names).copied().collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let mut words = Vec::new();
        Rule::find(name).unwrap().split(text, &mut |word| words.push(word));
        words
    }

    // Expected pieces: Hugging Face `tokenizers` with the models' own regular expressions. The 1,000 texts of
    // tests/tokenizers/ are checked the same way.
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
    fn no_name_is_given_twice() {
        let mut names: Vec<&str> = RULES.iter().flat_map(|rule| rule.names).copied().collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
    }

    proptest! {
        #[test]
        fn every_rule_keeps_every_byte(text in "[ \\n\\r'stA日١1½.$\u{301}\u{200b}\\PC]{0,40}") {
            for rule in RULES {
                let words = words(rule.names[0], &text);
                prop_assert!(words.iter().all(|word| !word.is_empty()));
                prop_assert_eq!(words.concat(), text.as_str(), "{}", rule.names[0]);
            }
        }
    }
}
