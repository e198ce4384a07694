use crate::weights::{Part, WeightsError};

/// Why tokens could not be fed. The sessions are as they were before the call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    /// A model whose cache is beyond all measure.
    #[error("256 positions of the KV cache would take {bytes} bytes (allowed: {max})")]
    KvBlock { bytes: u64, max: u64 },
    /// A context the model cannot have.
    #[error("a context of {asked} tokens: the model allows 1 to {trained}")]
    Context { asked: usize, trained: usize },
    /// More tokens than fit.
    #[error("{tokens} more tokens do not fit: {used} of {context} are used")]
    ContextFull { tokens: usize, used: usize, context: usize },
    /// A token id outside the vocabulary.
    #[error("token {token} is not in the vocabulary of {vocab}")]
    Token { token: u32, vocab: usize },
    /// The machine, or the WebAssembly memory, has no more.
    #[error("there is no memory for {what}: {bytes} bytes are needed")]
    OutOfMemory { what: &'static str, bytes: u64 },
    /// A session that was made for another model.
    #[error("the session was made for another model")]
    OtherModel,
    /// The source of the weights could not read them. The next step may find that it can.
    #[error("{part} could not be read: {cause}")]
    Weights { part: Part, cause: WeightsError },
    /// A NaN or infinity turned up: the weights are broken, or the model overflows.
    #[error("a value is not finite in {stage} of layer {layer}: the weights are damaged or overflow")]
    NotFinite { stage: &'static str, layer: usize },
}
