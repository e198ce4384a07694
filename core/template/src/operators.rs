//! Arithmetic, attributes, items and slices, as Python and Jinja2's sandbox do them.

use super::ast::Operator;
use super::methods;
use super::printf;
use super::python::Text;
use super::value::run::{Object, Result, Run, VALUE, count, error};
use super::value::text::{Str, characters};
use super::value::{Number, Value};
use alloc::format;
use alloc::vec::Vec;

/// `a operator b`, but for `~`, and for `and` and `or`, which may not need `b`.
pub(super) fn binary(run: &Run, operator: Operator, a: &Value, b: &Value) -> Result {
    use core::cmp::Ordering::{Equal, Greater, Less};
    let ordered = |wanted: &[core::cmp::Ordering]| {
        let order = run.compare(a, b)?;
        Ok(Value::Bool(order.is_some_and(|order| wanted.contains(&order))))
    };
    match operator {
        Operator::Equal => Ok(Value::Bool(run.equal(a, b)?)),
        Operator::NotEqual => Ok(Value::Bool(!run.equal(a, b)?)),
        Operator::Less => ordered(&[Less]),
        Operator::LessEqual => ordered(&[Less, Equal]),
        Operator::Greater => ordered(&[Greater]),
        Operator::GreaterEqual => ordered(&[Greater, Equal]),
        Operator::In => Ok(Value::Bool(run.contains(b, a)?)),
        Operator::NotIn => Ok(Value::Bool(!run.contains(b, a)?)),
        Operator::Add => match (a, b) {
            (Value::Str(a), Value::Str(b)) => {
                let mut text = Text::new(run);
                text.push(a, a)?;
                text.push(b, b)?;
                text.finish()
            }
            (Value::List(a), Value::List(b)) => run.list([&a.items[..], &b.items[..]].concat()),
            (Value::Tuple(a), Value::Tuple(b)) => run.tuple([&a.items[..], &b.items[..]].concat()),
            _ => arithmetic(operator, a, b),
        },
        Operator::Multiply => match (a, b) {
            (Value::Str(_) | Value::List(_) | Value::Tuple(_), times) if times.int().is_some() => repeat(run, a, times),
            (times, Value::Str(_) | Value::List(_) | Value::Tuple(_)) if times.int().is_some() => repeat(run, b, times),
            _ => arithmetic(operator, a, b),
        },
        Operator::Modulo => match a {
            Value::Str(text) => printf::percent(run, text, b),
            _ => arithmetic(operator, a, b),
        },
        _ => arithmetic(operator, a, b),
    }
}

fn repeat(run: &Run, value: &Value, times: &Value) -> Result {
    let times = count(times.int().unwrap_or(0));
    let all = |items: &[Value]| -> Result<Vec<Value>> {
        run.make(items.len().saturating_mul(times).saturating_mul(VALUE))?;
        let mut all = Vec::new();
        (0..times).for_each(|_| all.extend_from_slice(items));
        Ok(all)
    };
    match value {
        Value::List(list) => run.list(all(&list.items)?),
        Value::Tuple(list) => run.tuple(all(&list.items)?),
        Value::Str(of) => {
            let mut text = Text::new(run);
            text.repeat(of, times)?;
            text.finish()
        }
        other => Ok(other.clone()),
    }
}

fn arithmetic(operator: Operator, a: &Value, b: &Value) -> Result {
    let (Some(x), Some(y)) = (a.defined()?.number(), b.defined()?.number()) else {
        return error(format!("'{}' and '{}' cannot be combined by this operator", a.type_name(), b.type_name()));
    };
    let negative_power = operator == Operator::Power && y.to_f64() < 0.0;
    if operator == Operator::Divide || negative_power {
        return float_arithmetic(operator, x.to_f64(), y.to_f64());
    }
    let (Number::Int(x), Number::Int(y)) = (x, y) else {
        return float_arithmetic(operator, x.to_f64(), y.to_f64());
    };
    let result = match operator {
        Operator::Add => x.checked_add(y),
        Operator::Subtract => x.checked_sub(y),
        Operator::Multiply => x.checked_mul(y),
        Operator::Power if x == 0 || x == 1 => Some(if y == 0 { 1 } else { x }),
        Operator::Power => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        _ if y == 0 => return error("division by zero"),
        // Python rounds quotients down; the remainder has the sign of the divisor.
        operator => x.checked_div(y).map(|quotient| {
            let remainder = x - quotient * y;
            let down = i64::from(remainder != 0 && (remainder < 0) != (y < 0));
            if operator == Operator::Modulo { remainder + down * y } else { quotient - down }
        }),
    };
    result.map_or_else(|| error("an integer of more than 64 bits"), |n| Ok(Value::Int(n)))
}

fn float_arithmetic(operator: Operator, x: f64, y: f64) -> Result {
    if y == 0.0 && matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Modulo) {
        return error("division by zero");
    }
    let remainder = || {
        let remainder = x % y;
        if remainder == 0.0 {
            0f64.copysign(y)
        } else if (remainder < 0.0) != (y < 0.0) {
            remainder + y
        } else {
            remainder
        }
    };
    let result = match operator {
        Operator::Add => x + y,
        Operator::Subtract => x - y,
        Operator::Multiply => x * y,
        Operator::Divide => x / y,
        Operator::Modulo => remainder(),
        Operator::FloorDivide => {
            let quotient = (x - remainder()) / y;
            let rounded = libm::floor(quotient);
            if quotient - rounded > 0.5 { rounded + 1.0 } else { rounded }
        }
        _ => return power(x, y),
    };
    Ok(Value::Float(result))
}

/// `x ** y` for exponents that are whole: prompts need no others.
fn power(x: f64, y: f64) -> Result {
    if y.abs() > 1100.0 || y != libm::rint(y) {
        return error("only whole exponents up to 1100 are supported");
    }
    let result = (0..y.abs() as u32).fold(1.0, |product, _| product * x);
    let result = if y < 0.0 { 1.0 / result } else { result };
    if x.is_finite() && !result.is_finite() { error("this power is too large") } else { Ok(Value::Float(result)) }
}

/// `-value`
pub(super) fn negative(value: &Value) -> Result {
    match value.number() {
        Some(Number::Float(x)) => Ok(Value::Float(-x)),
        Some(Number::Int(n)) => {
            n.checked_neg().map_or_else(|| error("an integer of more than 64 bits"), |n| Ok(Value::Int(n)))
        }
        None => value.wrong("bad operand type for unary -: {}"),
    }
}

/// `value.name`: a method, else what a dictionary holds under that name.
pub(super) fn attribute(run: &Run, value: &Value, name: &str) -> Result {
    value.defined()?;
    if let Some(native) = methods::find(run, value, name) {
        return Ok(Value::Method((value.clone(), native).into()));
    }
    if methods::is_unsafe(value, name) {
        let message = format!("access to attribute '{name}' of '{}' object is unsafe", value.type_name());
        return Ok(Value::undefined(&message));
    }
    let found = match value {
        Value::Dict(dict) => run.look_up(dict, &Value::Str(Str::own(name)))?,
        Value::Object(index) => object_attribute(run, *index, name),
        Value::Tuple(list) => list.names.iter().position(|own| *own == name).and_then(|at| list.items.get(at).cloned()),
        _ => None,
    };
    found.map_or_else(|| missing(run, value, &Value::Str(Str::own(name))), Ok)
}

fn object_attribute(run: &Run, index: usize, name: &str) -> Option<Value> {
    let objects = run.objects.borrow();
    let inside = match objects.get(index)? {
        Object::Namespace(names) => return Some(names.iter().find(|(other, _)| **other == *name)?.1.clone()),
        Object::Loop(inside) => inside,
        Object::Cycler(items, at) => return items.items.get(*at).filter(|_| name == "current").cloned(),
        Object::Joiner(..) => return None,
    };
    let (at, len) = (inside.index, inside.items.len());
    let int = |n: usize| Some(Value::Int(n as i64));
    let neighbour = |found: Option<Value>, which| Some(found.unwrap_or_else(|| Value::undefined(which)));
    match name {
        "index" => int(at + 1),
        "index0" => int(at),
        "revindex" => int(len - at),
        "revindex0" => int(len - at - 1),
        "first" => Some(Value::Bool(at == 0)),
        "last" => Some(Value::Bool(at + 1 == len)),
        "length" => int(len),
        "depth" => int(inside.depth + 1),
        "depth0" => int(inside.depth),
        "previtem" => neighbour(at.checked_sub(1).and_then(|at| inside.items.get(at)), "there is no previous item"),
        "nextitem" => neighbour(inside.items.get(at + 1), "there is no next item"),
        _ => None,
    }
}

/// `value[key]`: an item, else the attribute of that name.
pub(super) fn item(run: &Run, value: &Value, key: &Value) -> Result {
    let position = |len: usize| {
        let index = key.int()?;
        usize::try_from(if index < 0 { index.checked_add(len as i64)? } else { index }).ok()
    };
    let found = match value.defined()? {
        Value::List(list) | Value::Tuple(list) => position(list.items.len()).and_then(|at| list.items.get(at).cloned()),
        Value::Range(range) => position(range.len).and_then(|at| range.get(at)).map(Value::Int),
        Value::Str(text) if key.int().is_some() => {
            let found = position(run.len(value)?).and_then(|at| characters(text).nth(at));
            found.map(|c| Value::Str(Str::of(c, text)))
        }
        Value::Dict(dict) if !matches!(key, Value::List(_) | Value::Dict(_)) => run.look_up(dict, key)?,
        _ => None,
    };
    match (found, key) {
        (Some(found), _) => Ok(found),
        (None, Value::Str(name)) if !matches!(value, Value::Dict(_)) || methods::find(run, value, name).is_some() => {
            attribute(run, value, name)
        }
        _ => missing(run, value, key),
    }
}

/// The undefined value that stands for an attribute or item.
fn missing(run: &Run, value: &Value, key: &Value) -> Result {
    run.make(64)?;
    let of = if matches!(value, Value::None) { "'None'" } else { &format!("'{} object'", value.type_name()) };
    Ok(Value::undefined(&match key {
        Value::Str(name) => format!("{of} has no attribute '{:.60}'", &**name),
        Value::Int(index) => format!("{of} has no element {index}"),
        other => format!("{of} has no element of type '{}'", other.type_name()),
    }))
}

/// `value[start:stop:step]`
pub(super) fn slice(run: &Run, value: &Value, bounds: [Option<Value>; 3]) -> Result {
    if !matches!(value.defined()?, Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_)) {
        return value.wrong("{} object cannot be sliced");
    }
    let mut numbers = [None; 3];
    for (number, bound) in numbers.iter_mut().zip(&bounds) {
        match bound {
            None | Some(Value::None) => {}
            Some(bound) if bound.int().is_some() => *number = bound.int(),
            Some(bound) => return bound.wrong("slice indices must be integers or None, not {}"),
        }
    }
    let len = run.len(value)?;
    let indices = slice_indices(len, numbers)?;
    match value {
        Value::Str(text) => {
            let chars: Vec<&str> = characters(text).collect();
            let mut out = Text::new(run);
            for c in indices.filter_map(|at| chars.get(at)) {
                out.push(c, text)?;
            }
            out.finish()
        }
        Value::Tuple(list) => run.tuple(indices.filter_map(|at| list.items.get(at).cloned()).collect()),
        other => {
            let items = run.items(other)?;
            run.list(indices.filter_map(|at| items.get(at)).collect())
        }
    }
}

/// The indices a slice takes of `len` items.
fn slice_indices(len: usize, [start, stop, step]: [Option<i64>; 3]) -> Result<impl Iterator<Item = usize>> {
    let (len, step) = (len as i64, step.unwrap_or(1));
    if step == 0 {
        return error("slice step cannot be zero");
    }
    // Backwards, -1 stands before the first item.
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |bound: i64| (if bound < 0 { bound.saturating_add(len) } else { bound }).clamp(low, high);
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let (start, stop) = (start.map_or(first, clamp), stop.map_or(last, clamp));
    let in_range = move |at: &i64| if step > 0 { *at < stop } else { *at > stop };
    let all = core::iter::successors(Some(start), move |at| at.checked_add(step));
    Ok(all.take_while(in_range).map(|at| at as usize))
}
