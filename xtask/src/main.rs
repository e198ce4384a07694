//! `cargo xtask …`: everything a person or CI does with this repository, in one program.
//!
//! ```text
//!   web           ── npm ──► page ──► server, with fetch (the model, once) beside it
//!   chat          ── fetch (the model, once) ──► picolm --chat
//!   test          ── steps, side by side ──► programs, toolchain (other targets), witness, … ──► "N passed, N failed"
//!   check         ── format, clippy, layers, some tests
//!   npm           ── wasm (four builds) ──► bindings ──► TypeScript ──► tarball
//!   host          ── wasm (the guest) ──► component ──► picolm-host ──► machine code beside it
//!   serve         ── host, fetch ──► picolm-host serve
//!   bench         ── picolm ⇄ llama.cpp, in turn ──► table, JSON, plot, README
//!   check-layers  ── layers (who may use whom, where unsafe may stand)
//! ```

mod bench;
mod disassembly;
mod fetch;
mod fuzz;
mod host;
mod layers;
mod npm;
mod process;
mod programs;
mod serve;
mod test;
mod toolchain;
mod web;
mod witness;

use std::io::{IsTerminal, stdin};
use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask chat [-- ARGS]           fetch a small model once, build picolm and chat with it; ARGS go to picolm
cargo xtask check                    what a change needs at once: format, clippy, layers, and the core's tests that compute
cargo xtask test [--full] [STEP...]  run everything CI runs, or only the steps whose names contain a STEP;
                                     --full adds sanitizers, long property tests, fuzzing and its coverage, riscv64
cargo xtask npm                      build the npm package, for browsers and for Node, into a tarball
cargo xtask host                     build picolm-host and the component of its sandbox, compiled for this machine
cargo xtask serve [-- ARGS]          fetch a small model once, build picolm-host and serve the model; ARGS go to it
cargo xtask check-layers             check who uses whom inside the core, and where unsafe stands";
const HELP_END: &str = "PICOLM_MODEL=file.gguf takes that model and fetches none.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().map_or(("help", &args[..]), |(first, rest)| (first.as_str(), rest));
    let result = match command {
        "web" => web::serve(rest),
        "chat" => chat(rest),
        "check" => test::check(rest),
        "test" => test::run(rest),
        // One step of `test`, which begins it.
        "step" => test::run_step(rest),
        "bench" => bench::run(rest),
        "serve" => serve::serve(rest),
        "host" => host::package().map(|dir| println!("{}", dir.display())),
        "npm" => npm::package().map(|tarball| println!("{}", tarball.display())),
        "check-layers" => check_layers(rest),
        "help" | "--help" | "-h" => {
            println!("{}", help());
            Ok(())
        }
        other => Err(anyhow::anyhow!("unknown command {other:?}\n\n{}", help())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    format!("{}\n{HELP}\n{}\n\n{HELP_END}", web::HELP, bench::HELP)
}

/// The release binary with the default model; without arguments, one sample question where nobody can type.
fn chat(args: &[String]) -> Result<()> {
    let args = args.strip_prefix(&["--".to_string()]).unwrap_or(args);
    let model = fetch::model()?;
    process::run(process::cargo("build").args(["--release", "--package", "picolm"]))?;
    let mut picolm = process::cargo("run");
    picolm.args(["--release", "--quiet", "--package", "picolm", "--"]).arg(model).arg("--chat").args(args);
    if args.is_empty() && !stdin().is_terminal() {
        picolm.args(["-p", "What is the capital of France?", "--temperature", "0"]);
    }
    match picolm.status()?.success() {
        true => Ok(()),
        false => bail!("picolm failed; its message stands above"),
    }
}

fn check_layers(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("check-layers takes no {arg:?}");
    }
    let faults = layers::check(&process::root())?;
    for fault in &faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => println!("the layers hold"),
        n => bail!("{n} breaches of the layer rules; the table stands in xtask/src/layers.rs"),
    }
    Ok(())
}
