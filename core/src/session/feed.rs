//! What goes into a batch, and what is wanted of it.

use super::Session;

/// Tokens to be fed to one session.
#[derive(Debug)]
pub struct Feed<'a> {
    /// The session they continue.
    pub session: &'a mut Session,
    /// The tokens.
    pub tokens: &'a [u32],
    /// What to compute of them.
    pub want: Want,
}

/// What is wanted of a feed: a row of floats for some of its positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// The logits (vocabulary) after its last token.
    Last,
    /// Those after every token.
    All,
    /// What logits are made of: the last hidden state (embedding), normed, of every token.
    Hidden,
}

impl Want {
    /// The rows that a feed of so many tokens gets.
    pub fn rows(self, tokens: usize) -> usize {
        match self {
            Want::Nothing => 0,
            Want::Last => tokens.min(1),
            Want::All | Want::Hidden => tokens,
        }
    }
}
