use super::{Arch, BASE, RopePairs};

/// Llama 1 to 3, TinyLlama, SmolLM, SmolLM2, Mistral. Converters permute q and k, so that RoPE turns neighbours. Files from before
/// `rope.freq_base` existed mean 10,000, the base of the Llama papers.
pub const LLAMA: Arch =
    Arch { name: "llama", family: "Llama", rope_pairs: RopePairs::Neighbours, rope_base: Some(10_000.0), ..BASE };
