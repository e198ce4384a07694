use crate::gguf;
use alloc::string::String;

/// Why a file's vocabulary cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum TokenizerError {
    /// A key is missing or holds another type.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// A kind of tokenizer picolm does not have.
    #[error("key \"tokenizer.ggml.model\": unknown tokenizer {model:?} (known: {known})")]
    Model { model: String, known: &'static str },
    /// A pre-tokeniser picolm does not have, or none given.
    #[error("key \"tokenizer.ggml.pre\": {} (known: {known})", match .pre {
        Some(pre) => alloc::format!("unknown pre-tokeniser {pre:?}"),
        None => String::from("missing, and byte-level merges need it"),
    })]
    Pre { pre: Option<String>, known: String },
    /// No tokens at all, or more than can be indexed.
    #[error("the vocabulary has {len} tokens (allowed: 1 to {max})")]
    Size { len: usize, max: usize },
    /// An array that should have an entry per token.
    #[error("key {key:?} has {len} entries for a vocabulary of {vocab}")]
    Length { key: &'static str, len: usize, vocab: usize },
    /// A token longer than any published one by far.
    #[error("token {id} is {len} bytes long (allowed: {max})")]
    TokenLength { id: u32, len: usize, max: usize },
    /// A type that GGUF does not define.
    #[error("token {id} has type {value} (known: 1 to 6)")]
    TokenType { id: u32, value: i64 },
    /// A token of type byte that is not spelled `<0xHH>`.
    #[error("byte token {id} is {text:?}, not \"<0x00>\" to \"<0xFF>\"")]
    ByteToken { id: u32, text: String },
    /// Two tokens of one spelling.
    #[error("token {text:?} appears twice: ids {first} and {second}")]
    Duplicate { text: String, first: u32, second: u32 },
    /// A score that is not a number, or infinite where scores are summed.
    #[error("the score of token {id} is not a number, or not finite")]
    Score { id: u32 },
    /// Tokens made to collide in a hash table.
    #[error("token {id} and hundreds of others have one hash: the vocabulary is built to be slow")]
    Collisions { id: u32 },
    /// A merge that is not two tokens which together are a third.
    #[error("merge {index} ({text:?}): {why}")]
    Merge { index: usize, text: String, why: &'static str },
    /// A special id outside the vocabulary.
    #[error("key {key:?}: token {id} is outside the vocabulary of {vocab}")]
    SpecialId { key: &'static str, id: u32, vocab: usize },
    /// BOS or EOS is to be added, but the file does not say which token that is.
    #[error("key {key:?} is missing, and {flag:?} is true{}", if *.by_default { " by default" } else { "" })]
    MissingId { key: &'static str, flag: &'static str, by_default: bool },
    /// A model that writes the unknown token for what it has no other for.
    #[error("key \"tokenizer.ggml.unknown_token_id\" is missing, and this kind of tokenizer needs it")]
    MissingUnknown,
    /// A table of replacements for characters that is cut short, or points outside itself.
    #[error("key \"tokenizer.ggml.precompiled_charsmap\": {why} (at byte {at} of {len})")]
    Charsmap { why: &'static str, at: usize, len: usize },
    /// A byte of text that no token stands for, and no unknown token.
    #[error("the vocabulary has neither a token for byte {byte:#04x} nor an unknown token")]
    NoByte { byte: u8 },
}
