//! The command, under nothing but wasmtime and wasmtime-wasi.
#![cfg(feature = "sandbox")]

mod common;

use common::{golden, witness};
use picolm_host::engine::{Kind, Options, open};
use picolm_host::{Prompt, Request};
use std::path::PathBuf;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What the command prints, and whether it says that all went well.
fn run(arguments: &[&str]) -> (String, String, bool) {
    let path = std::env::var_os("PICOLM_COMMAND_COMPONENT").expect("cargo xtask test host builds it and sets this");
    let engine = Engine::new(&Config::new()).expect("an engine");
    let component = Component::from_file(&engine, PathBuf::from(path)).expect("a component");
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("WASI");
    let (out, err) = (MemoryOutputPipe::new(1 << 20), MemoryOutputPipe::new(1 << 20));
    let mut wasi = WasiCtx::builder();
    let folder = golden("");
    wasi.arg("picolm").args(arguments).stdout(out.clone()).stderr(err.clone());
    wasi.preopened_dir(&folder, "models", FsPerms::ReadOnly).expect("the golden models");
    let mut store = Store::new(&engine, Host { wasi: wasi.build(), table: ResourceTable::new() });
    let command = Command::instantiate(&mut store, &component, &linker).expect("a command");
    let done = command.wasi_cli_run().call_run(&mut store).expect("no trap").is_ok();
    let text = |pipe: MemoryOutputPipe| String::from_utf8(pipe.contents().to_vec()).expect("text");
    (text(out), text(err), done)
}

#[test]
fn its_digest_is_the_witness() {
    for model in ["llama-Q4_0.gguf", "gemma3-Q8_0.gguf"] {
        let (out, err, done) = run(&["digest", &format!("models/{model}")]);
        assert_eq!((out.trim(), err.as_str(), done), (witness(model).as_str(), "", true));
    }
}

#[test]
fn its_answer_is_that_of_the_engines() {
    let request = Request {
        prompt: Prompt::Text("once upon".into()),
        sampling: picolm_core::sampler::Params::greedy(),
        max_tokens: 12,
        ..Request::default()
    };
    let model = "llama-Q4_0.gguf";
    let mut engine = open(Kind::Native, &golden(model), &Options::default()).expect("an engine");
    let wanted = common::answer(&mut *engine, &request).text;
    let (out, _, done) = run(&["run", &format!("models/{model}"), "once upon", "12"]);
    assert_eq!((out, done), (format!("{wanted}\n"), true));
}

#[test]
fn what_it_cannot_do_it_says() {
    for arguments in [
        &["digest", "models/index.json"][..],
        &["digest", "models/../Cargo.toml"],
        &["digest"],
        &["run", "models/llama-Q4_0.gguf", "x", "y"],
    ] {
        let (out, err, done) = run(arguments);
        assert!(!done && out.is_empty() && err.starts_with("picolm: "), "{arguments:?}: {out} {err}");
    }
}
