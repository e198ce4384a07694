//! Filters that make text of text.

use crate::globals::pairs_of;
use crate::methods::lines;
use crate::python::{Text, display};
use crate::value::Value;
use crate::value::native::Call;
use crate::value::run::{Result, count, error};
use crate::value::text::{Str, characters};
use alloc::format;

pub(super) fn escape(call: &Call) -> Result {
    let mut out = Text::new(call.run);
    let text = call.text()?;
    for part in characters(&text) {
        let escaped = match part {
            "&" => "&amp;",
            "<" => "&lt;",
            ">" => "&gt;",
            "'" => "&#39;",
            "\"" => "&#34;",
            _ => part,
        };
        out.push(escaped, &text)?;
    }
    out.finish()
}

pub(super) fn indent(call: &Call) -> Result {
    let Value::Str(text) = &call.this else { return call.this.wrong("indent: a string was expected, not {}") };
    let (by, times) = match call.argument(0) {
        Some(Value::Str(by)) => (by.clone(), 1),
        _ => (Str::own(" "), count(call.int(0)?.unwrap_or(4))),
    };
    let mut lines = lines(text, false);
    // As if the text ended in one more line break.
    if text.is_empty() || text.ends_with('\n') {
        lines.push("");
    }
    let mut out = Text::new(call.run);
    for (index, line) in lines.iter().enumerate() {
        out.own(if index > 0 { "\n" } else { "" })?;
        let indented = if index == 0 { call.truth(1) } else { call.truth(2) || !line.is_empty() };
        out.repeat(&by, if indented { times } else { 0 })?;
        out.push(line, text)?;
    }
    out.finish()
}

/// The front of a text and `end`, if the text is longer than a length by more than `leeway`.
pub(super) fn truncate(call: &Call) -> Result {
    let text = call.text()?;
    let (length, leeway) = (call.int(0)?.unwrap_or(255), call.int(3)?.unwrap_or(5));
    let end = call.str(2)?.unwrap_or_else(|| Str::own("..."));
    let room = length.saturating_sub(end.chars().count() as i64);
    if room < 0 || leeway < 0 {
        return error("truncate: a length of at least that of the end was expected, and no leeway below 0");
    }
    if text.chars().count() as i64 <= length.saturating_add(leeway) {
        return Ok(Value::Str(text));
    }
    let cut = text.char_indices().nth(room as usize).map_or(text.len(), |(at, _)| at);
    let front = &text[..cut];
    let front = if call.truth(1) { front } else { front.rsplit_once(' ').map_or(front, |(words, _)| words) };
    let mut out = Text::new(call.run);
    out.push(front, &text)?;
    out.push(&end, &end)?;
    out.finish()
}

/// How many words of letters, digits and underscores there are.
pub(super) fn wordcount(call: &Call) -> Result {
    let text = call.text()?;
    let separates = |c: char| !(picolm_unicode::is_letter(c) || c.is_numeric() || c == '_');
    Ok(Value::Int(text.split(separates).filter(|word| !word.is_empty()).count() as i64))
}

/// A text for addresses; of a dictionary or a list of pairs, a query.
pub(super) fn urlencode(call: &Call) -> Result {
    let mut out = Text::new(call.run);
    if !matches!(call.this, Value::Dict(_) | Value::List(_) | Value::Tuple(_)) {
        quote(&call.text()?, false, &mut out)?;
        return out.finish();
    }
    let pairs = pairs_of(call.run, &call.this)?;
    for (index, (key, value)) in pairs.iter().enumerate() {
        out.own(if index > 0 { "&" } else { "" })?;
        quote(&display(call.run, key)?, true, &mut out)?;
        out.own("=")?;
        quote(&display(call.run, value)?, true, &mut out)?;
    }
    out.finish()
}

fn quote(text: &Str, query: bool, out: &mut Text) -> Result<()> {
    for part in characters(text) {
        match part {
            " " if query => out.push("+", text)?,
            "/" if !query => out.push(part, text)?,
            _ if part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-~".contains(&b)) => out.push(part, text)?,
            _ => {
                for byte in part.bytes() {
                    out.push(&format!("%{byte:02X}"), text)?;
                }
            }
        }
    }
    Ok(())
}
