//! The methods of strings, lists, dictionaries and loops that do not change them.

use super::printf;
use super::python::{Text, display, is_cased, is_space};
use super::value::Value;
use super::value::native::{Call, Native, find as find_in, native};
use super::value::run::{Object, Result, Run, collect, count, error};
use super::value::text::{Str, characters};
use alloc::string::String;
use alloc::vec::Vec;

/// A value's method of a name.
pub(super) fn find(run: &Run, value: &Value, name: &str) -> Option<&'static Native> {
    match value {
        Value::Str(_) => find_in(&STR, name),
        Value::List(_) => find_in(&LIST, name),
        Value::Tuple(_) | Value::Range(_) => find_in(&LIST[..2], name),
        Value::Dict(_) => find_in(&DICT, name),
        Value::Object(index) => match run.objects.borrow().get(*index) {
            Some(Object::Loop(_)) => find_in(&LOOP, name),
            Some(Object::Cycler(..)) => find_in(&CYCLER, name),
            _ => None,
        },
        _ => None,
    }
}

/// Whether Python has such a method, but one that changes the value.
pub(super) fn is_unsafe(value: &Value, name: &str) -> bool {
    let names: &[&str] = match value {
        Value::List(_) => &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
        Value::Dict(_) => &["clear", "pop", "popitem", "setdefault", "update"],
        _ => &[],
    };
    names.contains(&name)
}

static LOOP: [Native; 2] = [
    native("changed", "*", |call| {
        let now = call.run.tuple(call.rest.positional.clone())?;
        let Value::Object(index) = call.this else { return error("changed: not a loop") };
        let before = match call.run.objects.borrow_mut().get_mut(index) {
            Some(Object::Loop(state)) => state.changed.replace(now.clone()),
            _ => None,
        };
        let same = before.map_or(Ok(false), |before| call.run.equal(&before, &now))?;
        Ok(Value::Bool(!same))
    }),
    native("cycle", "*", |call| {
        let Value::Object(index) = call.this else { return error("cycle: not a loop") };
        match (call.run.objects.borrow().get(index), call.rest.positional.len()) {
            (Some(Object::Loop(state)), count @ 1..) => Ok(call.rest.positional[state.index % count].clone()),
            _ => error("no items for cycling given"),
        }
    }),
];

static CYCLER: [Native; 2] = [
    native("next", "", |call| cycle(call, |at, len| (at + 1) % len)),
    native("reset", "", |call| cycle(call, |_, _| 0).map(|_| Value::None)),
];

/// The current item of a cycler, which goes on.
fn cycle(call: &Call, next: fn(usize, usize) -> usize) -> Result {
    let Value::Object(index) = call.this else { return error("not a cycler") };
    match call.run.objects.borrow_mut().get_mut(index) {
        Some(Object::Cycler(items, at)) => {
            let current = items.items.get(*at).cloned();
            *at = next(*at, items.items.len());
            Ok(current.unwrap_or(Value::None))
        }
        _ => error("not a cycler"),
    }
}

static LIST: [Native; 3] = [
    native("count", "value", |call| {
        let mut count = 0;
        for item in call.items()? {
            count += i64::from(call.run.equal(&item, call.given(0).unwrap_or(&Value::None))?);
        }
        Ok(Value::Int(count))
    }),
    native("index", "value", |call| {
        for (index, item) in call.items()?.into_iter().enumerate() {
            if call.run.equal(&item, call.given(0).unwrap_or(&Value::None))? {
                return Ok(Value::Int(index as i64));
            }
        }
        error("the value is not in the list")
    }),
    native("copy", "", |call| Ok(call.this.clone())),
];

static DICT: [Native; 5] = [
    native("copy", "", |call| Ok(call.this.clone())),
    native("get", "key ?default", |call| {
        let Value::Dict(dict) = &call.this else { return error("get: not a dictionary") };
        let found = call.run.look_up(dict, call.given(0).unwrap_or(&Value::None))?;
        Ok(found.unwrap_or_else(|| call.given(1).cloned().unwrap_or(Value::None)))
    }),
    native("items", "", |call| items(call.run, &call.this)),
    native("keys", "", |call| call.run.list(call.items()?)),
    native("values", "", |call| {
        let Value::Dict(dict) = &call.this else { return error("values: not a dictionary") };
        call.run.list(dict.pairs.iter().map(|(_, value)| value.clone()).collect())
    }),
];

/// The pairs of a dictionary.
pub(super) fn items(run: &Run, value: &Value) -> Result {
    match value {
        Value::Dict(dict) => {
            let mut pairs = dict.pairs.iter().map(|(key, value)| run.tuple(Vec::from([key.clone(), value.clone()])));
            run.list(collect(&mut pairs)?)
        }
        Value::Undefined(_) => run.list(Vec::new()),
        other => other.wrong("only a mapping has pairs, not {}"),
    }
}

static STR: [Native; 42] = [
    native("capitalize", "", |call| capitalize(call.run, &call.text()?)),
    native("casefold", "", |call| {
        // Of what has two small forms, such as ς and σ, the one that is left.
        each(call, |part| if part == "ı" { part.into() } else { part.to_uppercase().to_lowercase() })
    }),
    native("center", "width ?fillchar", |call| {
        center(call.run, &call.text()?, call.int(0)?.unwrap_or(0), &fill(call)?)
    }),
    native("count", "sub ?start ?end", |call| {
        let (text, sub) = (call.text()?, needle(call, 0)?);
        let Some((_, part)) = window(call, &text, 1)? else { return Ok(Value::Int(0)) };
        Ok(Value::Int(if sub.is_empty() { part.chars().count() + 1 } else { part.matches(&*sub).count() } as i64))
    }),
    native("endswith", "suffix ?start ?end", |call| affix(call, |part, suffix| part.ends_with(suffix))),
    native("expandtabs", "?tabsize", expandtabs),
    native("find", "sub ?start ?end", |call| Ok(Value::Int(find_text(call, false)?.unwrap_or(-1)))),
    native("format", "*", printf::format_method),
    native("index", "sub ?start ?end", |call| found(find_text(call, false)?)),
    native("isalnum", "", |call| every(call, |c| picolm_unicode::is_letter(c) || c.is_numeric())),
    native("isalpha", "", |call| every(call, picolm_unicode::is_letter)),
    native("isascii", "", |call| Ok(Value::Bool(call.text()?.is_ascii()))),
    native("isdecimal", "", |call| every(call, picolm_unicode::is_decimal)),
    native("isdigit", "", |call| {
        every(call, |c| picolm_unicode::is_decimal(c) || matches!(c, '²' | '³' | '¹' | '⁰'..='⁹' | '₀'..='₉'))
    }),
    native("islower", "", |call| Ok(Value::Bool(is_cased(&call.text()?, char::is_lowercase)))),
    native("isnumeric", "", |call| every(call, char::is_numeric)),
    native("isprintable", "", |call| Ok(Value::Bool(call.text()?.chars().all(picolm_unicode::is_printable)))),
    native("isspace", "", |call| every(call, is_space)),
    native("istitle", "", |call| Ok(Value::Bool(is_title(&call.text()?)))),
    native("isupper", "", |call| Ok(Value::Bool(is_cased(&call.text()?, char::is_uppercase)))),
    native("join", "iterable", |call| join(call.run, call.given(0).unwrap_or(&Value::None), &call.text()?, false)),
    native("ljust", "width ?fillchar", |call| {
        let text = call.text()?;
        let missing = missing(&text, call.int(0)?.unwrap_or(0));
        pad(call.run, &text, 0, missing, &fill(call)?)
    }),
    native("lower", "", |call| {
        let text = call.text()?;
        call.run.text(&text.to_lowercase(), &text)
    }),
    native("lstrip", "?chars", |call| strip(call.run, &call.text()?, call.str(0)?, true, false)),
    native("partition", "sep", |call| partition(call, false)),
    native("removeprefix", "prefix", |call| {
        let (text, prefix) = (call.text()?, needle(call, 0)?);
        call.run.text(text.strip_prefix(&*prefix).unwrap_or(&text), &text)
    }),
    native("removesuffix", "suffix", |call| {
        let (text, suffix) = (call.text()?, needle(call, 0)?);
        call.run.text(text.strip_suffix(&*suffix).unwrap_or(&text), &text)
    }),
    native("replace", "old new ?count", |call| {
        replace(call.run, &call.text()?, &needle(call, 0)?, &needle(call, 1)?, call.int(2)?)
    }),
    native("rfind", "sub ?start ?end", |call| Ok(Value::Int(find_text(call, true)?.unwrap_or(-1)))),
    native("rindex", "sub ?start ?end", |call| found(find_text(call, true)?)),
    native("rjust", "width ?fillchar", |call| {
        let text = call.text()?;
        let missing = missing(&text, call.int(0)?.unwrap_or(0));
        pad(call.run, &text, missing, 0, &fill(call)?)
    }),
    native("rpartition", "sep", |call| partition(call, true)),
    native("rsplit", "?sep ?maxsplit", |call| split(call, true)),
    native("rstrip", "?chars", |call| strip(call.run, &call.text()?, call.str(0)?, false, true)),
    native("split", "?sep ?maxsplit", |call| split(call, false)),
    native("splitlines", "?keepends", |call| {
        let text = call.text()?;
        texts(call.run, lines(&text, call.truth(0)), &text)
    }),
    native("startswith", "prefix ?start ?end", |call| affix(call, |part, prefix| part.starts_with(prefix))),
    native("strip", "?chars", |call| strip(call.run, &call.text()?, call.str(0)?, true, true)),
    native("swapcase", "", |call| {
        each(call, |part| if part.starts_with(char::is_lowercase) { part.to_uppercase() } else { part.to_lowercase() })
    }),
    native("title", "", |call| title(call.run, &call.text()?, |c| !c.is_lowercase() && !c.is_uppercase())),
    native("upper", "", |call| {
        let text = call.text()?;
        call.run.text(&text.to_uppercase(), &text)
    }),
    native("zfill", "width", |call| {
        let text = call.text()?;
        let missing = missing(&text, call.int(0)?.unwrap_or(0));
        let sign = usize::from(text.starts_with(['+', '-']));
        let mut out = Text::new(call.run);
        out.push(&text[..sign], &text)?;
        out.repeat(&Str::own("0"), missing)?;
        out.push(&text[sign..], &text)?;
        out.finish()
    }),
];

/// In the middle of a field, as Python rounds the middle.
pub(super) fn center(run: &Run, text: &Str, width: i64, fill: &Str) -> Result {
    let missing = missing(text, width);
    let left = missing / 2 + (missing & width.max(0) as usize & 1);
    pad(run, text, left, missing - left, fill)
}

/// How many characters a text has less than a field.
fn missing(text: &str, width: i64) -> usize {
    count(width).saturating_sub(text.chars().count())
}

/// The character that fields are filled with.
fn fill(call: &Call) -> Result<Str> {
    match call.str(1)? {
        None => Ok(Str::own(" ")),
        Some(fill) if fill.chars().count() == 1 => Ok(fill),
        Some(_) => error("the fill character must be exactly one character long"),
    }
}

fn pad(run: &Run, text: &Str, left: usize, right: usize, fill: &Str) -> Result {
    let mut out = Text::new(run);
    out.repeat(fill, left)?;
    out.push(text, text)?;
    out.repeat(fill, right)?;
    out.finish()
}

/// A text with something else for each character.
fn each(call: &Call, change: fn(&str) -> String) -> Result {
    let (text, mut out) = (call.text()?, Text::new(call.run));
    for part in characters(&text) {
        out.push(&change(part), &text)?;
    }
    out.finish()
}

/// What stands before, is, and stands behind the first place of a text, or the last.
fn partition(call: &Call, last: bool) -> Result {
    let (text, separator) = (call.text()?, needle(call, 0)?);
    if separator.is_empty() {
        return error("empty separator");
    }
    let found = if last { text.rsplit_once(&*separator) } else { text.split_once(&*separator) };
    let parts = match found {
        Some((before, after)) => [before, &text[before.len()..text.len() - after.len()], after],
        None if last => ["", "", &text],
        None => [&text, "", ""],
    };
    call.run.tuple(collect(&mut parts.into_iter().map(|part| call.run.text(part, &text)))?)
}

/// Tabs as spaces, up to the next multiple of a width in their line.
fn expandtabs(call: &Call) -> Result {
    let text = call.text()?;
    let size = count(call.int(0)?.unwrap_or(8));
    let (mut out, mut column) = (Text::new(call.run), 0);
    for part in characters(&text) {
        match part {
            "\t" => {
                let spaces = if size > 0 { size - column % size } else { 0 };
                out.repeat(&Str::own(" "), spaces)?;
                column += spaces;
            }
            _ => {
                out.push(part, &text)?;
                column = if matches!(part, "\n" | "\r") { 0 } else { column + 1 };
            }
        }
    }
    out.finish()
}

/// `str.istitle`: capitals stand where letters begin, small letters behind letters, and there are some.
fn is_title(text: &str) -> bool {
    let (mut cased, mut any) = (false, false);
    for c in text.chars() {
        let (upper, lower) = (c.is_uppercase(), c.is_lowercase());
        if (upper && cased) || (lower && !cased) {
            return false;
        }
        cased = upper || lower;
        any |= cased;
    }
    any
}

/// First letter upper, others lower.
pub(super) fn capitalize(run: &Run, text: &Str) -> Result {
    let mut chars = text.chars();
    let mut out: String = chars.next().into_iter().flat_map(title_case).collect();
    out.push_str(&chars.as_str().to_lowercase());
    run.text(&out, text)
}

/// Letters upper behind what `separates`, others lower.
pub(super) fn title(run: &Run, text: &Str, separates: fn(char) -> bool) -> Result {
    let mut out = Text::new(run);
    let mut start = true;
    for c in text.chars() {
        let all: String = if start { title_case(c).collect() } else { c.to_lowercase().collect() };
        out.push(&all, text)?;
        start = separates(c);
    }
    out.finish()
}

/// A letter at the start of a word: of several that it becomes, only the first is upper.
fn title_case(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().enumerate().flat_map(|(index, c)| {
        let lower = (index > 0).then(|| c.to_lowercase());
        lower.into_iter().flatten().chain((index == 0).then_some(c))
    })
}

pub(super) fn strip(run: &Run, text: &Str, chars: Option<Str>, left: bool, right: bool) -> Result {
    // Each character of the text is looked for among `chars`.
    run.read(text.len().saturating_mul(chars.as_ref().map_or(1, |chars| chars.len())))?;
    let stripped = |c: char| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(c));
    let rest = if left { text.trim_start_matches(stripped) } else { text };
    run.text(if right { rest.trim_end_matches(stripped) } else { rest }, text)
}

/// With the first `count` places replaced; all, if it is none or negative.
pub(super) fn replace(run: &Run, text: &Str, old: &str, new: &Str, count: Option<i64>) -> Result {
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let (mut out, mut copied) = (Text::new(run), 0);
    for (at, found) in text.match_indices(old).take(count) {
        out.push(&text[copied..at], text)?;
        out.push(new, new)?;
        copied = at + found.len();
    }
    out.push(&text[copied..], text)?;
    out.finish()
}

/// The items of `list` with `between` between them; `convert`: other values than strings too.
pub(super) fn join(run: &Run, list: &Value, between: &Str, convert: bool) -> Result {
    let mut out = Text::new(run);
    for (index, item) in run.items(list)?.iter().enumerate() {
        if !convert && item.as_str().is_none() {
            return item.wrong("join: a string was expected, not {}");
        }
        run.read(16)?;
        if index > 0 {
            out.push(between, between)?;
        }
        let item = display(run, &item)?;
        out.push(&item, &item)?;
    }
    out.finish()
}

/// The lines of a text as Python's `splitlines` cuts it.
pub(super) fn lines(mut text: &str, keep_ends: bool) -> Vec<&str> {
    let ends = ['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut lines = Vec::new();
    while !text.is_empty() {
        let end = text.find(ends).unwrap_or(text.len());
        let rest = &text[end..];
        let length = if rest.starts_with("\r\n") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
        lines.push(&text[..if keep_ends { end + length } else { end }]);
        text = &rest[length..];
    }
    lines
}

/// A list of parts of `of`.
fn texts(run: &Run, all: Vec<&str>, of: &Str) -> Result {
    run.list(collect(&mut all.into_iter().map(|text| run.text(text, of)))?)
}

/// `str.split(sep, maxsplit)`, or `rsplit`.
pub(super) fn split(call: &Call, from_right: bool) -> Result {
    let (text, separator) = (call.text()?, call.str(0)?);
    let max = call.int(1)?.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
    if separator.as_ref().is_some_and(|separator| separator.is_empty()) {
        return error("empty separator");
    }
    let (mut parts, mut rest) = (Vec::new(), &*text);
    loop {
        call.run.read(32)?;
        if separator.is_none() {
            rest = if from_right { rest.trim_end_matches(is_space) } else { rest.trim_start_matches(is_space) };
            if rest.is_empty() {
                break;
            }
        }
        let place = match (&separator, from_right) {
            _ if parts.len() == max => None,
            (Some(separator), false) => rest.find(&**separator),
            (Some(separator), true) => rest.rfind(&**separator),
            (None, false) => rest.find(is_space),
            (None, true) => rest.rfind(is_space),
        };
        let Some(at) = place else {
            parts.push(rest);
            break;
        };
        let length =
            separator.as_ref().map_or_else(|| rest[at..].chars().next().map_or(0, char::len_utf8), |s| s.len());
        let (before, after) = (&rest[..at], &rest[at + length..]);
        (rest, _) = if from_right { (before, parts.push(after)) } else { (after, parts.push(before)) };
    }
    if from_right {
        parts.reverse();
    }
    texts(call.run, parts, &text)
}

/// A text argument.
fn needle(call: &Call, index: usize) -> Result<Str> {
    call.str(index)?.map_or_else(|| error("a string was expected, not none"), Ok)
}

fn every(call: &Call, is: fn(char) -> bool) -> Result {
    let text = call.text()?;
    Ok(Value::Bool(!text.is_empty() && text.chars().all(is)))
}

fn found(index: Option<i64>) -> Result {
    index.map_or_else(|| error("substring not found"), |index| Ok(Value::Int(index)))
}

/// `text[start:end]` by the arguments from `first` on, and how many characters stand before it; `None` if it starts
/// behind the text.
fn window<'t>(call: &Call, text: &'t str, first: usize) -> Result<Option<(usize, &'t str)>> {
    let (start, end) = (call.int(first)?, call.int(first + 1)?);
    if start.is_none() && end.is_none() {
        return Ok(Some((0, text)));
    }
    let len = text.chars().count();
    let place = |at: i64| if at < 0 { at.saturating_add(len as i64).max(0) } else { at };
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(len as i64)).min(len as i64));
    if start > end {
        return Ok(None);
    }
    let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
    Ok(Some((start as usize, &text[byte(start)..byte(end)])))
}

fn find_text(call: &Call, last: bool) -> Result<Option<i64>> {
    let (text, sub) = (call.text()?, needle(call, 0)?);
    let Some((before, part)) = window(call, &text, 1)? else { return Ok(None) };
    let at = if last { part.rfind(&*sub) } else { part.find(&*sub) };
    Ok(at.map(|at| (before + part[..at].chars().count()) as i64))
}

/// Whether one of the prefixes, or the one, fits.
fn affix(call: &Call, fits: fn(&str, &str) -> bool) -> Result {
    let text = call.text()?;
    let part = window(call, &text, 1)?;
    let one = |affix: &Value| match (affix, part) {
        (Value::Str(affix), part) => Ok(part.is_some_and(|(_, part)| fits(part, affix))),
        (other, _) => other.wrong("a string or a tuple of strings was expected, not {}"),
    };
    match call.given(0) {
        Some(Value::Tuple(all)) => {
            for affix in &all.items {
                if one(affix)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        affix => Ok(Value::Bool(one(affix.unwrap_or(&Value::None))?)),
    }
}
