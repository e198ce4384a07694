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

//!
//! ```
//! use picolm_gguf::{GgmlType, Gguf, Writer};
//!
//! let f32_type = GgmlType::from_name("F32").expect("a ggml type");
//! let file = Writer::new().with("answer", 42u32).tensor("w", f32_type, &[2], [0; 8]).finish();
//! let gguf = Gguf::parse(&file)?;
//! assert_eq!(gguf.require_u32("answer")?, 42);
//! let w = gguf.require_tensor("w")?;
//! assert_eq!(file[w.offset as usize..][..w.len as usize], [0; 8]);
//! # Ok::<_, picolm_gguf::Error>(())
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod cursor;
mod directory;
mod error;
mod reader;
mod split;
mod tensor;
mod value;
mod value_type;
mod writer;

pub use directory::Directory;
pub use error::Error;
pub use reader::Gguf;
pub use split::part_names;
pub use tensor::{GgmlType, Tensor};
pub use value::{Array, Value};
pub use value_type::ValueType;
pub use writer::{Encode, Writer};
