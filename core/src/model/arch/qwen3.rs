use super::{Arch, RopePairs};

/// Qwen3: q and k are normed head by head.
pub const QWEN3: Arch = Arch { name: "qwen3", rope_pairs: RopePairs::Halves, rope_base: None, qk_norm: true };
