use super::{Arch, BASE};

/// Phi-3, Phi-3.5 and Phi-4 mini: q, k, v and gate, up in one matrix each; long-RoPE. (Phi-4 itself is of this kind, too.)
pub const PHI3: Arch = Arch { name: "phi3", family: "Phi-3", rope_base: Some(10_000.0), ..BASE };
