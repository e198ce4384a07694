//! Texts from outside.

use anyhow::{Context, Result};
use std::io::{self, Read};

/// All of standard input, which has to be a text.
pub(crate) fn read_text(what: &str) -> Result<String> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).with_context(|| format!("cannot read {what} from standard input"))?;
    utf8(bytes, "standard input")
}

/// Text from outside.
pub(crate) fn utf8(bytes: Vec<u8>, whose: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        anyhow::anyhow!("{whose} is not UTF-8 text, from byte {at} on: convert it first")
    })
}
