//! The table of requests, by the command line.

mod common;
#[path = "../../core/engine/tests/table/mod.rs"]
mod table;

use common::*;
use serde_json::Value;
use std::path::Path;

#[test]
fn requests_get_the_answers_of_all_hosts() {
    let model = scratch("table.gguf", &table::model(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../core"))));
    let input = table::requests().join("\n");
    for more in [&["--backend", "reference"][..], &["-j", "2", "--batch", "7"]] {
        let text = succeeds_with(&[&["request", &model], more].concat(), input.as_bytes());
        let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        table::check("picolm", &answers);
    }
}
