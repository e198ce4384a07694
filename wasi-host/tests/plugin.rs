//! A second component (`tests/client`) asks a model through `picolm:engine`: it gets the answer that the engine gives, and a model that
//! comes to its end ends the call and nothing else.
#![cfg(feature = "sandbox")]

mod common;

use common::{answer, golden};
use picolm_core::sampler::Params;
use picolm_host::engine::{Kind, Options, open};
use picolm_host::plugin::{Model, add_to_linker};
use picolm_host::{Prompt, Request};
use std::path::Path;
use wasmtime::Store;
use wasmtime::component::{Component, Linker, TypedFunc};

type Ask = TypedFunc<(String,), (Result<String, String>,)>;

fn asker(kind: Kind, model: &Path) -> (Store<Model>, Ask) {
    let path = std::env::var_os("PICOLM_CLIENT_COMPONENT").expect("cargo xtask test host builds it and sets this");
    let engine = wasmtime::Engine::default();
    let component = Component::from_file(&engine, path).expect("a component");
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |model: &mut Model| model).expect("an empty linker");
    let mut store = Store::new(&engine, Model::new(open(kind, model, &Options::default()).expect("an engine")));
    let instance = linker.instantiate(&mut store, &component).expect("it imports nothing else");
    let ask = instance.get_typed_func(&mut store, "ask").expect("the function");
    (store, ask)
}

#[test]
fn a_second_component_asks_a_model() {
    let model = golden("llama-F16.gguf");
    for kind in Kind::ALL {
        let (mut store, ask) = asker(*kind, &model);
        let prompt = Prompt::Text("ab".into());
        let request = Request { prompt, max_tokens: 20, sampling: Params::greedy(), ..Request::default() };
        let wanted = answer(store.data_mut().engine(), &request).text;
        for _ in 0..2 {
            let (found,) = ask.call(&mut store, ("ab".into(),)).expect("a call");
            assert_eq!(found.as_ref(), Ok(&wanted), "{}", kind.name());
        }
        let (refused,) = ask.call(&mut store, ("ab ".repeat(1000),)).expect("a call");
        assert!(refused.expect_err("a long question").contains("context"), "{}", kind.name());
    }
}

/// The file is cut short under a sandboxed model: the asker is told, and this process lives.
#[test]
fn a_model_that_ends_ends_the_call() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cut-under-a-plugin.gguf");
    std::fs::copy(golden("llama-F32.gguf"), &path).expect("room on the disk");
    let (mut store, ask) = asker(Kind::SandboxNative, &path);
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(100_000)).expect("a file");
    let told = match ask.call(&mut store, ("ab".into(),)) {
        Ok((answer,)) => answer.expect_err("there is no model"),
        Err(error) => format!("{error:#}"),
    };
    assert!(told.contains("cut short"), "{told}");
    let _ = std::fs::remove_file(path);
    let (mut store, ask) = asker(Kind::SandboxNative, &golden("llama-F32.gguf"));
    assert!(ask.call(&mut store, ("ab".into(),)).expect("a call").0.is_ok());
}
