//! Tensor types and places.

/// A tensor type: its ggml id, name, weights per block and bytes per block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GgmlType {
    /// Number in the file.
    pub id: u32,
    /// ggml's name, in capitals.
    pub name: &'static str,
    /// Weights in a block.
    pub block: u64,
    /// Bytes of a block.
    pub bytes: u64,
}

/// Every type ggml defines today, whether or not there is a kernel for it: enough to check sizes and to name it. The
/// gaps are types that ggml has removed. Source: `ggml.h` and `ggml-common.h`.
const TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
    (42, "Q2_0", 64, 18),
];

impl GgmlType {
    /// The type of an id, or `None` if ggml has none of that id.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::all().find(|t| t.id == id)
    }

    /// The type of a name as ggml writes it (`F16`, `Q4_K`), or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|t| t.name == name)
    }

    /// Every type, by id.
    pub fn all() -> impl Iterator<Item = Self> {
        TYPES.iter().map(|&(id, name, block, bytes)| GgmlType { id, name, block, bytes })
    }
}

/// A tensor's name, type, shape and place. Dimensions are in ggml's order: `dims[0]` is the inner one (a matrix of
/// `rows` outputs and `cols` inputs is `[cols, rows]`); absent ones are 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor<'a> {
    /// Name in the file.
    pub name: &'a str,
    /// Element type.
    pub ty: GgmlType,
    /// Dimensions, inner first.
    pub dims: [u64; 4],
    /// Number of dimensions stored (1 to 4).
    pub n_dims: usize,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}
