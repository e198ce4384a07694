//! What happened, one JSON object a line, on stderr. Never a prompt, an answer, a key or an address.

use serde_json::{Map, Value};
use std::fmt::Display;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn info(what: &str, fields: &[(&str, &dyn Display)]) {
    line("info", what, fields);
}

pub(crate) fn warn(what: &str, fields: &[(&str, &dyn Display)]) {
    line("warn", what, fields);
}

fn line(level: &str, what: &str, fields: &[(&str, &dyn Display)]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_millis() as f64 / 1e3);
    let mut all = Map::new();
    all.insert("time".into(), Value::from(now));
    all.insert("level".into(), Value::from(level));
    all.insert("what".into(), Value::from(what));
    all.extend(fields.iter().map(|(name, value)| ((*name).to_string(), Value::from(value.to_string()))));
    // Nobody is to be told that stderr is closed.
    let _ = writeln!(io::stderr(), "{}", Value::Object(all));
}
