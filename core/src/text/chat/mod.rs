//! Chat templates: a model's own Jinja program that turns messages into its prompt format.
//!
//! ```text
//!   tokenizer.chat_template ──ChatTemplate──► render(messages, options) ──► prompt ──Tokenizer::encode──► ids
//! ```
//!
//! Templates come from the model file and are programs from strangers, so they run in an interpreter that has nothing but
//! these values: no files, no clock, no other templates; and every operation pays from the budget of the rendering (`run`).
//!
//! ```text
//!   source ──lexer──► tokens ──parser──► ast ──render──► text
//!                                               │
//!               operators, methods, filters, checks, globals   (on values, paid through run)
//! ```
//!
//! The language is Jinja2's, in the dialect of Hugging Face's `apply_chat_template`: `trim_blocks` and `lstrip_blocks` are
//! on, loops have `break` and `continue`, nothing is escaped (<https://jinja.palletsprojects.com/en/stable/templates/>,
//! <https://huggingface.co/docs/transformers/chat_templating>). It differs where Python is larger than prompts need:
//! integers have 64 bits, formats no widths, powers whole exponents (all else is an error); what Jinja2 makes a generator is a
//! list; and `safe` gives plain text, which Jinja2 would escape what is added to.

mod ast;
mod checks;
mod decimal;
mod filters;
mod globals;
mod json;
mod lexer;
mod message;
mod methods;
mod native;
mod operators;
mod parser;
mod printf;
mod python;
mod render;
mod run;
mod strftime;
mod tojson;
mod value;

pub use json::{Json, JsonError};
pub use message::{Message, MessageError};
pub use strftime::DateTime;

use super::Tokenizer;
use crate::gguf::{self, Gguf};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use render::Renderer;
use run::{Fail, Run};
use value::Value;

/// Templates longer than this are refused; the longest published ones have about 20 KB.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;

/// A model's chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// `bos_token` and so on, as the tokenizer spells them
    special_tokens: Vec<(&'static str, String)>,
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
    pub tools: Option<Json>,
    /// Further variables some templates know, such as `enable_thinking`.
    pub variables: Vec<(String, Json)>,
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
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        parser::parse(&source).map_err(|error| *error)?;
        Ok(ChatTemplate { source, special_tokens })
    }

    /// Renders a conversation. Encode the result with [`Encode::PROMPT`](super::Encode::PROMPT), which recognises the
    /// special tokens in it and does not add a second BOS.
    ///
    /// # Errors
    /// [`ChatError::Refused`] if the template does not accept the messages; [`ChatError::Limit`] if it uses too much.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String, ChatError> {
        let named = options.variables.iter().chain(messages.iter().flat_map(|message| &message.fields));
        let values: usize =
            named.map(|(_, value)| value_bytes(value)).chain(options.tools.iter().map(value_bytes)).sum();
        let bytes = values + messages.iter().map(|message| message.role.len() + message.content.len()).sum::<usize>();
        let run = Run::new(bytes as u64, options.now);
        let variables = self.variables(&run, messages, options).map_err(|fail| failure(*fail, 1))?;
        let mut renderer = Renderer::new(run, variables, bytes.saturating_mul(4).saturating_add(4 << 20));
        let tree = parser::parse(&self.source).map_err(|error| *error)?;
        renderer.render(&tree).map_err(|fail| failure(*fail, renderer.line as usize))
    }

    /// What the template finds.
    fn variables(&self, run: &Run, messages: &[Message], options: &RenderOptions) -> run::Result<Variables> {
        let messages = run::collect(&mut messages.iter().map(|message| message.to_value(run)))?;
        let mut all: Variables = Vec::new();
        // The first of a name is found: the host's own come before what every template gets.
        for (name, value) in options.variables.iter().rev() {
            all.push((name.as_str().into(), value_of(run, value)?));
        }
        for (name, text) in &self.special_tokens {
            all.push(((*name).into(), run.text(text)?));
        }
        all.push(("messages".into(), run.list(messages)?));
        all.push(("tools".into(), options.tools.as_ref().map_or(Ok(Value::None), |tools| value_of(run, tools))?));
        all.push(("documents".into(), Value::None));
        all.push(("add_generation_prompt".into(), Value::Bool(options.add_generation_prompt)));
        Ok(all)
    }
}

type Variables = Vec<(Rc<str>, Value)>;

fn failure(fail: Fail, line: usize) -> ChatError {
    match fail {
        Fail::Limit(what) => ChatError::Limit { line, what },
        Fail::Refused(message) => ChatError::Refused(message),
        Fail::Error(message) => ChatError::Render { line, message },
    }
}

/// About the size of an input, which is the host's to answer for: the budget grows with it.
fn value_bytes(json: &Json) -> usize {
    size_of::<Value>()
        + match json {
            Json::Text(text) => text.len(),
            Json::List(items) => items.iter().map(value_bytes).sum(),
            Json::Object(pairs) => pairs.iter().map(|(key, value)| key.len() + value_bytes(value)).sum(),
            _ => 0,
        }
}

/// JSON as the template's values.
fn value_of(run: &Run, json: &Json) -> run::Result {
    match json {
        Json::Null => Ok(Value::None),
        Json::Bool(b) => Ok(Value::Bool(*b)),
        Json::Int(n) => Ok(Value::Int(*n)),
        Json::Digits(digits) => Ok(Value::Digits(digits.as_str().into())),
        Json::Float(x) => Ok(Value::Float(*x)),
        Json::Text(text) => run.text(text),
        Json::List(items) => run.list(run::collect(&mut items.iter().map(|item| value_of(run, item)))?),
        Json::Object(pairs) => {
            let mut all = Vec::new();
            for (key, value) in pairs {
                run.insert(&mut all, run.text(key)?, value_of(run, value)?)?;
            }
            run.dict(all)
        }
    }
}

impl Message {
    fn to_value(&self, run: &Run) -> run::Result {
        let mut all = Vec::new();
        for (name, text) in [("role", &self.role), ("content", &self.content)] {
            all.push((run.text(name)?, run.text(text)?));
        }
        for (name, value) in &self.fields {
            run.insert(&mut all, run.text(name)?, value_of(run, value)?)?;
        }
        run.dict(all)
    }
}
