//! What runs a model: one trait, three engines behind it.

mod native;

pub use native::Native;

use crate::{Event, KvType, ModelInfo, Request, Result, SessionId, Want};
use picolm::{cpu, memory};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A loaded model and its sessions.
///
/// An engine belongs to one thread at a time, which calls [`step`](Self::step) as long as it is not idle: each step takes all sessions
/// one token further, in one batch. Sessions come and go between steps. Nothing is computed elsewhere.
pub trait Engine: Send {
    /// What is known of the model.
    fn info(&self) -> &ModelInfo;

    /// Takes a request; the steps after it answer it.
    ///
    /// # Errors
    /// A request that cannot be ([`Request`](crate::ErrorKind::Request), [`ContextFull`](crate::ErrorKind::ContextFull)), no free
    /// session ([`Busy`](crate::ErrorKind::Busy)); and, as any method here, an engine that came to its end
    /// ([`Stopped`](crate::ErrorKind::Stopped)).
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
    /// Bytes that are damaged or another model's ([`State`](crate::ErrorKind::State)).
    fn restore(&mut self, state: &[u8]) -> Result<usize>;

    /// The tokens of a request's prompt: its text, or what the chat template makes of its conversation.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    fn tokenize(&mut self, request: &Request) -> Result<Vec<u32>>;

    /// The text of tokens; control tokens are left out.
    ///
    /// # Errors
    /// The engine has come to its end.
    fn detokenize(&mut self, tokens: &[u32]) -> Result<String>;

    /// What a text is about, as a vector: the mean of the last hidden states, normed, of its tokens (embedding).
    ///
    /// # Errors
    /// No tokens, unknown ones, more than the context holds.
    fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>>;

    /// Feeds tokens to the one session for measurements (no text, no sampling), which is empty at first and again after
    /// [`rewind`](Self::rewind), and calls `logits` with those wanted.
    ///
    /// # Errors
    /// Unknown tokens, no room for them.
    fn feed(&mut self, tokens: &[u32], want: Want, logits: &mut dyn FnMut(&[f32])) -> Result<()>;

    /// Forgets what was fed.
    ///
    /// # Errors
    /// The engine has come to its end.
    fn rewind(&mut self) -> Result<()>;
}

/// How a model is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most tokens of a session; 0 is what the model was trained for, and at most 4096.
    pub context: usize,
    /// Tokens taken through the layers at once; 0 is what suits the machine's memory.
    pub batch: usize,
    /// How keys and values are stored.
    pub kv: KvType,
    /// Threads that compute; 0 is one for each core. The engine `sandbox` has one.
    pub threads: usize,
    /// Most sessions at a time, those included that wait for another prompt with the same beginning.
    pub sessions: usize,
    /// Most bytes for the keys and values of all sessions; `None` sets no bound.
    pub session_bytes: Option<u64>,
    /// Most bytes that a sandbox takes, the model file not counted: with the engine `sandbox` keys and values are in it.
    pub memory: usize,
    /// Longest time that one call into a sandbox may take; who takes longer is stopped for good.
    pub call_limit: Duration,
    /// The component of the sandbox, if it is not the one beside this program or in `PICOLM_COMPONENT`.
    pub component: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            context: 0,
            batch: 0,
            kv: KvType::F16,
            threads: 0,
            sessions: 4,
            session_bytes: None,
            memory: 1 << 30,
            call_limit: Duration::from_secs(300),
            component: None,
        }
    }
}

impl Options {
    /// Most tokens of a session of a model that was trained for `trained`.
    pub(crate) fn context_of(&self, trained: usize) -> usize {
        if self.context == 0 { trained.min(4096) } else { self.context }
    }

    pub(crate) fn batch(&self) -> usize {
        if self.batch == 0 { memory::default_batch() } else { self.batch.min(MAX_BATCH) }
    }

    pub(crate) fn threads(&self) -> usize {
        if self.threads == 0 { cpu::default_threads() } else { self.threads }
    }
}

/// More tokens through the layers at once make nothing faster.
const MAX_BATCH: usize = 4096;

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// All of it in WebAssembly.
    #[cfg(feature = "sandbox")]
    Sandbox,
    /// Whatever reads the file or the request in WebAssembly, arithmetic by the kernels of this machine.
    #[cfg(feature = "sandbox")]
    SandboxNative,
    /// No sandbox: for files one trusts.
    Native,
}

impl Kind {
    /// All there are.
    pub const ALL: &[Kind] = &[
        #[cfg(feature = "sandbox")]
        Kind::Sandbox,
        #[cfg(feature = "sandbox")]
        Kind::SandboxNative,
        Kind::Native,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "sandbox")]
            Kind::Sandbox => "sandbox",
            #[cfg(feature = "sandbox")]
            Kind::SandboxNative => "sandbox-native",
            Kind::Native => "native",
        }
    }
}

/// Loads a model.
///
/// # Errors
/// A file that cannot be read or is no model that picolm can run; options that do not suit it; no memory.
pub fn open(kind: Kind, path: &Path, options: &Options) -> Result<Box<dyn Engine>> {
    match kind {
        #[cfg(feature = "sandbox")]
        Kind::Sandbox => Ok(Box::new(crate::sandbox::Sandbox::open(path, options, false)?)),
        #[cfg(feature = "sandbox")]
        Kind::SandboxNative => Ok(Box::new(crate::sandbox::Sandbox::open(path, options, true)?)),
        Kind::Native => Ok(Box::new(Native::open(path, options)?)),
    }
}
