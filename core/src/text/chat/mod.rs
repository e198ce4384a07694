//! Chat templates: a model's own Jinja program that turns messages into its prompt format.
//!
//! ```text
//!   tokenizer.chat_template ──ChatTemplate──► render(messages, options) ──► prompt ──Tokenizer::encode──► ids
//! ```
//!
//! Templates come from the model file and are programs, so they run in a box (`sandbox`): no files, no clock, no includes; a
//! budget of steps, one of bytes read and one of bytes made for the whole rendering (`budget`); what they print looks as
//! Python prints it (`python`). Everything else follows Hugging Face's `apply_chat_template`
//! (<https://huggingface.co/docs/transformers/chat_templating>).

mod budget;
mod python;
mod sandbox;
mod strftime;

pub use strftime::DateTime;

use super::Tokenizer;
use crate::gguf::{self, Gguf};
use minijinja::Value;
use std::string::{String, ToString};
use std::vec::Vec;

/// Templates longer than this are refused; the longest published ones have about 20 KB.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;

/// A model's chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// `bos_token` and so on, as the tokenizer spells them
    special_tokens: Vec<(&'static str, String)>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or whatever else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
    /// Other fields that templates read, such as `tool_calls`, `name` or `reasoning_content`.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// What a rendering depends on besides the messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RenderOptions {
    /// End with the beginning of an answer, for the model to continue.
    pub add_generation_prompt: bool,
    /// The time now, which the core does not know. Without it `strftime_now` is undefined, and templates that ask
    /// `is defined` use a fixed date.
    pub now: Option<DateTime>,
    /// Functions the model may call: a list of JSON schemas.
    pub tools: Option<serde_json::Value>,
    /// Further variables some templates know, such as `enable_thinking`.
    pub variables: serde_json::Map<String, serde_json::Value>,
}

/// Why a prompt could not be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum ChatError {
    /// `tokenizer.chat_template` is not a string.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// The template is longer or more deeply nested than any honest one.
    #[error("the chat template has {what} of {found} (allowed: {max})")]
    Size { what: &'static str, found: usize, max: usize },
    /// The template is not valid Jinja.
    #[error("the chat template, line {line}: {message}")]
    Syntax { line: usize, message: String },
    /// The template failed: an unknown function, a wrong type.
    #[error("the chat template failed in line {line}: {message}")]
    Render { line: usize, message: String },
    /// The template refuses these messages (`raise_exception`), for instance two of one role in a row.
    #[error("the chat template refuses these messages: {0}")]
    Refused(String),
    /// The template used up what one rendering may use.
    #[error("the chat template in line {line} exceeds the limit on {what}")]
    Limit { line: usize, what: &'static str },
}

impl Message {
    /// A message of a role and a text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into(), fields: serde_json::Map::new() }
    }
}

impl ChatTemplate {
    /// Reads the model's template; `None` if it has none.
    ///
    /// # Errors
    /// A template that is too long or not valid Jinja.
    pub fn from_gguf(gguf: &Gguf<'_>, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, ChatError> {
        let Some(source) = gguf.str("tokenizer.chat_template")? else { return Ok(None) };
        ChatTemplate::new(source, tokenizer).map(Some)
    }

    /// A template that is not the model's own.
    ///
    /// # Errors
    /// As [`from_gguf`](Self::from_gguf).
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<ChatTemplate, ChatError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::Size { what: "a length", found: source.len(), max: MAX_TEMPLATE_BYTES });
        }
        let names = ["bos_token", "eos_token", "unk_token"];
        let ids = [tokenizer.bos(), tokenizer.eos(), tokenizer.unknown()];
        let spell = |id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned();
        let special_tokens = names.into_iter().zip(ids).filter_map(|(name, id)| Some((name, spell(id?)))).collect();
        let source = sandbox::prepare(source)?;
        sandbox::check(&source)?;
        Ok(ChatTemplate { source, special_tokens })
    }

    /// Renders a conversation. Encode the result with [`Encode::PROMPT`](super::Encode::PROMPT), which recognises the
    /// special tokens in it and does not add a second BOS.
    ///
    /// # Errors
    /// [`ChatError::Refused`] if the template does not accept the messages; [`ChatError::Limit`] if it uses too much.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String, ChatError> {
        let tools = options.tools.as_ref().map_or(Value::from(()), value_of);
        let messages: Vec<Value> = messages.iter().map(Message::to_value).collect();
        let mut variables: Vec<(&str, Value)> = vec![
            ("messages", Value::from(messages)),
            ("tools", tools),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(options.add_generation_prompt)),
        ];
        variables.extend(self.special_tokens.iter().map(|(name, text)| (*name, Value::from(text.as_str()))));
        variables.extend(options.variables.iter().map(|(name, value)| (name.as_str(), value_of(value))));
        sandbox::render(&self.source, variables, options.now)
    }
}

/// JSON as the template's values; objects keep the order of their keys.
fn value_of(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::from(n),
            (_, Some(n)) => Value::from(n),
            _ => Value::from(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value_of).collect::<Vec<Value>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(key, value)| (key.to_string(), value_of(value)))),
    }
}

impl Message {
    fn to_value(&self) -> Value {
        let own = [("role", Value::from(self.role.as_str())), ("content", Value::from(self.content.as_str()))];
        let others = self.fields.iter().map(|(name, value)| (name.as_str(), value_of(value)));
        Value::from_pairs(own.into_iter().chain(others).map(|(name, value)| (name.to_string(), value)))
    }
}
