//! The hostile files of the core's tests, all of them, through every engine: the engines agree on what is wrong with each, or on its
//! answer, and a model that runs beside them goes on.
//!
//! The core's tests leave them in the folder `PICOLM_KEEP_FILES`, which `cargo xtask test host` sees to.

mod common;

use common::{answer, golden};
use picolm_core::gguf::{Gguf, Writer};
use picolm_core::sampler::Params;
use picolm_host::engine::{Engine, Kind, Options, open};
use picolm_host::{Chat, Prompt, Request, Result};
use std::path::{Path, PathBuf};

const MODEL: &str = "llama-F16.gguf";
const TEMPLATE: &str = "tokenizer.chat_template";

fn options() -> Options {
    Options { threads: 1, ..Options::default() }
}

fn request(prompt: Prompt) -> Request {
    Request { prompt, max_tokens: 2, sampling: Params::greedy(), ..Request::default() }
}

/// What is answered to a prompt, or the message of the error.
fn outcome(kind: Kind, path: &Path, request: &Request) -> Result<(Vec<u32>, Option<String>)> {
    let mut engine = open(kind, path, &options())?;
    let id = engine.begin(request)?;
    let answer = common::run(&mut *engine, &[id]).remove(0);
    Ok((answer.tokens, answer.error))
}

/// A golden model with another vocabulary, as far as it has one, and as many rows as that has tokens.
fn with_vocabulary(model: &[u8], vocabulary: &[u8]) -> Vec<u8> {
    let (gguf, other) = (Gguf::parse(model).expect("a golden model"), Gguf::parse(vocabulary).expect("a GGUF file"));
    let tokens = other.array("tokenizer.ggml.tokens").ok().flatten().map(|tokens| tokens.len() as u64);
    let kept = gguf.metadata().filter(|(key, _)| !key.starts_with("tokenizer.") && !key.ends_with(".vocab_size"));
    let writer = kept.chain(other.metadata()).fold(Writer::new(), |to, (key, value)| to.value(key, value));
    let all = gguf.tensors().iter().fold(writer, |to, tensor| {
        let mut dims = tensor.dims[..tensor.n_dims].to_vec();
        let mut bytes = &model[tensor.offset as usize..][..tensor.len as usize];
        if let (true, Some(n)) = (["token_embd.weight", "output.weight"].contains(&tensor.name), tokens) {
            let rows = n.clamp(1, dims[1]);
            bytes = &bytes[..(tensor.len * rows / dims[1]) as usize];
            dims[1] = rows;
        }
        to.tensor(tensor.name, tensor.ty, &dims, bytes)
    });
    all.finish()
}

/// A golden model with a chat template.
fn with_template(model: &[u8], template: &str) -> Vec<u8> {
    let gguf = Gguf::parse(model).expect("a golden model");
    let writer = gguf.metadata().fold(Writer::new(), |to, (key, value)| to.value(key, value)).with(TEMPLATE, template);
    let all = gguf.tensors().iter().fold(writer, |to, tensor| {
        let bytes = &model[tensor.offset as usize..][..tensor.len as usize];
        to.tensor(tensor.name, tensor.ty, &tensor.dims[..tensor.n_dims], bytes)
    });
    all.finish()
}

#[test]
fn every_hostile_file() {
    let Some(folder) = std::env::var_os("PICOLM_KEEP_FILES").map(PathBuf::from) else {
        return assert!(std::env::var_os("CI").is_none(), "cargo xtask test host sets PICOLM_KEEP_FILES");
    };
    let model = std::fs::read(golden(MODEL)).expect("a golden model");
    let tokens = request(Prompt::Tokens(vec![1, 2, 3]));
    let mut beside: Vec<Box<dyn Engine>> =
        Kind::ALL.iter().map(|kind| open(*kind, &golden(MODEL), &options()).expect("an engine")).collect();
    let expected = answer(&mut *beside[0], &tokens).tokens;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hostile.gguf");
    let mut counts = std::collections::BTreeMap::<String, (usize, usize)>::new();

    for entry in std::fs::read_dir(folder).expect("the folder of hostile files") {
        let entry = entry.expect("an entry").path();
        let bytes = std::fs::read(&entry).expect("a file");
        let kind = entry.extension().expect("a kind").to_string_lossy().into_owned();
        let (bytes, prompt) = match &kind[..] {
            "file" => (bytes, tokens.clone()),
            "vocabulary" => (with_vocabulary(&model, &bytes), request(Prompt::Text("ab!".into()))),
            "template" => {
                let chat =
                    Chat::new(r#"[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]"#);
                (with_template(&model, &String::from_utf8(bytes).expect("UTF-8")), request(Prompt::Chat(chat)))
            }
            other => panic!("a file of kind {other}"),
        };
        std::fs::write(&path, bytes).expect("room on the disk");
        let native = outcome(Kind::Native, &path, &prompt);
        for (engine, beside) in Kind::ALL.iter().zip(&mut beside) {
            if *engine != Kind::Native {
                assert_eq!(outcome(*engine, &path, &prompt), native, "{} in {}", entry.display(), engine.name());
            }
            assert_eq!(
                answer(&mut **beside, &tokens).tokens,
                expected,
                "after {} in {}",
                entry.display(),
                engine.name()
            );
        }
        let count = counts.entry(kind).or_default();
        *(if native.is_err() { &mut count.0 } else { &mut count.1 }) += 1;
    }
    println!("refused, and run: {counts:?}");
    let refused = |kind: &str| counts.get(kind).map_or(0, |count| count.0);
    // As many as there are tests of each kind, and more: what is asked is that the files came here at all.
    assert!(refused("file") > 500 && refused("vocabulary") > 50 && refused("template") > 30, "{counts:?}");
}
