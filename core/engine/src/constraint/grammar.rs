//! Schemas, expressions and grammars, by `picolm-grammar`.

use super::{Constraint, Grammars, Matched, Matcher, keep};
use crate::{Error, Format, Kind, Result};
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use picolm_core::text::{Encode, Tokenizer};
use picolm_grammar::{Grammar, Limits, Source, Token, Vocabulary};

/// Made for a tokenizer when it is first asked.
#[derive(Default)]
pub(super) struct Local {
    vocabulary: Option<Arc<Vocabulary>>,
    /// the last, since clients ask for the same again and again
    last: Option<(Format, Grammar)>,
}

impl Grammars for Local {
    fn constraint(&mut self, format: &Format, tokenizer: &Arc<Tokenizer>) -> Result<Box<dyn Constraint>> {
        if let Some((known, grammar)) = &self.last
            && known == format
        {
            return Ok(Box::new(Matched::new(grammar.matcher())));
        }
        let source = format.source().ok_or_else(|| Error::request("the format needs no grammar"))?;
        let vocabulary = match &self.vocabulary {
            Some(vocabulary) => vocabulary,
            None => self.vocabulary.insert(vocabulary(tokenizer)?),
        };
        let grammar = Grammar::new(source, vocabulary, &Limits::of_answers())
            .map_err(|error| Error::field(format.field(), format!("cannot be kept to: {error}")))?;
        let (_, grammar) = self.last.insert((format.clone(), grammar));
        Ok(Box::new(Matched::new(grammar.matcher())))
    }
}

impl Format {
    /// What it is to `picolm-grammar`; nothing where it needs no grammar.
    pub fn source(&self) -> Option<Source<'_>> {
        Some(match self {
            Format::Text | Format::JsonObject => return None,
            Format::JsonSchema(schema) => Source::JsonSchema(schema),
            Format::Regex(pattern) => Source::Regex(pattern),
            Format::Grammar(text) => Source::grammar(text),
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

impl Matcher for picolm_grammar::Matcher {
    fn mask(&mut self, answer: &[u32], logits: &mut [f32]) -> Result<()> {
        keep(picolm_grammar::Matcher::mask(self, answer).map_err(Error::request)?, logits);
        Ok(())
    }

    fn forced(&mut self, answer: &[u32]) -> Vec<u32> {
        picolm_grammar::Matcher::forced(self, answer).unwrap_or_default()
    }

    fn is_over(&mut self, answer: &[u32]) -> bool {
        picolm_grammar::Matcher::is_over(self, answer).unwrap_or(false)
    }
}
