use super::{Arch, BASE, RopePairs};

/// Granite 3 and 4 (dense): a Llama with four scales.
pub const GRANITE: Arch =
    Arch { name: "granite", family: "Granite", rope_pairs: RopePairs::Neighbours, scales: true, ..BASE };
