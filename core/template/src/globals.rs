//! Functions a template can call by their names.

use super::python::display;
use super::value::Value;
use super::value::native::{Call, Native, native};
use super::value::run::{Fail, NAMED, Object, Result, Run, VALUE, error};
use super::value::text::Str;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

pub(super) static GLOBALS: [Native; 7] = [
    native("cycler", "*", |call| match call.run.tuple(call.rest.positional.clone())? {
        Value::Tuple(items) if !items.items.is_empty() => Ok(Value::Object(call.run.object(Object::Cycler(items, 0))?)),
        _ => error("at least one item has to be provided"),
    }),
    native("dict", "*", |call| {
        let pairs = pairs(call)?;
        call.run.dict(pairs)
    }),
    native("joiner", "?sep", |call| {
        let between = call.given(0).map_or_else(|| Ok(Str::own(", ")), |value| display(call.run, value))?;
        Ok(Value::Object(call.run.object(Object::Joiner(between, false))?))
    }),
    native("namespace", "*", |call| {
        let name = |(name, value): (Value, Value)| if let Value::Str(name) = name { Some((name, value)) } else { None };
        let names: Vec<_> = pairs(call)?.into_iter().filter_map(name).collect();
        call.run.make(names.len() * NAMED)?;
        Ok(Value::Object(call.run.object(Object::Namespace(names))?))
    }),
    native("raise_exception", "message", |call| {
        let message = call.given(0).map_or_else(|| Ok(Str::own("")), |value| display(call.run, value))?;
        Err(Box::new(Fail::Refused(String::from(&*message))))
    }),
    native("range", "start ?stop ?step", |call| {
        let first = call.int(0)?.unwrap_or(0);
        let (start, stop) = call.int(1)?.map_or((0, first), |stop| (first, stop));
        call.run.range(start, stop, call.int(2)?.unwrap_or(1))
    }),
    native("strftime_now", "format", |call| match (call.run.now, call.str(0)?) {
        (Some(now), Some(format)) => call.run.text(&now.strftime(&format).or_else(error)?, &format),
        _ => error("strftime_now: there is no clock"),
    }),
];

/// The pairs of a dictionary, or of a list.
pub(super) fn pairs_of(run: &Run, value: &Value) -> Result<Vec<(Value, Value)>> {
    if let Value::Dict(dict) = value {
        run.make(dict.pairs.len() * 2 * VALUE)?;
        return Ok(dict.pairs.clone());
    }
    let mut pairs = Vec::new();
    for pair in run.items(value)?.iter() {
        let pair = run.items(&pair)?;
        let (Some(key), Some(value), 2) = (pair.get(0), pair.get(1), pair.len()) else {
            return error("a list of pairs was expected");
        };
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// The arguments of `dict`: a dictionary or a list of pairs, and further pairs by name.
fn pairs(call: &Call) -> Result<Vec<(Value, Value)>> {
    let mut pairs = Vec::new();
    match &*call.rest.positional {
        [] => {}
        [given] => {
            for (key, value) in pairs_of(call.run, given)? {
                call.run.insert(&mut pairs, key, value)?;
            }
        }
        _ => return error("at most one argument without a name was expected"),
    }
    for (name, value) in &call.rest.named {
        call.run.insert(&mut pairs, Value::Str(name.clone()), value.clone())?;
    }
    Ok(pairs)
}
