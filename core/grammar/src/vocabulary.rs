//! [`Vocabulary`]: the tokens of a model, as a trie.

use crate::{Error, Result};
use llguidance::ParserFactory;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use std::sync::Arc;

/// Longest token that a mask may allow, in bytes: the depth of the trie.
const LONGEST: usize = 1000;

/// Most bytes of all tokens: the trie counts its nodes in 22 bits.
const MOST_BYTES: usize = 4_000_000;

/// A token of a vocabulary. Its id is its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// The bytes that it writes; without any it is never allowed.
    Text(&'a [u8]),
    /// Structure, by its name: allowed only where a Lark or GBNF grammar names it.
    Special(&'a [u8]),
    /// The same, and ends an answer: allowed wherever the grammar may end.
    End(&'a [u8]),
}

/// The tokens of a text as the model's tokenizer writes it, without any before or after it.
pub type Tokenize = Box<dyn Fn(&str) -> Vec<u32> + Send + Sync>;

/// The tokens of a model, prepared for masks: made once, shared by all grammars.
///
/// Of several tokens with the same bytes, the last one is allowed alone: a byte of a SentencePiece vocabulary, say, stands before the token
/// that its tokenizer writes.
pub struct Vocabulary {
    pub(crate) parsers: ParserFactory,
    len: usize,
}

impl Vocabulary {
    /// All tokens, in the order of their ids. With a tokenizer, what a grammar leaves no choice about is forced in the tokens that it
    /// would write; without, only where but one token may follow.
    ///
    /// # Errors
    /// More tokens, or more bytes, than a trie holds.
    pub fn new<'a>(tokens: impl IntoIterator<Item = Token<'a>>, tokenize: Option<Tokenize>) -> Result<Arc<Self>> {
        let (mut words, mut ends) = (Vec::new(), Vec::new());
        for (token, id) in tokens.into_iter().zip(0..) {
            if let Token::End(_) = token {
                ends.push(id);
            }
            words.push(word(token));
        }
        let bytes: usize = words.iter().map(Vec::len).sum();
        if bytes > MOST_BYTES {
            return Err(Error::Vocabulary(format!(
                "a vocabulary of {bytes} bytes, and masks are made of {MOST_BYTES}"
            )));
        }
        let info = TokRxInfo::new(words.len() as u32, ends.first().copied().unwrap_or(INVALID_TOKEN));
        let mut trie = TokTrie::from(&info, &words);
        if !ends.is_empty() {
            trie = trie.with_eos_tokens(&ends);
        }
        let environment: TokEnv = Arc::new(Environment { trie, tokenize });
        let slices = SlicedBiasComputer::json_slices();
        let parsers = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices);
        let mut parsers = parsers.map_err(|error| Error::Vocabulary(error.to_string()))?;
        parsers.quiet();
        Ok(Arc::new(Vocabulary { parsers, len: words.len() }))
    }

    /// The token that stands for a text as a whole, be it special or not.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let trie = self.parsers.tok_env().tok_trie();
        let words = [Token::Special(text.as_bytes()), Token::Text(text.as_bytes())].map(word);
        words.into_iter().find_map(|word| trie.token_id_at_bytes(&word))
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A token as the trie has it: special ones begin with a byte that no text has.
fn word(token: Token<'_>) -> Vec<u8> {
    const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
    let word = match token {
        Token::Text(bytes) if bytes.contains(&MARK) => Vec::new(),
        Token::Text(bytes) => bytes.to_vec(),
        Token::Special(name) | Token::End(name) => [&[MARK], name].concat(),
    };
    if word.len() > LONGEST { Vec::new() } else { word }
}

struct Environment {
    trie: TokTrie,
    tokenize: Option<Tokenize>,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| match &self.tokenize {
            // Some tokenizers begin every text with a space.
            Some(tokenize) => {
                let tokens = tokenize(text);
                let written = tokens.iter().flat_map(|&token| self.trie.token(token));
                match written.eq(text.as_bytes()) {
                    true => tokens,
                    false => self.trie.greedy_tokenize(text.as_bytes()),
                }
            }
            None => self.trie.greedy_tokenize(text.as_bytes()),
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.tokenize.is_some()
    }
}
