//! The bodies of the fuzz targets, as functions: libFuzzer calls them with new inputs (`fuzz_targets/`), `bin/replay.rs`
//! with those of a folder.

mod gguf;
mod grammar;
pub mod state;
mod template;
mod tokenizer;
pub mod vocab;

pub use gguf::gguf;
pub use grammar::grammar;
pub use state::state;
pub use template::template;
pub use tokenizer::tokenizer;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] =
    &[("gguf", gguf), ("grammar", grammar), ("state", state), ("template", template), ("tokenizer", tokenizer)];
