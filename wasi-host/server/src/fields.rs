//! The fields of a request, taken one by one. What is left at the end is a field that nobody knows, and an error: a misspelt name would
//! otherwise change nothing, silently.

use super::error::{ApiError, Result};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// A JSON object, and where in the request it stands.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// `options.`, or nothing
    path: String,
}

impl Fields {
    /// Reads a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(body).map_err(|error| ApiError::body(format!("is not UTF-8: {error}")))?;
        let value = serde_json::from_str(text).map_err(|error| ApiError::body(format!("is not JSON: {error}")))?;
        match value {
            Value::Object(map) => Ok(Fields { map, path: String::new() }),
            _ => Err(ApiError::body("is not a JSON object")),
        }
    }

    /// The name of a field as messages show it.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// A field's value; null is the same as none.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a text", &other)),
        }
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f32>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let Some(number) = value.as_f64() else { return Err(self.wrong(name, "a number", &value)) };
        match range.contains(&number) {
            true => Ok(Some(number as f32)),
            false => Err(self.outside(name, &value, range.start(), range.end())),
        }
    }

    pub(crate) fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        // JSON has one kind of numbers: 3.0 is 3.
        let whole = value.as_f64().filter(|x| x.trunc() == *x && x.abs() < 9e15).map(|x| x as i64);
        match value.as_i64().or(whole) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            Some(_) => Err(self.outside(name, &value, range.start(), range.end())),
            None => Err(self.wrong(name, "a whole number", &value)),
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Fields>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { map, path: format!("{}{name}.", self.path) })),
            Some(other) => Err(self.wrong(name, "an object", &other)),
        }
    }

    /// A text, or a list of them.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) => {
                let text = |value: Value| match value {
                    Value::String(text) => Ok(text),
                    other => Err(self.wrong(name, "a text or a list of texts", &other)),
                };
                list.into_iter().map(text).collect()
            }
            Some(other) => Err(self.wrong(name, "a text or a list of texts", &other)),
        }
    }

    /// Fields that change no answer here.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        names.iter().for_each(|name| {
            self.map.remove(*name);
        });
    }

    /// Refuses a field that asks for something picolm has not, unless it is empty or says the same as leaving it out.
    pub(crate) fn refuse(&mut self, name: &str, same_as_none: &[Value], why: &str) -> Result<()> {
        match self.take(name) {
            Some(Value::Array(list)) if list.is_empty() => Ok(()),
            Some(value) if !same_as_none.contains(&value) => {
                Err(ApiError { code: "unsupported", ..ApiError::field(self.name(name), why) })
            }
            _ => Ok(()),
        }
    }

    /// All fields are taken.
    pub(crate) fn finish(self) -> Result<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError {
                code: "unknown_field",
                ..ApiError::field(self.name(&shown(name)), "is no field that this server knows")
            }),
        }
    }

    /// What is left, as it is.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.map
    }

    fn wrong(&self, name: &str, wanted: &str, found: &Value) -> ApiError {
        ApiError::field(self.name(name), format!("has to be {wanted}, and is {}", shown(&found.to_string())))
    }

    fn outside(
        &self,
        name: &str,
        found: &Value,
        low: &dyn std::fmt::Display,
        high: &dyn std::fmt::Display,
    ) -> ApiError {
        ApiError::field(self.name(name), format!("is {found}, which is not from {low} to {high}"))
    }
}

/// The beginning of a text: messages do not repeat megabytes.
fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).expect("an object")
    }

    #[test]
    fn errors_name_the_field_and_the_reason() {
        let message = |error: ApiError| (error.param.unwrap_or_default(), error.message);
        let mut all = fields(r#"{"a": 3, "b": "x", "c": 1.5, "d": {"e": []}, "f": [1]}"#);
        let found = message(all.number("a", 0.0..=2.0).unwrap_err());
        assert_eq!(found, ("a".to_string(), "a is 3, which is not from 0 to 2".to_string()));
        assert_eq!(message(all.boolean("b").unwrap_err()).1, "b has to be true or false, and is \"x\"");
        assert_eq!(message(all.integer("c", 0..=9).unwrap_err()).1, "c has to be a whole number, and is 1.5");
        let mut inner = all.object("d").unwrap().unwrap();
        assert_eq!(message(inner.text("e").unwrap_err()).0, "d.e");
        assert_eq!(message(all.texts("f").unwrap_err()).1, "f has to be a text or a list of texts, and is 1");
        let left = fields(r#"{"temprature": 1}"#).finish().unwrap_err();
        assert_eq!(message(left).1, "temprature is no field that this server knows");
    }

    #[test]
    fn null_is_none_and_whole_floats_are_integers() {
        let mut all = fields(r#"{"a": null, "b": 3.0, "c": 18446744073709551616, "d": -1}"#);
        assert_eq!(all.number("a", 0.0..=1.0).unwrap(), None);
        assert_eq!(all.integer("b", 0..=9).unwrap(), Some(3));
        assert!(all.integer("c", 0..=i64::MAX).is_err());
        assert!(all.integer("d", 0..=9).is_err());
    }

    #[test]
    fn bodies_that_are_none() {
        for (body, why) in [
            (&b"{\"a\": \"\xff\"}"[..], "UTF-8"),
            (b"[1]", "object"),
            (b"{\"a\": NaN}", "JSON"),
            (b"{\"a\": 1e999}", "JSON"),
            (b"", "JSON"),
            (&b"[".repeat(100_000), "JSON"),
        ] {
            let message = Fields::parse(body).unwrap_err().message;
            assert!(message.starts_with("the body is not ") && message.contains(why), "{message}");
        }
    }
}
