//! SentencePiece's BPE: of all neighbours that together are a token, the one with the best score is joined first; what
//! no token covers is written as bytes. `tokenizer.ggml.model = "llama"`: Llama 1 and 2, Mistral, Gemma, TinyLlama, Phi-3.
//!
//! <https://github.com/google/sentencepiece/blob/master/src/bpe_model.cc>

use super::TokenizerError;
use super::merge::{Joined, Merger, NONE, Pair};
use super::vocab::{Vocab, read_scores};
use crate::gguf::Gguf;
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

#[derive(Debug)]
pub(super) struct ScoreBpe {
    /// (n_vocab) merge priority: lower is earlier
    priorities: Vec<u32>,
    /// (256) the token written for a byte that no other covers
    bytes: Vec<u32>,
    /// Whether a space is put before text at the beginning and after special tokens.
    pub(super) space_prefix: bool,
}

impl ScoreBpe {
    pub(super) fn read(gguf: &Gguf<'_>, vocab: &Vocab, unknown: Option<u32>) -> Result<Self, TokenizerError> {
        let mut bytes = vocab.byte_tokens()?;
        for (byte, id) in bytes.iter_mut().enumerate().filter(|(_, id)| **id == NONE) {
            *id = unknown.ok_or(TokenizerError::NoByte { byte: byte as u8 })?;
        }
        let space_prefix = gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let scores = read_scores(gguf, vocab.len())?;
        Ok(ScoreBpe { priorities: scores.into_iter().map(priority).collect(), bytes, space_prefix })
    }

    /// Appends the tokens of a text without special tokens. `first`: it begins the input or follows a special token.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, first: bool, merger: &mut Merger, out: &mut Vec<u32>) {
        let text = self.normalize(text, first);
        merger.clear();
        for (start, c) in text.char_indices() {
            let token = vocab.find(&text.as_bytes()[start..start + c.len_utf8()]);
            merger.push(start, token.unwrap_or(NONE));
        }
        merger.run(text.len(), |pair: &Pair| {
            let token = vocab.find(&text.as_bytes()[pair.start..pair.end])?;
            Some(Joined { priority: self.priorities[token as usize], token })
        });
        for (token, range) in merger.tokens() {
            match token {
                NONE => out.extend(text.as_bytes()[range].iter().map(|&byte| self.bytes[byte as usize])),
                token => out.push(token),
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        4 * (self.priorities.capacity() + self.bytes.capacity())
    }

    /// Tokens are kept with spaces for `▁`, so a `▁` in the text is a space too, as it is for SentencePiece.
    fn normalize<'t>(&self, text: &'t str, first: bool) -> Cow<'t, str> {
        match (self.space_prefix && first, text.contains('▁')) {
            (false, false) => Cow::Borrowed(text),
            (false, true) => Cow::Owned(text.replace('▁', " ")),
            (true, _) => Cow::Owned(format!(" {}", text.replace('▁', " "))),
        }
    }
}

/// Maps floats to integers of the opposite order: the highest score gets the lowest priority. Only a NaN would get
/// [`NONE`].
fn priority(score: f32) -> u32 {
    // -0.0 and 0.0 are equal scores.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { 0x7fff_ffff - bits } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_fall_as_scores_rise() {
        let scores = [f32::INFINITY, 1e9, 1.5, 1e-40, 0.0, -1e-40, -2.0, -31740.0, f32::NEG_INFINITY];
        let priorities: Vec<u32> = scores.into_iter().map(priority).collect();
        assert!(priorities.is_sorted_by(|a, b| a < b), "{priorities:?}");
        assert_eq!(priority(-0.0), priority(0.0));
        assert_ne!(priority(f32::NEG_INFINITY), NONE);
    }
}
