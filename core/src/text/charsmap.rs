//! SentencePiece's `precompiled_charsmap`: which characters are replaced by which before a text is cut.
//!
//! ```text
//! u32: n    n bytes: a trie of what is replaced    the rest: what it is replaced by, each ending in a zero byte
//! ```
//! The trie is a "double array" of u32 units: the child of a node for the byte `c` is at `base ^ c` if the unit there has
//! the label `c`; a node that ends a key has a leaf at `base`, whose value is the place of the replacement.
//!
//! Layout: <https://github.com/s-yata/darts-clone>, `include/darts.h`; its use:
//! <https://github.com/google/sentencepiece/blob/master/src/normalizer.cc>.

use super::TokenizerError;
use crate::gguf::{Gguf, Value};
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of a key that are looked at, so that a looping trie takes bounded time. Published keys have at most a few
/// characters.
const MAX_KEY: usize = 64;
/// Bytes of a replacement, so that a short text stays one: the longest of Unicode (for ﷺ) has 33.
const MAX_REPLACEMENT: usize = 128;

#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Reads `tokenizer.ggml.precompiled_charsmap`; none if it is missing or empty.
    pub(super) fn read(gguf: &Gguf<'_>) -> Result<Option<Charsmap>, TokenizerError> {
        let Some(array) = gguf.array("tokenizer.ggml.precompiled_charsmap")? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(array.len());
        for value in array.iter() {
            match value {
                Value::U8(byte) => bytes.push(byte),
                Value::I8(byte) => bytes.push(byte as u8),
                _ => {
                    return Err(TokenizerError::Charsmap {
                        why: "it is not an array of bytes",
                        at: 0,
                        len: array.len(),
                    });
                }
            }
        }
        if bytes.is_empty() { Ok(None) } else { Charsmap::parse(&bytes).map(Some) }
    }

    fn parse(bytes: &[u8]) -> Result<Charsmap, TokenizerError> {
        let error = |at, why| TokenizerError::Charsmap { why, at, len: bytes.len() };
        let Some((n, rest)) = bytes.split_first_chunk() else { return Err(error(0, "it is cut short")) };
        let n = u32::from_le_bytes(*n) as usize;
        let Some((units, replacements)) = rest.split_at_checked(n) else { return Err(error(0, "it is cut short")) };
        let (units, odd) = units.as_chunks();
        if units.is_empty() || !odd.is_empty() {
            return Err(error(0, "the length of its trie is zero or not a multiple of 4"));
        }
        let start = bytes.len() - replacements.len();
        let replacements = core::str::from_utf8(replacements)
            .map_err(|e| error(start + e.valid_up_to(), "a replacement is not UTF-8"))?;
        let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        let map = Charsmap { units, replacements: replacements.into() };
        for (index, &unit) in map.units.iter().enumerate() {
            if !is_leaf(unit) && has_leaf(unit) {
                let value = map.units.get(index ^ base(unit)).map(|leaf| (leaf & !LEAF) as usize);
                value
                    .and_then(|at| map.replacement(at))
                    .ok_or_else(|| error(4 + 4 * index, "a node's replacement is outside, too long or does not end"))?;
            }
        }
        Ok(map)
    }

    /// The longest key that `text` begins with: its length and what replaces it.
    pub(super) fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let mut found = None;
        let mut node = base(self.units[0]);
        for (i, &byte) in text.as_bytes().iter().take(MAX_KEY).enumerate() {
            node ^= usize::from(byte);
            let Some(&unit) = self.units.get(node) else { break };
            // A zero byte is never in a key: it would be the label of a leaf.
            if byte == 0 || label(unit) != u32::from(byte) {
                break;
            }
            node ^= base(unit);
            if has_leaf(unit) && text.is_char_boundary(i + 1) {
                found = self.units.get(node).map(|leaf| (i + 1, (leaf & !LEAF) as usize));
            }
        }
        found.and_then(|(len, at)| Some((len, self.replacement(at)?)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        4 * self.units.capacity() + self.replacements.capacity()
    }

    /// What stands at a place, up to the zero byte.
    fn replacement(&self, at: usize) -> Option<&str> {
        let rest = self.replacements.get(at..)?;
        let end = rest.bytes().take(MAX_REPLACEMENT + 1).position(|byte| byte == 0)?;
        rest.get(..end)
    }
}

/// Marks the units that hold a value.
const LEAF: u32 = 1 << 31;

fn is_leaf(unit: u32) -> bool {
    unit & LEAF != 0
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 != 0
}

/// The byte that leads to a node. That of a leaf is no byte.
fn label(unit: u32) -> u32 {
    unit & (LEAF | 0xff)
}

/// 22 bits, in units of 1 or of 256.
fn base(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}
