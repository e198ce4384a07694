//! The chat template of a model file: `picolm-template` with what the file and the tokenizer say.

use super::Tokenizer;
use crate::gguf::{Gguf, Value};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use picolm_template::{ChatError, Dialect, Message, RenderOptions, Template, Traced};

/// Marks where a content ends, so that white space in front of it stays and the place is found whatever the template writes behind.
const END: &str = "mzqkvxwend";

/// A model's chat template.
///
/// ```
/// use picolm_core::gguf::Gguf;
/// use picolm_core::text::{ChatTemplate, Encode, Message, RenderOptions, Tokenizer};
///
/// # let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokenizers/ggml-vocab-qwen2.gguf"))?;
/// let gguf = Gguf::parse(&file)?;
/// let tokenizer = Tokenizer::from_gguf(&gguf)?;
/// let template = match ChatTemplate::from_gguf(&gguf, &tokenizer)? {
///     Some(template) => template,
///     None => ChatTemplate::new("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", &tokenizer)?,
/// };
/// let prompt = template.render(&[Message::new("user", "Hi")], &RenderOptions::default())?;
/// let tokens = tokenizer.encode_traced(&prompt, Encode::PROMPT);
/// # assert!(!tokens.is_empty());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    template: Template,
    dialect: Dialect,
}

impl ChatTemplate {
    /// Reads the model's template; `None` if it has none.
    ///
    /// # Errors
    /// A template that is too long or not valid Jinja.
    pub fn from_gguf(gguf: &Gguf<'_>, tokenizer: &Tokenizer) -> Result<Option<Self>, ChatError> {
        match gguf.get("tokenizer.chat_template") {
            None => Ok(None),
            Some(Value::String(source)) => Self::new(source, tokenizer).map(Some),
            Some(other) => Err(ChatError::NotAString { found: other.value_type().to_string() }),
        }
    }

    /// A template that is not the model's own.
    ///
    /// # Errors
    /// As [`from_gguf`](Self::from_gguf).
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<Self, ChatError> {
        let names = ["bos_token", "eos_token", "unk_token"];
        let ids = [tokenizer.bos(), tokenizer.eos(), tokenizer.unknown()];
        let spell = |id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned();
        let special_tokens: Vec<_> =
            names.into_iter().zip(ids).filter_map(|(name, id)| Some((name, spell(id?)))).collect();
        let template = Template::new(source, special_tokens)?;
        Ok(ChatTemplate { dialect: Dialect::of(&template), template })
    }

    /// The template's program.
    pub fn source(&self) -> &str {
        self.template.source()
    }

    /// Renders a conversation, given in the form that the template reads. [`Tokenizer::encode_traced`] with [`Encode::PROMPT`](super::Encode::PROMPT)
    /// recognises the control tokens that the template has written, and does not add a second BOS.
    ///
    /// # Errors
    /// [`ChatError::Refused`] if the template does not accept the messages; [`ChatError::Unread`] if it would leave out what they say;
    /// [`ChatError::Limit`] if it uses too much.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<Traced, ChatError> {
        self.template.trace(&self.dialect.adapt(messages, options.tools.as_ref())?, options)
    }

    /// Whether the model is told in words of tools and of how they are called, since the template knows neither.
    pub fn calls_in_words(&self) -> bool {
        self.dialect.calls_in_words()
    }

    /// Renders messages as they are, whatever form the template reads: to see what it does with them.
    ///
    /// # Errors
    /// [`ChatError`], as the template fails.
    pub fn render_as_given(&self, messages: &[Message], options: &RenderOptions) -> Result<String, ChatError> {
        self.template.render(messages, options)
    }

    /// Renders a conversation whose last message goes on: what its content ends with ends the prompt, too.
    ///
    /// # Errors
    /// As [`render`](Self::render); [`ChatError::NoEnd`] if that message is not written, or there is none.
    pub fn render_unfinished(&self, messages: &[Message], options: &RenderOptions) -> Result<Traced, ChatError> {
        let mut messages = messages.to_vec();
        let last = messages.last_mut().ok_or(ChatError::NoEnd)?;
        last.fields.retain(|(name, _)| name != "content");
        last.content.push_str(END);
        let options = RenderOptions { add_generation_prompt: false, ..options.clone() };
        let mut prompt = self.render(&messages, &options)?;
        prompt.split_off(prompt.text().rfind(END).ok_or(ChatError::NoEnd)?);
        Ok(prompt)
    }
}
