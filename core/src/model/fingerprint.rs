//! Which model this is, on any machine: a number made from its file.

use super::{Layer, Model, Weight};
use crate::gguf::Gguf;
use core::hash::Hasher;
use twox_hash::XxHash64;

/// Places of a matrix that are looked at, and bytes at each.
const PIECES: usize = 8;
const PIECE: usize = 256;

impl Model {
    /// A number that tells models apart: XXH64 of the file's header and length, and of samples of the matrices outside the layers, of
    /// the first layer and of the last. The same file has the same on any machine; a file whose difference lies only elsewhere has it
    /// too. Reads the samples at each call.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = XxHash64::with_seed(0);
        hash.write(&self.header_hash.to_le_bytes());
        [&self.embedding, &self.output].into_iter().for_each(|w| self.sample_weight(w, &mut hash));
        let last = self.layers.len().saturating_sub(1);
        for (i, layer) in self.layers.iter().enumerate().filter(|(i, _)| [0, last].contains(i)) {
            self.upcoming(i);
            Layer::weights(layer).for_each(|w| self.sample_weight(w, &mut hash));
        }
        hash.finish()
    }

    fn sample_weight(&self, w: &Weight, hash: &mut XxHash64) {
        let bytes = self.source.bytes(w.span);
        match bytes.len().checked_sub(PIECES * PIECE) {
            None => hash.write(bytes),
            Some(_) => (0..PIECES as u64).for_each(|i| {
                // In u64, for a matrix of gigabytes on a machine of 32 bits.
                let at = (bytes.len() - PIECE) as u64 * i / (PIECES as u64 - 1);
                hash.write(&bytes[at as usize..][..PIECE]);
            }),
        }
    }
}

/// What of the fingerprint is in the header.
pub(super) fn of_header(gguf: &Gguf<'_>) -> u64 {
    let mut hash = XxHash64::with_seed(0);
    gguf.headers().iter().for_each(|header| hash.write(header));
    hash.write(&gguf.file_len().to_le_bytes());
    hash.finish()
}
