//! What runs a model, as its users see it: with a sandbox or without.

use crate::{Event, ModelInfo, Prompt, Request, Result, SessionId, Want};
use alloc::string::String;
use alloc::vec::Vec;

/// A loaded model and its sessions.
///
/// An engine belongs to one thread at a time, which calls [`step`](Self::step) as long as it is not idle: each step takes all sessions
/// one token further, in one batch. Sessions come and go between steps. Nothing is computed elsewhere.
pub trait Engine: Send {
    /// What is known of the model.
    fn info(&self) -> &ModelInfo;

    /// Takes a request; the steps after it answer it, or make an embedding of it.
    ///
    /// # Errors
    /// A request that cannot be ([`Request`](crate::Kind::Request), [`ContextFull`](crate::Kind::ContextFull)), no free
    /// session ([`Busy`](crate::Kind::Busy)); and, as any method here, an engine that came to its end
    /// ([`Stopped`](crate::Kind::Stopped)).
    fn begin(&mut self, request: &Request) -> Result<SessionId>;

    /// Takes every session one token further, and reads a part of the prompts that are not read yet. An error of one session is an
    /// event; the others go on.
    ///
    /// # Errors
    /// The engine has come to its end: no session goes on, and a new engine has to be made.
    fn step(&mut self) -> Result<Vec<Event>>;

    /// Whether no session waits for a step.
    fn is_idle(&self) -> bool;

    /// Ends a session; one that is not finished is cancelled by it. What it holds may be of use to later prompts that begin with the
    /// same tokens, until its memory is needed.
    ///
    /// # Errors
    /// There is no such session.
    fn close(&mut self, session: SessionId) -> Result<()>;

    /// What a session holds, as bytes for [`restore`](Self::restore): after a prompt, or after its answer, before it is closed.
    ///
    /// # Errors
    /// There is no such session, or no memory.
    fn save(&mut self, session: SessionId) -> Result<Vec<u8>>;

    /// Takes what was saved with the same model by any engine; prompts that begin with the same tokens are answered sooner. Returns how
    /// many tokens it has.
    ///
    /// # Errors
    /// Bytes that are damaged or another model's ([`State`](crate::Kind::State)).
    fn restore(&mut self, state: &[u8]) -> Result<usize>;

    /// The tokens of a prompt: its text, or what the chat template makes of its conversation.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    fn tokenize(&mut self, prompt: &Prompt) -> Result<Vec<u32>>;

    /// The text of tokens; control tokens are left out.
    ///
    /// # Errors
    /// The engine has come to its end.
    fn detokenize(&mut self, tokens: &[u32]) -> Result<String>;

    /// Feeds tokens to the one session for measurements (no text, no sampling), which is empty at first and again after
    /// [`rewind`](Self::rewind), and calls `rows` with what is wanted of them.
    ///
    /// # Errors
    /// Unknown tokens, no room for them.
    fn feed(&mut self, tokens: &[u32], want: Want, rows: &mut dyn FnMut(&[f32])) -> Result<()>;

    /// Forgets what was fed.
    ///
    /// # Errors
    /// The engine has come to its end.
    fn rewind(&mut self) -> Result<()>;
}
