//! `'%05.1f' % x` and `'{:>8}'.format(x)`: numbers and texts in fields of a width.

use super::decimal::{MAX_PLACES, fixed};
use super::python::{Text, display, repr};
use super::value::native::{Arguments, Call};
use super::value::run::{Result, Run, count, error};
use super::value::text::Str;
use super::value::{Number, Value};
use alloc::format;
use alloc::string::{String, ToString};

/// How a value is written, in either language.
struct Spec {
    fill: Str,
    /// `<`, `>`, `^` or `=` (fill behind the sign)
    align: Option<char>,
    /// what stands in front of a number that is not negative
    plus: &'static str,
    alternate: bool,
    width: usize,
    /// between thousands
    group: Option<char>,
    precision: Option<usize>,
    /// the type; a space if there is none
    kind: char,
}

/// Reads a text from the front.
struct Reader<'t>(&'t str);

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.0.chars().next()?;
        self.0 = &self.0[c.len_utf8()..];
        Some(c)
    }

    /// Takes the next character if it is one of these.
    fn one_of(&mut self, chars: &str) -> Option<char> {
        self.0.starts_with(|c| chars.contains(c)).then(|| self.next())?
    }

    fn number(&mut self) -> Option<usize> {
        let digits = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        // One that is too large is more than anybody can pay for.
        (digits > 0).then(|| number.parse().unwrap_or(usize::MAX))
    }
}

fn plain() -> Spec {
    let fill = Str::own(" ");
    Spec { fill, align: None, plus: "", alternate: false, width: 0, group: None, precision: None, kind: ' ' }
}

/// `text % value`: `%s`, `%05d`, `%(name)-8.3f`, `%%` and so on.
pub(super) fn percent(run: &Run, text: &Str, value: &Value) -> Result {
    let one = [value.clone()];
    let mut arguments = if let Value::Tuple(list) = value { &list.items[..] } else { &one[..] }.iter();
    let (mut out, mut rest, mut named) = (Text::new(run), Reader(text), false);
    while let Some((before, after)) = rest.0.split_once('%') {
        out.push(before, text)?;
        rest.0 = after;
        let name = match rest.0.strip_prefix('(').and_then(|after| after.split_once(')')) {
            Some((name, after)) => {
                rest.0 = after;
                Some(name)
            }
            None => None,
        };
        let mut spec = plain();
        let mut zero = false;
        while let Some(flag) = rest.one_of("-+ 0#") {
            match flag {
                '-' => spec.align = Some('<'),
                '+' => spec.plus = "+",
                ' ' if spec.plus.is_empty() => spec.plus = " ",
                '#' => spec.alternate = true,
                _ => zero = true,
            }
        }
        let mut next = || arguments.next().map_or_else(|| error("not enough arguments for format string"), Ok);
        spec.width = match rest.one_of("*") {
            Some(_) => star(next()?, &mut spec)?,
            None => rest.number().unwrap_or(0),
        };
        if rest.one_of(".").is_some() {
            spec.precision = Some(match rest.one_of("*") {
                Some(_) => count(next()?.int().unwrap_or(0)),
                None => rest.number().unwrap_or(0),
            });
        }
        rest.one_of("hlL");
        let Some(kind) = rest.next() else { return error("incomplete format") };
        if kind == '%' {
            out.own("%")?;
            continue;
        }
        let found;
        let value = match (name, value) {
            (None, _) => next()?,
            (Some(name), Value::Dict(dict)) => {
                named = true;
                let Some(value) = run.look_up(dict, &Value::Str(Str::own(name)))? else {
                    return error(format!("format: there is no '{name:.60}'"));
                };
                found = value;
                &found
            }
            _ => return error("format requires a mapping"),
        };
        spec.kind = kind;
        if zero && spec.align.is_none() && !"srac".contains(kind) {
            (spec.fill, spec.align) = (Str::own("0"), Some('='));
        }
        percent_one(run, value, spec, &mut out)?;
    }
    let taken = arguments.len() == 0 || named;
    if !taken && !matches!(value, Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_)) {
        return error("not all arguments converted during string formatting");
    }
    out.push(rest.0, text)?;
    out.finish()
}

/// A width that is an argument; a negative one aligns to the left.
fn star(width: &Value, spec: &mut Spec) -> Result<usize> {
    let Some(width) = width.int() else { return error("* wants int") };
    if width < 0 {
        spec.align = Some('<');
    }
    Ok(usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX))
}

fn percent_one(run: &Run, value: &Value, mut spec: Spec, out: &mut Text) -> Result<()> {
    // Here everything is to the right.
    spec.align = spec.align.or(Some('>'));
    let whole = |value: &Value| match value.number() {
        Some(Number::Float(x)) if libm::fabs(x) < 9.2e18 => Some(Value::Int(x as i64)),
        Some(Number::Float(x)) if x.is_finite() => {
            let sign = if x < 0.0 { "-" } else { "" };
            Some(Value::Digits(format!("{sign}{}", fixed(libm::fabs(x), 0)).into()))
        }
        Some(Number::Int(n)) => Some(Value::Int(n)),
        _ => matches!(value, Value::Digits(_)).then(|| value.clone()),
    };
    match spec.kind {
        's' => spec.text(&display(run, value)?, out),
        'r' => spec.text(&repr(run, value)?, out),
        'd' | 'i' | 'u' => {
            let Some(number) = whole(value.defined()?) else {
                return value.wrong("%d format: a number is required, not {}");
            };
            spec.kind = 'd';
            spec.number(&number, out)
        }
        'x' | 'X' | 'o' if value.int().is_some() => spec.number(value, out),
        'f' | 'F' => spec.number(value, out),
        'c' => match value {
            Value::Str(text) if text.chars().count() == 1 => spec.text(text, out),
            _ => spec.number(value, out),
        },
        'x' | 'X' | 'o' => value.wrong("%x format: an integer is required, not {}"),
        other => {
            error(format!("the format %{other} is not there: %s, %r, %d, %i, %u, %x, %X, %o, %c, %f, %F and %% are"))
        }
    }
}

/// The filter `format`: `this % arguments`.
pub(super) fn format_filter(call: &Call) -> Result {
    let Arguments { positional, named } = &call.rest;
    let arguments = match (positional.is_empty(), named.is_empty()) {
        (false, false) => return error("format: arguments have names, or none has"),
        (true, false) => {
            call.run.dict(named.iter().map(|(name, value)| (Value::Str(name.clone()), value.clone())).collect())?
        }
        _ => call.run.tuple(positional.clone())?,
    };
    percent(call.run, &call.text()?, &arguments)
}

/// `this.format(…)`: `{}`, `{0}`, `{name.a[0]!r:>8}`, `{{` and `}}`.
pub(super) fn format_method(call: &Call) -> Result {
    let text = call.text()?;
    let mut format = Format { call, next: 0, out: Text::new(call.run) };
    let mut rest = &*text;
    while let Some(at) = rest.find(['{', '}']) {
        format.out.push(&rest[..at], &text)?;
        let (brace, after) = rest[at..].split_at(1);
        rest = after;
        if let Some(after) = rest.strip_prefix(brace) {
            format.out.push(brace, &text)?;
            rest = after;
            continue;
        }
        let Some((field, after)) = field(rest).filter(|_| brace == "{") else {
            return error("format: a single brace");
        };
        rest = after;
        format.field(field, &text)?;
    }
    format.out.push(rest, &text)?;
    format.out.finish()
}

/// A field, and what follows its brace. There may be others in it.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    let end = text.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    })?;
    Some((&text[..end], &text[end + 1..]))
}

struct Format<'c, 'r> {
    call: &'c Call<'r>,
    /// the place of the next argument without a number
    next: usize,
    out: Text<'r>,
}

impl Format<'_, '_> {
    fn field(&mut self, field: &str, of: &Str) -> Result<()> {
        let run = self.call.run;
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = name.split_once('!').unwrap_or((name, ""));
        let value = self.value(name)?;
        // Fields within the specification.
        let mut whole = Text::new(run);
        let mut rest = spec;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { return error("format: a single brace") };
            whole.push(before, of)?;
            let shown = display(run, &self.value(name)?)?;
            whole.push(&shown, &shown)?;
            rest = after;
        }
        whole.push(rest, of)?;
        let Value::Str(whole) = whole.finish()? else { return Ok(()) };
        let shown = match conversion {
            "" if whole.is_empty() => display(run, &value)?,
            "" => return written(&value, &whole, &mut self.out),
            "s" => display(run, &value)?,
            "r" => repr(run, &value)?,
            _ => return error("format: after ! stands s or r"),
        };
        written(&Value::Str(shown), &whole, &mut self.out)
    }

    /// The argument of a name, or what a path such as `0.a[b]` leads to in it.
    fn value(&mut self, path: &str) -> Result {
        let run = self.call.run;
        let Arguments { positional, named } = &self.call.rest;
        let (name, mut rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        let found = match name.parse::<usize>() {
            Ok(index) => positional.get(index),
            Err(_) if name.is_empty() => {
                self.next += 1;
                positional.get(self.next - 1)
            }
            Err(_) => named.iter().find(|(other, _)| **other == *name).map(|(_, value)| value),
        };
        let Some(value) = found else { return error(format!("format: there is no argument '{name:.60}'")) };
        let mut value = value.clone();
        while !rest.is_empty() {
            run.step()?;
            (value, rest) = match rest.strip_prefix('[') {
                Some(inside) => {
                    let Some((key, after)) = inside.split_once(']') else {
                        return error("format: a bracket without end");
                    };
                    (within(run, &value, key)?, after)
                }
                None => {
                    let path = &rest[1..];
                    let (name, after) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
                    (within(run, &value, name)?, after)
                }
            };
        }
        Ok(value)
    }
}

/// What a dictionary, a list or a text has under a name or a number.
fn within(run: &Run, value: &Value, key: &str) -> Result {
    let found = match value.defined()? {
        Value::Dict(dict) => {
            let key = key.parse().map_or_else(|_| Value::Str(Str::own(key)), Value::Int);
            run.look_up(dict, &key)?
        }
        Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
            let items = run.items(value)?;
            key.parse().ok().and_then(|at| items.get(at))
        }
        _ => None,
    };
    Ok(found.unwrap_or_else(|| Value::undefined("format: a path leads nowhere")))
}

/// `format(value, spec)`
fn written(value: &Value, of: &Str, out: &mut Text) -> Result<()> {
    let (mut rest, mut ahead) = (Reader(of), Reader(of));
    let mut spec = plain();
    let first = ahead.next().map_or(0, char::len_utf8);
    if let Some(align) = ahead.one_of("<>=^") {
        (spec.fill, spec.align) = (Str::of(&of[..first], of), Some(align));
        rest = ahead;
    } else {
        spec.align = rest.one_of("<>=^");
    }
    spec.plus = match rest.one_of("+- ") {
        Some('+') => "+",
        Some(' ') => " ",
        _ => "",
    };
    spec.alternate = rest.one_of("#").is_some();
    if rest.one_of("0").is_some() && spec.align.is_none() {
        (spec.fill, spec.align) = (Str::own("0"), Some('='));
    }
    spec.width = rest.number().unwrap_or(0);
    spec.group = rest.one_of(",_");
    if rest.one_of(".").is_some() {
        let Some(precision) = rest.number() else { return error("format: the precision is missing") };
        spec.precision = Some(precision);
    }
    spec.kind = rest.next().unwrap_or(' ');
    if !rest.0.is_empty() {
        return error("format: an invalid specification");
    }
    if spec.group.is_some() && spec.align == Some('=') {
        return error("format: thousands cannot be filled with zeros");
    }
    match (value.defined()?, spec.kind) {
        (Value::Str(text), ' ' | 's') if spec.group.is_none() && spec.plus.is_empty() => {
            if spec.align == Some('=') {
                // A zero in front of the width fills to the right of a text.
                if *spec.fill != *"0" {
                    return error("format: '=' is for numbers");
                }
                spec.align = Some('<');
            }
            spec.text(text, out)
        }
        (_, 'b' | 'c' | 'd' | 'o' | 'x' | 'X') if value.int().is_none() && !matches!(value, Value::Digits(_)) => {
            value.wrong("format: this type is for integers, not {}")
        }
        (value, _) if spec.precision.is_some() && value.int().is_some() && !"fF%".contains(spec.kind) => {
            error("format: an integer has no precision")
        }
        (
            Value::Int(_) | Value::Digits(_) | Value::Float(_) | Value::Bool(_),
            ' ' | 'b' | 'c' | 'd' | 'o' | 'x' | 'X' | 'f' | 'F' | '%',
        ) => spec.number(value, out),
        (_, kind) => error(format!(
            "format: there is no type '{kind}' for '{}', but s, b, c, d, o, x, X, f, F and %",
            value.type_name()
        )),
    }
}

/// A number in digits of a base.
fn in_base(mut n: u64, base: u64) -> String {
    let mut digits = String::new();
    loop {
        digits.insert(0, char::from(b"0123456789abcdef"[(n % base) as usize]));
        n /= base;
        if n == 0 {
            return digits;
        }
    }
}

impl Spec {
    /// Writes a text, cut to the precision.
    fn text(&self, text: &Str, out: &mut Text) -> Result<()> {
        let end = match self.precision {
            Some(precision) => text.char_indices().nth(precision).map_or(text.len(), |(at, _)| at),
            None => text.len(),
        };
        self.field("", text, &text[..end], '<', out)
    }

    /// Writes a number.
    fn number(&self, value: &Value, out: &mut Text) -> Result<()> {
        let (negative, mut digits) = match (self.kind, value) {
            (' ' | 'd', Value::Digits(digits)) => match digits.strip_prefix('-') {
                Some(digits) => (true, digits.to_string()),
                None => (false, digits.to_string()),
            },
            ('f' | 'F' | '%', _) => {
                let Some(number) = value.defined()?.number() else { return value.wrong("must be real number, not {}") };
                self.float(number.to_f64())?
            }
            (_, Value::Float(x)) if self.kind == ' ' && self.precision.is_none() => {
                (x.is_sign_negative(), super::python::float(libm::fabs(*x), "inf", "nan"))
            }
            (' ', Value::Float(_)) => return error("format: a float with a precision needs the type f"),
            _ => {
                let Some(n) = value.int() else { return value.wrong("format: a number is required, not {}") };
                let size = n.unsigned_abs();
                let digits = match self.kind {
                    'b' => in_base(size, 2),
                    'o' => in_base(size, 8),
                    'x' => in_base(size, 16),
                    'X' => in_base(size, 16).to_ascii_uppercase(),
                    'c' => match u32::try_from(n).ok().and_then(char::from_u32) {
                        Some(c) => return self.text(&Str::own(c.to_string()), out),
                        None => return error("format: no character has this number"),
                    },
                    _ => size.to_string(),
                };
                (n < 0, digits)
            }
        };
        // With %, the precision of an integer is its least number of digits.
        if let (Some(precision @ 1..=MAX_PLACES), 'd' | 'o' | 'x' | 'X') = (self.precision, self.kind) {
            digits.insert_str(0, &"0".repeat(precision.saturating_sub(digits.len())));
        }
        if let Some(group) = self.group {
            let whole = digits.find(['.', 'e']).unwrap_or(digits.len());
            let each = if matches!(self.kind, 'b' | 'o' | 'x' | 'X') { 4 } else { 3 };
            let places = (1..whole).rev().filter(|at| (whole - at).is_multiple_of(each));
            places.for_each(|at| digits.insert(at, group));
        }
        let sign = if negative { "-" } else { self.plus };
        let prefix = match self.kind {
            'b' | 'o' | 'x' | 'X' if self.alternate => format!("{sign}0{}", self.kind),
            _ => sign.to_string(),
        };
        let digits = Str::own(digits);
        self.field(&prefix, &digits, &digits, '>', out)
    }

    /// The sign and the digits of a float.
    fn float(&self, x: f64) -> Result<(bool, String)> {
        let places = self.precision.unwrap_or(6);
        if places > MAX_PLACES {
            return error("format: at most 1000 digits behind the point");
        }
        let x = if self.kind == '%' { x * 100.0 } else { x };
        let mut digits = match x {
            x if x.is_nan() => "nan".to_string(),
            x if x.is_infinite() => "inf".to_string(),
            x => fixed(libm::fabs(x), places),
        };
        if self.kind == 'F' {
            digits.make_ascii_uppercase();
        }
        digits.push_str(if self.kind == '%' { "%" } else { "" });
        Ok((x.is_sign_negative() && !x.is_nan(), digits))
    }

    /// Writes a prefix and a part of `of` in a field of the width.
    fn field(&self, prefix: &str, of: &Str, body: &str, align: char, out: &mut Text) -> Result<()> {
        let missing = self.width.saturating_sub(prefix.len() + body.chars().count());
        let (left, inside, right) = match self.align.unwrap_or(align) {
            '<' => (0, 0, missing),
            '^' => (missing / 2, 0, missing - missing / 2),
            '=' => (0, missing, 0),
            _ => (missing, 0, 0),
        };
        out.repeat(&self.fill, left)?;
        out.own(prefix)?;
        out.repeat(&self.fill, inside)?;
        out.push(body, of)?;
        out.repeat(&self.fill, right)
    }
}
