//! The fixed token sequence whose logits are hashed to compare machines: "The digest" in `docs/numerics.md`.

/// Most tokens in a digest.
pub const DIGEST_TOKENS: usize = 600;

/// The tokens of a digest for a vocabulary and a context: [`DIGEST_TOKENS`], or as many as the context holds.
pub fn digest_tokens(vocab: usize, context: usize) -> impl Iterator<Item = u32> {
    (1..=DIGEST_TOKENS.min(context) as u32).map(move |i| (i.wrapping_mul(2_654_435_761) >> 8) % vocab as u32)
}
