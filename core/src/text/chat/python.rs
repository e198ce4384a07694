//! Values as Python writes them: `str()`, `repr()` and `json.dumps()`.

use super::budget::{Budget, over};
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use std::borrow::Cow;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// `str(value)`: what a template prints.
pub(super) fn display<'v>(value: &'v Value, budget: &Budget) -> Result<Cow<'v, str>, Error> {
    if let Some(text) = value.as_str() {
        budget.make(text.len() as u64)?;
        return Ok(Cow::Borrowed(text));
    }
    if value.is_undefined() {
        return Ok(Cow::Borrowed(""));
    }
    let mut out = Writer { text: String::new(), budget };
    out.repr(value, 0)?;
    Ok(Cow::Owned(out.text))
}

/// The test `iterable`. minijinja counts `none` among the iterable, and `tools is iterable and tools | length` then fails.
pub(super) fn is_iterable(value: &Value) -> bool {
    !value.is_none() && minijinja::tests::is_iterable(value)
}

/// The `tojson` filter: `json.dumps(value, ensure_ascii=False, …)`, as Hugging Face defines it.
pub(super) fn tojson(value: &Value, ascii: Option<bool>, kwargs: &Kwargs, budget: &Budget) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let style = Json {
        indent,
        ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.or(ascii).unwrap_or(false),
        sort: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        separators: match separators.as_deref() {
            Some([item, key]) => (item.clone(), key.clone()),
            Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators should be a pair")),
            None => (if indent.is_some() { "," } else { ", " }.into(), ": ".into()),
        },
    };
    kwargs.assert_all_used()?;
    let mut out = Writer { text: String::new(), budget };
    out.json(value, &style, 0)?;
    Ok(Value::from(out.text))
}

struct Json {
    indent: Option<usize>,
    ascii: bool,
    sort: bool,
    /// between items, between key and value
    separators: (String, String),
}

struct Writer<'b> {
    text: String,
    budget: &'b Budget,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.budget.make(text.len() as u64)?;
        self.text.push_str(text);
        Ok(())
    }

    fn repr(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > 100 {
            return Err(over("nesting"));
        }
        match value.kind() {
            ValueKind::None => self.push("None"),
            ValueKind::Undefined => self.push("Undefined"),
            ValueKind::Bool => self.push(if value.is_true() { "True" } else { "False" }),
            ValueKind::Number => self.push(&number(value, "inf", "nan")),
            ValueKind::String => self.push(&quoted(value.as_str().unwrap_or_default())),
            ValueKind::Seq | ValueKind::Iterable => {
                let tuple = value.is_tuple();
                self.push(if tuple { "(" } else { "[" })?;
                for (i, item) in value.try_iter()?.enumerate() {
                    self.push(if i > 0 { ", " } else { "" })?;
                    self.repr(&item, depth + 1)?;
                }
                let single = tuple && value.len() == Some(1);
                self.push(if single {
                    ",)"
                } else if tuple {
                    ")"
                } else {
                    "]"
                })
            }
            ValueKind::Map => {
                self.push("{")?;
                for (i, key) in value.try_iter()?.enumerate() {
                    self.push(if i > 0 { ", " } else { "" })?;
                    self.repr(&key, depth + 1)?;
                    self.push(": ")?;
                    self.repr(&value.get_item(&key)?, depth + 1)?;
                }
                self.push("}")
            }
            _ => self.push(&value.to_string()),
        }
    }

    fn json(&mut self, value: &Value, style: &Json, depth: usize) -> Result<(), Error> {
        if depth > 100 {
            return Err(over("nesting"));
        }
        match value.kind() {
            ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&number(value, "Infinity", "NaN")),
            ValueKind::String => self.json_string(value.as_str().unwrap_or_default(), style.ascii),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<(Option<Value>, Value)> = value.try_iter()?.map(|item| (None, item)).collect();
                self.json_items(&items, ["[", "]"], style, depth)
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if style.sort {
                    keys.sort();
                }
                let item = |key: Value| Ok((Some(key.clone()), value.get_item(&key)?));
                let items: Vec<_> = keys.into_iter().map(item).collect::<Result<_, Error>>()?;
                self.json_items(&items, ["{", "}"], style, depth)
            }
            kind => Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {kind} is not JSON serializable"))),
        }
    }

    fn json_items(
        &mut self,
        items: &[(Option<Value>, Value)],
        brackets: [&str; 2],
        style: &Json,
        depth: usize,
    ) -> Result<(), Error> {
        self.push(brackets[0])?;
        for (i, (key, item)) in items.iter().enumerate() {
            self.push(if i > 0 { &style.separators.0 } else { "" })?;
            self.new_line(style, depth + 1)?;
            if let Some(key) = key {
                match key.as_str() {
                    Some(text) => self.json_string(text, style.ascii)?,
                    None => {
                        self.push("\"")?;
                        self.json(key, style, depth + 1)?;
                        self.push("\"")?;
                    }
                }
                self.push(&style.separators.1)?;
            }
            self.json(item, style, depth + 1)?;
        }
        if !items.is_empty() {
            self.new_line(style, depth)?;
        }
        self.push(brackets[1])
    }

    fn new_line(&mut self, style: &Json, depth: usize) -> Result<(), Error> {
        let Some(indent) = style.indent else { return Ok(()) };
        let width = indent.saturating_mul(depth);
        self.budget.make(width as u64 + 1)?;
        self.text.push('\n');
        self.text.extend(core::iter::repeat_n(' ', width));
        Ok(())
    }

    fn json_string(&mut self, text: &str, ascii: bool) -> Result<(), Error> {
        // At most six bytes for each.
        self.budget.make(6 * text.len() as u64 + 2)?;
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                c if c < ' ' || (ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        Ok(())
    }
}

/// Integers in full; floats in the fewest digits, with a two-digit exponent from 1e16 and below 1e-4.
fn number(value: &Value, infinity: &str, nan: &str) -> String {
    let float = match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => float,
        _ => return value.to_string(),
    };
    if float.is_nan() {
        return nan.into();
    }
    if float.is_infinite() {
        return format!("{}{infinity}", if float < 0.0 { "-" } else { "" });
    }
    let text = format!("{float:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

/// `repr` of a string.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
