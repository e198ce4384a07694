//! The filter `tojson`: `json.dumps(value, ensure_ascii=False, …)`, as Hugging Face defines it.

use super::python::{MAX_DEPTH, Text, float};
use super::value::native::Call;
use super::value::run::{Result, Run, error, limit};
use super::value::{Dict, Value};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};

/// Parameters: `?ensure_ascii ?indent ?separators ?sort_keys`.
pub(super) fn tojson(call: &Call) -> Result {
    let indent = match call.argument(1) {
        None => None,
        Some(Value::Str(text)) => Some((Rc::clone(text), 1)),
        Some(_) => call.int(1)?.map(|width| (Rc::from(" "), usize::try_from(width).unwrap_or(0))),
    };
    let (item, key) = match call.argument(2) {
        None => (if indent.is_some() { ",".into() } else { ", ".into() }, ": ".into()),
        Some(Value::List(pair) | Value::Tuple(pair)) => match &*pair.items {
            [Value::Str(item), Value::Str(key)] => (Rc::clone(item), Rc::clone(key)),
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
    indent: Option<(Rc<str>, usize)>,
    ascii: bool,
    sort: bool,
    /// between items
    item: Rc<str>,
    /// between a key and its value
    key: Rc<str>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return limit("nesting");
        }
        match value {
            Value::Str(text) => self.string(text),
            Value::List(list) | Value::Tuple(list) if list.items.is_empty() => self.out.push("[]"),
            Value::List(list) | Value::Tuple(list) => {
                self.out.push("[")?;
                for (i, item) in list.items.iter().enumerate() {
                    self.start_item(i, depth)?;
                    self.value(item, depth + 1)?;
                }
                self.new_line(depth)?;
                self.out.push("]")
            }
            Value::Dict(dict) if dict.pairs.is_empty() => self.out.push("{}"),
            Value::Dict(dict) => self.object(dict, depth),
            other => match scalar(other) {
                Some(text) => self.out.push(&text),
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
        self.out.push("{")?;
        for (i, (key, value)) in pairs.iter().enumerate() {
            self.start_item(i, depth)?;
            match key {
                Value::Str(text) => self.string(text)?,
                other => match scalar(other) {
                    Some(text) => self.out.push(&format!("\"{text}\""))?,
                    None => return other.wrong("keys must be str, int, float, bool or None, not {}"),
                },
            }
            let between = Rc::clone(&self.key);
            self.out.push(&between)?;
            self.value(value, depth + 1)?;
        }
        self.new_line(depth)?;
        self.out.push("}")
    }

    fn start_item(&mut self, index: usize, depth: usize) -> Result<()> {
        if index > 0 {
            let between = Rc::clone(&self.item);
            self.out.push(&between)?;
        }
        self.new_line(depth + 1)
    }

    fn new_line(&mut self, depth: usize) -> Result<()> {
        let Some((by, times)) = self.indent.clone() else { return Ok(()) };
        self.out.push("\n")?;
        self.out.repeat(&by, times.saturating_mul(depth))
    }

    fn string(&mut self, text: &str) -> Result<()> {
        self.out.push("\"")?;
        for c in text.chars() {
            match c {
                '"' => self.out.push("\\\"")?,
                '\\' => self.out.push("\\\\")?,
                '\n' => self.out.push("\\n")?,
                '\r' => self.out.push("\\r")?,
                '\t' => self.out.push("\\t")?,
                '\u{8}' => self.out.push("\\b")?,
                '\u{c}' => self.out.push("\\f")?,
                c if c < ' ' || (self.ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push(&format!("\\u{unit:04x}"))?;
                    }
                }
                c => self.out.char(c)?,
            }
        }
        self.out.push("\"")
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
