//! Byte-level BPE: text is cut into words, a word's bytes are joined in the order of a merge list.
//! `tokenizer.ggml.model = "gpt2"`: GPT-2, Llama 3, Qwen, SmolLM and most others.

use super::TokenizerError;
use super::merge::{Joined, Merger, NONE, Pair};
use super::pretokenize::Rule;
use super::spelling::Spelling;
use super::vocab::{Kind, Vocab};
use crate::gguf::{Gguf, ValueType};
use alloc::string::ToString;
use alloc::vec::Vec;

#[derive(Debug)]
pub(super) struct ByteBpe {
    /// (256) the token of each single byte, or [`NONE`]
    bytes: Vec<u32>,
    /// (n_vocab + 1) where the merges of each left token begin in `merges`
    starts: Vec<u32>,
    /// by left token, then by right token
    merges: Vec<Merge>,
    pub(super) rule: &'static Rule,
}

#[derive(Debug)]
struct Merge {
    right: u32,
    /// place in the file's list: lower is earlier
    rank: u32,
    joined: u32,
}

impl ByteBpe {
    pub(super) fn read(gguf: &Gguf<'_>, vocab: &Vocab) -> Result<Self, TokenizerError> {
        let pre = gguf.str("tokenizer.ggml.pre")?;
        let rule = pre
            .and_then(Rule::find)
            .ok_or_else(|| TokenizerError::Pre { pre: pre.map(ToString::to_string), known: Rule::known() })?;
        let bytes = (0..=255u8).map(|byte| vocab.find(&[byte]).unwrap_or(NONE)).collect();
        let mut list = read_merges(gguf, vocab)?;
        // Of two merges of one pair the first counts.
        list.sort_unstable_by_key(|(left, merge)| (u64::from(*left) << 32 | u64::from(merge.right), merge.rank));
        list.dedup_by_key(|(left, merge)| (*left, merge.right));
        let mut starts = alloc::vec![0; vocab.len() + 1];
        for (left, _) in &list {
            starts[*left as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        // Not `collect`, which would keep the larger allocation of `list`.
        let mut merges = Vec::with_capacity(list.len());
        merges.extend(list.into_iter().map(|(_, merge)| merge));
        Ok(ByteBpe { bytes, starts, merges, rule })
    }

    /// Appends the tokens of a text without special tokens. A byte the vocabulary has no token for is left out, as by
    /// Hugging Face and llama.cpp (SmolLM2 lacks some control characters).
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        self.rule.split(text, &mut |word| {
            if self.rule.whole_words
                && let Some(token) = vocab.find(word.as_bytes())
            {
                return out.push(token);
            }
            merger.clear();
            for (at, &byte) in word.as_bytes().iter().enumerate() {
                merger.push(at, self.bytes[byte as usize]);
            }
            merger.run(word.len(), |pair| self.join(pair));
            out.extend(merger.tokens().map(|(token, _)| token).filter(|&token| token != NONE));
        });
    }

    pub(super) fn memory_bytes(&self) -> usize {
        4 * (self.bytes.capacity() + self.starts.capacity()) + size_of::<Merge>() * self.merges.capacity()
    }

    fn join(&self, pair: &Pair) -> Option<Joined> {
        if pair.left == NONE {
            return None;
        }
        let left = pair.left as usize;
        let merges = &self.merges[self.starts[left] as usize..self.starts[left + 1] as usize];
        let found = merges.binary_search_by_key(&pair.right, |merge| merge.right).ok()?;
        Some(Joined { priority: merges[found].rank, token: merges[found].joined })
    }
}

/// The list as ids: (left, merge), in file order.
fn read_merges(gguf: &Gguf<'_>, vocab: &Vocab) -> Result<Vec<(u32, Merge)>, TokenizerError> {
    let array = gguf.require_array("tokenizer.ggml.merges", ValueType::String)?;
    let mut list = Vec::with_capacity(array.len());
    let (mut spelled, mut guess) = (Vec::new(), 0);
    for (index, text) in array.strings().into_iter().flatten().enumerate() {
        let error = |why| TokenizerError::Merge { index, text: text.to_string(), why };
        let (left, right) = text.split_once(' ').ok_or_else(|| error("it is not two tokens with a space between"))?;
        spelled.clear();
        let known = "it names a token the vocabulary does not have";
        if !Spelling::Bytes.decode(left, &mut spelled) {
            return Err(error(known));
        }
        let middle = spelled.len();
        if !Spelling::Bytes.decode(right, &mut spelled) {
            return Err(error(known));
        }
        let find = |bytes: &[u8]| vocab.find(bytes).ok_or_else(|| error(known));
        let (left, right) = (find(&spelled[..middle])?, find(&spelled[middle..])?);
        // Most vocabularies list tokens in the order of their merges: look there first.
        let guessed = vocab.kind(guess) == Some(Kind::Normal) && vocab.bytes(guess) == spelled;
        let joined = if guessed { Some(guess) } else { vocab.find(&spelled) };
        let joined = joined.ok_or_else(|| error("the two together are not a token"))?;
        guess = joined.saturating_add(1);
        list.push((left, Merge { right, rank: index as u32, joined }));
    }
    Ok(list)
}
