//! `picolm tokenize`: the ids of standard input.

use crate::cli::Output;
use crate::engine;
use crate::input::utf8;
use anyhow::{Context, Result};
use picolm_core::text::{Encode, Tokenizer};
use picolm_machine::ModelFile;
use serde_json::json;
use std::io::{self, Read};
use std::path::Path;

pub(super) fn run(model: &Path, no_bos: bool, special: bool, output: Output) -> Result<()> {
    let tokenizer = engine::tokenizer(&ModelFile::open(model)?)?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
    let text = utf8(bytes, "standard input")?;
    let ids = tokenizer.encode(&text, Encode { bos: !no_bos, eos: false, special });
    output.print(&json!({ "ids": ids }), || lines(&tokenizer, &ids))
}

/// `id  "text"`, a line each.
fn lines(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let line = |&id| format!("{id:7}  {:?}", String::from_utf8_lossy(tokenizer.token_bytes(id)));
    ids.iter().map(line).collect::<Vec<_>>().join("\n")
}
