//! Errors as JavaScript sees them: an `Error` whose `code` is stable and whose message is for people.

use js_sys::{Error, Reflect};
use picolm_core::generation;
use picolm_core::model::LoadError;
use picolm_core::session;
use picolm_core::text::{ChatError, TokenizerError};
use std::fmt::Display;
use wasm_bindgen::JsValue;

/// A failure with the code that TypeScript knows it by.
#[derive(Debug)]
pub(crate) struct Fault {
    code: &'static str,
    message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Display) -> Self {
        Fault { code, message: message.to_string() }
    }

    pub(crate) fn request(message: impl Display) -> Self {
        Fault::new("invalid_request", message)
    }

    /// `bytes` could not be had.
    pub(crate) fn memory(what: &str, bytes: f64) -> Self {
        let megabytes = (bytes / 1e6).ceil();
        Fault::new(
            "out_of_memory",
            format!(
                "{what} needs {megabytes} MB more than this page can have: close other tabs, or take a smaller model or context"
            ),
        )
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Fault> for JsValue {
    fn from(fault: Fault) -> JsValue {
        let error = Error::new(&fault.message);
        // Setting a property of an object made above cannot fail.
        let _ = Reflect::set(&error, &"code".into(), &fault.code.into());
        error.into()
    }
}

impl From<picolm_core::gguf::Error> for Fault {
    fn from(error: picolm_core::gguf::Error) -> Self {
        Fault::new("invalid_model", error)
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        let code = match error {
            LoadError::Architecture { .. } => "unsupported_architecture",
            LoadError::Format { .. } => "unsupported_format",
            _ => "invalid_model",
        };
        Fault::new(code, error)
    }
}

impl From<TokenizerError> for Fault {
    fn from(error: TokenizerError) -> Self {
        let code = match error {
            TokenizerError::Model { .. } | TokenizerError::Pre { .. } => "unsupported_tokenizer",
            _ => "invalid_model",
        };
        Fault::new(code, error)
    }
}

impl From<ChatError> for Fault {
    fn from(error: ChatError) -> Self {
        let code = if matches!(error, ChatError::Refused(_)) { "invalid_request" } else { "invalid_template" };
        Fault::new(code, error)
    }
}

impl From<session::Error> for Fault {
    fn from(error: session::Error) -> Self {
        let code = match error {
            session::Error::ContextFull { .. } => "context_full",
            session::Error::OutOfMemory { .. } => "out_of_memory",
            session::Error::Context { .. } | session::Error::Token { .. } => "invalid_request",
            _ => "invalid_model",
        };
        Fault::new(code, error)
    }
}

impl From<generation::Error> for Fault {
    fn from(error: generation::Error) -> Self {
        match error {
            generation::Error::Session(error) => error.into(),
            generation::Error::PromptTooLong { .. } => Fault::new("context_full", error),
            other => Fault::request(other),
        }
    }
}

/// What an exception of JavaScript says.
pub(crate) fn message_of(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    message.unwrap_or_else(|| "an unknown error".to_string())
}
