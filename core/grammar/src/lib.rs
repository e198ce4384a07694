//! What an answer may say, as a mask over the tokens of a vocabulary: JSON schemas, regular expressions, grammars.
//!
//! ```text
//!   JSON schema ──► schema: every keyword enforced, or refused by name ──┐
//!   GBNF ──► gbnf: rules, then lexemes that no greedy lexer misreads ────┼──► llguidance ──► ends ──► Grammar ──► Matcher
//!   regular expression, Lark ────────────────────────────────────────────┘    (Earley, derivatives)             mask, forced
//!                                                                 Vocabulary (trie of tokens, made once) ─────────┘
//! ```
//!
//! The walk over tokens is the crate `llguidance`'s. What it would accept without enforcing it never gets there: [`Grammar::new`] enforces all
//! of a text or says what it cannot, with a pointer into it. Nothing here asks for the time: limits count steps, so that a mask is a function of
//! (text, vocabulary, limits, answer) on every machine.
//!
//! ```
//! use picolm_grammar::{Grammar, Limits, Source, Token, Vocabulary};
//!
//! let bytes: Vec<u8> = (0..=255).collect();
//! let tokens = bytes.chunks(1).map(Token::Text).chain([Token::End(b"</s>")]);
//! let vocabulary = Vocabulary::new(tokens, None)?;
//! let grammar = Grammar::new(Source::JsonSchema(r#"{"type": "boolean"}"#), &vocabulary, &Limits::default())?;
//!
//! let mut matcher = grammar.matcher();
//! let may_begin = |token: u32, mask: &[u32]| mask[token as usize / 32] >> (token % 32) & 1 == 1;
//! let mask = matcher.mask(&[])?;
//! assert!(may_begin(b't'.into(), mask) && !may_begin(b'x'.into(), mask));
//! assert!(matcher.may_end(&b"true".map(u32::from))?);
//! # Ok::<_, picolm_grammar::Error>(())
//! ```
#![deny(unsafe_code)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod clock;
mod ends;
mod error;
mod gbnf;
mod grammar;
mod lark;
mod limits;
mod matcher;
mod pattern;
mod schema;
mod vocabulary;

pub use error::{Error, Result};
pub use grammar::{Grammar, Source};
pub use limits::Limits;
pub use matcher::Matcher;
pub use vocabulary::{Token, Tokenize, Vocabulary};
