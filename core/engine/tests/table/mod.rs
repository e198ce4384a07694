//! Requests that every host is asked, and what all of them say: the same tokens and the same text.
//!
//! ```text
//!   requests.jsonl ──► picolm, npm in Node, sandbox, sandbox-native, native, server ──► answers.jsonl
//! ```
//! The answers were written by the reference kernels (`picolm request MODEL --backend reference`, with the model below), which are
//! compared with llama.cpp and the witness elsewhere; the log-probabilities, embeddings and texts follow from their logits.
#![allow(dead_code, reason = "each host uses some of it")]

use picolm_core::gguf::{Gguf, Writer};
use serde_json::{Value, json};
use std::path::Path;

/// The requests, as JSON.
pub fn requests() -> Vec<&'static str> {
    include_str!("requests.jsonl").lines().collect()
}

/// A golden model with a chat template.
pub fn model(core: &Path) -> Vec<u8> {
    let file = std::fs::read(core.join("tests/golden/llama-Q4_0.gguf")).expect("a golden model");
    let gguf = Gguf::parse(&file).expect("GGUF");
    let writer = Writer::new().with("tokenizer.chat_template", include_str!("template.jinja"));
    let writer = gguf.metadata().fold(writer, |to, (key, value)| to.value(key, value));
    let tensors = gguf.tensors().iter().fold(writer, |to, t| {
        to.tensor(t.name, t.ty, &t.dims[..t.n_dims], &file[t.offset as usize..][..t.len as usize])
    });
    tensors.finish()
}

/// Compares what a host said to each request, as `picolm_engine::Answer` writes it or `{"error": {"field"}}`, with what all say.
#[track_caller]
pub fn check(host: &str, found: &[Value]) {
    let wanted: Vec<Value> =
        include_str!("answers.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(found.len(), wanted.len());
    for ((request, found), wanted) in requests().iter().zip(found).zip(&wanted) {
        assert_eq!(normal(found), normal(wanted), "{host}: {request}");
    }
}

/// Without what depends on the sessions before: tokens that were there already, drafts.
pub fn normal(answer: &Value) -> Value {
    if let Some(error) = answer.get("error") {
        return json!({ "error": error.get("field").or(error.get("param")) });
    }
    let mut normal = answer.clone();
    normal["usage"] = json!([answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]]);
    normal
}
