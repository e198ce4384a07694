use super::{Arch, BASE, NormedTogether};

/// Qwen3 with experts (30B-A3B): the weights of the chosen experts are made to add up to 1.
pub const QWEN3MOE: Arch =
    Arch { name: "qwen3moe", family: "Qwen3 MoE", qk_norm: NormedTogether::Head, experts: true, ..BASE };
