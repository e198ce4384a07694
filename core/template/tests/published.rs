//! The templates of published models render byte for byte as Jinja2 renders them (`published/make_expected.py`).

mod common;

use common::entries;
use picolm_template::{ChatError, DateTime, Message, RenderOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// 2026-02-28 13:05:09, as in the script.
const NOW: i64 = 1_772_283_909;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).expect(name)).expect("JSON")
}

fn message(json: &Value) -> Message {
    let mut fields = json.as_object().expect("an object").clone();
    let mut text = |key| fields.remove(key).and_then(|v| v.as_str().map(String::from)).expect("a string");
    let mut message = Message::new(text("role"), text("content"));
    message.fields = entries(Value::Object(fields));
    message
}

fn render(source: &str, talk: &Value) -> Result<String, ChatError> {
    let messages: Vec<Message> = talk["messages"].as_array().expect("messages").iter().map(message).collect();
    let options = RenderOptions {
        add_generation_prompt: talk["add_generation_prompt"].as_bool().expect("a boolean"),
        now: Some(DateTime::from_unix(NOW)),
        tools: talk.get("tools").cloned().map(common::json),
        variables: talk.get("variables").cloned().map(entries).unwrap_or_default(),
    };
    common::render(source, &messages, &options)
}

#[test]
fn published_templates_render_as_jinja2_renders_them() {
    let (talks, expected) = (json("conversations.json"), json("expected.json"));
    let talks = talks.as_array().expect("an array");
    let files = std::fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").path());
    let templates: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "jinja")).collect();
    assert!(templates.len() >= 12 && talks.len() >= 5);
    let mut rendered = 0;
    for path in templates {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let source = std::fs::read_to_string(&path).expect("a template");
        for (i, talk) in talks.iter().enumerate() {
            let (found, expected) = (render(&source, talk), &expected[name][i]);
            match (&found, expected["text"].as_str(), expected["error"].as_str()) {
                (Ok(text), Some(theirs), None) => {
                    assert_eq!(text, theirs, "{name}, {}", talk["name"]);
                    rendered += 1;
                }
                (Err(ChatError::Refused(message)), None, Some(theirs)) => assert_eq!(message, theirs, "{name}"),
                _ => panic!("{name}, {}: {found:?} instead of {expected}", talk["name"]),
            }
        }
    }
    assert!(rendered >= 60, "{rendered} were rendered, the others refused");
}
