use super::{Activation, Arch, Arrangement, BASE, LocalRope, NormedTogether, Window};

/// Gemma 3: five of six layers see a window, with a RoPE base of their own; q and k are normed head by head. The model of 62 layers
/// (27B) scales its queries by the width of the embedding.
pub const GEMMA3: Arch = Arch {
    name: "gemma3",
    family: "Gemma 3",
    qk_norm: NormedTogether::Head,
    norms: Arrangement::Around,
    activation: Activation::Gelu,
    window: Window::AllBut(6),
    local_rope: LocalRope::Base(10_000.0),
    scaled_embedding: true,
    wide_scores_at: Some(62),
    ..BASE
};
