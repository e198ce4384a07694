//! Any bytes as a chat template, and as JSON for it.

use crate::vocab;
use picolm_core::gguf::Gguf;
use picolm_core::text::{ChatTemplate, DateTime, Json, Message, RenderOptions, Tokenizer};
use std::sync::LazyLock;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let file = vocab::merges("gpt-2").finish();
    Tokenizer::from_gguf(&Gguf::parse(&file).expect("a good file")).expect("a good vocabulary")
});

/// The output of a small conversation is at most this.
const MAX_OUTPUT: usize = 5 << 20;

/// Renders `data`: a prompt, or an error with a message. What stands in front of a zero byte is JSON: the tools.
pub fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (tools, source) = text.split_once('\0').unwrap_or(("[{\"name\": \"f\", \"n\": [1, 2.5, null]}]", &text));
    let tools = match Json::parse(tools) {
        Ok(tools) => Some(tools),
        Err(error) => {
            assert!(error.at <= tools.len() + 8 && !error.to_string().is_empty());
            None
        }
    };
    let now = Some(DateTime::from_unix(data.len() as i64));
    let options = RenderOptions { add_generation_prompt: true, now, tools, variables: Vec::new() };
    let messages =
        [Message::new("system", "Be brief."), Message::new("user", " Hi\n"), Message::new("assistant", "é🦙")];
    match ChatTemplate::new(source, &TOKENIZER).and_then(|template| template.render(&messages, &options)) {
        Ok(prompt) => assert!(prompt.text().len() <= MAX_OUTPUT + 4 * data.len() * 33),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
