//! What can stand behind `is`.

use super::ast::Operator;
use super::operators::binary;
use super::python::is_cased;
use super::value::Value;
use super::value::native::{Call, Native, find, native};
use super::value::run::{Result, error};
use alloc::rc::Rc;

pub(super) static TESTS: [Native; 39] = [
    native("boolean", "", |call| yes(matches!(call.this, Value::Bool(_)))),
    native("callable", "", |call| yes(call.this.is_callable())),
    native("defined", "", |call| yes(!matches!(call.this, Value::Undefined(_)))),
    native("divisibleby", "num", |call| remainder(call, call.given(0), 0)),
    native("escaped", "", |_| yes(false)),
    native("even", "", |call| remainder(call, Some(&Value::Int(2)), 0)),
    native("odd", "", |call| remainder(call, Some(&Value::Int(2)), 1)),
    native("false", "", |call| yes(matches!(call.this, Value::Bool(false)))),
    native("true", "", |call| yes(matches!(call.this, Value::Bool(true)))),
    native("filter", "", |call| yes(call.this.as_str().is_some_and(|name| (call.run.is_filter)(name)))),
    native("test", "", |call| yes(call.this.as_str().is_some_and(|name| find(&TESTS, name).is_some()))),
    native("float", "", |call| yes(matches!(call.this, Value::Float(_)))),
    native("integer", "", |call| yes(matches!(call.this, Value::Int(_) | Value::Digits(_)))),
    native("number", "", |call| yes(call.this.number().is_some() || matches!(call.this, Value::Digits(_)))),
    native("iterable", "", |call| yes(is_sequence(&call.this))),
    native("sequence", "", |call| yes(is_sequence(&call.this))),
    native("mapping", "", |call| yes(matches!(call.this, Value::Dict(_)))),
    native("none", "", |call| yes(matches!(call.this, Value::None))),
    native("string", "", |call| yes(call.this.as_str().is_some())),
    native("undefined", "", |call| yes(matches!(call.this, Value::Undefined(_)))),
    native("lower", "", |call| yes(is_cased(&call.text()?, char::is_lowercase))),
    native("upper", "", |call| yes(is_cased(&call.text()?, char::is_uppercase))),
    native("sameas", "other", |call| yes(call.given(0).is_some_and(|other| is_same(&call.this, other)))),
    native("in", "seq", |call| compare(call, Operator::In)),
    native("eq", "other", |call| compare(call, Operator::Equal)),
    native("equalto", "other", |call| compare(call, Operator::Equal)),
    native("==", "other", |call| compare(call, Operator::Equal)),
    native("ne", "other", |call| compare(call, Operator::NotEqual)),
    native("!=", "other", |call| compare(call, Operator::NotEqual)),
    native("lt", "other", |call| compare(call, Operator::Less)),
    native("lessthan", "other", |call| compare(call, Operator::Less)),
    native("<", "other", |call| compare(call, Operator::Less)),
    native("le", "other", |call| compare(call, Operator::LessEqual)),
    native("<=", "other", |call| compare(call, Operator::LessEqual)),
    native("gt", "other", |call| compare(call, Operator::Greater)),
    native("greaterthan", "other", |call| compare(call, Operator::Greater)),
    native(">", "other", |call| compare(call, Operator::Greater)),
    native("ge", "other", |call| compare(call, Operator::GreaterEqual)),
    native(">=", "other", |call| compare(call, Operator::GreaterEqual)),
];

fn yes(result: bool) -> Result {
    Ok(Value::Bool(result))
}

fn compare(call: &Call, operator: Operator) -> Result {
    binary(call.run, operator, &call.this, call.given(0).unwrap_or(&Value::None))
}

fn remainder(call: &Call, divisor: Option<&Value>, wanted: i64) -> Result {
    if call.this.as_str().is_some() {
        return error("a number was expected, not a string");
    }
    let found = binary(call.run, Operator::Modulo, &call.this, divisor.unwrap_or(&Value::None))?;
    yes(call.run.equal(&found, &Value::Int(wanted))?)
}

/// What can be iterated over; all of it has a length too, and items.
fn is_sequence(value: &Value) -> bool {
    use Value::{Dict, List, Range, Str, Tuple, Undefined};
    matches!(value, Undefined(_) | Str(_) | List(_) | Tuple(_) | Dict(_) | Range(_))
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Object(a), Value::Object(b)) => a == b,
        _ => false,
    }
}
