//! Running the binary.
#![allow(dead_code, missing_docs, reason = "each test uses some of it")]

use picolm_core::gguf::{Gguf, Writer};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub const MODEL: &str = "llama-Q8_0.gguf";

/// A file of the core's tests.
pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests").join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path.display().to_string()
}

pub fn golden(name: &str) -> String {
    fixture(&format!("golden/{name}"))
}

pub fn json_file(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).expect("a fixture")).expect("JSON")
}

/// A new file of this test run.
pub fn scratch(name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).expect("a scratch file");
    path.display().to_string()
}

pub fn spawn(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picolm"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary")
}

/// Runs it with these bytes on standard input.
pub fn picolm_with(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = spawn(args);
    // It may end without reading.
    let _ = child.stdin.take().expect("standard input").write_all(stdin);
    child.wait_with_output().expect("the binary")
}

pub fn picolm(args: &[&str]) -> Output {
    picolm_with(args, b"")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is UTF-8")
}

/// Standard output of a run that must succeed.
#[track_caller]
pub fn succeeds_with(args: &[&str], stdin: &[u8]) -> String {
    let output = picolm_with(args, stdin);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

#[track_caller]
pub fn succeeds(args: &[&str]) -> String {
    succeeds_with(args, b"")
}

/// The one JSON value that a run prints.
#[track_caller]
pub fn json_of(args: &[&str], stdin: &[u8]) -> Value {
    let text = succeeds_with(&[args, &["--json"]].concat(), stdin);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text:?}"))
}

/// The tokens of drafts that were right, from `lookup: 40 tokens proposed, 20 accepted (50 %)`; 0 if there is no such line.
pub fn accepted(notes: &str) -> usize {
    let count = notes.split(" proposed, ").nth(1).and_then(|rest| rest.split_once(" accepted"));
    count.map_or(0, |(count, _)| count.parse().expect("a number"))
}

pub fn floats(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

/// `1,2,3`
pub fn list(numbers: &Value) -> String {
    numbers.as_array().expect("an array").iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

const CONTEXT_KEY: &str = "llama.context_length";

/// A golden model that can chat: with a template, and a longer context.
pub fn chat_model(name: &str) -> String {
    let bytes = std::fs::read(golden(MODEL)).expect("a model");
    let gguf = Gguf::parse(&bytes).expect("GGUF");
    let template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}</s>{% endfor %}\
                    {% if add_generation_prompt %}[assistant]{% endif %}";
    let mut writer = Writer::new().with("tokenizer.chat_template", template).with(CONTEXT_KEY, 100_000u32);
    for (key, value) in gguf.metadata().filter(|(key, _)| *key != CONTEXT_KEY) {
        writer = writer.value(key, value);
    }
    for t in gguf.tensors() {
        writer = writer.tensor(t.name, t.ty, &t.dims[..t.n_dims], &bytes[t.offset as usize..][..t.len as usize]);
    }
    scratch(name, &writer.finish())
}

/// Exit status 1, nothing on stdout, and one line on stderr that contains `says`.
#[track_caller]
pub fn fails_with(args: &[&str], stdin: &[u8], says: &str) {
    let output = picolm_with(args, stdin);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
    assert!(output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(text.trim_end().lines().count(), 1, "{args:?}: {text}");
    assert!(text.contains(says), "{args:?}: {text}");
}

#[track_caller]
pub fn fails(args: &[&str], says: &str) {
    fails_with(args, b"", says);
}
