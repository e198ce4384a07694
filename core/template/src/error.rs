use alloc::string::String;

/// Why a prompt could not be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum ChatError {
    /// What should be the model's template is something else.
    #[error("key \"tokenizer.chat_template\" is not a string, but {found}")]
    NotAString { found: String },
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
    /// Whatever form the messages are given in, the template leaves out what they say.
    #[error("the chat template writes the messages' content nowhere, neither as a text nor as a list of parts")]
    Unread,
    /// A message that is to go on is not written so that anything could follow it.
    #[error("the chat template does not write the last message's content, so it cannot be continued")]
    NoEnd,
    /// The template used up what one rendering may use.
    #[error("the chat template in line {line} exceeds the limit on {what}")]
    Limit { line: usize, what: &'static str },
}
