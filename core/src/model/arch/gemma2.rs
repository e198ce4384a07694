use super::{Activation, Arch, Arrangement, BASE, Window};

/// Gemma 2: every other layer sees a window; scores and logits are capped. The model of 46 layers (27B) scales its queries by the
/// width of the embedding. Converters add the 1 of Gemma's norms to their weights.
pub const GEMMA2: Arch = Arch {
    name: "gemma2",
    family: "Gemma 2",
    norms: Arrangement::Around,
    activation: Activation::Gelu,
    window: Window::AllBut(2),
    rope_base: Some(10_000.0),
    scaled_embedding: true,
    soft_caps: true,
    wide_scores_at: Some(46),
    ..BASE
};
