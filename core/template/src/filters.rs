//! What can stand behind `|`: Jinja2's filters, but for those that `native` names as missing.

mod items;
mod numbers;
mod text;

use self::items::{all_at, batch, choose, dictsort, extreme, groupby, keyed, map, nothing, slice};
use self::numbers::{filesizeformat, round, to_float, to_int};
use self::text::{escape, indent, truncate, urlencode, wordcount};
use super::ast::Operator;
use super::methods::{self, capitalize, center, join, replace, strip, title};
use super::operators::{attribute, binary, negative};
use super::printf;
use super::python::{Text, display, is_space};
use super::tojson::tojson;
use super::value::native::{Call, Native, native};
use super::value::run::{Result, error};
use super::value::text::{Str, characters};
use super::value::{Number, Value};
use alloc::format;
use alloc::vec::Vec;
use core::cmp::Ordering;

pub(super) static FILTERS: [Native; 50] = [
    native("abs", "", |call| match call.this.number() {
        Some(Number::Float(x)) => Ok(Value::Float(if x < 0.0 { -x } else { x + 0.0 })),
        Some(Number::Int(n)) if n >= 0 => Ok(Value::Int(n)),
        _ => negative(&call.this),
    }),
    native("attr", "name", |call| match (&call.this, call.given(0)) {
        (Value::Dict(_), Some(Value::Str(name))) if methods::find(call.run, &call.this, name).is_none() => {
            Ok(Value::undefined(&format!("'dict object' has no attribute '{:.60}'", &**name)))
        }
        (this, Some(Value::Str(name))) => attribute(call.run, this, name),
        _ => error("attr: a name was expected"),
    }),
    native("batch", "linecount ?fill_with", batch),
    native("bool", "", |call| Ok(Value::Bool(call.this.truth()))),
    native("capitalize", "", |call| capitalize(call.run, &call.text()?)),
    native("center", "?width", |call| center(call.run, &call.text()?, call.int(0)?.unwrap_or(80), &Str::own(" "))),
    native("count", "", length),
    native("d", "?default_value ?boolean", default),
    native("default", "?default_value ?boolean", default),
    native("dictsort", "?case_sensitive ?by ?reverse", dictsort),
    native("e", "", escape),
    native("escape", "", escape),
    native("filesizeformat", "?binary", filesizeformat),
    native("first", "", |call| match &call.this {
        Value::Str(text) => one(call, characters(text).next(), text),
        _ => Ok(call.items()?.first().cloned().unwrap_or_else(nothing)),
    }),
    native("float", "?default", |call| {
        Ok(to_float(call)?.map_or_else(|| default_of(call, Value::Float(0.0)), Value::Float))
    }),
    native("forceescape", "", escape),
    native("format", "*", printf::format_filter),
    native("groupby", "attribute ?default ?case_sensitive", groupby),
    native("indent", "?width ?first ?blank", indent),
    native("int", "?default ?base", |call| {
        Ok(to_int(call)?.map_or_else(|| default_of(call, Value::Int(0)), Value::Int))
    }),
    native("items", "", |call| methods::items(call.run, &call.this)),
    native("join", "?d ?attribute", |call| {
        let between = call.given(0).map_or_else(|| Ok(Str::own("")), |value| display(call.run, value))?;
        match call.argument(1) {
            Some(path) => join(call.run, &call.run.list(all_at(call, path)?)?, &between, true),
            None => join(call.run, &call.this, &between, true),
        }
    }),
    native("last", "", |call| match &call.this {
        Value::Str(text) => one(call, characters(text).next_back(), text),
        _ => Ok(call.items()?.pop().unwrap_or_else(nothing)),
    }),
    native("length", "", length),
    native("list", "", |call| call.run.list(call.items()?)),
    native("lower", "", |call| {
        let text = call.text()?;
        call.run.text(&text.to_lowercase(), &text)
    }),
    native("map", "*", map),
    native("max", "?case_sensitive ?attribute", |call| extreme(call, Ordering::Greater)),
    native("min", "?case_sensitive ?attribute", |call| extreme(call, Ordering::Less)),
    native("reject", "*", |call| choose(call, false, false)),
    native("rejectattr", "*", |call| choose(call, true, false)),
    native("replace", "old new ?count", |call| {
        let text = |index| call.given(index).map_or_else(|| Ok(Str::own("")), |value| display(call.run, value));
        replace(call.run, &call.text()?, &text(0)?, &text(1)?, call.int(2)?)
    }),
    native("reverse", "", |call| match &call.this {
        Value::Str(text) => {
            let mut out = Text::new(call.run);
            for c in characters(text).rev() {
                out.push(c, text)?;
            }
            out.finish()
        }
        _ => {
            let mut items = call.items()?;
            items.reverse();
            call.run.list(items)
        }
    }),
    native("round", "?precision ?method", round),
    native("safe", "", |call| Ok(Value::Str(call.text()?))),
    native("select", "*", |call| choose(call, false, true)),
    native("selectattr", "*", |call| choose(call, true, true)),
    native("slice", "slices ?fill_with", slice),
    native("sort", "?reverse ?case_sensitive ?attribute", |call| {
        let keyed = keyed(call, call.items()?, call.argument(2), call.truth(1))?;
        let sorted = call.run.sort(keyed, call.truth(0))?;
        call.run.list(sorted.into_iter().map(|(_, value)| value).collect())
    }),
    native("split", "?sep ?maxsplit", |call| methods::split(call, false)),
    native("string", "", |call| Ok(Value::Str(call.text()?))),
    native("sum", "?attribute ?start", |call| {
        let mut sum = call.given(1).cloned().unwrap_or(Value::Int(0));
        for (value, _) in keyed(call, call.items()?, call.argument(0), true)? {
            if sum.as_str().is_some() {
                return error("sum: strings cannot be summed, but joined");
            }
            sum = binary(call.run, Operator::Add, &sum, &value)?;
        }
        Ok(sum)
    }),
    native("title", "", |call| {
        title(call.run, &call.text()?, |c| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<'))
    }),
    native("tojson", "?ensure_ascii ?indent ?separators ?sort_keys", tojson),
    native("trim", "?chars", |call| strip(call.run, &call.text()?, call.str(0)?, true, true)),
    native("truncate", "?length ?killwords ?end ?leeway", truncate),
    native("unique", "?case_sensitive ?attribute", |call| {
        let mut seen: Vec<(Value, Value)> = Vec::new();
        'items: for (key, value) in keyed(call, call.items()?, call.argument(1), call.truth(0))? {
            for (other, _) in &seen {
                if call.run.equal(other, &key)? {
                    continue 'items;
                }
            }
            seen.push((key, value));
        }
        call.run.list(seen.into_iter().map(|(_, value)| value).collect())
    }),
    native("upper", "", |call| {
        let text = call.text()?;
        call.run.text(&text.to_uppercase(), &text)
    }),
    native("urlencode", "", urlencode),
    native("wordcount", "", wordcount),
];

fn one(call: &Call, c: Option<&str>, of: &Str) -> Result {
    c.map_or_else(|| Ok(nothing()), |c| call.run.text(c, of))
}

fn length(call: &Call) -> Result {
    Ok(Value::Int(call.run.len(&call.this)? as i64))
}

fn default(call: &Call) -> Result {
    let missing = matches!(call.this, Value::Undefined(_)) || (call.truth(1) && !call.this.truth());
    Ok(if missing { default_of(call, Value::Str(Str::own(""))) } else { call.this.clone() })
}

/// The first argument, if it is given.
fn default_of(call: &Call, otherwise: Value) -> Value {
    call.given(0).cloned().unwrap_or(otherwise)
}
