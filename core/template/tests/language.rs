//! Each operator, filter, test, method and tag gives what Jinja2 gives (`language/make_language.py`).

mod common;

use picolm_template::{ChatError, RenderOptions};

#[test]
fn small_templates_render_as_jinja2_renders_them() {
    let cases: Vec<(String, Option<String>)> =
        serde_json::from_str(include_str!("language/expected.json")).expect("JSON");
    assert!(cases.len() > 3000, "{}", cases.len());
    let mut different = Vec::new();
    for (template, expected) in cases {
        match (common::render(&template, &[], &RenderOptions::default()), expected) {
            (Ok(found), Some(expected)) if found == expected => {}
            (Err(ChatError::Syntax { .. } | ChatError::Render { .. } | ChatError::Refused(_)), None) => {}
            (found, expected) => different.push(format!("{template}\n   Jinja2 {expected:?}\n   picolm {found:?}")),
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
