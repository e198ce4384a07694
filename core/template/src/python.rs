//! Values as Python writes them: `str()`, `repr()` and the parts of `json.dumps()` that are like it.

use super::decimal;
use super::value::native::Call;
use super::value::run::{Object, Result, Run, limit};
use super::value::text::{PLACE, Str, Traced, characters};
use super::value::{List, Value};
use alloc::format;
use alloc::string::{String, ToString};

/// Deepest nesting that is written: namespaces can contain themselves.
pub(super) const MAX_DEPTH: usize = 100;

/// Text being made, and paid for.
pub(super) struct Text<'r> {
    run: &'r Run,
    out: Traced,
}

/// `str(value)`: what a template prints.
pub(super) fn display(run: &Run, value: &Value) -> Result<Str> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        Value::Undefined(_) => Ok(Str::own("")),
        other => repr(run, other),
    }
}

impl Call<'_> {
    /// `str(this)`
    pub(super) fn text(&self) -> Result<Str> {
        display(self.run, &self.this)
    }
}

/// `repr(value)`
pub(super) fn repr(run: &Run, value: &Value) -> Result<Str> {
    let mut text = Text::new(run);
    text.repr(value, 0)?;
    Ok(text.out.into())
}

impl<'r> Text<'r> {
    pub(super) fn new(run: &'r Run) -> Text<'r> {
        Text { run, out: Traced::default() }
    }

    /// Adds text of the template's own, or of the program's.
    pub(super) fn own(&mut self, text: &str) -> Result<()> {
        self.run.make(text.len())?;
        self.out.own(text);
        Ok(())
    }

    /// Adds a part of `of`, or else something made of it.
    pub(super) fn push(&mut self, text: &str, of: &Str) -> Result<()> {
        self.run.make(text.len())?;
        let turns = self.out.turns();
        self.out.push(text, of);
        self.run.make(PLACE * (self.out.turns() - turns))
    }

    pub(super) fn repeat(&mut self, text: &Str, times: usize) -> Result<()> {
        self.run.make((text.len() + text.turn_bytes()).saturating_mul(times))?;
        (0..times).for_each(|_| self.out.push(text, text));
        Ok(())
    }

    pub(super) fn finish(self) -> Result {
        self.run.finished(self.out)
    }

    fn repr(&mut self, value: &Value, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return limit("nesting");
        }
        match value {
            Value::Undefined(_) => self.own("Undefined"),
            Value::None => self.own("None"),
            Value::Bool(b) => self.own(if *b { "True" } else { "False" }),
            Value::Int(n) => self.own(&n.to_string()),
            Value::Digits(digits) => self.own(digits),
            Value::Float(x) => self.own(&float(*x, "inf", "nan")),
            Value::Str(text) => self.quoted(text),
            Value::List(list) => self.sequence("[", list, "]", depth),
            Value::Tuple(list) => self.sequence("(", list, if list.items.len() == 1 { ",)" } else { ")" }, depth),
            Value::Dict(dict) => {
                self.own("{")?;
                for (i, (key, value)) in dict.pairs.iter().enumerate() {
                    self.pair(i, key, value, depth)?;
                }
                self.own("}")
            }
            Value::Range(range) => {
                let step = if range.step == 1 { String::new() } else { format!(", {}", range.step) };
                self.own(&format!("range({}, {}{step})", range.start, range.stop))
            }
            Value::Object(index) => match self.run.objects.borrow().get(*index) {
                Some(Object::Namespace(names)) => {
                    self.own("<Namespace {")?;
                    for (i, (name, value)) in names.iter().enumerate() {
                        self.pair(i, &Value::Str(name.clone()), value, depth)?;
                    }
                    self.own("}>")
                }
                Some(Object::Loop(inside)) => {
                    self.own(&format!("<LoopContext {}/{}>", inside.index + 1, inside.items.len()))
                }
                Some(Object::Cycler(..)) => self.own("<Cycler>"),
                Some(Object::Joiner(..)) => self.own("<Joiner>"),
                None => Ok(()),
            },
            Value::Macro(def, _) => self.own(&format!("<Macro '{}'>", def.name)),
            Value::Function(native) => self.own(&format!("<function {}>", native.name)),
            Value::Method(method) => {
                self.own(&format!("<built-in method {} of {} object>", method.1.name, method.0.type_name()))
            }
        }
    }

    fn sequence(&mut self, open: &str, list: &List, close: &str, depth: usize) -> Result<()> {
        self.own(open)?;
        for (i, item) in list.items.iter().enumerate() {
            self.own(if i > 0 { ", " } else { "" })?;
            self.repr(item, depth + 1)?;
        }
        self.own(close)
    }

    fn pair(&mut self, index: usize, key: &Value, value: &Value, depth: usize) -> Result<()> {
        self.own(if index > 0 { ", " } else { "" })?;
        self.repr(key, depth + 1)?;
        self.own(": ")?;
        self.repr(value, depth + 1)
    }

    fn quoted(&mut self, text: &Str) -> Result<()> {
        let quote = if text.contains('\'') && !text.contains('"') { "\"" } else { "'" };
        self.own(quote)?;
        for part in characters(text) {
            let c = part.chars().next().unwrap_or_default();
            match c {
                '\n' => self.push("\\n", text)?,
                '\r' => self.push("\\r", text)?,
                '\t' => self.push("\\t", text)?,
                '\\' => self.push("\\\\", text)?,
                c if quote.contains(c) => self.push(&format!("\\{c}"), text)?,
                c if picolm_unicode::is_printable(c) => self.push(part, text)?,
                c => {
                    let code = u32::from(c);
                    let escaped = match code {
                        0..0x100 => format!("\\x{code:02x}"),
                        0x100..0x10000 => format!("\\u{code:04x}"),
                        _ => format!("\\U{code:08x}"),
                    };
                    self.push(&escaped, text)?;
                }
            }
        }
        self.own(quote)
    }
}

/// A float in the fewest digits, with a two-digit exponent from 1e16 and below 1e-4.
pub(super) fn float(x: f64, infinity: &str, nan: &str) -> String {
    if x.is_nan() {
        return nan.into();
    }
    if x.is_infinite() {
        return format!("{}{infinity}", if x < 0.0 { "-" } else { "" });
    }
    let text = format!("{x:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

/// `str.isspace`: Unicode's white space and four control characters.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `str.islower`, `str.isupper`: whether there are letters with case, and all of them have this one.
pub(super) fn is_cased(text: &str, case: fn(char) -> bool) -> bool {
    let mut cased = text.chars().filter(|c| c.is_lowercase() || c.is_uppercase()).peekable();
    cased.peek().is_some() && cased.all(case)
}

/// `float(text)`, if it is one.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = without_underscores(text)?.to_ascii_lowercase();
    let (sign, word) = match text.strip_prefix('-') {
        Some(word) => (-1.0, word),
        None => (1.0, text.strip_prefix('+').unwrap_or(&text)),
    };
    match word {
        "inf" | "infinity" => Some(sign * f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => decimal::parse(&text),
    }
}

/// `int(text, radix)`, if it is one.
pub(super) fn parse_int(text: &str, radix: u32) -> Option<i64> {
    let text = without_underscores(text)?.to_ascii_lowercase();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefix = match radix {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        _ => "",
    };
    let digits = digits.strip_prefix(prefix).unwrap_or(digits);
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// Trimmed, and without the underscores that may stand between digits.
fn without_underscores(text: &str) -> Option<String> {
    let text = text.trim_matches(is_space);
    let misplaced = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!misplaced).then(|| text.replace('_', ""))
}
