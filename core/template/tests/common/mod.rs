//! What the tests share.
#![allow(dead_code)] // each test file uses its own part

use picolm_template::{ChatError, Json, Message, RenderOptions, Template};

/// Renders with the special tokens `<s>` and `</s>`.
pub fn render(template: &str, messages: &[Message], options: &RenderOptions) -> Result<String, ChatError> {
    let special = vec![("bos_token", "<s>".into()), ("eos_token", "</s>".into())];
    Template::new(template, special)?.render(messages, options)
}

/// What a test writes as JSON.
pub fn json(value: serde_json::Value) -> Json {
    Json::parse(&value.to_string()).unwrap()
}

/// The entries of an object.
pub fn entries(value: serde_json::Value) -> Vec<(String, Json)> {
    match json(value) {
        Json::Object(entries) => entries,
        other => panic!("{other:?}"),
    }
}
