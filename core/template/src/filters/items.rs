//! Filters that choose, order and group items.

use super::FILTERS;
use crate::checks::TESTS;
use crate::methods;
use crate::operators::item;
use crate::value::Value;
use crate::value::native::{Arguments, Call, apply};
use crate::value::run::{Result, Run, VALUE, collect, count, error};
use crate::value::text::Str;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// What a path such as `a.b.0` leads to.
pub(super) fn at_path(run: &Run, value: &Value, path: &Value) -> Result {
    let Value::Str(path) = path else { return item(run, value, path) };
    let mut value = value.clone();
    for part in path.split('.') {
        run.step()?;
        let key = part.parse().map_or_else(|_| Value::Str(Str::own(part)), Value::Int);
        value = item(run, &value, &key)?;
    }
    Ok(value)
}

pub(super) fn all_at(call: &Call, path: &Value) -> Result<Vec<Value>> {
    collect(&mut call.items()?.iter().map(|value| at_path(call.run, value, path)))
}

/// Items behind what they are compared by: themselves or what a path leads to (of several, a tuple), in small letters
/// unless the case counts.
pub(super) fn keyed(
    call: &Call,
    items: Vec<Value>,
    path: Option<&Value>,
    case_sensitive: bool,
) -> Result<Vec<(Value, Value)>> {
    keyed_or(call, items, path, None, case_sensitive)
}

/// The same, with a default where the path leads nowhere.
fn keyed_or(
    call: &Call,
    items: Vec<Value>,
    path: Option<&Value>,
    default: Option<&Value>,
    case_sensitive: bool,
) -> Result<Vec<(Value, Value)>> {
    let run = call.run;
    let fold = |key: Value| match key {
        Value::Str(text) if !case_sensitive => run.text(&text.to_lowercase(), &text),
        key => Ok(key),
    };
    let key = |value: &Value| match path {
        None => fold(value.clone()),
        Some(Value::Str(paths)) if paths.contains(',') => {
            let mut keys = paths.split(',').map(|path| fold(at_path(run, value, &Value::Str(Str::own(path)))?));
            run.tuple(collect(&mut keys)?)
        }
        Some(path) => match (at_path(run, value, path)?, default) {
            (Value::Undefined(_), Some(default)) => fold(default.clone()),
            (found, _) => fold(found),
        },
    };
    run.make(items.len() * 2 * VALUE)?;
    let mut all = Vec::new();
    for value in items {
        all.push((key(&value)?, value));
    }
    Ok(all)
}

pub(super) fn dictsort(call: &Call) -> Result {
    let by_value = match call.str(1)?.as_deref() {
        None | Some("key") => false,
        Some("value") => true,
        _ => return error("dictsort: by 'key' or by 'value'"),
    };
    if !matches!(call.this, Value::Dict(_)) {
        return call.this.wrong("dictsort: a dictionary was expected, not {}");
    }
    let pairs = call.run.to_vec(&methods::items(call.run, &call.this)?)?;
    let keyed = keyed(call, pairs, Some(&Value::Int(i64::from(by_value))), call.truth(0))?;
    let sorted = call.run.sort(keyed, call.truth(2))?;
    call.run.list(sorted.into_iter().map(|(_, pair)| pair).collect())
}

pub(super) fn extreme(call: &Call, wanted: Ordering) -> Result {
    let mut keyed = keyed(call, call.items()?, call.argument(1), call.truth(0))?.into_iter();
    let Some(mut best) = keyed.next() else { return Ok(nothing()) };
    for next in keyed {
        if call.run.compare(&next.0, &best.0)? == Some(wanted) {
            best = next;
        }
    }
    Ok(best.1)
}

pub(super) fn map(call: &Call) -> Result {
    if !call.this.truth() {
        return call.run.list(Vec::new()); // none too
    }
    let named = |name: &str| call.rest.named.iter().find(|(other, _)| &**other == name).map(|(_, value)| value);
    let mut out = Vec::new();
    match (call.rest.positional.split_first(), named("attribute")) {
        (None, Some(path)) => {
            for value in call.items()? {
                out.push(match (at_path(call.run, &value, path)?, named("default")) {
                    (Value::Undefined(_), Some(default)) => default.clone(),
                    (found, _) => found,
                });
            }
        }
        (Some((Value::Str(name), arguments)), _) => {
            for value in call.items()? {
                call.run.step()?;
                let arguments = Arguments { positional: arguments.to_vec(), named: call.rest.named.clone() };
                out.push(apply(call.run, &FILTERS, name, value, arguments)?);
            }
        }
        _ => return error("map: the name of a filter or attribute='…' was expected"),
    }
    call.run.list(out)
}

/// `select`, `reject`, and by an attribute: items for which a test, else their truth, is `wanted`.
pub(super) fn choose(call: &Call, by_attribute: bool, wanted: bool) -> Result {
    if !call.this.truth() {
        return call.run.list(Vec::new()); // none too
    }
    let mut arguments = &call.rest.positional[..];
    let mut path = None;
    if by_attribute {
        let Some((first, rest)) = arguments.split_first() else {
            return error("the name of an attribute was expected");
        };
        (path, arguments) = (Some(first), rest);
    }
    let mut kept = Vec::new();
    for value in call.items()? {
        call.run.step()?;
        let tested = path.map_or_else(|| Ok(value.clone()), |path| at_path(call.run, &value, path))?;
        let result = match arguments.split_first() {
            None => tested.truth(),
            Some((Value::Str(name), rest)) => {
                let arguments = Arguments { positional: rest.to_vec(), named: call.rest.named.clone() };
                apply(call.run, &TESTS, name, tested, arguments)?.truth()
            }
            Some((other, _)) => return other.wrong("the name of a test was expected, not {}"),
        };
        if result == wanted {
            kept.push(value);
        }
    }
    call.run.list(kept)
}

/// What there is instead of an item of nothing.
pub(super) fn nothing() -> Value {
    Value::undefined("there is no item, the sequence was empty")
}

/// Lists of so many items, the last filled up.
pub(super) fn batch(call: &Call) -> Result {
    let size = call.int(0)?.unwrap_or(0);
    let (mut all, mut part) = (Vec::new(), Vec::new());
    for value in call.items()? {
        if part.len() as i64 == size {
            all.push(call.run.list(core::mem::take(&mut part))?);
        }
        part.push(value);
    }
    if !part.is_empty() {
        if let Some(fill) = call.argument(1) {
            let missing = count(size).saturating_sub(part.len());
            call.run.make(missing.saturating_mul(VALUE))?;
            part.resize(part.len() + missing, fill.clone());
        }
        all.push(call.run.list(part)?);
    }
    call.run.list(all)
}

/// So many lists, as even as can be; those that are shorter filled up.
pub(super) fn slice(call: &Call) -> Result {
    let items = call.items()?;
    let count = match call.int(0)?.unwrap_or(0) {
        0 => return error("division by zero"),
        slices => count(slices),
    };
    if count == 0 {
        return call.run.list(Vec::new());
    }
    let (each, longer) = (items.len() / count, items.len() % count);
    let (mut all, mut rest) = (Vec::new(), &items[..]);
    for index in 0..count {
        let (part, after) = rest.split_at(each + usize::from(index < longer));
        let mut part = part.to_vec();
        part.extend(call.argument(1).filter(|_| index >= longer).cloned());
        all.push(call.run.list(part)?);
        rest = after;
    }
    call.run.list(all)
}

/// Pairs of what a path leads to, in order, and the items for which it leads there.
pub(super) fn groupby(call: &Call) -> Result {
    let at = |items, case_sensitive| keyed_or(call, items, call.given(0), call.argument(1), case_sensitive);
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, value) in call.run.sort(at(call.items()?, call.truth(2))?, false)? {
        match groups.last_mut() {
            Some((other, items)) if call.run.equal(other, &key)? => items.push(value),
            _ => groups.push((key, Vec::from([value]))),
        }
    }
    let mut all = Vec::new();
    for (_, items) in groups {
        // As the first of them has it, whatever its case.
        let key = at(items[..1].to_vec(), true)?.remove(0).0;
        let pair = Vec::from([key, call.run.list(items)?]);
        all.push(call.run.named_tuple(pair, &["grouper", "list"])?);
    }
    call.run.list(all)
}
