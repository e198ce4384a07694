use super::{Arch, BASE, RopePairs};

/// SmolLM3: a Llama whose every fourth layer has no RoPE.
pub const SMOLLM3: Arch =
    Arch { name: "smollm3", family: "SmolLM3", rope_pairs: RopePairs::Neighbours, no_rope_every: Some(4), ..BASE };
