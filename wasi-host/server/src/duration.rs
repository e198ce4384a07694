//! Times as Go writes them, and with it Ollama's clients: `300ms`, `1.5h`, `-1m`, `1h30m`; a number alone is seconds.

use std::time::Duration;

/// Units, longest names first.
const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Nobody waits longer.
const MAX: f64 = 100.0 * 365.0 * 86400.0;

/// A time, and whether it is below zero; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<(bool, Duration)> {
    let text = text.trim();
    let (below, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    if let Some(seconds) = number(rest) {
        return Some((below, from_seconds(seconds)));
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let (digits, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        sum += number(digits)? * seconds;
        rest = &behind[unit.len()..];
    }
    Some((below, from_seconds(sum)))
}

/// So many seconds, at most a hundred years.
pub(crate) fn from_seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, MAX))
}

/// `5`, `1.5`, `.5`, `5.`; no signs, no exponents.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1m0.25s", 60_250),
            ("300ms", 300),
            ("2000us", 2),
            ("1µs", 0),
            ("300", 300_000),
            (" +2s ", 2000),
        ] {
            assert_eq!(parse(text).map(|(below, time)| (below, time.as_millis())), Some((false, ms)), "{text}");
        }
        assert_eq!(parse("-1m"), Some((true, Duration::from_secs(60))));
        assert_eq!(parse("9".repeat(400).as_str()).map(|(_, time)| time), Some(from_seconds(MAX)));
        for text in
            ["", "-", "s", "m5", "5 m", "5x", "1h-3m", "1e3s", ".", "..s", "1.2.3s", "soon", "5mm", "NaN", "inf"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
