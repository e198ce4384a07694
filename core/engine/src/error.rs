//! What went wrong, and whose fault it is.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Display;
use picolm_core::gguf;
use picolm_core::model::LoadError;
use picolm_core::text::{ChatError, TokenizerError};
use picolm_core::{sampler, session};

/// A failure, of a kind that a host can act on, with a message for people.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whose fault it is.
    pub kind: Kind,
    /// The field of the request at fault, if it is one: `messages[0].role`. The message begins with it.
    pub field: Option<String>,
    /// What happened.
    pub message: String,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file: damaged, or not a model that picolm can run.
    Model,
    /// The file: its chat template fails.
    Template,
    /// The request: something it asks for cannot be.
    Request,
    /// The request: it asks for something that picolm has not, or does not know.
    Unsupported,
    /// The request: its prompt is longer than the context.
    ContextFull,
    /// No session is free; one will be when another ends.
    Busy,
    /// No memory.
    Memory,
    /// The model file, which could not be read: it may be the next time.
    Storage,
    /// A saved state that is damaged, or another model's.
    State,
    /// The engine has come to its end (stopped by the host, or its model file was changed): it has to be made anew.
    Stopped,
}

/// A result with this crate's error.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Error { kind, field: None, message: message.to_string() }
    }

    /// An error that the request is to blame for.
    pub fn request(message: impl Display) -> Self {
        Error::new(Kind::Request, message)
    }

    /// A field of a request that is not as it has to be; `why` follows its name.
    pub fn field(name: impl Into<String>, why: impl Display) -> Self {
        let name = name.into();
        Error { message: format!("{name} {why}"), ..Error::new(Kind::Request, "") }.of(name)
    }

    /// A field that asks for something picolm has not.
    pub fn unsupported(name: impl Into<String>, why: impl Display) -> Self {
        Error { kind: Kind::Unsupported, ..Error::field(name, why) }
    }

    /// The same, with the field that it is about.
    fn of(self, field: impl Into<String>) -> Self {
        Error { field: Some(field.into()), ..self }
    }
}

impl From<gguf::Error> for Error {
    fn from(error: gguf::Error) -> Self {
        Error::new(Kind::Model, error)
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        let kind = if matches!(error, LoadError::Weights { .. }) { Kind::Storage } else { Kind::Model };
        Error::new(kind, error)
    }
}

impl From<TokenizerError> for Error {
    fn from(error: TokenizerError) -> Self {
        Error::new(Kind::Model, error)
    }
}

impl From<ChatError> for Error {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Refused(_) => Error::request(format!("messages: {error}")).of("messages"),
            _ => Error::new(Kind::Template, error),
        }
    }
}

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        let kind = match error {
            session::Error::ContextFull { .. } => Kind::ContextFull,
            session::Error::OutOfMemory { .. } => Kind::Memory,
            session::Error::Context { .. } | session::Error::Token { .. } => Kind::Request,
            session::Error::Weights { .. } => Kind::Storage,
            _ => Kind::Model,
        };
        Error::new(kind, error)
    }
}

impl From<sampler::Error> for Error {
    fn from(error: sampler::Error) -> Self {
        use sampler::Error as E;
        let field = match &error {
            E::Range { field, .. } => field.to_string(),
            E::Window(_) => "penalty_last_n".into(),
            E::BiasToken { token, .. } | E::Bias { token, .. } | E::BiasTwice(token) => format!("logit_bias.{token}"),
            E::EmptyStop(_) | E::Stops => "stop".into(),
            // By the request, since logits of the model are finite.
            E::AllBanned => return Error::request(error),
            // Not of the request: what the model computed.
            _ => return Error::new(Kind::Model, error),
        };
        Error::request(error).of(field)
    }
}
