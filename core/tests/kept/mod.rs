//! The hostile files that the tests make, kept for others to try: in the folder that `PICOLM_KEEP_FILES` names, if it does.

use sha2::{Digest, Sha256};
use std::path::Path;

/// Keeps what a test is about to try. `kind` says how it is tried: a model `file`, a `vocabulary` or a chat `template` for one.
pub fn keep(kind: &str, bytes: &[u8]) {
    let Some(folder) = std::env::var_os("PICOLM_KEEP_FILES") else { return };
    let hash: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(Path::new(&folder).join(format!("{hash}.{kind}")), bytes).expect("a folder with room");
}
