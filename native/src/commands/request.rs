//! `picolm request`: OpenAI's requests, one a line, each answered with a line of JSON. One that cannot be is answered with an error.

use crate::cli::Machine;
use crate::engine;
use anyhow::{Context, Result};
use picolm_engine::{Ambient, Answer, Batch, Local, Request};
use picolm_machine::ModelFile;
use serde_json::json;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::SystemTime;

pub(super) fn run(path: &Path, context: Option<usize>, machine: &Machine) -> Result<()> {
    let file = ModelFile::open(path)?;
    let mut batch = engine::batch(&file, machine, context)?;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line.context("cannot read standard input")?;
        let answer = answer(&mut batch, &line);
        file.check()?;
        let answer = answer.map_or_else(
            |error| json!({ "error": { "message": error.message, "param": error.field } }).to_string(),
            |answer| answer.to_json(),
        );
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(batch: &mut Batch<Local>, line: &str) -> picolm_engine::Result<Answer> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|time| time.as_secs() as i64);
    // Without a seed, PicoLM's: an answer can be repeated.
    let request = Request::from_json(line, &Ambient { seed: Request::picolm().sampling.seed, now })?;
    let id = batch.open(&request)?;
    let mut answer = Answer::default();
    let mut told = Ok(true);
    while !batch.is_idle() {
        told = batch.step().into_iter().try_fold(true, |_, event| answer.take(event));
    }
    batch.close(id)?;
    told.map(|_| answer)
}
