//! What an engine tells: events, and what they come to; each also as JSON.

use crate::Error;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use picolm_core::text::Json;

/// Names a session while it is open. Never used twice by one engine.
pub type SessionId = u64;

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
    /// The embedding of a text is complete.
    Embedded {
        /// the session
        id: SessionId,
        /// (embedding), of length 1
        embedding: Vec<f32>,
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
            | Event::Embedded { id, .. }
            | Event::Failed { id, .. } => *id,
        }
    }

    /// Whether nothing more comes of the session.
    pub fn is_last(&self) -> bool {
        !matches!(self, Event::Prompt { .. } | Event::Piece { .. })
    }
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Piece {
    /// The token; `None` where the answer ends with text that had been held back.
    pub token: Option<u32>,
    /// New text: often none, since characters and stop strings are held back until they are whole.
    pub text: String,
    /// What the model thinks, where it is told apart from the text.
    pub reasoning: String,
    /// Calls of tools that are whole with this token.
    pub calls: Vec<Call>,
    /// The token's log-probability, if it was asked for,
    pub logprob: Option<TokenLogprob>,
    /// and those of the most likely tokens, best first.
    pub top: Vec<TokenLogprob>,
}

impl Piece {
    /// Whether there is no text, no thought and no call in it.
    pub fn says_nothing(&self) -> bool {
        self.text.is_empty() && self.reasoning.is_empty() && self.calls.is_empty()
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which of the answer's calls it is, from 0.
    pub index: usize,
    /// What its result refers to.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
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
    /// [`Request::max_tokens`](crate::Request::max_tokens).
    Length,
    /// The context is full.
    Context,
    /// The model, or a stop string; it calls tools, and waits for what they say.
    Calls,
}

impl Reason {
    /// OpenAI's word for it: `stop`, `length` or `tool_calls`.
    pub fn openai(self) -> &'static str {
        match self {
            Reason::Token | Reason::Stop => "stop",
            Reason::Length | Reason::Context => "length",
            Reason::Calls => "tool_calls",
        }
    }
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
    /// Tokens that drafts proposed,
    pub drafted: usize,
    /// and those of them that were right.
    pub accepted: usize,
}

/// All that was said of one session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// What the model thought, where that is told apart from the text.
    pub reasoning: String,
    /// Tools that it calls.
    pub calls: Vec<Call>,
    /// The tokens, without one that ended the answer.
    pub tokens: Vec<u32>,
    /// Log-probabilities of the tokens, and of the most likely ones beside each, if they were asked for.
    pub logprobs: Vec<(TokenLogprob, Vec<TokenLogprob>)>,
    /// Why there is no more; `None` before the end, and of an embedding.
    pub reason: Option<Reason>,
    /// (embedding) of a text, if that was asked for.
    pub embedding: Vec<f32>,
    /// What it took.
    pub usage: Usage,
}

impl Answer {
    /// Adds what an event of the session says; whether it was the last.
    ///
    /// # Errors
    /// That of [`Event::Failed`].
    pub fn take(&mut self, event: Event) -> crate::Result<bool> {
        let last = event.is_last();
        match event {
            Event::Prompt { .. } => {}
            Event::Piece { piece, .. } => {
                self.text += &piece.text;
                self.reasoning += &piece.reasoning;
                self.calls.extend(piece.calls);
                self.tokens.extend(piece.token);
                self.logprobs.extend(piece.logprob.map(|chosen| (chosen, piece.top)));
            }
            Event::Finished { reason, usage, .. } => (self.reason, self.usage) = (Some(reason), usage),
            Event::Embedded { embedding, usage, .. } => (self.embedding, self.usage) = (embedding, usage),
            Event::Failed { error, .. } => return Err(error),
        }
        Ok(last)
    }

    /// As a JSON object: `text`, `tokens`, `logprobs`, `finish_reason` and `usage`, and `reasoning_content` and `tool_calls` if there are
    /// any; or `embedding` and `usage`.
    pub fn to_json(&self) -> String {
        let usage = ("usage", usage(self.usage));
        if !self.embedding.is_empty() {
            return object([("embedding", floats(&self.embedding)), usage]).to_string();
        }
        let logprob = |(chosen, top): &(TokenLogprob, Vec<TokenLogprob>)| logprob(chosen, top);
        let mut json = object([
            ("text", Json::Text(self.text.clone())),
            ("tokens", Json::List(self.tokens.iter().map(|&token| Json::Int(token.into())).collect())),
            ("logprobs", Json::List(self.logprobs.iter().map(logprob).collect())),
            ("finish_reason", self.reason.map_or(Json::Null, |reason| reason.openai().into())),
            usage,
        ]);
        told_apart(&mut json, &self.reasoning, &self.calls);
        json.to_string()
    }
}

impl Event {
    /// As a JSON object: `{"prompt": {"done", "of"}}`, `{"text", "token"?, "logprobs"?, "reasoning_content"?, "tool_calls"?}`, `{"finish_reason", "usage"}` or
    /// `{"embedding", "usage"}`.
    ///
    /// # Errors
    /// That of [`Event::Failed`].
    pub fn to_json(&self) -> crate::Result<String> {
        let json = match self {
            Event::Prompt { done, of, .. } => object([("prompt", object([("done", int(*done)), ("of", int(*of))]))]),
            Event::Piece { piece, .. } => {
                let mut json = object([
                    ("text", Json::Text(piece.text.clone())),
                    ("token", piece.token.map_or(Json::Null, |token| Json::Int(token.into()))),
                    ("logprobs", piece.logprob.as_ref().map_or(Json::Null, |chosen| logprob(chosen, &piece.top))),
                ]);
                told_apart(&mut json, &piece.reasoning, &piece.calls);
                json
            }
            Event::Finished { reason, usage: used, .. } => {
                object([("finish_reason", reason.openai().into()), ("usage", usage(*used))])
            }
            Event::Embedded { embedding, usage: used, .. } => {
                object([("embedding", floats(embedding)), ("usage", usage(*used))])
            }
            Event::Failed { error, .. } => return Err(error.clone()),
        };
        Ok(json.to_string())
    }
}

/// Adds what is told apart from the text, if there is any, under the names of a chat's message or of a part of it.
fn told_apart(json: &mut Json, reasoning: &str, calls: &[Call]) {
    let Json::Object(pairs) = json else { return };
    if !reasoning.is_empty() {
        pairs.push(("reasoning_content".into(), reasoning.into()));
    }
    if !calls.is_empty() {
        pairs.push(("tool_calls".into(), Json::List(calls.iter().map(call).collect())));
    }
}

/// OpenAI's entry of `tool_calls`.
fn call(call: &Call) -> Json {
    let function = object([("name", call.name.as_str().into()), ("arguments", call.arguments.as_str().into())]);
    object([
        ("index", int(call.index)),
        ("id", call.id.as_str().into()),
        ("type", "function".into()),
        ("function", function),
    ])
}

/// OpenAI's entry of a chat's `logprobs.content`.
fn logprob(chosen: &TokenLogprob, top: &[TokenLogprob]) -> Json {
    let one = |entry: &TokenLogprob| {
        let bytes = entry.bytes.iter().map(|&byte| Json::Int(byte.into())).collect();
        [
            ("token", Json::Text(String::from_utf8_lossy(&entry.bytes).into_owned())),
            ("id", Json::Int(entry.token.into())),
            ("logprob", Json::Float(entry.logprob.into())),
            ("bytes", Json::List(bytes)),
        ]
    };
    let top = Json::List(top.iter().map(|entry| object(one(entry))).collect());
    let [token, id, logprob, bytes] = one(chosen);
    object([token, id, logprob, bytes, ("top_logprobs", top)])
}

fn usage(usage: Usage) -> Json {
    object([
        ("prompt_tokens", int(usage.prompt)),
        ("completion_tokens", int(usage.answer)),
        ("total_tokens", int(usage.prompt.saturating_add(usage.answer))),
        ("prompt_tokens_details", object([("cached_tokens", int(usage.reused))])),
        (
            "completion_tokens_details",
            object([
                ("accepted_prediction_tokens", int(usage.accepted)),
                ("rejected_prediction_tokens", int(usage.drafted.saturating_sub(usage.accepted))),
            ]),
        ),
    ])
}

fn object<const N: usize>(pairs: [(&str, Json); N]) -> Json {
    Json::Object(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

fn int(n: usize) -> Json {
    Json::Int(n as i64)
}

fn floats(list: &[f32]) -> Json {
    Json::List(list.iter().map(|&x| Json::Float(x.into())).collect())
}
