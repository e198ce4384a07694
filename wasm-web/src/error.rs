//! Errors as JavaScript sees them: an `Error` whose `code` is stable and whose message is for people.

use js_sys::{Error, Reflect};
use picolm_core::model::LoadError;
use picolm_core::text::TokenizerError;
use picolm_engine::Kind;
use std::fmt::Display;
use wasm_bindgen::JsValue;

/// A failure with the code that TypeScript knows it by.
#[derive(Debug)]
pub(crate) struct Fault {
    code: &'static str,
    /// Of the request, if one is at fault.
    field: Option<String>,
    message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Display) -> Self {
        Fault { code, field: None, message: message.to_string() }
    }

    pub(crate) fn message(self) -> String {
        self.message
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

impl From<Fault> for JsValue {
    fn from(fault: Fault) -> JsValue {
        let error = Error::new(&fault.message);
        // Setting properties of an object made above cannot fail.
        let _ = Reflect::set(&error, &"code".into(), &fault.code.into());
        if let Some(field) = fault.field {
            let _ = Reflect::set(&error, &"field".into(), &field.into());
        }
        error.into()
    }
}

impl<E: Into<picolm_engine::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        let picolm_engine::Error { kind, field, message } = error.into();
        let code = match kind {
            Kind::Model => "invalid_model",
            Kind::Template => "invalid_template",
            Kind::Request | Kind::Unsupported => "invalid_request",
            Kind::ContextFull => "context_full",
            Kind::Memory => "out_of_memory",
            Kind::Storage => "storage_unavailable",
            Kind::State => "invalid_state",
            Kind::Busy | Kind::Stopped => "worker_failed",
        };
        Fault { code, field, message }
    }
}

/// A model that is not loaded, by what is not supported of it.
pub(crate) fn of_load(error: LoadError) -> Fault {
    let code = match error {
        LoadError::Architecture { .. } => "unsupported_architecture",
        LoadError::Format { .. } => "unsupported_format",
        LoadError::Weights { .. } => "storage_unavailable",
        _ => "invalid_model",
    };
    Fault::new(code, error)
}

/// The same of its tokenizer.
pub(crate) fn of_tokenizer(error: TokenizerError) -> Fault {
    let code = match error {
        TokenizerError::Model { .. } | TokenizerError::Pre { .. } => "unsupported_tokenizer",
        _ => "invalid_model",
    };
    Fault::new(code, error)
}

/// What an exception of JavaScript says.
pub(crate) fn message_of(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    message.unwrap_or_else(|| "an unknown error".to_string())
}
