//! What computes, as the batch sees it.

use crate::Result;
use alloc::vec::Vec;
use picolm_core::session::Want;

/// Tokens for a session.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The session, by its handle.
    pub session: usize,
    /// Its next tokens.
    pub tokens: Vec<u32>,
    /// Which logits to compute.
    pub want: Want,
}

/// Sessions of one model: tokens in, logits out. Handles are small numbers; a closed one is used again.
pub trait Arithmetic: Send {
    /// A new, empty session.
    ///
    /// # Errors
    /// No memory, or no more sessions than there are.
    fn open(&mut self) -> Result<usize>;

    /// Ends a session and frees its memory.
    fn close(&mut self, session: usize);

    /// Forgets the tokens of a session from position `len` on.
    ///
    /// # Errors
    /// There is no such session.
    fn truncate(&mut self, session: usize, len: usize) -> Result<()>;

    /// Computes feeds (of different sessions) in one batch, and calls `logits(feed, logits)` for what is wanted, in order.
    ///
    /// # Errors
    /// Broken weights, no memory, no room. The sessions are then as they were, even if some logits have been shown.
    fn forward(&mut self, feeds: &[Feed], logits: &mut dyn FnMut(usize, &[f32])) -> Result<()>;

    /// The last hidden state of every one of a text's tokens, normed, and then their mean (embedding), by a session that is empty again
    /// at the end.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn embed(&mut self, session: usize, tokens: &[u32]) -> Result<Vec<f32>>;

    /// A session as bytes.
    ///
    /// # Errors
    /// No memory, no such session.
    fn save(&mut self, session: usize) -> Result<Vec<u8>>;

    /// Makes a session what `save` wrote; returns its tokens.
    ///
    /// # Errors
    /// Bytes that are no such state; the session is then as it was.
    fn load(&mut self, session: usize, state: &[u8]) -> Result<Vec<u32>>;

    /// Most bytes that the keys and values of `tokens` tokens can take.
    fn session_bytes(&self, tokens: usize) -> u64;
}
