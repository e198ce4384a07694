use super::{Arch, BASE, Biases};

/// Qwen2 and Qwen2.5, and DeepSeek-R1's distillations of them: q, k and v have biases.
pub const QWEN2: Arch = Arch { name: "qwen2", family: "Qwen2", biases: Biases::Qkv, ..BASE };
