//! Each operator, filter, test, method and tag gives what Jinja2 gives (`chat_language/make_language.py`).

mod vocabulary;

use picolm_core::text::{ChatError, ChatTemplate, RenderOptions};
use vocabulary::Keys;

#[test]
fn small_templates_render_as_jinja2_renders_them() {
    let cases: Vec<(String, Option<String>)> =
        serde_json::from_str(include_str!("chat_language/expected.json")).expect("JSON");
    assert!(cases.len() > 3000, "{}", cases.len());
    let tokenizer = Keys::bytes().read().expect("a tokenizer");
    let render = |source: &str| ChatTemplate::new(source, &tokenizer)?.render(&[], &RenderOptions::default());
    let mut different = Vec::new();
    for (template, expected) in cases {
        match (render(&template), expected) {
            (Ok(found), Some(expected)) if found == expected => {}
            (Err(ChatError::Syntax { .. } | ChatError::Render { .. } | ChatError::Refused(_)), None) => {}
            (found, expected) => different.push(format!("{template}\n   Jinja2 {expected:?}\n   picolm {found:?}")),
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
