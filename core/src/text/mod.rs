//! Text to tokens and back.
//!
//! ```text
//!   messages ──ChatTemplate──► prompt ──Tokenizer::encode──► token ids ──► session
//!   session ──► token id ──Tokenizer::token_bytes──► bytes ──Utf8Stream──► text
//! ```
//!
//! A [`Tokenizer`] is read from a GGUF file and owns what it needs. `encode` first finds special tokens written out in
//! the text (`special`, `vocab`), then hands the text between them to one of four models: `bpe_bytes` (byte-level BPE:
//! words cut by `pretokenize`, merges ordered by a list), `bpe_score` (SentencePiece's BPE, merges ordered by token
//! scores), `unigram` (SentencePiece's other model: the cut of the greatest sum of scores; characters replaced by
//! `charsmap`) or `wordpiece` (BERT: the longest token first). Both kinds of BPE run the one loop in `merge`. Nothing in a
//! file can make any of them slower than O(n log n).

mod bpe_bytes;
mod bpe_score;
mod charsmap;
mod chat;
mod error;
mod merge;
mod pretokenize;
mod special;
mod spelling;
mod stream;
mod tokenizer;
mod trie;
mod unigram;
mod vocab;
mod wordpiece;

pub use chat::ChatTemplate;
pub use error::TokenizerError;
pub use picolm_template::{ChatError, DateTime, Json, JsonError, Message, MessageError, RenderOptions, Traced};
pub use stream::Utf8Stream;
pub use tokenizer::{Encode, Tokenizer};
