//! What went wrong, and whose fault it is.

use alloc::string::{String, ToString};
use core::fmt::Display;
use picolm_core::gguf;
use picolm_core::model::LoadError;
use picolm_core::text::{ChatError, TokenizerError};
use picolm_core::{generation, session};

/// A failure, of a kind that a host can act on, with a message for people.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whose fault it is.
    pub kind: Kind,
    /// What happened.
    pub message: String,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file: damaged, or not a model that picolm can run.
    Model,
    /// The request: something it asks for cannot be.
    Request,
    /// The request: its prompt is longer than the context.
    ContextFull,
    /// No session is free; one will be when another ends.
    Busy,
    /// No memory.
    Memory,
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
        Error { kind, message: message.to_string() }
    }

    /// An error that the request is to blame for.
    pub fn request(message: impl Display) -> Self {
        Error::new(Kind::Request, message)
    }
}

impl From<gguf::Error> for Error {
    fn from(error: gguf::Error) -> Self {
        Error::new(Kind::Model, error)
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Error::new(Kind::Model, error)
    }
}

impl From<TokenizerError> for Error {
    fn from(error: TokenizerError) -> Self {
        Error::new(Kind::Model, error)
    }
}

impl From<ChatError> for Error {
    fn from(error: ChatError) -> Self {
        let kind = if matches!(error, ChatError::Refused(_)) { Kind::Request } else { Kind::Model };
        Error::new(kind, error)
    }
}

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        let kind = match error {
            session::Error::ContextFull { .. } => Kind::ContextFull,
            session::Error::OutOfMemory { .. } => Kind::Memory,
            session::Error::Context { .. } | session::Error::Token { .. } => Kind::Request,
            _ => Kind::Model,
        };
        Error::new(kind, error)
    }
}

impl From<generation::Error> for Error {
    fn from(error: generation::Error) -> Self {
        match error {
            generation::Error::Session(error) => error.into(),
            generation::Error::PromptTooLong { .. } => Error::new(Kind::ContextFull, error),
            other => Error::request(other),
        }
    }
}
