//! Why a file is refused.

use super::ValueType;
use alloc::string::String;

/// Why a byte slice is not a GGUF file picolm can read. Offsets are bytes from the start of the file; the other
/// fields are what the messages call them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it does not start with the four bytes \"GGUF\"")]
    NotGguf,
    /// A version other than 2 and 3, or a big-endian file.
    #[error("GGUF version {0} is not supported (supported: 2 and 3, little-endian)")]
    Version(u32),
    /// The header goes on past the bytes given. If `needed` is not past the end of the file, more of the file helps.
    #[error("the header ends early, at byte {len}, inside {what} (which needs bytes up to {needed})")]
    Truncated { what: String, needed: u64, len: u64 },
    /// A count that the rest of the file cannot hold.
    #[error("{what} of {count} at byte {offset} cannot fit in the file")]
    Count { what: &'static str, count: u64, offset: u64 },
    /// A string that is not UTF-8.
    #[error("{what} at byte {offset} is not UTF-8")]
    Utf8 { what: String, offset: u64 },
    /// A value type id that GGUF does not define.
    #[error("key {key:?}: unknown value type {id} at byte {offset}")]
    ValueType { key: String, id: u32, offset: u64 },
    /// A boolean byte other than 0 and 1.
    #[error("key {key:?}: a boolean of {byte} at byte {offset}")]
    Bool { key: String, byte: u8, offset: u64 },
    /// Arrays inside arrays beyond the depth any model uses.
    #[error("key {key:?}: arrays nested more than {max} deep")]
    Nesting { key: String, max: usize },
    /// An empty key or tensor name, or one that is too long.
    #[error("{what} at byte {offset} has a length of {len} (allowed: 1 to {max})")]
    NameLength { what: &'static str, len: u64, max: u64, offset: u64 },
    /// Two entries of one name.
    #[error("{what} {name:?} appears twice")]
    Duplicate { what: &'static str, name: String },
    /// A metadata key the model needs is absent.
    #[error("key {0:?} is missing")]
    MissingKey(String),
    /// A key holds another type than it should.
    #[error("key {key:?}: expected {expected}, found {found}")]
    WrongType { key: String, expected: &'static str, found: ValueType },
    /// An array holds elements of another type than it should.
    #[error("key {key:?}: expected an array of {expected}, found one of {found}")]
    WrongElement { key: String, expected: ValueType, found: ValueType },
    /// A key holds a value out of its range.
    #[error("key {key:?}: {value} is out of range ({expected})")]
    Range { key: String, value: String, expected: &'static str },
    /// A tensor the model needs is absent.
    #[error("tensor {0:?} is missing")]
    MissingTensor(String),
    /// A tensor type id ggml does not define (or has removed).
    #[error("tensor {name:?}: unknown type id {id}")]
    TensorType { name: String, id: u32 },
    /// A shape that cannot be.
    #[error("tensor {name:?}: {why}")]
    Shape { name: String, why: String },
    /// Files that are not the parts of one model.
    #[error("a split model: {0}")]
    Split(String),
    /// A tensor that is misaligned, overlaps another or ends past the file.
    #[error("tensor {name:?} at bytes {start}..{end}: {why}")]
    Place { name: String, start: u64, end: u64, why: String },
}
