//! Which subschema it is that llguidance refuses.

use super::document::Document;
use super::reader::Reader;
use crate::{Error, Limits, Result};
use core::mem::discriminant;
use std::collections::HashSet;

/// Most subschemas that are tried by themselves.
const MOST: usize = 200;

/// Keywords, and words of llguidance's about them.
const WORDS: [(&str, &str); 8] = [
    ("patternProperty", "patternProperties"),
    ("min/maxProperties", "minProperties"),
    ("min/maxProperties", "maxProperties"),
    ("minProperties", "minProperties"),
    ("multipleOf", "multipleOf"),
    ("minItems", "minItems"),
    ("sibling keys", "$ref"),
    ("egex", "pattern"),
];

/// The error with a pointer: to the innermost subschema that by itself is refused for the same kind of reason, and to the keyword if there is a
/// word of one in it.
pub(super) fn find(error: Error, document: &Document, limits: &Limits, build: &dyn Fn(&str) -> Result<()>) -> Error {
    let (mut place, mut error) = (String::new(), error);
    if !matches!(&error, Error::Grammar(_))
        && !matches!(&error, Error::Impossible { pointer, .. } if pointer.is_empty())
    {
        return error;
    }
    let (mut tried, mut seen) = (0, HashSet::new());
    'inward: loop {
        let mut reader = Reader::new(document, limits, false);
        if reader.read(&place).is_err() {
            break;
        }
        for child in reader.children {
            if tried == MOST || !seen.insert(child.clone()) {
                continue;
            }
            tried += 1;
            if let Err(inner) = build(&child)
                && discriminant(&inner) == discriminant(&error)
            {
                (place, error) = (child, inner);
                continue 'inward;
            }
        }
        break;
    }
    let what = match &error {
        Error::Grammar(what) | Error::Impossible { what, .. } => what.clone(),
        _ => String::new(),
    };
    let has = |keyword: &str| document.at(&place).is_some_and(|schema| schema.get(keyword).is_some());
    let keyword = WORDS.iter().find(|(word, keyword)| what.contains(word) && has(keyword));
    let pointer = keyword.map_or_else(|| place.clone(), |(_, keyword)| format!("{place}/{keyword}"));
    match error {
        Error::Impossible { .. } => Error::Impossible { pointer, what },
        _ => Error::Schema { pointer, what },
    }
}
