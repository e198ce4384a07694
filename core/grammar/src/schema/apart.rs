//! Whether the schemas of a `oneOf` are apart: no value fits two of them. Only then is it what `anyOf` is, which can be enforced.
//!
//! They are compared two by two, by what is required of every value that fits: its types, its values where they are listed, how large it is,
//! and for objects the properties that have to be there.

use super::document::{Document, child};
use serde_json::{Map, Value};

/// Most comparisons for one `oneOf`, and how far they follow references and properties.
const STEPS: usize = 2_000_000;
const DEPTH: usize = 12;

/// Looks at all pairs of the list at a place.
///
/// # Errors
/// Two that may not be apart: in words.
pub(super) fn check(document: &Document, place: &str) -> Result<(), String> {
    let count = document.at(place).and_then(Value::as_array).map_or(0, Vec::len);
    let mut compare = Compare { document, steps: STEPS };
    for first in 0..count {
        for second in first + 1..count {
            let [one, other] = [first, second].map(|index| format!("{place}/{index}"));
            let is_apart = compare.apart(&one, &other, DEPTH);
            if compare.steps == 0 {
                return Err("there are too many schemas to be compared with each other".into());
            }
            if !is_apart {
                return Err(format!(
                    "that only one of its schemas fits cannot be enforced: a value may fit those at {first} and {second}"
                ));
            }
        }
    }
    Ok(())
}

struct Compare<'a> {
    document: &'a Document,
    steps: usize,
}

impl<'a> Compare<'a> {
    /// Whether certainly no value fits both.
    fn apart(&mut self, one: &str, other: &str, depth: usize) -> bool {
        if self.steps == 0 || depth == 0 || one == other {
            return false;
        }
        self.steps -= 1;
        let (ones, others) = (self.all_of(one, depth), self.all_of(other, depth));
        // Each part has to fit: two parts that are apart are enough.
        ones.iter().any(|a| others.iter().any(|b| self.parts_apart(a, b)))
            || self
                .options(&ones)
                .is_some_and(|options| options.iter().all(|option| self.apart(option, other, depth - 1)))
            || self
                .options(&others)
                .is_some_and(|options| options.iter().all(|option| self.apart(one, option, depth - 1)))
            || self.properties_apart(&ones, &others, depth)
    }

    /// The schemas that have to fit at once: this one, and those of its `$ref` and `allOf`.
    fn all_of(&mut self, place: &str, depth: usize) -> Vec<String> {
        let (mut all, mut open) = (Vec::new(), vec![place.to_string()]);
        while let Some(place) = open.pop() {
            if all.contains(&place) || all.len() > 4 * depth || self.steps == 0 {
                continue;
            }
            self.steps -= 1;
            if let Some(Value::Object(map)) = self.document.at(&place) {
                let reference = map.get("$ref").and_then(Value::as_str);
                open.extend(reference.and_then(|reference| self.document.resolve(&place, reference).ok()));
                let parts = map.get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
                open.extend((0..parts).map(|index| format!("{place}/allOf/{index}")));
            }
            all.push(place);
        }
        all
    }

    /// Alternatives, of which a value has to fit one.
    fn options(&self, parts: &[String]) -> Option<Vec<String>> {
        parts.iter().find_map(|place| {
            let map = self.document.at(place)?.as_object()?;
            let keyword = ["anyOf", "oneOf"].into_iter().find(|keyword| map.contains_key(*keyword))?;
            let count = map[keyword].as_array()?.len();
            Some((0..count).map(|index| format!("{place}/{keyword}/{index}")).collect())
        })
    }

    fn parts_apart(&mut self, one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (self.document.at(one), self.document.at(other)) else { return false };
        let (one, other) = match (one, other) {
            (Value::Bool(false), _) | (_, Value::Bool(false)) => return true,
            (Value::Object(one), Value::Object(other)) => (one, other),
            _ => return false,
        };
        let types = kinds(one) & kinds(other);
        if types == 0 {
            return true;
        }
        if let (Some(ones), Some(others)) = (values(one), values(other)) {
            self.steps = self.steps.saturating_sub(ones.len() * others.len());
            return ones.iter().all(|a| others.iter().all(|b| !equal(a, b)));
        }
        let by_size = |kind, low, high| {
            types == kind && (range_apart(one, other, low, high) || range_apart(other, one, low, high))
        };
        by_size(STRING, "minLength", "maxLength")
            || by_size(ARRAY, "minItems", "maxItems")
            || by_size(NUMBER, "minimum", "maximum")
    }

    /// Whether both are of objects alone, and some property that one requires cannot be what both ask of it.
    fn properties_apart(&mut self, ones: &[String], others: &[String], depth: usize) -> bool {
        if self.kinds_of(ones) & self.kinds_of(others) != OBJECT {
            return false;
        }
        let required: Vec<String> = ones.iter().chain(others).flat_map(|place| self.required(place)).collect();
        required.iter().any(|name| {
            let (ones, others) = (self.of_property(ones, name), self.of_property(others, name));
            let certainly_absent = |schemas: &[Option<String>]| schemas.iter().any(Option::is_none);
            certainly_absent(&ones)
                || certainly_absent(&others)
                || ones
                    .iter()
                    .flatten()
                    .any(|one| others.iter().flatten().any(|other| self.apart(one, other, depth - 1)))
        })
    }

    fn kinds_of(&self, parts: &[String]) -> u8 {
        let objects = parts.iter().filter_map(|place| self.document.at(place)?.as_object());
        objects.fold(ALL, |all, map| all & kinds(map))
    }

    fn required(&self, place: &str) -> Vec<String> {
        let list = self.document.at(place).and_then(|schema| schema.get("required")?.as_array());
        list.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_string())).collect()
    }

    /// The schemas of a property, as far as parts name it; `None` where one forbids it.
    fn of_property(&self, parts: &[String], name: &str) -> Vec<Option<String>> {
        let of = |place: &String| {
            let map = self.document.at(place)?.as_object()?;
            if map.get("properties").is_some_and(|properties| properties.get(name).is_some()) {
                return Some(Some(child(&format!("{place}/properties"), name)));
            }
            let is_closed =
                map.get("additionalProperties") == Some(&Value::Bool(false)) && !map.contains_key("patternProperties");
            is_closed.then_some(None)
        };
        parts.iter().filter_map(of).collect()
    }
}

const NULL: u8 = 1;
const BOOLEAN: u8 = 2;
const NUMBER: u8 = 4;
const STRING: u8 = 8;
const ARRAY: u8 = 16;
const OBJECT: u8 = 32;
const ALL: u8 = 63;

/// The types that fit, a bit each; whole numbers are numbers.
fn kinds(map: &Map<String, Value>) -> u8 {
    let by_name = |name: &Value| match name.as_str() {
        Some("null") => NULL,
        Some("boolean") => BOOLEAN,
        Some("integer" | "number") => NUMBER,
        Some("string") => STRING,
        Some("array") => ARRAY,
        Some("object") => OBJECT,
        _ => ALL,
    };
    let named = match map.get("type") {
        Some(Value::Array(names)) => names.iter().fold(0, |all, name| all | by_name(name)),
        Some(name) => by_name(name),
        None => ALL,
    };
    let listed = values(map).map_or(ALL, |values| values.iter().fold(0, |all, value| all | kind(value)));
    named & listed
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Number(_) => NUMBER,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    }
}

/// The only values that fit, where they are listed.
fn values(map: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (map.get("const"), map.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// As JSON Schema compares values: 1 is 1.0.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| equal(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, a)| other.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}

/// Whether all sizes that `low` allows to the one are above those that `high` allows to the other.
fn range_apart(one: &Map<String, Value>, other: &Map<String, Value>, low: &str, high: &str) -> bool {
    let number = |map: &Map<String, Value>, keyword| map.get(keyword).and_then(Value::as_f64);
    number(one, low).zip(number(other, high)).is_some_and(|(low, high)| low > high)
}
