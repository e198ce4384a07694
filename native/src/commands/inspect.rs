//! `picolm inspect`: what a file holds, what memory it would take, and whether it runs.

use crate::cli::Output;
use crate::engine;
use crate::stats::size;
use anyhow::Result;
use picolm_core::gguf::{Gguf, Tensor, Value};
use picolm_core::model::Arch;
use picolm_core::session::{KvType, Session};
use picolm_machine::{ModelFile, memory};
use serde::Serialize;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a file says it is, whether it runs or not.
#[derive(Serialize)]
struct About {
    name: Option<String>,
    architecture: Option<String>,
    /// What people call models of that architecture, if picolm knows it.
    family: Option<&'static str>,
    parameters: u64,
    /// The format of most of its bytes.
    format: Option<&'static str>,
    context: Option<u32>,
    files: u32,
}

/// Memory of a model that runs, in bytes.
#[derive(Serialize)]
struct Plan {
    /// Mapped from the file, and in nobody's own memory.
    weights_mapped: u64,
    /// Of 1024 tokens.
    kv_f16_per_1k: u64,
    kv_q8_0_per_1k: u64,
    /// Of as many tokens as it was trained for.
    kv_f16_whole_context: u64,
    buffers: usize,
    tokenizer: usize,
    model: usize,
}

pub(super) fn run(path: &Path, output: Output) -> Result<()> {
    let file = ModelFile::open(path)?;
    let gguf = file.gguf()?;
    let (about, plan) = (about(&gguf), plan(&file));
    let json = json!({
        "model": about,
        "file_bytes": gguf.file_len(),
        "gguf_version": gguf.version(),
        "metadata": gguf.metadata().map(|(k, v)| (k.to_string(), value_json(v))).collect::<Map<_, _>>(),
        "tensors": gguf.tensors().iter().map(tensor_json).collect::<Vec<_>>(),
        "memory": plan.as_ref().ok(),
        "runs": plan.is_ok(),
        "reason": plan.as_ref().err().map(|error| error.root_cause().to_string()),
    });
    output.print(&json, || people(&gguf, &about, &plan))
}

fn about(gguf: &Gguf<'_>) -> About {
    let text = |key| gguf.str(key).ok().flatten().map(str::to_string);
    let architecture = text("general.architecture");
    let family = architecture.as_deref().and_then(Arch::find).map(|arch| arch.family);
    let context = architecture.as_ref().and_then(|arch| gguf.u32(&format!("{arch}.context_length")).ok().flatten());
    let mut bytes = BTreeMap::new();
    gguf.tensors().iter().for_each(|t| *bytes.entry(t.ty.name).or_insert(0) += t.len);
    About {
        name: text("general.name"),
        architecture,
        family,
        parameters: gguf.tensors().iter().map(|t| t.dims.iter().product::<u64>()).sum(),
        format: bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(name, _)| name),
        context,
        files: gguf.parts(),
    }
}

/// The memory plan, or why the model does not run.
fn plan(file: &ModelFile) -> Result<Plan> {
    let (model, tokenizer) = (Arc::new(engine::model(file)?), engine::tokenizer(file)?);
    let kv = |kv_type| Session::memory_for(&model, 1024, kv_type);
    Ok(Plan {
        weights_mapped: file.gguf()?.tensors().iter().map(|t| t.len).sum(),
        kv_f16_per_1k: kv(KvType::F16),
        kv_q8_0_per_1k: kv(KvType::Q8_0),
        kv_f16_whole_context: Session::memory_for(&model, model.config.context, KvType::F16),
        buffers: engine::engine(&model, None, 1, memory::default_batch())?.memory_bytes(),
        tokenizer: tokenizer.memory_bytes(),
        model: model.memory_bytes(),
    })
}

/// Names are escaped: a file must not be able to write to the terminal as it likes.
fn people(gguf: &Gguf<'_>, about: &About, plan: &Result<Plan>) -> String {
    let mut lines = vec![format!("GGUF version {}, {}", gguf.version(), size(gguf.file_len())), String::new()];
    lines.extend(gguf.metadata().map(|(key, value)| format!("{} = {}", key.escape_debug(), value_text(value))));
    lines.push(format!("\n{} tensors", gguf.tensors().len()));
    let tensor =
        |t: &Tensor<'_>| format!("{:8} {:>10}  {} {:?}", t.ty.name, size(t.len), t.name.escape_debug(), dims(t));
    lines.extend(gguf.tensors().iter().map(tensor));
    lines.extend([String::new(), summary(about, gguf.file_len())]);
    match plan {
        Ok(plan) => lines.push(format!(
            "It runs. Memory: {} of weights mapped; of its own: KV cache {} per 1024 tokens (q8_0: {}; {} for the whole context), buffers {}, tokenizer {}, model {}",
            size(plan.weights_mapped),
            size(plan.kv_f16_per_1k),
            size(plan.kv_q8_0_per_1k),
            size(plan.kv_f16_whole_context),
            size(plan.buffers as u64),
            size(plan.tokenizer as u64),
            size(plan.model as u64),
        )),
        Err(error) => lines.push(format!("It does not run: {}", error.root_cause())),
    }
    lines.join("\n")
}

/// `Qwen3 0.6B: Qwen3, 596.0 M parameters, mostly Q4_K, 396.7 MB, context of 40960 tokens`
fn summary(about: &About, bytes: u64) -> String {
    let name = about.name.as_deref().unwrap_or("A model without a name").escape_debug();
    let family = match (about.family, &about.architecture) {
        (Some(family), _) => family.to_string(),
        (None, Some(architecture)) => format!("architecture {architecture:?}"),
        (None, None) => "no architecture".to_string(),
    };
    let mut line = format!("{name}: {family}, {} parameters", count(about.parameters));
    line.extend(about.format.map(|format| format!(", mostly {format}")));
    line += &format!(", {}", size(bytes));
    line.extend((about.files > 1).then(|| format!(" in {} files", about.files)));
    line.extend(about.context.map(|context| format!(", context of {context} tokens")));
    line
}

/// 951.8 K, 135.0 M, 1.1 B
fn count(n: u64) -> String {
    let (unit, name) = match n {
        0..1_000_000 => (1e3, "K"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        _ => (1e9, "B"),
    };
    format!("{:.1} {name}", n as f64 / unit)
}

fn dims<'a>(tensor: &'a Tensor<'_>) -> &'a [u64] {
    &tensor.dims[..tensor.n_dims]
}

fn tensor_json(tensor: &Tensor<'_>) -> serde_json::Value {
    json!({
        "name": tensor.name, "type": tensor.ty.name, "shape": dims(tensor), "offset": tensor.offset, "bytes": tensor.len
    })
}

/// Arrays by their type and length: vocabularies have 10^5 entries.
fn value_json(value: &Value<'_>) -> serde_json::Value {
    match *value {
        Value::Bool(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::String(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::Array(v) => json!({ "array": v.element().to_string(), "len": v.len() }),
        // What is left are integers that fit.
        _ => json!(value.as_int().and_then(|v| i64::try_from(v).ok())),
    }
}

/// On one line, and not too long.
fn value_text(value: &Value<'_>) -> String {
    const LONGEST: usize = 100;
    let text = match value {
        Value::Array(array) => return format!("[{} of {}]", array.len(), array.element()),
        Value::String(text) => format!("{text:?}"),
        other => value_json(other).to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
