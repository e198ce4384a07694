//! Which model this is, on any machine: a number made from its file.

use super::{Layer, Weight};
use crate::gguf::Gguf;
use crate::weights::{WeightSource, WeightsError};
use core::hash::Hasher;
use twox_hash::XxHash64;

/// Places of a matrix that are looked at, and bytes at each.
const PIECES: usize = 8;
const PIECE: usize = 256;

/// The fingerprint, of the header's part of it, the matrices outside of layers, and the layers.
pub(super) fn of_model(
    header_hash: u64,
    outside: [&Weight; 2],
    layers: &[Layer],
    source: &dyn WeightSource,
) -> Result<u64, WeightsError> {
    let mut hash = XxHash64::with_seed(0);
    hash.write(&header_hash.to_le_bytes());
    let last = layers.len().saturating_sub(1);
    let looked_at = layers.iter().enumerate().filter(|(i, _)| [0, last].contains(i));
    let mut weights = outside.into_iter().chain(looked_at.flat_map(|(_, layer)| layer.weights()));
    weights.try_for_each(|w| sample(w, source, &mut hash))?;
    Ok(hash.finish())
}

fn sample(w: &Weight, source: &dyn WeightSource, hash: &mut XxHash64) -> Result<(), WeightsError> {
    let (mut piece, len) = ([0; PIECES * PIECE], w.span.len);
    if len < piece.len() {
        source.read(w.span.offset, &mut piece[..len])?;
        hash.write(&piece[..len]);
        return Ok(());
    }
    (0..PIECES as u64).try_for_each(|i| {
        // In u64, for a matrix of gigabytes on a machine of 32 bits.
        let at = (len - PIECE) as u64 * i / (PIECES as u64 - 1);
        source.read(w.span.offset + at, &mut piece[..PIECE])?;
        hash.write(&piece[..PIECE]);
        Ok(())
    })
}

/// What of the fingerprint is in the header.
pub(super) fn of_header(gguf: &Gguf<'_>) -> u64 {
    let mut hash = XxHash64::with_seed(0);
    gguf.headers().iter().for_each(|header| hash.write(header));
    hash.write(&gguf.file_len().to_le_bytes());
    hash.finish()
}
