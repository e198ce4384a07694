//! How deep llguidance goes into a schema: it follows a reference where it first meets it, on the stack.

use crate::{Error, Limits, Result};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Goes through a schema that [`Reader`](super::reader::Reader) has written as llguidance does.
///
/// # Errors
/// It is deeper than the limits allow.
pub(super) fn check(schema: &Value, limits: &Limits) -> Result<()> {
    Walk { root: schema, seen: HashSet::new(), most: limits.depth }.schema(schema, 0)
}

struct Walk<'a> {
    root: &'a Value,
    seen: HashSet<&'a str>,
    most: usize,
}

impl<'a> Walk<'a> {
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Result<()> {
        if depth > self.most {
            return Err(Error::Limit(format!("a schema that nests deeper than {}, with what it refers to", self.most)));
        }
        let Value::Object(map) = schema else { return Ok(()) };
        let mut plain = false;
        for (keyword, value) in map {
            match keyword.as_str() {
                "allOf" | "anyOf" => self.list(value, depth)?,
                "$ref" => {
                    let place = value.as_str().unwrap_or_default();
                    if self.seen.insert(place) {
                        let target = self.root.pointer(place.trim_start_matches('#')).unwrap_or(&Value::Null);
                        self.schema(target, depth + 1)?;
                    }
                }
                "$defs" | "const" | "enum" => {}
                _ if plain => {}
                _ => {
                    plain = true;
                    self.plain(map, depth)?;
                }
            }
        }
        Ok(())
    }

    /// Type by type.
    fn plain(&mut self, map: &'a Map<String, Value>, depth: usize) -> Result<()> {
        let arrays_last = match map.get("type") {
            Some(Value::Array(types)) => {
                types.iter().position(|name| name == "array") > types.iter().position(|name| name == "object")
            }
            _ => false,
        };
        for is_array in [!arrays_last, arrays_last] {
            let (lists, one) = if is_array {
                (&["prefixItems"][..], "items")
            } else {
                (&["properties", "patternProperties"][..], "additionalProperties")
            };
            for list in lists {
                map.get(*list).map_or(Ok(()), |value| self.list(value, depth))?;
            }
            map.get(one).map_or(Ok(()), |value| self.schema(value, depth + 1))?;
        }
        Ok(())
    }

    fn list(&mut self, value: &'a Value, depth: usize) -> Result<()> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.schema(item, depth + 1)),
            Value::Object(items) => items.values().try_for_each(|item| self.schema(item, depth + 1)),
            _ => Ok(()),
        }
    }
}
