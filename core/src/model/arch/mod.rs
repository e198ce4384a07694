//! Architectures: a registry of small tables of choices over the shared parts in `model` and `session`.
//!
//! To add one: a file here with an [`Arch`], and a line in [`REGISTRY`].

mod llama;
mod qwen3;

/// Every architecture picolm runs.
pub const REGISTRY: &[Arch] = &[llama::LLAMA, qwen3::QWEN3];

/// What sets an architecture apart.
#[derive(Debug, PartialEq)]
pub struct Arch {
    /// `general.architecture`, and the prefix of its keys.
    pub name: &'static str,
    /// Which dimensions of a head RoPE turns together.
    pub rope_pairs: RopePairs,
    /// RoPE base where `rope.freq_base` is absent; `None`: it must be there.
    pub rope_base: Option<f32>,
    /// RMS norms on each head of q and k, before RoPE.
    pub qk_norm: bool,
}

/// The pairs of dimensions that RoPE turns: `n` of a head's dimensions take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// (0, 1), (2, 3), …
    Neighbours,
    /// (0, n/2), (1, n/2 + 1), …
    Halves,
}

impl Arch {
    /// The architecture of that name.
    pub fn find(name: &str) -> Option<&'static Arch> {
        REGISTRY.iter().find(|arch| arch.name == name)
    }
}
