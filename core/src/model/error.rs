use crate::weights::WeightsError;
use alloc::string::String;
use alloc::vec::Vec;

/// Why a GGUF file is not a model picolm can run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum LoadError {
    /// The file itself, or a key or tensor that is missing or of the wrong type.
    #[error(transparent)]
    Gguf(#[from] crate::gguf::Error),
    /// An architecture not in the registry.
    #[error("architecture {name:?} is not supported (supported: {})", known.join(", "))]
    Architecture { name: String, known: Vec<&'static str> },
    /// A hyperparameter that cannot be.
    #[error("key {key:?}: {value} ({expected})")]
    Hyperparameter { key: String, value: String, expected: String },
    /// A tensor in a format without kernels.
    #[error("tensor {tensor:?} is in format {format}, which is not supported (supported: {})", known.join(", "))]
    Format { tensor: String, format: &'static str, known: Vec<&'static str> },
    /// A tensor whose shape contradicts the hyperparameters.
    #[error("tensor {tensor:?} has shape {found:?}, expected {expected:?} (inputs first)")]
    Shape { tensor: String, expected: Vec<u64>, found: Vec<u64> },
    /// A tensor larger than this machine can address.
    #[error("tensor {tensor:?} has {bytes} bytes, more than this machine can address")]
    TooLarge { tensor: String, bytes: u64 },
    /// A NaN or infinity in a norm, bias or table.
    #[error("tensor {tensor:?}: value {index} is not finite")]
    NotFinite { tensor: String, index: usize },
    /// A RoPE factor that is zero or negative.
    #[error("tensor {tensor:?}: factor {index} is {value}, not a positive number")]
    RopeFactor { tensor: String, index: usize, value: f32 },
    /// A tensor that the architecture does not have: running without it would give wrong answers.
    #[error("tensor {0:?} is not part of this architecture as picolm knows it")]
    UnexpectedTensor(String),
    /// The source of the weights could not read.
    #[error("{what} could not be read: {cause}")]
    Weights { what: String, cause: WeightsError },
    /// The bytes given are fewer than the header was checked against.
    #[error("the weights are {found} bytes long, the header describes {expected}")]
    Source { expected: u64, found: u64 },
}
