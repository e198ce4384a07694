//! SentencePiece's unigram model: of all ways to cut a text into tokens, the one whose scores have the greatest sum.
//! `tokenizer.ggml.model = "t5"`: T5, XLM-R and its kin.
//!
//! ```text
//! for every place in the text, from left to right:
//!     for every token that stands there: is this the best way so far to get to its end?
//!     if none of them is one character: the unknown token, for one character
//! ```
//! The best way to the end, read backwards, is the answer. Of equal ways the one found first stays, and sums are f64, both
//! as in Hugging Face's `tokenizers`. Time is in proportion to the text's length.
//!
//! <https://github.com/google/sentencepiece/blob/master/src/unigram_model.cc>

use super::TokenizerError;
use super::charsmap::Charsmap;
use super::merge::NONE;
use super::trie::Trie;
use super::vocab::{Kind, Vocab, read_scores};
use crate::gguf::Gguf;
use alloc::string::String;
use alloc::vec::Vec;

/// How much worse than the worst token an unknown character is.
const UNKNOWN_PENALTY: f64 = 10.0;

#[derive(Debug)]
pub(super) struct Unigram {
    /// (n_vocab)
    scores: Vec<f32>,
    /// normal tokens
    tokens: Trie,
    /// (256) the token written for a byte that no other covers, or [`NONE`]
    bytes: Vec<u32>,
    unknown: u32,
    unknown_score: f64,
    charsmap: Option<Charsmap>,
    /// Runs of spaces become one, those at the beginning and end none.
    merge_spaces: bool,
    /// Whether a space is put before text at the beginning and after special tokens.
    pub(super) space_prefix: bool,
}

/// The best way to a place: its last token, and where that starts ([`NONE`]: no way yet).
#[derive(Clone, Copy)]
struct Step {
    score: f64,
    start: u32,
    token: u32,
}

impl Unigram {
    pub(super) fn read(gguf: &Gguf<'_>, vocab: &Vocab, unknown: Option<u32>) -> Result<Self, TokenizerError> {
        let scores = read_scores(gguf, vocab.len())?;
        if let Some(id) = scores.iter().position(|score| score.is_infinite()) {
            return Err(TokenizerError::Score { id: id as u32 });
        }
        let normal = |id: &usize| vocab.kind(*id as u32) == Some(Kind::Normal);
        let lowest = (0..scores.len()).filter(normal).map(|id| scores[id]).min_by(f32::total_cmp);
        Ok(Unigram {
            tokens: Trie::new(&|id| vocab.bytes(id), &vocab.sorted(&[Kind::Normal])),
            bytes: vocab.byte_tokens()?,
            unknown: unknown.ok_or(TokenizerError::MissingUnknown)?,
            unknown_score: f64::from(lowest.unwrap_or(0.0)) - UNKNOWN_PENALTY,
            charsmap: Charsmap::read(gguf)?,
            merge_spaces: gguf.bool("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false),
            space_prefix: gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
            scores,
        })
    }

    /// Appends the tokens of a text without special tokens. `first`: it begins the input or follows a special token.
    pub(super) fn encode(&self, text: &str, first: bool, out: &mut Vec<u32>) {
        let text = self.normalize(text, first);
        let steps = self.best_steps(&text);
        let before = out.len();
        // Unknown characters in a row are one unknown token, or the bytes of all.
        let mut unknown_end = None;
        let mut end = text.len();
        while end > 0 {
            let Step { start, token, .. } = steps[end];
            let start = start as usize;
            if token == NONE {
                unknown_end = unknown_end.or(Some(end));
            }
            if let Some(unknown_end) = unknown_end.take_if(|_| token != NONE || start == 0) {
                let from = if token == NONE { start } else { end };
                self.push_unknown(&text.as_bytes()[from..unknown_end], out);
            }
            if token != NONE {
                out.push(token);
            }
            end = start;
        }
        out[before..].reverse();
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let words = self.scores.capacity() + self.bytes.capacity();
        4 * words + self.tokens.memory_bytes() + self.charsmap.as_ref().map_or(0, Charsmap::memory_bytes)
    }

    /// (text's length + 1) the best way to every place; the token of an unknown character is [`NONE`].
    fn best_steps(&self, text: &str) -> Vec<Step> {
        let mut steps = alloc::vec![Step { score: 0.0, start: NONE, token: NONE }; text.len() + 1];
        let offer = |end: usize, step: Step, steps: &mut [Step]| {
            if steps[end].start == NONE || step.score > steps[end].score {
                steps[end] = step;
            }
        };
        for (start, c) in text.char_indices() {
            let (here, mut whole) = (steps[start].score, false);
            self.tokens.prefixes(&text.as_bytes()[start..], |token, len| {
                whole |= len == c.len_utf8();
                let score = here + f64::from(self.scores[token as usize]);
                offer(start + len, Step { score, start: start as u32, token }, &mut steps);
            });
            if !whole {
                let step = Step { score: here + self.unknown_score, start: start as u32, token: NONE };
                offer(start + c.len_utf8(), step, &mut steps);
            }
        }
        steps
    }

    /// In reverse, as all of `out` here.
    fn push_unknown(&self, bytes: &[u8], out: &mut Vec<u32>) {
        let token = |byte: &u8| self.bytes[usize::from(*byte)];
        if bytes.iter().all(|byte| token(byte) != NONE) {
            out.extend(bytes.iter().rev().map(token));
        } else {
            out.push(self.unknown);
        }
    }

    /// Replaces characters and puts spaces in order. Tokens are kept with spaces for `▁`, so a `▁` in the text becomes one
    /// too, but it is not one of those that are merged.
    fn normalize(&self, text: &str, first: bool) -> String {
        let mut out = String::with_capacity(text.len() + 1);
        let mut rest = text;
        let mut after_space = self.merge_spaces;
        let mut prefix = first && self.space_prefix;
        while let Some(c) = rest.chars().next() {
            let (len, mut piece) = self
                .charsmap
                .as_ref()
                .and_then(|map| map.longest(rest))
                .unwrap_or((c.len_utf8(), &rest[..c.len_utf8()]));
            rest = &rest[len..];
            if after_space {
                piece = piece.trim_start_matches(' ');
            }
            if piece.is_empty() && self.merge_spaces {
                continue;
            }
            if core::mem::take(&mut prefix) {
                out.push(' ');
            }
            out.extend(piece.chars().map(|c| if c == '▁' { ' ' } else { c }));
            after_space = self.merge_spaces && piece.ends_with(' ');
        }
        if self.merge_spaces {
            out.truncate(out.trim_end_matches(' ').len());
        }
        out
    }
}
