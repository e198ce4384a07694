//! What can stand behind `|`: Jinja2's filters, without those that make HTML.

use super::ast::Operator;
use super::checks::TESTS;
use super::methods::{self, capitalize, join, lines, replace, strip, title};
use super::operators::{attribute, binary, item, negative};
use super::printf;
use super::python::{Text, display, is_space, parse_float, parse_int};
use super::tojson::tojson;
use super::value::native::{Arguments, Call, Native, apply, native};
use super::value::run::{Result, Run, collect, error};
use super::value::text::{Str, characters};
use super::value::{Number, Value};
use alloc::format;
use alloc::vec::Vec;
use core::cmp::Ordering;

pub(super) static FILTERS: [Native; 41] = [
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
    native("bool", "", |call| Ok(Value::Bool(call.this.truth()))),
    native("capitalize", "", |call| capitalize(call.run, &call.text()?)),
    native("count", "", length),
    native("d", "?default_value ?boolean", default),
    native("default", "?default_value ?boolean", default),
    native("dictsort", "?case_sensitive ?by ?reverse", dictsort),
    native("e", "", escape),
    native("escape", "", escape),
    native("first", "", |call| match &call.this {
        Value::Str(text) => one(call, characters(text).next(), text),
        _ => Ok(call.items()?.first().cloned().unwrap_or_else(nothing)),
    }),
    native("float", "?default", |call| {
        Ok(to_float(call)?.map_or_else(|| default_of(call, Value::Float(0.0)), Value::Float))
    }),
    native("format", "*", printf::format_filter),
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
];

fn nothing() -> Value {
    Value::undefined("there is no item, the sequence was empty")
}

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

fn escape(call: &Call) -> Result {
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

fn indent(call: &Call) -> Result {
    let Value::Str(text) = &call.this else { return call.this.wrong("indent: a string was expected, not {}") };
    let (by, times) = match call.argument(0) {
        Some(Value::Str(by)) => (by.clone(), 1),
        _ => (Str::own(" "), usize::try_from(call.int(0)?.unwrap_or(4).max(0)).unwrap_or(usize::MAX)),
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

fn to_float(call: &Call) -> Result<Option<f64>> {
    Ok(match call.this.defined()? {
        Value::Str(text) => parse_float(text),
        other => other.number().map(Number::to_f64),
    })
}

fn to_int(call: &Call) -> Result<Option<i64>> {
    let float = match call.this.defined()? {
        Value::Str(text) => {
            let base = u32::try_from(call.int(1)?.unwrap_or(10)).unwrap_or(0);
            if !(2..=36).contains(&base) {
                return error("int: the base should be 2 to 36");
            }
            match parse_int(text, base) {
                Some(value) => return Ok(Some(value)),
                None => parse_float(text),
            }
        }
        other => match other.number() {
            Some(Number::Int(n)) => return Ok(Some(n)),
            Some(Number::Float(x)) => Some(x),
            None => None,
        },
    };
    match float {
        Some(x) if x.abs() < 9.2e18 => Ok(Some(x as i64)),
        Some(_) if call.this.as_str().is_none() => error("int: this float is no integer of 64 bits"),
        _ => Ok(None),
    }
}

/// `round(this, precision)`, or up (`ceil`), or down (`floor`).
fn round(call: &Call) -> Result {
    let precision = call.int(0)?.unwrap_or(0);
    let method = call.str(1)?;
    let up = match method.as_deref() {
        None | Some("common") => None,
        Some("ceil") => Some(true),
        Some("floor") => Some(false),
        _ => return error("round: the method must be common, ceil or floor"),
    };
    let Some(number) = call.this.defined()?.number() else {
        return call.this.wrong("round: a number was expected, not {}");
    };
    if !(-15..=15).contains(&precision) {
        return error("round: the precision should be -15 to 15");
    }
    if let (Number::Int(n), None, 0..) = (number, up, precision) {
        return Ok(Value::Int(n));
    }
    let (x, power) = (number.to_f64(), (0..precision.abs()).fold(1.0, |power, _| power * 10.0));
    let scaled = if precision < 0 { x / power } else { x * power };
    let rounded = match up {
        Some(true) => libm::ceil(scaled),
        Some(false) => libm::floor(scaled),
        // A product that is a tie may have been rounded to it: Python decides by the exact value.
        None if precision > 0 && (scaled - libm::floor(scaled)) == 0.5 => {
            let above = product_error(x, power, scaled);
            if above > 0.0 {
                libm::ceil(scaled)
            } else if above < 0.0 {
                libm::floor(scaled)
            } else {
                libm::rint(scaled)
            }
        }
        None => libm::rint(scaled),
    };
    let rounded = if precision < 0 { rounded * power } else { rounded / power };
    match number {
        Number::Int(_) if up.is_none() => return Ok(Value::Int(rounded as i64)),
        // Too large to have a fraction.
        _ if scaled.is_infinite() => return Ok(Value::Float(x)),
        _ => {}
    }
    if rounded.is_nan() { error("round: not a finite number") } else { Ok(Value::Float(rounded)) }
}

/// How much larger `x * y` is than `product`, exactly (Dekker 1971): both are cut into halves whose products are exact.
fn product_error(x: f64, y: f64, product: f64) -> f64 {
    let halves = |x: f64| {
        let scaled = x * 134_217_729.0;
        let high = scaled - (scaled - x);
        (high, x - high)
    };
    let ((xh, xl), (yh, yl)) = (halves(x), halves(y));
    ((xh * yh - product) + xh * yl + xl * yh) + xl * yl
}

/// What a path such as `a.b.0` leads to.
fn at_path(run: &Run, value: &Value, path: &Value) -> Result {
    let Value::Str(path) = path else { return item(run, value, path) };
    let mut value = value.clone();
    for part in path.split('.') {
        run.step()?;
        let key = part.parse().map_or_else(|_| Value::Str(Str::own(part)), Value::Int);
        value = item(run, &value, &key)?;
    }
    Ok(value)
}

fn all_at(call: &Call, path: &Value) -> Result<Vec<Value>> {
    collect(&mut call.items()?.iter().map(|value| at_path(call.run, value, path)))
}

/// Items behind what they are compared by: themselves or what a path leads to (of several, a tuple), in small letters
/// unless the case counts.
fn keyed(call: &Call, items: Vec<Value>, path: Option<&Value>, case_sensitive: bool) -> Result<Vec<(Value, Value)>> {
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
        Some(path) => fold(at_path(run, value, path)?),
    };
    run.make(items.len() * size_of::<(Value, Value)>())?;
    let mut all = Vec::new();
    for value in items {
        all.push((key(&value)?, value));
    }
    Ok(all)
}

fn dictsort(call: &Call) -> Result {
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

fn extreme(call: &Call, wanted: Ordering) -> Result {
    let mut keyed = keyed(call, call.items()?, call.argument(1), call.truth(0))?.into_iter();
    let Some(mut best) = keyed.next() else { return Ok(nothing()) };
    for next in keyed {
        if call.run.compare(&next.0, &best.0)? == Some(wanted) {
            best = next;
        }
    }
    Ok(best.1)
}

fn map(call: &Call) -> Result {
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
fn choose(call: &Call, by_attribute: bool, wanted: bool) -> Result {
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
