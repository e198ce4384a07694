//! The fields of a JSON object, taken one by one. What is left at the end is a field that nobody knows, and an error: a misspelt name would
//! otherwise change nothing, silently.

use crate::{Error, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use picolm_core::text::Json;

/// A JSON object, and where in the request it stands.
#[derive(Debug)]
pub struct Fields {
    all: Vec<(String, Json)>,
    /// `options.`, or nothing
    path: String,
}

impl Fields {
    /// Reads an object.
    ///
    /// # Errors
    /// Anything else; a text that is no JSON.
    pub fn parse(text: &str) -> Result<Self> {
        match Json::parse(text).map_err(|error| Error::request(format!("the request is {error}")))? {
            Json::Object(all) => Ok(Fields { all, path: String::new() }),
            _ => Err(Error::request("the request is not a JSON object")),
        }
    }

    /// The name of a field as messages show it.
    pub fn name(&self, name: &str) -> String {
        format!("{}{}", self.path, shown(name))
    }

    /// The names of all fields that are left.
    pub fn names(&self) -> Vec<String> {
        self.all.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Whether there is a field of that name.
    pub fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(key, value)| key == name && *value != Json::Null)
    }

    /// A field's value; null is the same as none. Of several of one name the last counts.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        let mut found = None;
        self.all.retain_mut(|(key, value)| {
            let other = key != name;
            if !other {
                found = Some(core::mem::replace(value, Json::Null));
            }
            other
        });
        found.filter(|value| *value != Json::Null)
    }

    /// The first of these that is there: several names of one field.
    fn take_any(&mut self, names: &[&str]) -> Option<(String, Json)> {
        // All are taken: who writes both names means one.
        names
            .iter()
            .filter_map(|name| Some((name.to_string(), self.take(name)?)))
            .fold(None, |first, next| first.or(Some(next)))
    }

    /// A text.
    ///
    /// # Errors
    /// Something else.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a text", &other)),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Something else.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    /// A number, under any of these names. Its range is the business of who uses it.
    ///
    /// # Errors
    /// Something else.
    pub fn number(&mut self, names: &[&str]) -> Result<Option<f32>> {
        match self.take_any(names) {
            None => Ok(None),
            Some((_, Json::Int(number))) => Ok(Some(number as f32)),
            Some((_, Json::Float(number))) => Ok(Some(number as f32)),
            Some((name, other)) => Err(self.wrong(&name, "a number", &other)),
        }
    }

    /// A whole number in a range, under any of these names. JSON has one kind of numbers: 3.0 is 3.
    ///
    /// # Errors
    /// Something else.
    pub fn integer(&mut self, names: &[&str], range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some((name, value)) = self.take_any(names) else { return Ok(None) };
        let number = match value {
            Json::Int(number) => Some(number),
            Json::Float(number) if libm::trunc(number) == number && number.abs() < 9e15 => Some(number as i64),
            Json::Float(number) if libm::trunc(number) != number => {
                return Err(self.wrong(&name, "a whole number", &value));
            }
            Json::Digits(_) | Json::Float(_) => None,
            _ => return Err(self.wrong(&name, "a whole number", &value)),
        };
        number.filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            Error::field(
                self.name(&name),
                format!("is {}, which is not from {low} to {high}", shown(&value.to_string())),
            )
        })
    }

    /// A whole number from 1, under any of these names; -1 says that there is no limit, as leaving it out does.
    ///
    /// # Errors
    /// Something else.
    pub fn limit(&mut self, names: &[&str], most: i64) -> Result<Option<i64>> {
        names.iter().for_each(|name| self.drop_same(name, &["-1"]));
        self.integer(names, 1..=most)
    }

    /// An object.
    ///
    /// # Errors
    /// Something else.
    pub fn object(&mut self, name: &str) -> Result<Option<Fields>> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Object(all)) => Ok(Some(Fields { all, path: format!("{}{name}.", self.path) })),
            Some(other) => Err(self.wrong(name, "an object", &other)),
        }
    }

    /// An object, without fields where there is none.
    ///
    /// # Errors
    /// Something else.
    pub fn object_or_empty(&mut self, name: &str) -> Result<Fields> {
        let empty = Fields { all: Vec::new(), path: format!("{}{name}.", self.path) };
        Ok(self.object(name)?.unwrap_or(empty))
    }

    /// A list.
    ///
    /// # Errors
    /// Something else.
    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Json>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::List(list)) => Ok(Some(list)),
            Some(other) => Err(self.wrong(name, "a list", &other)),
        }
    }

    /// A text, or a list of them.
    ///
    /// # Errors
    /// Something else.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Json::Text(text)) => Ok(Vec::from([text])),
            Some(Json::List(list)) => {
                let text = |value| match value {
                    Json::Text(text) => Ok(text),
                    other => Err(self.wrong(name, "a text or a list of texts", &other)),
                };
                list.into_iter().map(text).collect()
            }
            Some(other) => Err(self.wrong(name, "a text or a list of texts", &other)),
        }
    }

    /// Drops fields that change no answer.
    pub fn ignore(&mut self, names: &[&str]) {
        self.all.retain(|(key, _)| !names.contains(&key.as_str()));
    }

    /// Sets a field. Whether that says the same as what was there.
    pub fn put(&mut self, name: &str, value: Json) -> bool {
        let same = self.take(name).is_none_or(|before| before == value);
        self.all.push((name.to_string(), value));
        same
    }

    /// Gives a field the name that it is read under.
    ///
    /// # Errors
    /// There is one of that name, and it says something else.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        match self.take(from).is_none_or(|value| self.put(to, value)) {
            true => Ok(()),
            false => Err(self.differs(from, &self.name(to))),
        }
    }

    /// The error of a field that says something else than another.
    pub fn differs(&self, name: &str, other: &str) -> Error {
        Error::field(self.name(name), format!("says something else than {other}"))
    }

    /// Drops a field that says, written as JSON, one of these.
    fn drop_same(&mut self, name: &str, values: &[&str]) {
        // Through the reader of requests: 1.0 is 1.
        let number = |value: &Json| match *value {
            Json::Int(number) => Some(number as f64),
            Json::Float(number) => Some(number),
            _ => None,
        };
        let same = |value: &Json, text: &&str| match number(value) {
            Some(n) => Json::parse(text).is_ok_and(|text| number(&text) == Some(n)),
            None => value.to_string() == **text,
        };
        self.all.retain(|(key, value)| key != name || !values.iter().any(|text| same(value, text)));
    }

    /// Refuses a field that asks for something picolm has not, unless it is empty or, written as JSON, says the same as leaving it out.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::Kind::Unsupported).
    pub fn refuse(&mut self, name: &str, same_as_none: &[&str], why: &str) -> Result<()> {
        self.drop_same(name, same_as_none);
        match self.take(name) {
            Some(Json::List(list)) if list.is_empty() => Ok(()),
            Some(_) => Err(Error::unsupported(self.name(name), why)),
            None => Ok(()),
        }
    }

    /// All fields have been taken.
    ///
    /// # Errors
    /// One is left, and is not null: [`Kind::Unsupported`](crate::Kind::Unsupported).
    pub fn finish(self) -> Result<()> {
        match self.all.iter().find(|(_, value)| *value != Json::Null) {
            None => Ok(()),
            Some((name, _)) => Err(Error::unsupported(self.name(name), "is no field that is known here")),
        }
    }

    /// What is left, as it is.
    pub fn into_pairs(self) -> Vec<(String, Json)> {
        self.all
    }

    fn wrong(&self, name: &str, wanted: &str, found: &Json) -> Error {
        Error::field(self.name(name), format!("has to be {wanted}, and is {}", shown(&found.to_string())))
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
    use crate::Kind;

    fn fields(text: &str) -> Fields {
        Fields::parse(text).expect("an object")
    }

    #[test]
    fn errors_name_the_field_and_the_reason() {
        let message = |error: Error| (error.field.unwrap_or_default(), error.message);
        let mut all = fields(r#"{"a": 3, "b": "x", "c": 1.5, "d": {"e": []}, "f": [1], "g": 1e300, "h": "x"}"#);
        let found = message(all.integer(&["a"], 0..=2).unwrap_err());
        assert_eq!(found, ("a".to_string(), "a is 3, which is not from 0 to 2".to_string()));
        assert_eq!(message(all.boolean("b").unwrap_err()).1, "b has to be true or false, and is \"x\"");
        assert_eq!(message(all.integer(&["c"], 0..=9).unwrap_err()).1, "c has to be a whole number, and is 1.5");
        let mut inner = all.object("d").unwrap().unwrap();
        assert_eq!(message(inner.text("e").unwrap_err()).0, "d.e");
        assert_eq!(message(all.texts("f").unwrap_err()).1, "f has to be a text or a list of texts, and is 1");
        assert_eq!(message(all.integer(&["g"], 0..=9).unwrap_err()).1, "g is 1e300, which is not from 0 to 9");
        assert_eq!(message(all.number(&["h"]).unwrap_err()).1, "h has to be a number, and is \"x\"");
        let left = fields(r#"{"temprature": 1}"#).finish().unwrap_err();
        assert_eq!(left.kind, Kind::Unsupported);
        assert_eq!(message(left).1, "temprature is no field that is known here");
    }

    #[test]
    fn null_is_none_whole_floats_are_integers_and_the_last_of_several_counts() {
        let mut all = fields(r#"{"a": null, "b": 3.0, "c": 18446744073709551616, "d": -1, "e": 1, "e": 2, "g": 5}"#);
        assert_eq!(all.number(&["a"]).unwrap(), None);
        assert_eq!(all.integer(&["b"], 0..=9).unwrap(), Some(3));
        assert!(all.integer(&["c"], 0..=i64::MAX).is_err());
        assert!(all.integer(&["d"], 0..=9).is_err());
        assert_eq!(all.integer(&["e"], 0..=9).unwrap(), Some(2));
        assert_eq!(all.integer(&["f", "g"], 0..=9).unwrap(), Some(5));
        assert!(all.finish().is_ok());
    }

    #[test]
    fn other_names_and_no_limits() {
        let mut all = fields(r#"{"a": 3, "b": 4, "c": 4, "d": -1, "e": -1.0, "f": null}"#);
        all.rename("a", "x").unwrap();
        all.rename("b", "c").unwrap();
        assert_eq!((all.take("x"), all.take("c"), all.take("b")), (Some(Json::Int(3)), Some(Json::Int(4)), None));
        assert_eq!(all.limit(&["d", "e"], 9).unwrap(), None);
        assert!(all.finish().is_ok());
        let mut all = fields(r#"{"a": 3, "b": 4, "c": 0}"#);
        assert_eq!(all.rename("a", "b").unwrap_err().message, "a says something else than b");
        assert_eq!(all.limit(&["c"], 9).unwrap_err().message, "c is 0, which is not from 1 to 9");
    }

    #[test]
    fn what_asks_for_nothing_is_not_refused() {
        let text = r#"{"tools": [], "format": {"type": "text"}, "suffix": "", "typical_p": 1.0, "mirostat": 2}"#;
        let mut all = fields(text);
        all.refuse("tools", &[], "is not there").unwrap();
        all.refuse("typical_p", &["1"], "is not there").unwrap();
        assert_eq!(all.refuse("mirostat", &["0"], "is not there").unwrap_err().message, "mirostat is not there");
        all.refuse("format", &[r#"{"type":"text"}"#], "is not there").unwrap();
        assert_eq!(all.refuse("suffix", &[], "is not there").unwrap_err().message, "suffix is not there");
        assert!(["", "[1]", "{\"a\": 1e999}", "null"].iter().all(|text| Fields::parse(text).is_err()));
    }
}
