//! Schemas, expressions and grammars, by `picolm-grammar`.

use super::{Constraint, Grammars, keep};
use crate::{Error, Format, Kind, Result};
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use picolm_core::text::{Encode, Tokenizer};
use picolm_grammar::{Grammar, Limits, Matcher, Source, Token, Vocabulary};

/// Made for a tokenizer when it is first asked.
#[derive(Default)]
pub(super) struct Local {
    vocabulary: Option<Arc<Vocabulary>>,
    /// the last, since clients ask for the same again and again
    last: Option<(Format, Grammar)>,
}

/// Most white space between two tokens of JSON: lists in lists are indented so far, and a model that writes nothing else comes to an end.
const WHITE_SPACE: usize = 20;

/// What a grammar of Lark begins with, as llama.cpp has it.
const LARK: &str = "%llguidance";

impl Grammars for Local {
    fn constraint(&mut self, format: &Format, tokenizer: &Arc<Tokenizer>) -> Result<Box<dyn Constraint>> {
        if let Some((known, grammar)) = &self.last
            && known == format
        {
            return Ok(Box::new(Answer::new(grammar)));
        }
        let source = format.source().ok_or_else(|| Error::request("the format needs no grammar"))?;
        let vocabulary = match &self.vocabulary {
            Some(vocabulary) => vocabulary,
            None => self.vocabulary.insert(vocabulary(tokenizer)?),
        };
        let grammar = Grammar::new(source, vocabulary, &Limits { white_space: WHITE_SPACE, ..Limits::default() })
            .map_err(|error| Error::field(format.field(), format!("cannot be kept to: {error}")))?;
        let (_, grammar) = self.last.insert((format.clone(), grammar));
        Ok(Box::new(Answer::new(grammar)))
    }
}

impl Format {
    /// What it is to `picolm-grammar`; nothing where it needs no grammar.
    pub fn source(&self) -> Option<Source<'_>> {
        Some(match self {
            Format::Text | Format::JsonObject => return None,
            Format::JsonSchema(schema) => Source::JsonSchema(schema),
            Format::Regex(pattern) => Source::Regex(pattern),
            Format::Grammar(text) if text.trim_start().starts_with(LARK) => Source::Lark(text),
            Format::Grammar(text) => Source::Gbnf(text),
        })
    }
}

fn vocabulary(tokenizer: &Arc<Tokenizer>) -> Result<Arc<Vocabulary>> {
    let tokens = (0..tokenizer.n_vocab() as u32).map(|id| match tokenizer.token_bytes(id) {
        bytes if tokenizer.is_end_of_generation(id) => Token::End(bytes),
        bytes if tokenizer.is_special(id) => Token::Special(bytes),
        bytes => Token::Text(bytes),
    });
    let writer = tokenizer.clone();
    Vocabulary::new(tokens, Some(Box::new(move |text| writer.encode(text, Encode::TEXT))))
        .map_err(|error| Error::new(Kind::Model, error))
}

/// An answer on its way through a grammar.
struct Answer {
    matcher: Matcher,
    /// tokens that have to follow the first `at` of the answer
    forced: Vec<u32>,
    at: usize,
}

impl Answer {
    fn new(grammar: &Grammar) -> Self {
        Answer { matcher: grammar.matcher(), forced: Vec::new(), at: 0 }
    }
}

impl Constraint for Answer {
    fn mask(&mut self, answer: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<()> {
        keep(self.matcher.mask(answer).map_err(Error::request)?, logits);
        Ok(())
    }

    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        let new = answer.get(self.at..)?;
        if self.forced.len() <= new.len() || !self.forced.starts_with(new) {
            // An error is one of the mask, too.
            (self.forced, self.at) = (self.matcher.forced(answer).unwrap_or_default(), answer.len());
        }
        self.forced.get(answer.len() - self.at).copied()
    }

    fn is_complete(&mut self, answer: &[u32], _: &Tokenizer) -> bool {
        self.matcher.is_over(answer).unwrap_or(false)
    }
}
