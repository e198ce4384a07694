//! Prefill and decode: tokens in, logits out. Never sees text.
//!
//! ```text
//!   Feed (session, tokens) ─┐
//!   Feed                    ├─► Executor::forward ──► columns ──► layers ──► logits of the positions asked for
//!   Feed                   ─┘    one column a token, of any session; up to `columns` at once
//! ```
//!
//! A [`Session`] is a KV cache and the tokens in it. An [`Executor`] is a model with the buffers and threads that run it; one
//! executor steps any number of sessions, mixed in one batch or one after the other, with the same bits. Buffers are allocated when it
//! is made; a step allocates nothing but a KV block each 256 positions.

mod digest;
mod error;
mod experts;
mod feed;
mod forward;
mod kv;
mod memory;
mod mlp;
mod ops;
mod pass;
mod rope;
mod state;

pub use digest::{DIGEST_TOKENS, digest_tokens};
pub use error::Error;
pub use feed::{Feed, Want};
pub use forward::Executor;
pub use kv::KvType;
pub use state::StateError;

use crate::kernels::CHUNK;
use crate::model::{Model, ModelId};
use alloc::vec::Vec;
use kv::Cache;

/// Most bytes of 256 positions of the KV cache; the largest models take a tenth of it.
const MAX_KV_BLOCK: u64 = 1 << 30;

/// One conversation: the keys and values of its tokens so far.
#[derive(Debug)]
pub struct Session {
    kv: Cache,
    model: ModelId,
    tokens: Vec<u32>,
    context: usize,
}

impl Session {
    /// An empty session of up to `context` tokens. Memory is taken as tokens come, a block of 256 positions at a time.
    ///
    /// # Errors
    /// [`Error::Context`] if `context` is 0 or more than the model was trained for; [`Error::KvBlock`] if its heads and layers are absurd.
    pub fn new(model: &Model, context: usize, kv_type: KvType) -> Result<Self, Error> {
        let trained = model.config.context;
        if context == 0 || context > trained {
            return Err(Error::Context { asked: context, trained });
        }
        let kv = Cache::new(&model.config, kv_type)?;
        match kv.block_bytes() {
            0..=MAX_KV_BLOCK => Ok(Session { kv, model: model.id(), tokens: Vec::new(), context }),
            bytes => Err(Error::KvBlock { bytes, max: MAX_KV_BLOCK }),
        }
    }

    /// The tokens in the cache.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no token has been fed.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Most tokens it can hold.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Goes back to the first `len` tokens, or to fewer if it can't: layers that see a window have dropped what lies before it. Returns how
    /// many it has then; the rest is to be fed again. The last 256 can always be taken back. The memory is kept.
    pub fn rewind(&mut self, len: usize) -> usize {
        let len = self.kv.rewind(len.min(self.len()));
        self.tokens.truncate(len);
        len
    }

    /// Bytes of the KV blocks held.
    pub fn memory_bytes(&self) -> usize {
        self.kv.memory_bytes()
    }

    /// Most bytes a session of `tokens` tokens of this model takes if up to 256 are fed at once: while more are, layers that see a window
    /// keep more than that, so that an error can leave the session as it was.
    pub fn memory_for(model: &Model, tokens: usize, kv_type: KvType) -> u64 {
        Cache::bytes_for(&model.config, kv_type, tokens)
    }

    /// Takes the memory for `len` tokens, a block at a time. Nothing is lost if it is refused.
    fn reserve(&mut self, len: usize) -> Result<(), Error> {
        self.kv.reserve(len, self.tokens.len())?;
        let more = len.next_multiple_of(CHUNK) - self.tokens.len();
        memory::reserve("the tokens of a session", &mut self.tokens, more)
    }
}
