//! One file a command. With `--json` a command prints one JSON value, else what people like to read.

mod bench;
mod constrain;
mod digest;
mod embed;
mod inspect;
mod logits;
mod perplexity;
mod request;
mod tokenize;

use crate::cli::{Cli, Command, Output};
use crate::generate;
use anyhow::Result;
use picolm_machine::cpu;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.command {
        None => generate::run(&cli.generate),
        Some(Command::Inspect { model, output }) => inspect::run(&model, output),
        Some(Command::Tokenize { model, no_bos, special, output }) => tokenize::run(&model, no_bos, special, output),
        Some(Command::Request { model, context, machine }) => request::run(&model, context, &machine),
        Some(Command::Constrain { model, form, output }) => constrain::run(model.as_deref(), &form, output),
        Some(Command::Embed { model, ids, machine, output }) => embed::run(&model, ids, &machine, output),
        Some(Command::Logits { model, ids, at, machine, output }) => logits::run(&model, &ids, &at, &machine, output),
        Some(Command::Perplexity { model, text, machine, output }) => perplexity::run(&model, &text, &machine, output),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Digest(args)) => digest::run(&args),
        Some(Command::Backends { output }) => backends(output),
    }
}

fn backends(output: Output) -> Result<()> {
    let names: Vec<&str> = cpu::backends().iter().map(|backend| backend.name()).collect();
    output.print(&names, || names.join("\n"))
}

impl Output {
    /// Prints a result as JSON, or as the text for people, which needs no newline at its end.
    pub(crate) fn print<T: Display>(self, json: &impl Serialize, text: impl FnOnce() -> T) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            serde_json::to_writer(&mut out, json).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", text())?;
        }
        Ok(out.flush()?)
    }
}
