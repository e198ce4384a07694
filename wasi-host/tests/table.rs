//! The table of requests, by every engine and by the server.

mod common;
#[path = "../../core/engine/tests/table/mod.rs"]
mod table;

use picolm_host::engine::{Engine, Kind, Options, open};
use picolm_host::{Ambient, Answer, Request, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn model() -> Vec<u8> {
    table::model(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../core")))
}

fn answer(engine: &mut dyn Engine, request: &str) -> Result<Answer> {
    let id = engine.begin(&Request::from_json(request, &Ambient { seed: 42, now: None })?)?;
    let mut answer = Answer::default();
    while !engine.is_idle() {
        for event in engine.step()? {
            answer.take(event)?;
        }
    }
    engine.close(id)?;
    Ok(answer)
}

#[test]
fn engines_say_what_all_hosts_say() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("table.gguf");
    std::fs::write(&path, model()).expect("room on the disk");
    for kind in Kind::ALL {
        let mut engine = open(*kind, &path, &Options::default()).expect("an engine");
        let say = |request: &&str| match answer(&mut *engine, request) {
            Ok(answer) => serde_json::from_str(&answer.to_json()).expect("JSON"),
            Err(error) => json!({ "error": { "field": error.field } }),
        };
        let answers: Vec<Value> = table::requests().iter().map(say).collect();
        table::check(kind.name(), &answers);
    }
}

/// OpenAI's answers have no tokens: their texts, log-probabilities and numbers are compared.
#[cfg(feature = "serve")]
#[test]
fn the_server_says_what_all_hosts_say() {
    let folder = common::server::folder("table");
    std::fs::write(folder.join("tiny.gguf"), model()).expect("room on the disk");
    let server = common::server::Server::start(&folder, &[]);
    let answers = include_str!("../../core/engine/tests/table/answers.jsonl").lines();
    for (request, wanted) in table::requests().iter().zip(answers) {
        let mut asked: Value = serde_json::from_str(request).expect("JSON");
        let wanted = table::normal(&serde_json::from_str(wanted).expect("JSON"));
        let path = match () {
            () if asked.get("messages").is_some() => "/v1/chat/completions",
            () if asked.get("input").is_some() => "/v1/embeddings",
            () => "/v1/completions",
        };
        // What a request does not say is OpenAI's here: 16 tokens, another seed each time.
        if path == "/v1/completions" && asked.get("max_tokens").or(asked.get("max_completion_tokens")).is_none() {
            asked["max_tokens"] = 100.into();
        }
        let found = server.post(path, &asked).json();
        if let Some(error) = found.get("error") {
            assert_eq!(error["param"], wanted["error"], "{request}: {error}");
            continue;
        }
        if path == "/v1/embeddings" {
            assert_eq!(found["data"][0]["embedding"], wanted["embedding"], "{request}");
            continue;
        }
        let choice = &found["choices"][0];
        let text = choice.get("text").unwrap_or(&choice["message"]["content"]);
        assert_eq!((text, &choice["finish_reason"]), (&wanted["text"], &wanted["finish_reason"]), "{request}");
        assert_eq!(json!([found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"]]), wanted["usage"]);
        if let Some(logprobs) = choice["logprobs"]["token_logprobs"].as_array() {
            let wanted = wanted["logprobs"].as_array().expect("a list").iter().map(|entry| &entry["logprob"]);
            assert!(logprobs.iter().eq(wanted), "{request}: {logprobs:?}");
        }
    }
}
