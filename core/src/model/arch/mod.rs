//! Architectures: a registry of small tables of choices over the shared parts in `model` and `session`.
//!
//! To add one: a file here with an [`Arch`], which says how it differs from [`BASE`], and a line in [`REGISTRY`]
//! (`docs/adding.md` walks through it).

mod gemma2;
mod gemma3;
mod granite;
mod llama;
mod olmo2;
mod phi2;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3moe;
mod smollm3;

pub use crate::kernels::Activation;

/// Every architecture picolm runs.
pub const REGISTRY: &[Arch] = &[
    llama::LLAMA,
    qwen2::QWEN2,
    qwen3::QWEN3,
    qwen3moe::QWEN3MOE,
    gemma2::GEMMA2,
    gemma3::GEMMA3,
    phi2::PHI2,
    phi3::PHI3,
    smollm3::SMOLLM3,
    granite::GRANITE,
    olmo2::OLMO2,
];

/// What sets an architecture apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Arch {
    /// `general.architecture`, and the prefix of its keys.
    pub name: &'static str,
    /// What people call its models.
    pub family: &'static str,
    /// How activations are normed.
    pub norm: NormKind,
    /// RMS norms of q and k, before RoPE.
    pub qk_norm: NormedTogether,
    /// Where the norms of a layer stand.
    pub norms: Arrangement,
    /// Biases that must be there; others are used where the file has them.
    pub biases: Biases,
    /// The function of the feed-forward part.
    pub activation: Activation,
    /// Whether that function gates a second product, or stands alone.
    pub gated: bool,
    /// Whether the feed-forward part is a mixture of experts.
    pub experts: bool,
    /// Which dimensions of a head RoPE turns together.
    pub rope_pairs: RopePairs,
    /// RoPE base where `rope.freq_base` is absent; `None`: it must be there.
    pub rope_base: Option<f32>,
    /// What RoPE does in layers with a sliding window.
    pub local_rope: LocalRope,
    /// Every n-th layer has no RoPE.
    pub no_rope_every: Option<usize>,
    /// Which layers see a sliding window only.
    pub window: Window,
    /// Embeddings are multiplied by the square root of their width.
    pub scaled_embedding: bool,
    /// Attention scores and logits are capped (`attn_logit_softcapping`, `final_logit_softcapping`).
    pub soft_caps: bool,
    /// `embedding_scale`, `residual_scale`, `attention.scale` and `logit_scale` are in the metadata.
    pub scales: bool,
    /// Models of this many layers divide scores by sqrt(embedding / heads), not by sqrt(head size).
    pub wide_scores_at: Option<usize>,
}

/// The plain transformer of Llama: what an architecture is where it does not say otherwise.
pub const BASE: Arch = Arch {
    name: "",
    family: "",
    norm: NormKind::Rms,
    qk_norm: NormedTogether::Nothing,
    norms: Arrangement::Before,
    biases: Biases::Found,
    activation: Activation::Silu,
    gated: true,
    experts: false,
    rope_pairs: RopePairs::Halves,
    rope_base: None,
    local_rope: LocalRope::Same,
    no_rope_every: None,
    window: Window::Found,
    scaled_embedding: false,
    soft_caps: false,
    scales: false,
    wide_scores_at: None,
};

/// How activations are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Divided by their root mean square.
    Rms,
    /// Mean subtracted, divided by the standard deviation, a bias added.
    Layer,
}

/// What of q and of k is normed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormedTogether {
    /// They are not normed.
    Nothing,
    /// Each head.
    Head,
    /// All heads.
    Row,
}

/// How a layer's norms and its two parts are put together: [`Norms`](crate::model::Norms).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// Each part reads a norm.
    Before,
    /// What each part adds is normed.
    After,
    /// Both.
    Around,
    /// Both parts read the same norm.
    Parallel,
}

/// What RoPE does in layers with a sliding window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LocalRope {
    /// What it does in the others.
    Same,
    /// It has the base of the others, and is never stretched.
    Unstretched,
    /// It has a base of its own, unless `rope.freq_base_swa` says another, and is never stretched.
    Base(f32),
}

/// Biases an architecture must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Biases {
    /// None.
    Found,
    /// Those of q, k and v.
    Qkv,
    /// Those of every matrix.
    All,
}

/// Layers that see a sliding window only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// All, if the file has `attention.sliding_window`.
    Found,
    /// All but every n-th; `attention.sliding_window` must be there, `attention.sliding_window_pattern` may say another n.
    AllBut(usize),
    /// None if the file has no `attention.sliding_window`, else the same.
    FoundAllBut(usize),
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
