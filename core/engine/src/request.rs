//! What is asked of an engine, and what it tells. Plain data: the same types on both sides of the sandbox's wall.

use crate::Error;
use alloc::string::String;
use alloc::vec::Vec;
use picolm_core::sampler::Params;

/// Names a session while it is open. Never used twice by one engine.
pub type SessionId = u64;

/// A prompt, and how to answer it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The prompt: these parts, one behind the other. What an earlier session has in common with it is not computed again.
    pub prompt: Vec<Part>,
    /// How tokens are drawn.
    pub sampling: Params,
    /// Texts that end the answer, in front of them.
    pub stops: Vec<String>,
    /// Most tokens of the answer; 0 is as many as the context has room for.
    pub max_tokens: usize,
    /// `Some(n)`: each token comes with its log-probability, and with those of the `n` most likely (at most [`MAX_LOGPROBS`]).
    pub logprobs: Option<usize>,
}

/// Most tokens that stand beside one with their log-probabilities.
pub const MAX_LOGPROBS: usize = 20;

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text that is continued as it is; control tokens written out in it count as such. If it stands first it begins as the model's
    /// file asks for (BOS).
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// A conversation, in the form of the model's chat template.
    Chat(Chat),
}

/// A conversation in OpenAI's shape. JSON stays text here: it is parsed where the template runs, inside the sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Chat {
    /// A JSON list of messages: `[{"role": "user", "content": "…"}]`; other fields are the template's business.
    pub messages: String,
    /// A JSON list of tools.
    pub tools: Option<String>,
    /// A JSON object of further variables of the template, such as `enable_thinking`.
    pub variables: Option<String>,
    /// End with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// Seconds since 1970, for templates that write the date.
    pub now: Option<i64>,
}

impl Chat {
    /// A conversation that awaits an answer.
    pub fn new(messages: impl Into<String>) -> Self {
        Chat { messages: messages.into(), tools: None, variables: None, add_generation_prompt: true, now: None }
    }
}

/// What happened in a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A part of a prompt was computed.
    Prompt {
        /// the session
        id: SessionId,
        /// tokens that are done, those that were there already included
        done: usize,
        /// tokens of the prompt
        of: usize,
    },
    /// A token was chosen, or text was released that had been held back.
    Piece {
        /// the session
        id: SessionId,
        /// what is new
        piece: Piece,
    },
    /// The answer is complete. The session stays open, to be saved, until it is closed.
    Finished {
        /// the session
        id: SessionId,
        /// why there is no more
        reason: Reason,
        /// what it took
        usage: Usage,
    },
    /// The answer cannot go on; the others can.
    Failed {
        /// the session
        id: SessionId,
        /// why
        error: Error,
    },
}

impl Event {
    /// The session it is about.
    pub fn id(&self) -> SessionId {
        match self {
            Event::Prompt { id, .. }
            | Event::Piece { id, .. }
            | Event::Finished { id, .. }
            | Event::Failed { id, .. } => *id,
        }
    }
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Piece {
    /// The token; `None` where the answer ends with text that had been held back.
    pub token: Option<u32>,
    /// New text: often none, since characters and stop strings are held back until they are whole.
    pub text: String,
    /// The token's log-probability, if it was asked for,
    pub logprob: Option<TokenLogprob>,
    /// and those of the most likely tokens, best first.
    pub top: Vec<TokenLogprob>,
}

/// A token and how likely the model finds it, before any sampling parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// Its bytes, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model said so, by a token that ends its turn.
    Token,
    /// A stop string.
    Stop,
    /// [`Request::max_tokens`].
    Length,
    /// The context is full.
    Context,
}

/// Tokens that a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt,
    pub prompt: usize,
    /// and those of them that were not computed, because a session held them.
    pub reused: usize,
    /// Tokens of the answer.
    pub answer: usize,
}

/// What is known of a loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelInfo {
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// `general.architecture`.
    pub architecture: String,
    /// Most tokens of a session here,
    pub context: usize,
    /// and those that the model was trained for.
    pub trained_context: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Layers.
    pub layers: usize,
    /// Whether the file has a chat template, which conversations need.
    pub chat_template: bool,
    /// The kernels that compute.
    pub backend: String,
    /// Bytes of the weights that are read for each token.
    pub weight_bytes: u64,
}
