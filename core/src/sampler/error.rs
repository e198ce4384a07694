use super::{MAX_STOPS, MAX_VOCABULARY, MAX_WINDOW};

/// Why a sampler cannot be made, or cannot choose a token.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number outside its range, or NaN.
    #[error("{field} is {value}, which is not from {low} to {high}")]
    Range {
        /// The field of [`Params`](super::Params).
        field: &'static str,
        /// What it was set to.
        value: f32,
        /// The least it can be.
        low: f32,
        /// The most it can be.
        high: f32,
    },
    /// A window that is too long.
    #[error("penalty_last_n is {0}, which is not from 0 to {MAX_WINDOW}")]
    Window(usize),
    /// A bias on a token that does not exist.
    #[error("logit_bias.{token} is of no token: the vocabulary ends at {last}", last = .n_vocab.saturating_sub(1))]
    BiasToken {
        /// The token.
        token: u32,
        /// The tokens there are.
        n_vocab: usize,
    },
    /// A bias that is NaN, +infinity or too large.
    #[error("logit_bias.{token} is {bias}, which is not from -100 to 100 or -inf")]
    Bias {
        /// The token.
        token: u32,
        /// Its bias.
        bias: f32,
    },
    /// Two biases on one token.
    #[error("logit_bias.{0} is there twice")]
    BiasTwice(u32),
    /// A vocabulary that is empty or too large.
    #[error("a vocabulary of {0} tokens is not from 1 to {MAX_VOCABULARY}")]
    Vocabulary(usize),
    /// Logits of another vocabulary.
    #[error("{found} logits for a vocabulary of {n_vocab} tokens")]
    Logits {
        /// The logits given.
        found: usize,
        /// The logits expected.
        n_vocab: usize,
    },
    /// A logit that is NaN or +infinity.
    #[error("the logit of the token {token} is {value}")]
    Logit {
        /// The token.
        token: usize,
        /// Its logit.
        value: f32,
    },
    /// Every token is banned, by biases of -infinity, by logits of -infinity or by both.
    #[error("every token of the vocabulary is banned")]
    AllBanned,
    /// A stop string without text, which would stop everywhere.
    #[error("stop has an empty string, number {0}, which would stop everywhere")]
    EmptyStop(usize),
    /// More stop strings than [`MAX_STOPS`].
    #[error("stop has more than {MAX_STOPS} strings")]
    Stops,
}
