//! The vocabulary: every token's bytes in one blob, a hash index from bytes to ids, and the special tokens.
//!
//! About 20 bytes a token: its text, 4 for its end in the blob, 1 for its kind, 8 for two index slots.

use super::TokenizerError;
use super::merge::NONE;
use super::spelling::Spelling;
use super::trie::Trie;
use crate::gguf::{Gguf, Value, ValueType};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Ids take 24 bits of an index slot, hash bits the other 8.
const MAX_TOKENS: usize = (1 << 24) - 1;
/// The longest published tokens are runs of 256 spaces or dashes. A cap makes looking one up take bounded time.
const MAX_TOKEN_BYTES: usize = 1024;
/// At a load of one half, a run of this many slots is a matter of design, not chance.
const MAX_PROBES: u32 = 512;

/// What a token is for: the values of `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Normal,
    /// Stands for what cannot be written.
    Unknown,
    /// Marks structure (BOS, end of turn); only ever read from text on request.
    Control,
    /// A piece of text that is found before anything else is.
    UserDefined,
    /// Never made from text.
    Unused,
    /// One byte, where no other token fits.
    Byte,
}

#[derive(Debug)]
pub(super) struct Vocab {
    /// all tokens, decoded to the text they stand for
    bytes: Vec<u8>,
    /// (n_vocab) where each ends in `bytes`
    ends: Vec<u32>,
    /// (n_vocab)
    kinds: Vec<Kind>,
    /// normal tokens by hash of their bytes: `hash bits << 24 | id`, or [`NONE`]
    slots: Vec<u32>,
    /// control, unknown and user-defined tokens
    specials: Trie,
    /// whether a special token starts with this byte
    special_starts: [bool; 256],
    /// bytes of the longest normal token
    longest: usize,
}

impl Vocab {
    /// Reads `tokenizer.ggml.tokens` and `.token_type`.
    pub(super) fn read(gguf: &Gguf<'_>, spelling: Spelling) -> Result<Vocab, TokenizerError> {
        let tokens = gguf.require_array("tokenizer.ggml.tokens", ValueType::String)?;
        let n = tokens.len();
        if n == 0 || n > MAX_TOKENS {
            return Err(TokenizerError::Size { len: n, max: MAX_TOKENS });
        }
        let mut vocab = Vocab {
            bytes: Vec::new(),
            ends: Vec::with_capacity(n),
            kinds: read_kinds(gguf, n)?,
            slots: vec![NONE; 2 * n],
            specials: Trie::none(),
            special_starts: [false; 256],
            longest: 0,
        };
        for (id, text) in tokens.strings().into_iter().flatten().enumerate() {
            vocab.add(id as u32, text, spelling)?;
        }
        vocab.bytes.shrink_to_fit();
        vocab.find_specials(spelling)?;
        Ok(vocab)
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes a token stands for; none for an id outside the vocabulary.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..end as usize]
    }

    pub(super) fn kind(&self, id: u32) -> Option<Kind> {
        self.kinds.get(id as usize).copied()
    }

    /// The normal token of these bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.longest {
            return None;
        }
        self.probe(bytes).ok()
    }

    /// The longest normal token that `text` begins with, of at least `least` bytes.
    pub(super) fn longest_at(&self, text: &str, least: usize) -> Option<u32> {
        let ends = (least..=text.len().min(self.longest)).rev().filter(|&end| text.is_char_boundary(end));
        ends.into_iter().find_map(|end| self.find(&text.as_bytes()[..end]))
    }

    /// The special token of this text.
    pub(super) fn find_special(&self, text: &str) -> Option<u32> {
        let mut whole = None;
        self.specials.prefixes(text.as_bytes(), |id, len| whole = (len == text.len()).then_some(id));
        whole
    }

    /// The first special token in `text` from a byte on, the longest if several start there: its place and id. Control and unknown
    /// tokens only count if no byte of them is in `plain`, ranges in order.
    pub(super) fn next_special(&self, text: &str, from: usize, plain: &[Range<usize>]) -> Option<(usize, u32)> {
        let bytes = text.as_bytes();
        (from..bytes.len()).filter(|&at| self.special_starts[bytes[at] as usize]).find_map(|at| {
            let next = plain.get(plain.partition_point(|range| range.end <= at));
            let control = next.map_or(usize::MAX, |next| next.start.saturating_sub(at));
            Some((at, self.special_at(&bytes[at..], control)?))
        })
    }

    /// Makes user-defined tokens control tokens.
    pub(super) fn set_control(&mut self, ids: &[u32]) {
        for &id in ids {
            if let Some(kind @ Kind::UserDefined) = self.kinds.get_mut(id as usize) {
                *kind = Kind::Control;
            }
        }
    }

    /// All tokens of some kinds that stand for something, in order of their bytes and, if those are equal, of ids.
    pub(super) fn sorted(&self, kinds: &[Kind]) -> Vec<u32> {
        let ids = 0..self.len() as u32;
        let mut ids: Vec<u32> =
            ids.filter(|&id| kinds.contains(&self.kinds[id as usize]) && !self.bytes(id).is_empty()).collect();
        ids.sort_unstable_by(|&a, &b| self.bytes(a).cmp(self.bytes(b)).then(a.cmp(&b)));
        ids
    }

    /// (256) the token that is written for each byte where no other fits, or [`NONE`].
    pub(super) fn byte_tokens(&self) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = vec![NONE; 256];
        for id in (0..self.len() as u32).filter(|&id| self.kinds[id as usize] == Kind::Byte) {
            let byte = self.bytes(id)[0];
            let first = core::mem::replace(&mut tokens[byte as usize], id);
            if first != NONE {
                return Err(TokenizerError::Duplicate { text: format!("<{byte:#04X}>"), first, second: id });
            }
        }
        Ok(tokens)
    }

    /// Heap bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        let words = self.ends.capacity() + self.slots.capacity();
        self.bytes.capacity() + self.kinds.capacity() + 4 * words + self.specials.memory_bytes()
    }

    fn add(&mut self, id: u32, text: &str, spelling: Spelling) -> Result<(), TokenizerError> {
        let start = self.bytes.len();
        let kind = &mut self.kinds[id as usize];
        match *kind {
            Kind::Byte => {
                let byte = byte_of(text).ok_or_else(|| TokenizerError::ByteToken { id, text: text.to_string() })?;
                self.bytes.push(byte);
            }
            // Some converters spell the spaces of user-defined tokens as those of normal ones, some do not.
            Kind::UserDefined if spelling != Spelling::Bytes => spelling.decode_lossy(text, &mut self.bytes),
            Kind::Normal => {
                // No merge can make a token of letters the alphabet lacks, but a model can: it stands for itself.
                if !spelling.decode(text, &mut self.bytes) {
                    *kind = Kind::Unused;
                    self.bytes.extend_from_slice(text.as_bytes());
                }
            }
            _ => self.bytes.extend_from_slice(text.as_bytes()),
        }
        let len = self.bytes.len() - start;
        let end = u32::try_from(self.bytes.len()).ok().filter(|_| len <= MAX_TOKEN_BYTES);
        self.ends.push(end.ok_or(TokenizerError::TokenLength { id, len, max: MAX_TOKEN_BYTES })?);
        match self.kinds[id as usize] {
            // An empty token is never made from text, and stands for nothing.
            _ if len == 0 => {}
            Kind::Normal => {
                self.longest = self.longest.max(len);
                self.index(id, text)?;
            }
            Kind::Control | Kind::Unknown | Kind::UserDefined => self.special_starts[self.bytes[start] as usize] = true,
            Kind::Unused | Kind::Byte => {}
        }
        Ok(())
    }

    fn index(&mut self, id: u32, text: &str) -> Result<(), TokenizerError> {
        match self.probe(self.bytes(id)) {
            Ok(first) => Err(TokenizerError::Duplicate { text: text.to_string(), first, second: id }),
            Err(Some(slot)) => {
                self.slots[slot] = (hash(self.bytes(id)) as u32) << 24 | id;
                Ok(())
            }
            Err(None) => Err(TokenizerError::Collisions { id }),
        }
    }

    /// The token of these bytes, or the free slot for it, or neither within the probes allowed.
    fn probe(&self, bytes: &[u8]) -> Result<u32, Option<usize>> {
        let hash = hash(bytes);
        // The high bits choose the slot, the low ones are kept in it.
        let mut slot = ((u64::from((hash >> 32) as u32) * self.slots.len() as u64) >> 32) as usize;
        for _ in 0..MAX_PROBES {
            let entry = self.slots[slot];
            if entry == NONE {
                return Err(Some(slot));
            }
            let id = entry & 0xff_ffff;
            if entry >> 24 == hash as u32 & 0xff && self.bytes(id) == bytes {
                return Ok(id);
            }
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
        Err(None)
    }

    fn find_specials(&mut self, spelling: Spelling) -> Result<(), TokenizerError> {
        let specials = self.sorted(&[Kind::Control, Kind::Unknown, Kind::UserDefined]);
        let mut spelled = Vec::new();
        for (i, &id) in specials.iter().enumerate() {
            let bytes = self.bytes(id);
            let text = core::str::from_utf8(bytes).unwrap_or_default();
            spelled.clear();
            let twin = match i.checked_sub(1).map(|before| specials[before]) {
                Some(before) if self.bytes(before) == bytes => Some(before),
                _ if spelling.decode(text, &mut spelled) => self.find(&spelled),
                _ => None,
            };
            if let Some(twin) = twin {
                let (first, second) = (id.min(twin), id.max(twin));
                return Err(TokenizerError::Duplicate { text: text.to_string(), first, second });
            }
        }
        self.specials = Trie::new(&|id| self.bytes(id), &specials);
        Ok(())
    }

    /// The longest special token that `text` begins with; control and unknown tokens of up to `control` bytes.
    fn special_at(&self, text: &[u8], control: usize) -> Option<u32> {
        let mut longest = None;
        self.specials.prefixes(text, |id, len| {
            if len <= control || self.kinds[id as usize] == Kind::UserDefined {
                longest = Some(id);
            }
        });
        longest
    }
}

fn read_kinds(gguf: &Gguf<'_>, n: usize) -> Result<Vec<Kind>, TokenizerError> {
    let key = "tokenizer.ggml.token_type";
    if gguf.get(key).is_none() {
        return Ok(vec![Kind::Normal; n]);
    }
    let types = gguf.require_array(key, ValueType::I32)?;
    if types.len() != n {
        return Err(TokenizerError::Length { key, len: types.len(), vocab: n });
    }
    let kinds = types.iter().enumerate().map(|(id, value)| match value {
        Value::I32(1) => Ok(Kind::Normal),
        Value::I32(2) => Ok(Kind::Unknown),
        Value::I32(3) => Ok(Kind::Control),
        Value::I32(4) => Ok(Kind::UserDefined),
        Value::I32(5) => Ok(Kind::Unused),
        Value::I32(6) => Ok(Kind::Byte),
        other => Err(TokenizerError::TokenType { id: id as u32, value: other.as_int().unwrap_or_default() as i64 }),
    });
    // `collect` would not know the length.
    let mut all = Vec::with_capacity(n);
    for kind in kinds {
        all.push(kind?);
    }
    Ok(all)
}

/// `tokenizer.ggml.scores`: (n_vocab), no NaN among them.
pub(super) fn read_scores(gguf: &Gguf<'_>, n: usize) -> Result<Vec<f32>, TokenizerError> {
    let key = "tokenizer.ggml.scores";
    let scores = gguf.require_array(key, ValueType::F32)?;
    if scores.len() != n {
        return Err(TokenizerError::Length { key, len: scores.len(), vocab: n });
    }
    let mut all = Vec::with_capacity(n);
    for (id, value) in scores.iter().enumerate() {
        match value {
            Value::F32(score) if !score.is_nan() => all.push(score),
            _ => return Err(TokenizerError::Score { id: id as u32 }),
        }
    }
    Ok(all)
}

/// The byte that `<0xHH>` spells.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    // `from_str_radix` would take a sign.
    let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if two { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// A fast hash with no secret: [`MAX_PROBES`] bounds what a hostile file can do with that.
fn hash(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |h: u64, word: u64| {
        let wide = u128::from(h ^ word) * u128::from(K);
        (wide as u64) ^ (wide >> 64) as u64
    };
    let (words, tail) = bytes.as_chunks::<8>();
    let h = words.iter().fold(K ^ bytes.len() as u64, |h, word| mix(h, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    mix(mix(h, u64::from_le_bytes(last)), K)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Writer;
    use alloc::string::String;

    #[test]
    fn tokens_made_to_collide_are_refused() {
        let n = 1100;
        let slot = |text: &str| (u64::from((hash(text.as_bytes()) >> 32) as u32) * 2 * n as u64) >> 32;
        let same: Vec<String> = (0..).map(|i| format!("{i}")).filter(|text| slot(text) == 7).take(n).collect();
        let file = Writer::new().with("tokenizer.ggml.tokens", same).finish();
        let error = Vocab::read(&Gguf::parse(&file).unwrap(), Spelling::Bytes).unwrap_err();
        assert_eq!(error, TokenizerError::Collisions { id: MAX_PROBES });
        // As many tokens that were not chosen are fine.
        let honest: Vec<String> = (0..n).map(|i| format!("{i}")).collect();
        let file = Writer::new().with("tokenizer.ggml.tokens", honest).finish();
        let vocab = Vocab::read(&Gguf::parse(&file).unwrap(), Spelling::Bytes).unwrap();
        assert_eq!(vocab.find(b"1099"), Some(1099));
        assert_eq!(vocab.find(b"1100"), None);
    }

    #[test]
    fn the_longest_special_token_wins() {
        let tokens = ["<", "<a", "<a>", "<ab>", "x", "<a>b"];
        let file = Writer::new()
            .with("tokenizer.ggml.tokens", tokens)
            .with("tokenizer.ggml.token_type", [4, 3, 4, 3, 1, 2])
            .finish();
        let vocab = Vocab::read(&Gguf::parse(&file).unwrap(), Spelling::Bytes).unwrap();
        let everywhere = 0..usize::MAX;
        let all =
            |text| (vocab.next_special(text, 0, &[]), vocab.next_special(text, 0, core::slice::from_ref(&everywhere)));
        assert_eq!(all("x<ab>"), (Some((1, 3)), Some((1, 0))));
        assert_eq!(all("<a>b"), (Some((0, 5)), Some((0, 2))));
        assert_eq!(all("<ac"), (Some((0, 1)), Some((0, 0))));
        assert_eq!(all("x a>"), (None, None));
        // One byte that is plain is enough, and the longest of those that are none counts.
        let plain = |text, range: Range<usize>| vocab.next_special(text, 0, core::slice::from_ref(&range));
        for (range, found) in [(0..1, 5), (1..2, 2), (3..4, 2), (4..5, 2)] {
            assert_eq!(plain("x<a>b", range), Some((1, found)));
        }
        assert_eq!(plain("x<ab>", 3..4), Some((1, 1)));
        assert_eq!(vocab.next_special("<ab><ab>", 0, &[0..1, 7..8]), Some((0, 0)));
        assert_eq!(vocab.next_special("<ab><ab>", 4, &[0..1, 2..3]), Some((4, 3)));
    }
}
