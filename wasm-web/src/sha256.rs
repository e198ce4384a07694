//! SHA-256 of bytes that come in pieces, which the platform's own `crypto.subtle` cannot do.

use sha2::Digest;
use wasm_bindgen::prelude::wasm_bindgen;

/// A hash on its way.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far, as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(self.0.clone())
    }
}

pub(crate) fn hex(hash: sha2::Sha256) -> String {
    hash.finalize()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
        .collect()
}
