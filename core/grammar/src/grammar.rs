//! [`Grammar`]: a text that says what answers may be, made ready for a vocabulary.

use crate::{Error, Limits, Matcher, Result, Vocabulary, ends, gbnf, lark, pattern, schema};
use llguidance::Logger;
use llguidance::api::{GrammarInit, GrammarWithLexer, TopLevelGrammar};
use llguidance::toktrie::InferenceCapabilities;
use std::sync::Arc;

/// What answers have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// One JSON value that fits a schema (draft 2020-12, and the older forms that mean something else by the same name: lists as `items`,
    /// `additionalItems`, `exclusiveMinimum: true`, `definitions`). Properties come in the order in which the schema names them.
    JsonSchema(&'a str),
    /// A text that an expression matches as a whole, in the syntax of the crate `regex`, without look-around and word boundaries.
    Regex(&'a str),
    /// A text of a grammar in llguidance's variant of Lark; its lexer is greedy. `%json {…}` is a value that fits that schema.
    Lark(&'a str),
    /// A text of llama.cpp's grammars, from the rule `root`.
    Gbnf(&'a str),
}

/// What a grammar of Lark begins with, as llama.cpp has it.
const LARK: &str = "%llguidance";

impl<'a> Source<'a> {
    /// A grammar as llama.cpp's users have them: Lark where it begins with `%llguidance`, else GBNF.
    pub fn grammar(text: &'a str) -> Self {
        if text.trim_start().starts_with(LARK) { Source::Lark(text) } else { Source::Gbnf(text) }
    }
}

/// What answers have to be, over one vocabulary.
pub struct Grammar {
    vocabulary: Arc<Vocabulary>,
    /// before the first token; never advanced itself
    start: llguidance::Matcher,
}

impl Grammar {
    /// Reads a text.
    ///
    /// # Errors
    /// A text that is no such thing, or that asks for what cannot be enforced; what nothing fits; more than the limits allow.
    pub fn new(source: Source<'_>, vocabulary: &Arc<Vocabulary>, limits: &Limits) -> Result<Self> {
        let (Source::JsonSchema(text) | Source::Regex(text) | Source::Lark(text) | Source::Gbnf(text)) = source;
        if text.len() > limits.source_bytes {
            return Err(Error::Limit(format!("{} bytes, and the limit is {}", text.len(), limits.source_bytes)));
        }
        let build = |grammar| build(grammar, vocabulary, limits);
        let lark = |text: &str| {
            let (text, schemas) = lark::take_schemas(text)?;
            lark::check(&text, limits)?;
            let mut grammar = TopLevelGrammar::from_lark(text);
            for (i, schema) in schemas.iter().enumerate() {
                let mut schema = schema::read(schema, limits, &build)?;
                let name = Some(lark::place(i));
                schema
                    .grammars
                    .drain(..)
                    .for_each(|schema| grammar.grammars.push(GrammarWithLexer { name: name.clone(), ..schema }));
            }
            build(grammar)
        };
        let start = match source {
            Source::JsonSchema(text) => schema::build(text, limits, &build)?,
            Source::Regex("") => lark("start: \"\"")?,
            Source::Regex(text) => build(TopLevelGrammar::from_regex(pattern::whole(text, limits)?))?,
            Source::Lark(text) => lark(text)?,
            Source::Gbnf(text) => lark(&gbnf::to_lark(text, limits, &|text| vocabulary.find(text))?)?,
        };
        Ok(Grammar { vocabulary: vocabulary.clone(), start })
    }

    /// An answer that has not begun. It shares nothing with others, so none of them can change what this one may say.
    pub fn matcher(&self) -> Matcher {
        Matcher::new(self.start.deep_clone(), self.vocabulary.len())
    }
}

/// What llguidance makes of a grammar, where some text fits it.
fn build(grammar: TopLevelGrammar, vocabulary: &Vocabulary, limits: &Limits) -> Result<llguidance::Matcher> {
    let parser = vocabulary.parsers.create_parser_from_init_ext(
        GrammarInit::Serialized(grammar),
        Logger::new(0, 0),
        InferenceCapabilities::default(),
        limits.parser(),
    );
    let parser = parser.map_err(|error| refused(&error))?;
    ends::check(parser.parser.grammar())?;
    let mut matcher = llguidance::Matcher::new(Ok(parser));
    matcher.compute_mask_or_eos().map_err(|error| refused(&error))?;
    Ok(matcher)
}

/// What llguidance says, sorted by its words.
fn refused(error: &dyn core::fmt::Display) -> Error {
    let text = format!("{error:#}").replace("\n<non-verbose/>", "");
    if text.contains("Unsatisfiable schema") || text.contains("NoExtension") || text.contains("Regex is empty") {
        Error::impossible("", text)
    } else if ["too large", "too complex", "too big", "fuel", "limit"].iter().any(|word| text.contains(word)) {
        Error::Limit(text)
    } else {
        Error::Grammar(text)
    }
}
