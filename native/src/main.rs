//! picolm on the command line: the native host of `picolm-core`.
//!
//! ```text
//!   cli ──► generate, chat ──► generator    a prompt or a conversation, streamed
//!       │                        └─► cache           what was computed for a prompt, in a file
//!       └─► commands/*              request, embed, inspect, tokenize, logits, perplexity, bench, digest, backends
//!              │
//!              ▼
//!   engine ──► picolm-machine       what the core asks of a host: bytes, a CPU token, threads
//! ```
//!
//! The reply, or the one JSON value asked for, goes to stdout and nothing else does. Everything for people goes to stderr. A failure
//! is one line on stderr and exit status 1.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cache;
mod chat;
mod cli;
mod commands;
mod engine;
mod generate;
mod generator;
mod input;
mod stats;

use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version go to stdout and are a success; clap would exit with 2 for the rest.
            let _ = answer.print();
            return if answer.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("picolm: {}", one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output has left, as `head` does: nobody is there to be told.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace(['\n', '\r'], " ")
}

/// A line on stderr. `eprintln!` would panic where stderr is closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
