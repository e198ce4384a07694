//! What the beginning of a file says: whether it would run, and what it would need.

use crate::error::Result;
use picolm_core::gguf::{Error, Gguf};
use picolm_core::kernels::Format;
use picolm_core::model::Config;
use std::fmt::Write;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

/// Reads the header of a model of `len` bytes from its first `bytes`. JSON: `{needed}` if it takes more of them, or what
/// `ModelHeader` in `types.ts` says.
///
/// # Errors
/// `invalid_model`.
#[wasm_bindgen]
pub fn header(bytes: &[u8], len: f64) -> std::result::Result<String, JsValue> {
    match Gguf::parse_header(bytes, len as u64) {
        Err(Error::Truncated { needed, .. }) if needed <= len as u64 => Ok(format!("{{\"needed\":{needed}}}")),
        parsed => Ok(describe(&parsed.map_err(crate::error::Fault::from)?)?),
    }
}

fn describe(gguf: &Gguf<'_>) -> Result<String> {
    let mut json = Object::new();
    let text = |key| gguf.str(key).ok().flatten();
    json.text("name", text("general.name")).text("architecture", text("general.architecture"));
    json.text("license", text("general.license"));
    json.number("parameters", gguf.tensors().iter().map(|t| t.dims.iter().product::<u64>()).sum::<u64>() as f64);
    json.number("headerBytes", gguf.header_len() as f64).number("files", f64::from(gguf.split_count()?));
    match Config::from_gguf(gguf) {
        Ok(config) => {
            let values = (2 * config.layers * config.kv_heads * config.head_dim) as f64;
            json.number("context", config.context as f64).number("layers", config.layers as f64);
            json.number("kvBytesF16", 2.0 * values).number("kvBytesQ8", values * 34.0 / 32.0);
            let unknown = gguf.tensors().iter().find(|t| Format::from_id(t.ty.id).is_none());
            json.text("reason", unknown.map(|t| format!("format {} is not supported", t.ty.name)).as_deref());
        }
        Err(error) => _ = json.text("reason", Some(&error.to_string())),
    }
    Ok(json.end())
}

/// JSON text of an object of texts and numbers.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Object(String::from("{"))
    }

    fn key(&mut self, name: &str) -> &mut Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.quoted(name);
        self.0.push(':');
        self
    }

    /// Nothing if there is none.
    pub(crate) fn text(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.key(name).quoted(text);
        }
        self
    }

    /// Whole numbers up to 2^53.
    pub(crate) fn number(&mut self, name: &str, number: f64) -> &mut Self {
        self.key(name);
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{}", number as u64);
        self
    }

    fn quoted(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                c if c < ' ' => _ = write!(self.0, "\\u{:04x}", c as u32),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    pub(crate) fn end(&mut self) -> String {
        self.0.push('}');
        std::mem::take(&mut self.0)
    }
}
