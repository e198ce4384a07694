//! Objects with the properties that their schema lists, and no others.
//!
//! A schema that says nothing of further properties allows any, and a small model that writes one goes on to the next, to the end of its budget.
//! What is listed is what was meant. A schema that is narrower in this way asks for nothing that the wider one forbids, as long as it is not put
//! together with another, which may list the rest: then all stays as it is.

use serde_json::{Map, Value};

/// Keywords beside which a reference, or several schemas, say all there is to be said of a value.
const BESIDE: &[&str] = &[
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "examples",
    "nullable",
    "title",
];

/// Keywords of an object whose properties are all listed.
const OF_LISTS: &[&str] = &["properties", "required", "type"];

/// Whether some value has to fit several schemas at once. Whatever looks like it counts, also where it is no schema.
pub(super) fn puts_together(value: &Value) -> bool {
    let map = match value {
        Value::Object(map) => map,
        Value::Array(items) => return items.iter().any(puts_together),
        _ => return false,
    };
    let is_alone = |keyword: &str| map.keys().all(|other| other == keyword || BESIDE.contains(&other.as_str()));
    let one = |keyword| map.contains_key(keyword) && !is_alone(keyword);
    let several = map.get("allOf").and_then(Value::as_array).is_some_and(|schemas| schemas.len() > 1);
    several || ["allOf", "anyOf", "oneOf", "$ref"].into_iter().any(one) || map.values().any(puts_together)
}

/// Whether a schema lists some properties, those that it requires among them, and says nothing else of objects.
pub(super) fn lists_all(map: &Map<String, Value>) -> bool {
    let Some(Value::Object(listed)) = map.get("properties") else { return false };
    let mut required = map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    !listed.is_empty()
        && required.all(|name| listed.contains_key(name))
        && map.keys().all(|keyword| OF_LISTS.contains(&keyword.as_str()) || BESIDE.contains(&keyword.as_str()))
}
