//! Numbers of schemas, as llguidance can take them: by doubles, whose digits it makes into expressions.

use serde_json::{Number, Value, json};

/// From the second to the first, the digits of a double say what it is.
const LARGEST: f64 = 9_007_199_254_740_992.0;
const SMALLEST: f64 = 1e-12;

/// A bound that is exact, or a little narrower.
///
/// # Errors
/// What is wrong with it: in words.
pub(super) fn bound(value: &Value, is_upper: bool) -> Result<Value, String> {
    let number = value.as_number().ok_or("has to be a number")?;
    let double = number.as_f64().ok_or("has to be a number")?;
    if double != 0.0 && double.abs() < SMALLEST {
        return Err(format!("is nearer to 0 than {SMALLEST}"));
    }
    let too_wide = if is_upper { LARGEST } else { -LARGEST };
    if double.abs() <= LARGEST {
        Ok(value.clone())
    } else if (double > 0.0) == is_upper {
        Ok(json!(too_wide as i64))
    } else {
        Err(format!("is beyond {LARGEST}"))
    }
}

/// A number that a value has to be.
///
/// # Errors
/// It is no double, or one of too many digits: in words.
pub(super) fn exact(number: &Number) -> Result<(), String> {
    let double = number.as_f64().unwrap_or(f64::INFINITY);
    let is_plain = double == 0.0 || (SMALLEST..=LARGEST).contains(&double.abs());
    if is_plain { Ok(()) } else { Err(format!("{number} has more digits than can be enforced")) }
}

/// How many of something: a whole number from 0 on, which may be written as 2.0.
///
/// # Errors
/// It is none: in words.
pub(super) fn count(value: &Value) -> Result<u64, String> {
    let whole = |double: f64| ((0.0..=LARGEST).contains(&double) && double.fract() == 0.0).then_some(double as u64);
    value
        .as_u64()
        .or_else(|| value.as_f64().and_then(whole))
        .ok_or_else(|| "has to be a whole number, not below 0".into())
}

/// What a value has to be a multiple of: `coefficient / 10^exponent`.
///
/// # Errors
/// It is not above 0, or has too many digits: in words.
pub(super) fn divisor(value: &Value) -> Result<u64, String> {
    let double = value.as_f64().filter(|&double| double > 0.0).ok_or("has to be a number above 0")?;
    let text = format!("{double}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits: u64 = format!("{whole}{fraction}").parse().map_err(|_| "has too many digits")?;
    let scale = 10u64.checked_pow(fraction.len() as u32).filter(|&scale| scale <= 1_000_000);
    // llguidance reads the digits by multiplying with 10 until nothing is left.
    let mut scaled = double;
    (0..fraction.len()).for_each(|_| scaled *= 10.0);
    match scale.and_then(|scale| digits.checked_mul(scale)) {
        Some(weight) if digits <= u32::MAX.into() && scaled == digits as f64 => Ok(weight),
        _ => Err("has too many digits".into()),
    }
}
