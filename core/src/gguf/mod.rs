//! GGUF v2 and v3: bytes in, a checked directory of metadata and tensors out.
//!
//! ```text
//!   &[u8] ──parse──► Gguf ──► get / require_*  (typed metadata)
//!                         └─► tensor(name)     (type, shape, place in the file)
//! ```
//!
//! [`Gguf::parse`] reads the header once, front to back, through a bounds-checked cursor, and borrows: keys,
//! strings and arrays are views into the caller's bytes. Nothing is allocated from a count alone. After it returns,
//! every string is UTF-8, every tensor lies inside the file, aligned, whole blocks, overlapping no other. The format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod cursor;
mod directory;
mod error;
mod reader;
mod split;
mod tensor;
mod value;
mod writer;

pub use directory::Directory;
pub use error::Error;
pub use reader::Gguf;
pub use split::part_names;
pub use tensor::{GgmlType, Tensor};
pub use value::{Array, Value, ValueType};
pub use writer::{Encode, Writer};
