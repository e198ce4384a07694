use super::{Arch, BASE, NormedTogether};

/// Qwen3, and DeepSeek-R1-0528's distillation of it (with YaRN): q and k are normed head by head.
pub const QWEN3: Arch = Arch { name: "qwen3", family: "Qwen3", qk_norm: NormedTogether::Head, ..BASE };
