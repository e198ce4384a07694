//! [`Reader`]: a schema, keyword by keyword, as one that llguidance enforces.

use super::document::{Document, child};
use super::formats::{self, Format};
use super::{apart, closed, numbers};
use crate::{Error, Limits, Result, pattern};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};

/// Reads the schema at one place, and those that it refers to.
pub(super) struct Reader<'a> {
    document: &'a Document,
    limits: &'a Limits,
    /// whether objects have only the properties that are listed
    closes: bool,
    /// The places of the subschemas directly in the schema that was read first, references among them.
    pub(super) children: Vec<String>,
    /// where reading began
    root: String,
    /// places that references name, by their number in the table
    definitions: HashMap<String, usize>,
    unread: Vec<String>,
    nodes: usize,
    divisors: BTreeSet<u64>,
}

/// A keyword on its way: its place, and its value.
struct At<'a> {
    schema: &'a str,
    place: String,
    value: &'a Value,
    depth: usize,
}

impl At<'_> {
    fn refuse(&self, what: impl Into<String>) -> Error {
        Error::schema(&self.place, what)
    }
}

/// Keywords that say nothing about values.
const ANNOTATIONS: &[&str] =
    &["$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$comment", "$vocabulary", "$defs", "definitions"];

/// What no one enforces, but where it asks for nothing.
const REFUSED: &[(&str, &str)] = &[
    ("$dynamicRef", "references by what is around them cannot be enforced"),
    ("$recursiveRef", "references by what is around them cannot be enforced"),
    ("not", "what a value must not be cannot be enforced"),
    ("contains", "what some item has to be cannot be enforced"),
    ("propertyNames", "names of properties can be enforced by patternProperties and additionalProperties only"),
    ("dependentRequired", "properties that depend on others cannot be enforced"),
    ("dependentSchemas", "properties that depend on others cannot be enforced"),
    ("dependencies", "properties that depend on others cannot be enforced"),
    ("unevaluatedItems", "it cannot be enforced: items or maxItems can"),
    ("disallow", "it is of draft 3, which is not read"),
    ("divisibleBy", "it is of draft 3, which is not read: multipleOf can be enforced"),
    ("extends", "it is of draft 3, which is not read: allOf can be enforced"),
];

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document, limits: &'a Limits, closes: bool) -> Self {
        Reader {
            document,
            limits,
            closes,
            children: Vec::new(),
            root: String::new(),
            definitions: HashMap::new(),
            unread: Vec::new(),
            nodes: 0,
            divisors: BTreeSet::new(),
        }
    }

    /// The schema at a place, with all it refers to in one table `$defs`.
    pub(super) fn read(&mut self, place: &str) -> Result<Value> {
        self.root = place.into();
        let root = self.document.at(place).ok_or_else(|| Error::schema(place, "is not there"))?;
        let mut schema = match self.schema(place, root, 0)? {
            Value::Bool(true) => json!({}),
            Value::Bool(false) => return Err(Error::impossible(place, "the schema is false")),
            schema => schema,
        };
        let mut table = Map::new();
        while let Some(place) = self.unread.pop() {
            let target = self.document.at(&place).ok_or_else(|| Error::schema(&place, "is not there"))?;
            let read = self.schema(&place, target, 1)?;
            table.insert(self.definitions[&place].to_string(), read);
        }
        if !table.is_empty() {
            schema["$defs"] = table.into();
        }
        Ok(schema)
    }

    fn schema(&mut self, place: &str, schema: &Value, depth: usize) -> Result<Value> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(Error::Limit(format!("a schema of more than {} subschemas", self.limits.nodes)));
        }
        if depth > self.limits.depth {
            return Err(Error::Limit(format!("{place}: a schema that nests deeper than {}", self.limits.depth)));
        }
        let map = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(map) => map,
            _ => return Err(Error::schema(place, "a schema has to be an object, true or false")),
        };
        let mut out = Map::new();
        for (keyword, value) in map {
            let at = At { schema: place, place: child(place, keyword), value, depth };
            self.keyword(keyword, &at, map, &mut out)?;
        }
        if self.closes && closed::lists_all(map) {
            out.insert("additionalProperties".into(), false.into());
        }
        self.properties_together(place, map)?;
        Ok(in_order(out).into())
    }

    fn keyword(
        &mut self,
        keyword: &str,
        at: &At<'_>,
        map: &Map<String, Value>,
        out: &mut Map<String, Value>,
    ) -> Result<()> {
        let value = match keyword {
            _ if ANNOTATIONS.contains(&keyword) => return Ok(()),
            "type" => types(at)?,
            "const" => literal(at, at.value)?,
            "enum" => {
                let values = list(at)?.iter().map(|value| literal(at, value)).collect::<Result<Vec<_>>>()?;
                if values.is_empty() {
                    return Err(Error::impossible(&at.place, "no value is allowed"));
                }
                values.into()
            }
            "allOf" | "anyOf" | "oneOf" => return self.several(keyword, at, out),
            "$ref" => {
                let reference = at.value.as_str().ok_or_else(|| at.refuse("has to be a text"))?;
                let target = self.document.resolve(at.schema, reference).map_err(|what| at.refuse(what))?;
                self.reference(target, at.depth).into()
            }
            "properties" => self.members(at, |name| Ok(name.into()))?,
            "patternProperties" => {
                let limits = self.limits;
                self.members(at, |name| pattern::search(name, limits).map_err(|what| at.refuse(what)))?
            }
            "additionalProperties" => self.inner(at)?,
            "items" if at.value.is_array() => {
                out.insert("prefixItems".into(), self.schemas(at)?.into());
                return Ok(());
            }
            "prefixItems" if map.get("items").is_some_and(Value::is_array) => {
                return Err(at.refuse("prefixItems beside a list of items"));
            }
            "prefixItems" => self.schemas(at)?.into(),
            "additionalItems" if map.get("items").is_some_and(Value::is_array) => {
                let items = self.inner(at)?;
                out.insert("items".into(), items);
                return Ok(());
            }
            // Beside items that are one schema it means nothing.
            "additionalItems" => return Ok(()),
            "items" => self.inner(at)?,
            "required" => {
                let names = list(at)?;
                if names.iter().any(|name| !name.is_string()) {
                    return Err(at.refuse("has to be a list of names"));
                }
                self.check_properties(at, names.len())?;
                names.clone().into()
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                self.count(keyword, at)?.into()
            }
            "pattern" => {
                let text = at.value.as_str().ok_or_else(|| at.refuse("has to be a text"))?;
                let pattern = pattern::search(text, self.limits).map_err(|what| at.refuse(what))?;
                conjunction(out, "pattern", pattern.into());
                return Ok(());
            }
            "format" => return format(at, map, out),
            "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum" => return bound(keyword, at, map, out),
            "multipleOf" => self.divisor(at)?,
            "uniqueItems" => {
                let most = map.get("maxItems").and_then(Value::as_u64);
                return match at.value {
                    Value::Bool(false) => Ok(()),
                    Value::Bool(true) if most.is_some_and(|most| most <= 1) || !may_be(map, "array") => Ok(()),
                    _ => Err(at.refuse("that no two items are the same cannot be enforced")),
                };
            }
            "unevaluatedProperties" => return self.unevaluated(at, map, out),
            "if" if map.contains_key("then") || map.contains_key("else") => {
                return Err(at.refuse("what depends on a value cannot be enforced"));
            }
            // By themselves they mean nothing.
            "if" | "then" | "else" | "minContains" | "maxContains" => return Ok(()),
            _ => {
                let refused = REFUSED.iter().find(|(name, _)| *name == keyword);
                return match refused {
                    Some((_, why)) if !asks_for_nothing(keyword, at.value, map) => Err(at.refuse(*why)),
                    // Annotations, and what nobody has defined.
                    _ => Ok(()),
                };
            }
        };
        out.insert(keyword.into(), value);
        Ok(())
    }

    fn inner(&mut self, at: &At<'_>) -> Result<Value> {
        self.child(at, at.place.clone(), at.value)
    }

    fn child(&mut self, at: &At<'_>, place: String, value: &Value) -> Result<Value> {
        let read = self.schema(&place, value, at.depth + 1)?;
        if at.depth == 0 {
            self.children.push(place);
        }
        Ok(read)
    }

    fn schemas(&mut self, at: &At<'_>) -> Result<Vec<Value>> {
        let items = list(at)?.iter().enumerate();
        items.map(|(index, value)| self.child(at, format!("{}/{index}", at.place), value)).collect()
    }

    fn members(&mut self, at: &At<'_>, name: impl Fn(&str) -> Result<String>) -> Result<Value> {
        let map = at.value.as_object().ok_or_else(|| at.refuse("has to be an object"))?;
        self.check_properties(at, map.len())?;
        let mut out = Map::new();
        for (key, value) in map {
            let read = self.child(at, child(&at.place, key), value)?;
            if out.insert(name(key)?, read).is_some() {
                return Err(at.refuse(format!("{key:?} means the same as one before it")));
            }
        }
        Ok(out.into())
    }

    fn check_properties(&self, at: &At<'_>, count: usize) -> Result<()> {
        if count <= self.limits.properties {
            return Ok(());
        }
        Err(Error::Limit(format!("{}: {count} properties, and the limit is {}", at.place, self.limits.properties)))
    }

    fn several(&mut self, keyword: &str, at: &At<'_>, out: &mut Map<String, Value>) -> Result<()> {
        let read = self.schemas(at)?;
        if read.is_empty() {
            return Err(at.refuse("has to name some schemas"));
        }
        let mut keyword = keyword;
        if keyword == "oneOf" {
            // Of schemas that are apart one fits where any does.
            apart::check(self.document, &at.place).map_err(|what| at.refuse(what))?;
            keyword = "anyOf";
        }
        conjunction(out, keyword, read.into());
        Ok(())
    }

    fn reference(&mut self, target: String, depth: usize) -> String {
        if depth == 0 {
            self.children.push(target.clone());
        }
        if target == self.root {
            return "#".into();
        }
        let number = self.definitions.len();
        let number = *self.definitions.entry(target.clone()).or_insert_with(|| {
            self.unread.push(target);
            number
        });
        format!("#/$defs/{number}")
    }

    fn count(&self, keyword: &str, at: &At<'_>) -> Result<u64> {
        let count = numbers::count(at.value).map_err(|what| at.refuse(what))?;
        if count <= self.limits.repetitions {
            Ok(count)
        } else if keyword.starts_with("max") {
            // Narrower, and no answer is as long.
            Ok(self.limits.repetitions)
        } else {
            Err(at.refuse(format!("{count}, and the limit is {}", self.limits.repetitions)))
        }
    }

    /// Divisors meet where schemas do, and llguidance multiplies them with each other.
    fn divisor(&mut self, at: &At<'_>) -> Result<Value> {
        self.divisors.insert(numbers::divisor(at.value).map_err(|what| at.refuse(what))?);
        let product = self.divisors.iter().try_fold(1u64, |product, &weight| product.checked_mul(weight));
        match product {
            Some(..=0xffff_ffff) => Ok(at.value.clone()),
            _ => Err(at.refuse("has too many digits, together with others of the schema")),
        }
    }

    /// Where nothing else of a schema looks at properties, those are unevaluated that `properties` and `patternProperties` do not name.
    fn unevaluated(&mut self, at: &At<'_>, map: &Map<String, Value>, out: &mut Map<String, Value>) -> Result<()> {
        let others = ["allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas"];
        if at.value == &Value::Bool(true) || map.contains_key("additionalProperties") {
            return Ok(());
        }
        if others.iter().any(|other| map.contains_key(*other)) {
            return Err(at.refuse("beside schemas that are put together it cannot be enforced"));
        }
        let read = self.inner(at)?;
        out.insert("additionalProperties".into(), read);
        Ok(())
    }

    /// Properties are counted as they come, and one that no schema names may come twice.
    fn properties_together(&self, place: &str, map: &Map<String, Value>) -> Result<()> {
        let least = map.get("minProperties").and_then(|value| numbers::count(value).ok()).unwrap_or(0);
        let required: BTreeSet<&str> =
            map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if least > required.len() as u64 + 1 {
            let place = child(place, "minProperties");
            return Err(Error::schema(&place, "only one property more than those that are required can be enforced"));
        }
        Ok(())
    }
}

/// Plain keywords in one piece, where the properties are: llguidance reads what stands between two schemas that are put together by itself, but
/// of all properties those come first that are named first.
fn in_order(schema: Map<String, Value>) -> Map<String, Value> {
    let is_together = |keyword: &str| ["const", "enum", "allOf", "anyOf", "$ref"].contains(&keyword);
    let properties = schema.keys().position(|keyword| keyword == "properties").unwrap_or(0);
    let before = schema.iter().take(properties).filter(|(keyword, _)| is_together(keyword));
    let plain = schema.iter().filter(|(keyword, _)| !is_together(keyword));
    let behind = schema.iter().skip(properties).filter(|(keyword, _)| is_together(keyword));
    before.chain(plain).chain(behind).map(|(keyword, value)| (keyword.clone(), value.clone())).collect()
}

/// Adds a keyword, or a schema of its own for it where it is there already.
fn conjunction(out: &mut Map<String, Value>, keyword: &str, value: Value) {
    if !out.contains_key(keyword) {
        out.insert(keyword.into(), value);
    } else if let Value::Array(all) = out.entry("allOf").or_insert_with(|| json!([])) {
        all.push(json!({ keyword: value }));
    }
}

fn list<'a>(at: &At<'a>) -> Result<&'a Vec<Value>> {
    at.value.as_array().ok_or_else(|| at.refuse("has to be a list"))
}

fn types(at: &At<'_>) -> Result<Value> {
    let names = ["null", "boolean", "integer", "number", "string", "array", "object"];
    let all = at.value.as_array().map_or(core::slice::from_ref(at.value), Vec::as_slice);
    if let Some(other) = all.iter().find(|name| !name.as_str().is_some_and(|name| names.contains(&name))) {
        return Err(at.refuse(format!("{other} is no type: {}", names.join(", "))));
    }
    if all.is_empty() {
        return Err(Error::impossible(&at.place, "no type is allowed"));
    }
    Ok(at.value.clone())
}

/// A value that is to be written just so.
fn literal(at: &At<'_>, value: &Value) -> Result<Value> {
    match value {
        Value::Number(number) => numbers::exact(number).map_err(|what| at.refuse(what))?,
        Value::String(text) if !text.chars().all(pattern::is_writable) => {
            return Err(at.refuse(format!("{text:?} has a control character, which cannot be enforced")));
        }
        Value::Array(items) => items.iter().try_for_each(|item| literal(at, item).map(|_| ()))?,
        Value::Object(map) => map.values().try_for_each(|item| literal(at, item).map(|_| ()))?,
        _ => {}
    }
    Ok(value.clone())
}

/// Whether values of a type fit, by `type` alone.
fn may_be(map: &Map<String, Value>, name: &str) -> bool {
    match map.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(some)) => some.iter().any(|one| one == name),
        _ => true,
    }
}

fn format(at: &At<'_>, map: &Map<String, Value>, out: &mut Map<String, Value>) -> Result<()> {
    let name = at.value.as_str().ok_or_else(|| at.refuse("has to be a text"))?;
    // Formats are of strings; what others say about numbers are hints for programs.
    if !may_be(map, "string") {
        return Ok(());
    }
    match formats::find(name) {
        None => return Err(at.refuse(format!("the format {name:?} cannot be enforced"))),
        Some(Format::Pattern(text, most)) => {
            conjunction(out, "pattern", text.into());
            if let Some(most) = most {
                conjunction(out, "allOf", json!([{ "maxLength": most }]));
            }
        }
        Some(Format::Named(known)) => _ = out.insert("format".into(), known.into()),
    }
    Ok(())
}

/// Bounds of numbers; in draft 4 those that are exclusive are true or false.
fn bound(keyword: &str, at: &At<'_>, map: &Map<String, Value>, out: &mut Map<String, Value>) -> Result<()> {
    let is_upper = keyword.ends_with("aximum");
    let plain = if is_upper { "maximum" } else { "minimum" };
    if let Value::Bool(is_exclusive) = at.value
        && keyword != plain
    {
        if let (true, Some(limit)) = (is_exclusive, map.get(plain)) {
            let limit = numbers::bound(limit, is_upper).map_err(|what| at.refuse(what))?;
            out.insert(keyword.into(), limit);
        }
        return Ok(());
    }
    out.insert(keyword.into(), numbers::bound(at.value, is_upper).map_err(|what| at.refuse(what))?);
    Ok(())
}

/// Whether a keyword that cannot be enforced asks for nothing here.
fn asks_for_nothing(keyword: &str, value: &Value, map: &Map<String, Value>) -> bool {
    match keyword {
        "contains" => {
            let least = map.get("minContains").and_then(Value::as_u64) == Some(0) && !map.contains_key("maxContains");
            least || !may_be(map, "array")
        }
        "not" => value == &Value::Bool(false),
        "propertyNames" => {
            value == &Value::Bool(true)
                || value == &json!({})
                || value == &json!({ "type": "string" })
                || !may_be(map, "object")
        }
        "dependentRequired" | "dependentSchemas" | "dependencies" => {
            value.as_object().is_some_and(Map::is_empty) || !may_be(map, "object")
        }
        "unevaluatedItems" => value == &Value::Bool(true) || !may_be(map, "array"),
        _ => false,
    }
}
