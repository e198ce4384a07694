//! BERT's WordPiece: text is cleaned and cut into words, each word is written with the longest tokens from its beginning.
//! `tokenizer.ggml.model = "bert"`.
//!
//! GGUF spells tokens that begin a word with `▁` before them, which `vocab` keeps as a space, and those within a word as they
//! are (`##` is taken off). A word that tokens do not cover to its end is one unknown token.
//!
//! Cleaning is that of Hugging Face's `BertNormalizer` and `BertPreTokenizer`; llama.cpp's differs for some symbols, and has
//! no limit to a word's length. <https://github.com/google-research/bert/blob/master/tokenization.py>

use super::TokenizerError;
use super::vocab::Vocab;
use crate::gguf::Gguf;
use alloc::string::String;
use alloc::vec::Vec;
use picolm_unicode::{Accents, is_control, is_punctuation_or_ascii_sign};

/// Longer words are unknown: `max_input_chars_per_word`.
const MAX_WORD_CHARS: usize = 100;

#[derive(Debug)]
pub(super) struct WordPiece {
    unknown: u32,
    lower_case: bool,
    strip_accents: bool,
}

impl WordPiece {
    pub(super) fn read(gguf: &Gguf<'_>, unknown: Option<u32>) -> Result<Self, TokenizerError> {
        // GGUF of uncased models has no key for it, as there was none for long.
        let lower_case = gguf.bool("tokenizer.ggml.normalizer.lowercase")?.unwrap_or(true);
        Ok(WordPiece {
            unknown: unknown.ok_or(TokenizerError::MissingUnknown)?,
            lower_case,
            strip_accents: gguf.bool("tokenizer.ggml.normalizer.strip_accents")?.unwrap_or(lower_case),
        })
    }

    /// Appends the tokens of a text without special tokens.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) {
        let clean = text.chars().filter(|&c| !is_removed(c)).flat_map(apart);
        let mut word = Word { text: String::from(" "), chars: 0 };
        let mut push = |c: char| self.push(vocab, c, &mut word, out);
        if self.strip_accents {
            let mut accents = Accents::default();
            clean.for_each(|c| accents.strip(c, &mut push));
            accents.finish(&mut push);
        } else {
            clean.for_each(&mut push);
        }
        push(' ');
    }

    /// Adds a character to the word, or ends it.
    fn push(&self, vocab: &Vocab, c: char, word: &mut Word, out: &mut Vec<u32>) {
        let alone = is_punctuation_or_ascii_sign(c);
        if alone || c.is_whitespace() {
            self.end(vocab, word, out);
        }
        if self.lower_case {
            c.to_lowercase().for_each(|c| word.push(c));
        } else {
            word.push(c);
        }
        if alone {
            self.end(vocab, word, out);
        }
    }

    /// Appends the tokens of a word and empties it.
    fn end(&self, vocab: &Vocab, word: &mut Word, out: &mut Vec<u32>) {
        let before = out.len();
        // The space before the word is part of its first token, which is more than that.
        let (mut start, mut least) = (0, 2);
        if word.chars > MAX_WORD_CHARS {
            out.push(self.unknown);
        } else if word.chars > 0 {
            while start < word.text.len() {
                let Some(token) = vocab.longest_at(&word.text[start..], least) else {
                    out.truncate(before);
                    out.push(self.unknown);
                    break;
                };
                out.push(token);
                start += vocab.bytes(token).len();
                least = 1;
            }
        }
        word.text.truncate(1);
        word.chars = 0;
    }
}

/// A word with a space before it.
struct Word {
    text: String,
    chars: usize,
}

impl Word {
    /// White space is no part of a word.
    fn push(&mut self, c: char) {
        if !c.is_whitespace() && self.chars <= MAX_WORD_CHARS {
            self.text.push(c);
            self.chars += 1;
        }
    }
}

/// Control characters and such, but not those that are white space to BERT.
fn is_removed(c: char) -> bool {
    (is_control(c) && !matches!(c, '\t' | '\n' | '\r')) || c == char::REPLACEMENT_CHARACTER
}

/// Chinese characters stand alone, as words.
fn apart(c: char) -> impl Iterator<Item = char> {
    let space = is_chinese(c).then_some(' ');
    space.into_iter().chain([c]).chain(space)
}

/// The blocks of BERT's `_is_chinese_char`, with Hugging Face's slip: 2B920 for 2B820.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2a6df}'
        | '\u{2a700}'..='\u{2b81f}' | '\u{2b920}'..='\u{2ceaf}' | '\u{2f800}'..='\u{2fa1f}')
}
