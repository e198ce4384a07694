use super::{Activation, Arch, Arrangement, BASE, Biases, NormKind};

/// Phi-1, Phi-1.5 and Phi-2: layer norms, biases everywhere, attention and a plain feed-forward part side by side, RoPE on a part of
/// each head.
pub const PHI2: Arch = Arch {
    name: "phi2",
    family: "Phi-2",
    norm: NormKind::Layer,
    norms: Arrangement::Parallel,
    biases: Biases::All,
    activation: Activation::Gelu,
    gated: false,
    rope_base: Some(10_000.0),
    ..BASE
};
