//! JSON schemas: each keyword is enforced, or refused by a pointer to it.
//!
//! ```text
//!   text ──► Document: places, anchors ──► reader: keywords one by one ──► a plain schema ──► llguidance
//!                                            │ oneOf: apart (no value fits two)                   │ refuses
//!                                            │ format: formats     pattern: crate::pattern        ▼
//!                                            └──────────── blame: which subschema it was ◄────────┘
//! ```
//!
//! llguidance sees only what [`reader`] writes: keywords of draft 2020-12 that it enforces in every combination, references that are places
//! of one table, and its own options. So a keyword that no one here knows to be enforced cannot slip through.

mod apart;
mod blame;
mod closed;
mod document;
mod formats;
mod levels;
mod numbers;
mod reader;

use crate::{Error, Limits, Result};
use document::Document;
use llguidance::api::TopLevelGrammar;
use reader::Reader;
use serde_json::{Value, json};

/// What is made of a grammar.
type Build<'a> = &'a dyn Fn(TopLevelGrammar) -> Result<llguidance::Matcher>;

/// A matcher of the values that fit a schema.
pub(crate) fn build(text: &str, limits: &Limits, build: Build<'_>) -> Result<llguidance::Matcher> {
    with_document(text, limits, build, build)
}

/// The grammar of the values that fit a schema, which is one that can be built.
pub(crate) fn read(text: &str, limits: &Limits, build: Build<'_>) -> Result<TopLevelGrammar> {
    with_document(text, limits, build, |grammar| build(grammar.clone()).map(|_| grammar))
}

fn with_document<T>(
    text: &str,
    limits: &Limits,
    build: Build<'_>,
    make: impl Fn(TopLevelGrammar) -> Result<T>,
) -> Result<T> {
    let root: Value = serde_json::from_str(text).map_err(|error| Error::schema("", format!("no JSON: {error}")))?;
    let closes = !limits.unlisted && !closed::puts_together(&root);
    let document = Document::new(root);
    let grammar_at = |pointer: &str| {
        let mut reader = Reader::new(&document, limits, closes);
        let schema = reader.read(pointer)?;
        levels::check(&schema, limits)?;
        Ok(TopLevelGrammar::from_json_schema(with_options(schema, limits)))
    };
    grammar_at("").and_then(make).map_err(|error| {
        blame::find(error, &document, limits, &|pointer| grammar_at(pointer).and_then(build).map(|_| ()))
    })
}

/// llguidance's options. No character is escaped by its number: a property could be named in two ways, and one of them would be taken for
/// another property.
fn with_options(mut schema: Value, limits: &Limits) -> Value {
    schema["x-guidance"] = json!({
        "json_allowed_escapes": "nrbtf\\\"",
        "whitespace_pattern": format!("[ \\n\\r\\t]{{1,{}}}", limits.white_space.max(1)),
    });
    schema
}
