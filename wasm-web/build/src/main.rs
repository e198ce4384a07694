//! `picolm-web-build bind IN.wasm OUT_DIR NAME`: JavaScript bindings, and the wasm without its descriptions.
//! `picolm-web-build component IN.wasm OUT.wasm`: a component of a module that wit-bindgen has described.
//! `picolm-web-build check FILE.wasm…`: fails if a file has a relaxed instruction other than the two exact dots.
//!
//! A crate of its own: what it needs takes longer to build than all of xtask.

use anyhow::{Context, Result, bail};
use std::fs;
use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;
use wasmparser::{Operator, Parser, Payload};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["bind", input, dir, name] => bind(input, dir, name),
        ["component", input, output] => component(input, output),
        ["check", ..] if args.len() > 1 => args[1..].iter().try_for_each(|file| check(file)),
        _ => Err(anyhow::anyhow!("bind IN.wasm OUT_DIR NAME, component IN.wasm OUT.wasm, or check FILE.wasm…")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bind(input: &str, dir: &str, name: &str) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name(name).web(true)?.typescript(true).omit_default_module_path(true);
    bindgen.generate(dir).with_context(|| format!("bindings of {input}"))
}

fn component(input: &str, output: &str) -> Result<()> {
    let module = fs::read(input).with_context(|| input.to_string())?;
    let component = wit_component::ComponentEncoder::default().module(&module)?.validate(true).encode()?;
    fs::write(output, component).with_context(|| output.to_string())
}

/// Relaxed SIMD may give other bits on other machines, but for dots whose second operand has 7 bits, which is all that the kernels use.
fn check(file: &str) -> Result<()> {
    let bytes = fs::read(file).with_context(|| file.to_string())?;
    let (mut dots, mut functions, mut foreign) = (0, 0, Vec::new());
    for payload in Parser::new(0).parse_all(&bytes) {
        let Payload::CodeSectionEntry(body) = payload? else { continue };
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::I16x8RelaxedDotI8x16I7x16S | Operator::I32x4RelaxedDotI8x16I7x16AddS => dots += 1,
                other if format!("{other:?}").contains("Relaxed") => {
                    foreign.push(format!("{other:?} in function {functions}"))
                }
                _ => {}
            }
        }
        functions += 1;
    }
    if !foreign.is_empty() {
        bail!(
            "{file} has instructions that differ between machines (functions of the code section): {}",
            foreign.join(", ")
        );
    }
    println!("{file}: {functions} functions, {dots} relaxed dots, no other relaxed instruction");
    Ok(())
}
