//! The filter `tojson`: `json.dumps(value, ensure_ascii=False, …)`, as Hugging Face defines it.

use super::python::{MAX_DEPTH, Text, float};
use super::value::native::Call;
use super::value::run::{Result, Run, count, error, limit};
use super::value::text::{Str, characters};
use super::value::{Dict, Value};
use alloc::format;
use alloc::string::{String, ToString};

/// Parameters: `?ensure_ascii ?indent ?separators ?sort_keys`.
pub(super) fn tojson(call: &Call) -> Result {
    let indent = match call.argument(1) {
        None => None,
        Some(Value::Str(text)) => Some((text.clone(), 1)),
        Some(_) => call.int(1)?.map(|width| (Str::own(" "), count(width))),
    };
    let (item, key) = match call.argument(2) {
        None => (Str::own(if indent.is_some() { "," } else { ", " }), Str::own(": ")),
        Some(Value::List(pair) | Value::Tuple(pair)) => match &*pair.items {
            [Value::Str(item), Value::Str(key)] => (item.clone(), key.clone()),
            _ => return error("tojson: separators should be two strings"),
        },
        Some(other) => return other.wrong("tojson: separators should be a pair, not {}"),
    };
    let (ascii, sort) = (call.truth(0), call.truth(3));
    let mut writer = Writer { run: call.run, out: Text::new(call.run), indent, ascii, sort, item, key };
    writer.value(&call.this, 0)?;
    writer.out.finish()
}

struct Writer<'c> {
    run: &'c Run,
    out: Text<'c>,
    /// what a level is indented by, and how many times
    indent: Option<(Str, usize)>,
    ascii: bool,
    sort: bool,
    /// between items
    item: Str,
    /// between a key and its value
    key: Str,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return limit("nesting");
        }
        match value {
            Value::Str(text) => self.string(text),
            Value::List(list) | Value::Tuple(list) if list.items.is_empty() => self.out.own("[]"),
            Value::List(list) | Value::Tuple(list) => {
                self.out.own("[")?;
                for (i, item) in list.items.iter().enumerate() {
                    self.start_item(i, depth)?;
                    self.value(item, depth + 1)?;
                }
                self.new_line(depth)?;
                self.out.own("]")
            }
            Value::Dict(dict) if dict.pairs.is_empty() => self.out.own("{}"),
            Value::Dict(dict) => self.object(dict, depth),
            other => match scalar(other) {
                Some(text) => self.out.own(&text),
                None => other.wrong("Object of type {} is not JSON serializable"),
            },
        }
    }

    fn object(&mut self, dict: &Dict, depth: usize) -> Result<()> {
        let sorted;
        let mut pairs = &dict.pairs;
        if self.sort {
            sorted = self.run.sort(pairs.clone(), false)?;
            pairs = &sorted;
        }
        self.out.own("{")?;
        for (i, (key, value)) in pairs.iter().enumerate() {
            self.start_item(i, depth)?;
            match key {
                Value::Str(text) => self.string(text)?,
                other => match scalar(other) {
                    Some(text) => self.out.own(&format!("\"{text}\""))?,
                    None => return other.wrong("keys must be str, int, float, bool or None, not {}"),
                },
            }
            self.out.push(&self.key, &self.key)?;
            self.value(value, depth + 1)?;
        }
        self.new_line(depth)?;
        self.out.own("}")
    }

    fn start_item(&mut self, index: usize, depth: usize) -> Result<()> {
        if index > 0 {
            self.out.push(&self.item, &self.item)?;
        }
        self.new_line(depth + 1)
    }

    fn new_line(&mut self, depth: usize) -> Result<()> {
        let Some((by, times)) = &self.indent else { return Ok(()) };
        self.out.own("\n")?;
        self.out.repeat(by, times.saturating_mul(depth))
    }

    fn string(&mut self, text: &Str) -> Result<()> {
        self.out.own("\"")?;
        for part in characters(text) {
            let c = part.chars().next().unwrap_or_default();
            let escaped = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                c if c < ' ' || (self.ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push(&format!("\\u{unit:04x}"), text)?;
                    }
                    continue;
                }
                _ => part,
            };
            self.out.push(escaped, text)?;
        }
        self.out.own("\"")
    }
}

/// A value that is neither text nor a container; `None` if JSON has none like it.
fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::None => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Digits(digits) => String::from(&**digits),
        Value::Float(x) => float(*x, "Infinity", "NaN"),
        _ => return None,
    })
}
