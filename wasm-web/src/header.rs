//! What the beginning of a file says: whether it would run, and what it would need.

use crate::error::Result;
use picolm_core::gguf::{Error, Gguf};
use picolm_core::kernels::Format;
use picolm_core::model::Config;
use picolm_core::text::Json;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

/// Reads the header of a model of `len` bytes from its first `bytes`. JSON: `{needed}` if it takes more of them, or what
/// `ModelHeader` in `types.ts` says.
///
/// # Errors
/// `invalid_model`.
#[wasm_bindgen]
pub fn header(bytes: &[u8], len: f64) -> std::result::Result<String, JsValue> {
    match Gguf::parse_header(bytes, len as u64) {
        Err(Error::Truncated { needed, .. }) if needed <= len as u64 => Ok(object([("needed", int(needed))])),
        parsed => Ok(describe(&parsed.map_err(crate::error::Fault::from)?)?),
    }
}

fn describe(gguf: &Gguf<'_>) -> Result<String> {
    let text = |key| gguf.str(key).ok().flatten().map_or(Json::Null, Json::from);
    let mut pairs = vec![
        ("name", text("general.name")),
        ("architecture", text("general.architecture")),
        ("license", text("general.license")),
        ("parameters", int(gguf.tensors().iter().map(|t| t.dims.iter().product::<u64>()).sum())),
        ("headerBytes", int(gguf.header_len())),
        ("files", int(gguf.split_count()?.into())),
    ];
    match Config::from_gguf(gguf) {
        Ok(config) => {
            let values = 2 * config.layers as u64 * config.kv_heads as u64 * config.head_dim as u64;
            pairs.push(("context", int(config.context as u64)));
            pairs.push(("layers", int(config.layers as u64)));
            pairs.push(("kvBytesF16", int(2 * values)));
            pairs.push(("kvBytesQ8", int(values * 34 / 32)));
            let unknown = gguf.tensors().iter().find(|t| Format::from_id(t.ty.id).is_none());
            pairs.extend(unknown.map(|t| ("reason", Json::Text(format!("format {} is not supported", t.ty.name)))));
        }
        Err(error) => pairs.push(("reason", Json::Text(error.to_string()))),
    }
    pairs.retain(|(_, value)| *value != Json::Null);
    Ok(object(pairs))
}

/// JSON text of an object.
pub(crate) fn object<'a>(pairs: impl IntoIterator<Item = (&'a str, Json)>) -> String {
    Json::Object(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()).to_string()
}

pub(crate) fn int(n: u64) -> Json {
    Json::Int(n as i64)
}
