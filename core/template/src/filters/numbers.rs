//! Filters that make numbers, and round them.

use crate::decimal::fixed;
use crate::python::{parse_float, parse_int};
use crate::value::native::Call;
use crate::value::run::{Result, error};
use crate::value::{Number, Value};
use alloc::format;

pub(super) fn to_float(call: &Call) -> Result<Option<f64>> {
    Ok(match call.this.defined()? {
        Value::Str(text) => parse_float(text),
        other => other.number().map(Number::to_f64),
    })
}

pub(super) fn to_int(call: &Call) -> Result<Option<i64>> {
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
pub(super) fn round(call: &Call) -> Result {
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
pub(super) fn product_error(x: f64, y: f64, product: f64) -> f64 {
    let halves = |x: f64| {
        let scaled = x * 134_217_729.0;
        let high = scaled - (scaled - x);
        (high, x - high)
    };
    let ((xh, xl), (yh, yl)) = (halves(x), halves(y));
    ((xh * yh - product) + xh * yl + xl * yh) + xl * yl
}

/// `13.0 kB`: powers of 1000, or of 1024 (`binary`).
pub(super) fn filesizeformat(call: &Call) -> Result {
    let bytes = match call.this.defined()? {
        Value::Str(text) => parse_float(text),
        other => other.number().map(Number::to_f64),
    };
    let Some(bytes) = bytes.filter(|bytes| bytes.is_finite()) else {
        return error("filesizeformat: a number was expected");
    };
    let base = if call.truth(0) { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return call.run.own("1 Byte");
    }
    if bytes < base {
        return call.run.own(&format!("{} Bytes", bytes as i64));
    }
    let (mut unit, mut prefixes) = (base * base, "kMGTPEZY".chars());
    let mut prefix = prefixes.next().unwrap_or_default();
    while bytes >= unit
        && let Some(next) = prefixes.next()
    {
        (prefix, unit) = (next, unit * base);
    }
    let binary = if call.truth(0) { "i" } else { "" };
    let prefix = if call.truth(0) { prefix.to_ascii_uppercase() } else { prefix };
    call.run.own(&format!("{} {prefix}{binary}B", fixed(base * bytes / unit, 1)))
}
