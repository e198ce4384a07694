//! Why there is no grammar, or no mask.

/// A grammar that cannot be, or an answer that does not keep to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A schema asks for what cannot be enforced: where (a JSON pointer to the keyword), and what.
    #[error("{}: {what}", place(.pointer))]
    Schema {
        /// a JSON pointer (RFC 6901) into the schema; empty for its root
        pointer: String,
        /// what is wrong there
        what: String,
    },
    /// No value fits the schema, or no text the grammar.
    #[error("{}nothing fits: {what}", if .pointer.is_empty() { String::new() } else { format!("{pointer}: ") })]
    Impossible {
        /// as in [`Schema`](Self::Schema); empty for grammars
        pointer: String,
        /// why
        what: String,
    },
    /// A text that is no grammar: what is wrong, and where.
    #[error("{0}")]
    Grammar(String),
    /// More than [`Limits`](crate::Limits) allow.
    #[error("{0}")]
    Limit(String),
    /// A vocabulary that cannot be masked.
    #[error("{0}")]
    Vocabulary(String),
    /// An answer that the grammar does not allow, or cannot follow within its limits.
    #[error("{0}")]
    Answer(String),
}

/// A result of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the schema" } else { pointer }
}

impl Error {
    pub(crate) fn schema(pointer: &str, what: impl Into<String>) -> Self {
        Error::Schema { pointer: pointer.into(), what: what.into() }
    }

    pub(crate) fn impossible(pointer: &str, what: impl Into<String>) -> Self {
        Error::Impossible { pointer: pointer.into(), what: what.into() }
    }
}
