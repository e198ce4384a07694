//! How a model is run, by any engine.

use crate::{Error, ErrorKind, KvType};
use picolm_machine::file::{self, Why};
use picolm_machine::{cpu, memory};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// Whose fault it is that there is no model file, or none to be believed. Clients read the message: it names files, and no folders.
pub(crate) fn file_error(error: file::Error) -> Error {
    let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
    let kind = match &error.why {
        Why::Map(_) => ErrorKind::Memory,
        Why::Changed(_) => ErrorKind::Stopped,
        _ => ErrorKind::Model,
    };
    let why = match error.why {
        Why::Gguf(error) => return error.into(),
        Why::Part(n, part) => format!("is one of {n} parts, and {} is missing", name(&part)),
        why => why.to_string(),
    };
    Error::new(kind, format!("{}: {why}", name(&error.path)))
}

/// More tokens through the layers at once make nothing faster.
const MAX_BATCH: usize = 4096;
