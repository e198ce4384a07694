//! What computes, as the batch sees it.

use crate::Result;
use alloc::boxed::Box;
use alloc::vec::Vec;
use picolm_core::session::Want;

/// Tokens for a session.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The session, by its handle.
    pub session: usize,
    /// Its next tokens.
    pub tokens: Vec<u32>,
    /// What to compute of them.
    pub want: Want,
}

/// Takes the next bytes of a state.
pub type Write<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Fills a buffer from its start with the next bytes of a state; returns how many it gave, 0 at the end.
pub type Read<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize>;

/// Sessions of one model: tokens in, logits out. Handles are small numbers; a closed one is used again.
pub trait Arithmetic: Send {
    /// A new, empty session.
    ///
    /// # Errors
    /// No memory, or no more sessions than there are.
    fn open(&mut self) -> Result<usize>;

    /// Ends a session and frees its memory.
    fn close(&mut self, session: usize);

    /// Goes back to the first `len` tokens of a session, or to fewer if it has dropped what they see; returns how many.
    ///
    /// # Errors
    /// There is no such session.
    fn rewind(&mut self, session: usize, len: usize) -> Result<usize>;

    /// Computes feeds (of different sessions) in one batch, and calls `rows(feed, row)` with what is wanted of them, in order.
    ///
    /// # Errors
    /// Broken weights, no memory, no room. The sessions are then as they were, even if some rows have been shown.
    fn forward(&mut self, feeds: &[Feed], rows: &mut dyn FnMut(usize, &[f32])) -> Result<()>;

    /// Writes a session as bytes.
    ///
    /// # Errors
    /// No memory, no such session; those of `write`.
    fn save(&mut self, session: usize, write: Write<'_>) -> Result<()>;

    /// Makes a session what `save` wrote; returns its tokens.
    ///
    /// # Errors
    /// Bytes that are no such state; those of `read`. The session is then as it was.
    fn load(&mut self, session: usize, read: Read<'_>) -> Result<Vec<u32>>;

    /// Most bytes that the keys and values of `tokens` tokens can take.
    fn session_bytes(&self, tokens: usize) -> u64;
}

impl<A: Arithmetic + ?Sized> Arithmetic for Box<A> {
    fn open(&mut self) -> Result<usize> {
        (**self).open()
    }

    fn close(&mut self, session: usize) {
        (**self).close(session);
    }

    fn rewind(&mut self, session: usize, len: usize) -> Result<usize> {
        (**self).rewind(session, len)
    }

    fn forward(&mut self, feeds: &[Feed], rows: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        (**self).forward(feeds, rows)
    }

    fn save(&mut self, session: usize, write: Write<'_>) -> Result<()> {
        (**self).save(session, write)
    }

    fn load(&mut self, session: usize, read: Read<'_>) -> Result<Vec<u32>> {
        (**self).load(session, read)
    }

    fn session_bytes(&self, tokens: usize) -> u64 {
        (**self).session_bytes(tokens)
    }
}
