//! `picolm embed`: a text, or tokens, to a vector.

use crate::cli::{Machine, Output};
use crate::engine;
use crate::input::read_text;
use anyhow::Result;
use picolm_engine::{Answer, Prompt, Request, Task};
use picolm_machine::ModelFile;
use serde_json::json;
use std::path::Path;

pub(super) fn run(path: &Path, ids: Option<Vec<u32>>, machine: &Machine, output: Output) -> Result<()> {
    let file = ModelFile::open(path)?;
    let mut batch = engine::batch(&file, machine, None)?;
    let prompt = match ids {
        Some(ids) => Prompt::Tokens(ids),
        None => Prompt::Text(read_text("the text")?),
    };
    batch.open(&Request { prompt, task: Task::Embed, ..Request::default() })?;
    let mut answer = Answer::default();
    while !batch.is_idle() {
        let events = batch.step();
        file.check()?;
        for event in events {
            answer.take(event)?;
        }
    }
    let numbers = || answer.embedding.iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
    output.print(&json!({ "embedding": answer.embedding, "tokens": answer.usage.prompt }), numbers)
}
