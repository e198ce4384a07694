//! Hyperparameters as a file has them: values by key, not yet believed.

use super::{LoadError, limit};
use crate::gguf::{Array, Error as GgufError, Gguf, Value, ValueType};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The metadata of an architecture, from a file or from a stranger: [`Config::parse`](super::Config::parse) reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    architecture: String,
    /// without the architecture's name before the key
    entries: BTreeMap<String, RawValue>,
}

/// A value. Lists are short: one entry a layer, or fewer.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RawValue {
    Bool(bool),
    /// Of any width; what is beyond this one's is held to its end.
    Int(i64),
    /// Of either width.
    Float(f32),
    Text(String),
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
}

impl Raw {
    /// An architecture without any metadata.
    pub fn new(architecture: impl Into<String>) -> Self {
        Raw { architecture: architecture.into(), entries: BTreeMap::new() }
    }

    /// What a file has of its architecture.
    ///
    /// # Errors
    /// No architecture; [`insert`](Self::insert)'s.
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, LoadError> {
        let mut raw = Raw::new(gguf.require_str("general.architecture")?);
        let prefix = format!("{}.", raw.architecture);
        for (key, value) in gguf.metadata() {
            if let Some(key) = key.strip_prefix(&prefix) {
                raw.insert(key, RawValue::new(value).ok_or_else(|| raw.bad(key, "a list", LISTS))?)?;
            }
        }
        Ok(raw)
    }

    /// Adds a value. `key` has no architecture before it.
    ///
    /// # Errors
    /// A key that is there already; more keys, or a longer list, than any model has.
    pub fn insert(&mut self, key: &str, value: RawValue) -> Result<(), LoadError> {
        let len = match &value {
            RawValue::Bool(_) | RawValue::Int(_) | RawValue::Float(_) | RawValue::Text(_) => 0,
            RawValue::Bools(list) => list.len(),
            RawValue::Ints(list) => list.len(),
            RawValue::Floats(list) => list.len(),
            RawValue::Texts(list) => list.len(),
        };
        if len > limit::LIST {
            return Err(self.bad(key, format!("a list of {len}"), LISTS));
        }
        if self.entries.len() >= limit::KEYS {
            return Err(self.bad(key, "one more key", "there are too many"));
        }
        match self.entries.insert(key.to_string(), value) {
            None => Ok(()),
            Some(_) => Err(GgufError::Duplicate { what: "key", name: self.name(key) }.into()),
        }
    }

    /// `general.architecture`
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// All values, by their keys.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&RawValue> {
        self.entries.get(key)
    }

    /// The key as a file has it.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    pub(super) fn bad(&self, key: &str, value: impl ToString, expected: impl Into<String>) -> LoadError {
        LoadError::Hyperparameter { key: self.name(key), value: value.to_string(), expected: expected.into() }
    }

    pub(super) fn missing(&self, key: &str) -> LoadError {
        GgufError::MissingKey(self.name(key)).into()
    }

    /// `None` if the key is absent; an error if it holds something else, like the next three.
    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>, LoadError> {
        self.typed(key, "a boolean", |value| if let RawValue::Bool(value) = value { Some(*value) } else { None })
    }

    pub(super) fn f32(&self, key: &str) -> Result<Option<f32>, LoadError> {
        self.typed(key, "a float", |value| if let RawValue::Float(value) = value { Some(*value) } else { None })
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        self.typed(key, "a string", |value| if let RawValue::Text(value) = value { Some(&**value) } else { None })
    }

    pub(super) fn u32(&self, key: &str) -> Result<Option<u32>, LoadError> {
        let int = |value: &RawValue| if let RawValue::Int(value) = value { Some(*value) } else { None };
        let range = |value: i64| GgufError::Range {
            key: self.name(key),
            value: value.to_string(),
            expected: "0 to 4294967295",
        };
        let found = self.typed(key, "an integer", int)?;
        Ok(found.map(|value| u32::try_from(value).map_err(|_| range(value))).transpose()?)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a RawValue) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let error = || GgufError::WrongType { key: self.name(key), expected, found: value.value_type() };
        Ok(Some(read(value).ok_or_else(error)?))
    }
}

const LISTS: &str = "lists are short, and of numbers, booleans or strings";

impl RawValue {
    fn new(value: &Value<'_>) -> Option<Self> {
        Some(match *value {
            Value::Bool(value) => RawValue::Bool(value),
            Value::F32(value) => RawValue::Float(value),
            Value::F64(value) => RawValue::Float(value as f32),
            Value::String(value) => RawValue::Text(value.into()),
            Value::Array(array) => RawValue::list(&array)?,
            _ => RawValue::Int(int(value)?),
        })
    }

    fn list(array: &Array<'_>) -> Option<Self> {
        // One more than is allowed is enough to be refused.
        let values = array.iter().take(limit::LIST + 1);
        Some(match array.element() {
            ValueType::Bool => RawValue::Bools(values.map(|value| value == Value::Bool(true)).collect()),
            ValueType::String => RawValue::Texts(values.filter_map(|value| Some(value.as_str()?.into())).collect()),
            ValueType::F32 | ValueType::F64 => {
                let float = |value| match value {
                    Value::F32(value) => Some(value),
                    Value::F64(value) => Some(value as f32),
                    _ => None,
                };
                RawValue::Floats(values.filter_map(float).collect())
            }
            ValueType::Array => return None,
            _ => RawValue::Ints(values.filter_map(|value| int(&value)).collect()),
        })
    }

    /// As it most likely is in a file.
    fn value_type(&self) -> ValueType {
        match self {
            RawValue::Bool(_) => ValueType::Bool,
            RawValue::Int(value) if u32::try_from(*value).is_ok() => ValueType::U32,
            RawValue::Int(_) => ValueType::I64,
            RawValue::Float(_) => ValueType::F32,
            RawValue::Text(_) => ValueType::String,
            _ => ValueType::Array,
        }
    }
}

fn int(value: &Value<'_>) -> Option<i64> {
    value.as_int().map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}
