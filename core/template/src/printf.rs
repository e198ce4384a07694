//! `'%s' % x` and `'{}'.format(x)`, without widths and precisions: templates use these to fill in names.

use super::python::{Text, display, repr};
use super::value::Value;
use super::value::native::{Arguments, Call};
use super::value::run::{Result, Run, error};
use super::value::text::Str;
use alloc::format;

/// `text % value`: `%s`, `%r`, `%d` and `%%`.
pub(super) fn percent(run: &Run, text: &Str, value: &Value) -> Result {
    let one = [value.clone()];
    let mut arguments = if let Value::Tuple(list) = value { &list.items[..] } else { &one[..] }.iter();
    let (mut out, mut rest) = (Text::new(run), &**text);
    while let Some((before, after)) = rest.split_once('%') {
        out.push(before, text)?;
        let kind = after.chars().next();
        rest = after.get(1..).unwrap_or_default();
        if kind == Some('%') {
            out.own("%")?;
            continue;
        }
        let Some(value) = arguments.next() else { return error("not enough arguments for format string") };
        let shown = match (kind, value) {
            (Some('s'), _) | (Some('d'), Value::Int(_)) => display(run, value)?,
            (Some('r'), _) => repr(run, value)?,
            _ => return error("of the formats with %, only %s, %r and %d are supported"),
        };
        out.push(&shown, &shown)?;
    }
    let taken = arguments.len() == 0;
    if !taken && !matches!(value, Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_)) {
        return error("not all arguments converted during string formatting");
    }
    out.push(rest, text)?;
    out.finish()
}

/// The filter `format`: `this % arguments`.
pub(super) fn format_filter(call: &Call) -> Result {
    let arguments = call.run.tuple(call.rest.positional.clone())?;
    percent(call.run, &call.text()?, &arguments)
}

/// `this.format(…)`: `{}`, `{0}`, `{name}`, `{{` and `}}`.
pub(super) fn format_method(call: &Call) -> Result {
    let (text, Arguments { positional, named }) = (call.text()?, &call.rest);
    let (mut out, mut rest, mut next) = (Text::new(call.run), &*text, 0);
    while let Some(at) = rest.find(['{', '}']) {
        out.push(&rest[..at], &text)?;
        let (brace, after) = rest[at..].split_at(1);
        rest = after;
        if let Some(after) = rest.strip_prefix(brace) {
            out.push(brace, &text)?;
            rest = after;
            continue;
        }
        let Some((name, after)) = rest.split_once('}').filter(|_| brace == "{") else {
            return error("format: a single brace");
        };
        rest = after;
        let found = match name.parse::<usize>() {
            Ok(index) => positional.get(index),
            Err(_) if name.is_empty() => {
                next += 1;
                positional.get(next - 1)
            }
            Err(_) => named.iter().find(|(other, _)| &**other == name).map(|(_, value)| value),
        };
        let Some(value) = found else { return error(format!("format: there is no argument '{name:.60}'")) };
        let shown = display(call.run, value)?;
        out.push(&shown, &shown)?;
    }
    out.push(rest, &text)?;
    out.finish()
}
