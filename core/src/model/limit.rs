//! Upper bounds that no model reaches, so that products of them cannot overflow and nothing absurd is allocated.

pub(super) const LAYERS: usize = 1024;
pub(super) const WIDTH: usize = 1 << 20;
pub(super) const HEADS: usize = 1024;
pub(super) const HEAD_DIM: usize = 1024;
pub(super) const EXPERTS: usize = 1024;
/// Experts that see a token, and they times the width.
pub(super) const EXPERTS_USED: usize = 64;
pub(super) const EXPERT_VALUES: usize = 1 << 20;
/// Scores stay finite below this: see "KV cache" in `docs/numerics.md`.
pub(super) const ATTENTION_SCALE: f32 = 1024.0;
pub(super) const CONTEXT: usize = 1 << 28;
pub(super) const VOCABULARY: usize = 1 << 24;
/// Metadata of an architecture, and entries of a list in it.
pub(super) const KEYS: usize = 1024;
pub(super) const LIST: usize = LAYERS;
