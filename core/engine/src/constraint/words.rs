//! A vocabulary in the order of its tokens' bytes: what tokens have in common is looked at once.
//!
//! ```text
//!   "a"  "ab"  "abc"  "abd"  "b"      sorted
//!    0    1     2      2      0       bytes shared with the token before: where "ab" is no good, neither is what begins with it
//! ```

use super::Mask;
use alloc::vec::Vec;
use picolm_core::text::Tokenizer;

/// Some tokens of a vocabulary, sorted by their bytes.
pub(super) struct Words {
    /// (words): tokens
    tokens: Vec<u32>,
    /// (words): bytes shared with the one before
    shared: Vec<u16>,
}

impl Words {
    /// Whether a token is text, and not structure.
    pub(super) fn is_word(tokenizer: &Tokenizer, token: u32) -> bool {
        !tokenizer.is_special(token)
            && !tokenizer.is_end_of_generation(token)
            && !tokenizer.token_bytes(token).is_empty()
    }

    pub(super) fn new(mut tokens: Vec<u32>, tokenizer: &Tokenizer) -> Self {
        let bytes = |token: u32| tokenizer.token_bytes(token);
        tokens.sort_unstable_by(|&a, &b| bytes(a).cmp(bytes(b)));
        let common = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let mut before: &[u8] = &[];
        let shared = tokens.iter().map(|&token| {
            let shared = common(before, bytes(token));
            before = bytes(token);
            shared.try_into().unwrap_or(u16::MAX)
        });
        let shared = shared.collect();
        Words { tokens, shared }
    }

    /// Allows the tokens whose bytes lead a state by `step` to one that `fits`.
    pub(super) fn allow<S: Copy>(
        &self,
        tokenizer: &Tokenizer,
        start: S,
        step: impl Fn(S, u8) -> Option<S>,
        fits: impl Fn(S) -> bool,
        mask: &mut Mask,
    ) {
        // The states behind each byte of the last word, as far as it came.
        let mut states = Vec::from([start]);
        let mut at = 0;
        while let Some(next) = self.shared[at..].iter().position(|&shared| usize::from(shared) < states.len()) {
            at += next;
            let (token, shared) = (self.tokens[at], usize::from(self.shared[at]));
            let bytes = tokenizer.token_bytes(token);
            states.truncate(shared + 1);
            let mut state = states[shared];
            for &byte in &bytes[shared..] {
                let Some(next) = step(state, byte) else { break };
                state = next;
                states.push(next);
            }
            if states.len() > bytes.len() && fits(state) {
                mask.allow(token);
            }
            at += 1;
        }
    }
}
