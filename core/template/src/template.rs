//! A template as hosts use it: what goes in becomes the interpreter's values, what comes out is a prompt.

use crate::filters::FILTERS;
use crate::render::Renderer;
use crate::value::Value;
use crate::value::native::find;
use crate::value::run::{self, Fail, Run, VALUE};
use crate::value::text::Traced;
use crate::{ChatError, DateTime, Json, Message, parser};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

/// Templates longer than this are refused; the longest published ones have about 20 KB.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;

/// A chat template.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    special_tokens: Vec<(&'static str, String)>,
}

/// What a rendering depends on besides the messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RenderOptions {
    /// End with the beginning of an answer, for the model to continue.
    pub add_generation_prompt: bool,
    /// The time now, which is the host's to know. Without it `strftime_now` is undefined, and templates that ask
    /// `is defined` use a fixed date.
    pub now: Option<DateTime>,
    /// Functions the model may call: a list of JSON schemas.
    pub tools: Option<Json>,
    /// Further variables some templates know, such as `enable_thinking`.
    pub variables: Vec<(String, Json)>,
}

impl Template {
    /// A template, and what it knows of the tokenizer: `bos_token` and so on, with their spellings.
    ///
    /// # Errors
    /// A template that is too long or not valid Jinja.
    pub fn new(source: &str, special_tokens: Vec<(&'static str, String)>) -> Result<Self, ChatError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::Size { what: "a length", found: source.len(), max: MAX_TEMPLATE_BYTES });
        }
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        parser::parse(&source).map_err(|error| *error)?;
        Ok(Template { source, special_tokens })
    }

    /// The program, as it was given but for its ends of lines.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// [`ChatError::Refused`] if the template does not accept the messages; [`ChatError::Limit`] if it uses too much.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String, ChatError> {
        self.trace(messages, options).map(Traced::into_text)
    }

    /// The same, with what came with the request: everything in `messages` and `options` but roles, numbers, and what is true or false.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn trace(&self, messages: &[Message], options: &RenderOptions) -> Result<Traced, ChatError> {
        let named = options.variables.iter().chain(messages.iter().flat_map(|message| &message.fields));
        let values: usize =
            named.map(|(_, value)| value_bytes(value)).chain(options.tools.iter().map(value_bytes)).sum();
        let bytes = values + messages.iter().map(|message| message.role.len() + message.content.len()).sum::<usize>();
        let run = Run::new(bytes as u64, options.now, |name| find(&FILTERS, name).is_some());
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
            all.push(((*name).into(), run.own(text)?));
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
    VALUE
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
        Json::Text(text) => run.given(text),
        Json::List(items) => run.list(run::collect(&mut items.iter().map(|item| value_of(run, item)))?),
        Json::Object(pairs) => {
            let mut all = Vec::new();
            for (key, value) in pairs {
                run.insert(&mut all, run.given(key)?, value_of(run, value)?)?;
            }
            run.dict(all)
        }
    }
}

impl Message {
    fn to_value(&self, run: &Run) -> run::Result {
        let mut all = Vec::new();
        all.push((run.own("role")?, run.own(&self.role)?));
        all.push((run.own("content")?, run.given(&self.content)?));
        for (name, value) in &self.fields {
            run.insert(&mut all, run.given(name)?, value_of(run, value)?)?;
        }
        run.dict(all)
    }
}
