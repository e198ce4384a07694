//! What answers have to be: JSON, schemas, expressions, grammars, calls of tools; and texts that are compared with these.

mod common;

use common::*;
use serde_json::Value;

#[test]
fn tools_are_called() {
    let model = chat_model("tools.gguf");
    let tools = scratch("tools.json", br#"[{"type":"function","function":{"name":"look_up","parameters":
        {"type":"object","properties":{"word":{"enum":["a","bc"]}},"required":["word"],"additionalProperties":false}}}]"#);
    for must in ["--must-call", "--must-call=look_up"] {
        // What follows a call may be another one, which is cut; the first is told.
        let output = succeeds_with(&[&*model, "--chat", "-p", "Hi", "--tools", &tools, must, "-n", "400"], b"");
        let line = output.lines().find(|line| line.starts_with("{\"tool_calls\"")).expect("calls");
        let calls: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let call = &calls["tool_calls"][0]["function"];
        assert_eq!(call["name"], "look_up");
        let arguments: serde_json::Value =
            serde_json::from_str(call["arguments"].as_str().expect("a text")).expect("JSON");
        assert!(["a", "bc"].contains(&arguments["word"].as_str().expect("a word")), "{arguments}");
    }
    fails(&[&model, "--chat", "-p", "Hi", "--tools", &tools, "--must-call=other"], "is the name of none of the tools");
}

#[test]
fn answers_keep_to_schemas_expressions_and_grammars() {
    let model = golden(MODEL);
    let grammar = scratch("answer.gbnf", b"root ::= \"yes\" | \"no\"");
    let schema = scratch("schema.json", br#"{"enum":["yes","no"]}"#);
    for (form, answers) in [
        (["--schema", r#"{"type":"boolean"}"#], ["true", "false"]),
        (["--schema", &schema], ["\"yes\"", "\"no\""]),
        (["--regex", "yes|no"], ["yes", "no"]),
        (["--grammar", &grammar], ["yes", "no"]),
    ] {
        let answer = succeeds(&[&[&*model, "-p", "w3"], &form[..]].concat());
        assert!(answers.contains(&answer.trim_end()), "{form:?}: {answer}");
        // What is an answer is accepted, and by the masks of its vocabulary, too.
        let checked = succeeds_with(&[&["constrain", &model], &form[..], &["--json"]].concat(), answers[0].as_bytes());
        let checked: serde_json::Value = serde_json::from_str(&checked).expect("JSON");
        assert_eq!((&checked["accepted"], &checked["at"]), (&true.into(), &answers[0].len().into()));
        assert!(checked["mask_us"]["mean"].is_number());
    }
    let refused = r#"{"properties":{"a":{"pattern":"(?=b)"}}}"#;
    fails(&[&model, "-p", "w3", "--schema", refused], "/properties/a/pattern");
    fails(&["constrain", "--schema", refused], "/properties/a/pattern");
    fails(&[&model, "-p", "w3", "--json", "--regex", "a"], "cannot be beside");
    fails(&["constrain"], "--schema");
}

#[test]
fn texts_are_compared_with_a_form() {
    let vocabulary = fixture("tokenizers/ggml-vocab-gpt-2.gguf");
    let constrain = |vocabulary: &[&str], text: &[u8]| {
        let args = [&["constrain"], vocabulary, &["--json", "--output", "json"]].concat();
        serde_json::from_str::<Value>(&succeeds_with(&args, text)).expect("JSON")
    };
    let found = constrain(&[&vocabulary], br#"{"a": [1, "two"]}"#);
    assert_eq!((&found["accepted"], &found["at"]), (&true.into(), &17.into()));
    assert!(
        ["mean", "p50", "p99"].iter().all(|part| found["mask_us"][part].as_f64().is_some_and(|us| us > 0.0)),
        "{found}"
    );
    for (text, at) in [(&b"[1,]"[..], 3), (b"{", 1), (b"\"\xff\"", 1), (b"", 0)] {
        let found = constrain(&[], text);
        assert_eq!(
            (&found["accepted"], &found["at"], &found["mask_us"]),
            (&false.into(), &at.into(), &Value::Null),
            "{text:?}"
        );
    }
    assert_eq!(succeeds_with(&["constrain", "--json"], b"[]").trim(), "accepted");
}
