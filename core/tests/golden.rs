//! Golden models: small random models of each architecture and format, with the logits of llama.cpp and the digests of the witness.

mod common;

use common::{Run, backends, digest, emulated, fixture, load, load_bytes, logits, most_threads};
use picolm_core::gguf::Gguf;
use picolm_core::kernels::{Backend, Format};
use picolm_core::model::{Arch, Model};
use picolm_core::session::KvType;
use serde_json::Value;

/// The golden models that this build can run: every entry whose architecture and formats are in the registries.
fn supported() -> Vec<Value> {
    let index = std::fs::read(fixture("golden/index.json")).expect("golden/index.json");
    let index: Vec<Value> = serde_json::from_slice(&index).expect("JSON");
    let supported: Vec<Value> = index
        .into_iter()
        .filter(|entry| Arch::find(entry["arch"].as_str().expect("arch")).is_some())
        .filter(|entry| {
            let bytes = std::fs::read(fixture("golden").join(file(entry))).expect("a golden model");
            let gguf = Gguf::parse(&bytes).expect("a GGUF file");
            gguf.tensors().iter().all(|t| Format::from_id(t.ty.id).is_some())
        })
        .collect();
    assert!(supported.len() >= 43, "18 formats of llama, 16 of other architectures, 9 of their kinds");
    supported
}

fn file(entry: &Value) -> &str {
    entry["file"].as_str().expect("file")
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

fn argmax(x: &[f32]) -> usize {
    (0..x.len()).rev().max_by(|&a, &b| x[a].total_cmp(&x[b])).expect("logits")
}

#[test]
fn logits_agree_with_llama_cpp() {
    for entry in supported() {
        let name = file(&entry);
        let bound = match entry["type"].as_str().expect("type") {
            "F32" | "F16" => 0.01,
            "BF16" => 0.04,
            _ => 0.25,
        };
        let model = load(&fixture("golden").join(name));
        let tokens: Vec<u32> = floats(&entry["tokens"]).iter().map(|&t| t as u32).collect();
        let run = Run { backend: backends()[0], threads: 1, batch: 16, kv: KvType::F16 };
        let ours = logits(&model, run, &tokens);
        let positions = floats(&entry["positions"]);
        let mut worst = 0.0f32;
        for (&position, theirs) in positions.iter().zip(entry["logits"].as_array().expect("logits")) {
            for (a, b) in ours[position as usize].iter().zip(floats(theirs)) {
                worst = worst.max((a - b).abs());
            }
        }
        println!("{name}: largest difference {worst:.4}");
        assert!(worst <= bound, "{name}: {worst} > {bound}");
        let (margins, best) = (floats(&entry["margin"]), floats(&entry["argmax"]));
        for (position, row) in ours.iter().enumerate() {
            if margins[position] > 2.0 * bound {
                assert_eq!(argmax(row), best[position] as usize, "{name}, position {position}");
            }
        }
    }
}

#[test]
fn one_digest_over_backends_threads_and_batches_and_it_is_the_witness() {
    one_digest(KvType::F16, "f16");
}

#[test]
fn one_digest_with_the_q8_0_cache() {
    one_digest(KvType::Q8_0, "q8_0");
}

fn one_digest(kv: KvType, key: &str) {
    let witness = std::fs::read(fixture("witness/digests.json")).expect("witness/digests.json");
    let witness: Value = serde_json::from_slice(&witness).expect("JSON");
    let beginning = if emulated() { 3 } else { 20 };
    // Each way of running goes with a fourth of the models, a thousand runs in all; where computing is slow, with some of the models.
    // `cargo xtask test --full` takes all of them; but in an emulator, some with the second cache.
    let all = std::env::var_os("PICOLM_ALL_RUNS").is_some();
    let every = if all { 1 } else { 4 };
    let step = match (all, emulated()) {
        (true, true) if kv == KvType::Q8_0 => 5,
        (true, _) => 1,
        (false, true) => 5,
        (false, false) if cfg!(target_family = "wasm") => 3,
        (false, false) => 1,
    };
    for (at, entry) in supported().iter().step_by(step).enumerate() {
        let name = file(entry);
        let model = load(&fixture("golden").join(name));
        let expected = witness[key][name].as_str().unwrap_or_else(|| panic!("the witness has no {key} {name}"));
        for backend in backends() {
            let first = digest(&model, Run { backend, threads: 1, batch: 64, kv }, beginning);
            let reference = backend.name() == Backend::REFERENCE.name();
            for (i, batch) in [1, 2, 3, 4, 7, 64, 256].into_iter().enumerate() {
                for threads in 1..=most_threads() {
                    if (i + threads + at) % every != 0 && (threads, batch) != (1, 64) {
                        continue;
                    }
                    let run = Run { backend, threads, batch, kv };
                    // The slow reference goes the whole way once; for its other ways the beginning must do, and so it must where every
                    // few tokens would start threads for every job.
                    let whole = if reference { (threads, batch) == (1, 64) } else { threads == 1 || batch >= 64 };
                    if whole {
                        assert_eq!(digest(&model, run, usize::MAX), expected, "{name} {run:?}");
                    } else {
                        assert_eq!(digest(&model, run, beginning), first, "{name} {run:?}");
                    }
                }
            }
        }
    }
}

/// The golden models have contexts of 256, one chunk of attention. With 600 the chunks are merged.
#[test]
fn digests_over_three_chunks_are_the_witness() {
    let witness = std::fs::read(fixture("witness/digests.json")).expect("witness/digests.json");
    let witness: Value = serde_json::from_slice(&witness).expect("JSON");
    for (kv, key) in [(KvType::F16, "f16_context_600"), (KvType::Q8_0, "q8_0_context_600")] {
        let entries = witness[key].as_object().expect("digests");
        assert!(!entries.is_empty());
        for (name, expected) in entries.iter().step_by(if emulated() { 4 } else { 1 }) {
            let model = with_context(name, 600);
            for backend in backends() {
                for batch in if backend.name() == Backend::REFERENCE.name() { vec![50] } else { vec![1, 50] } {
                    let run = Run { backend, threads: 1, batch, kv };
                    assert_eq!(digest(&model, run, usize::MAX), expected.as_str().expect("hex"), "{name} {run:?}");
                }
            }
        }
    }
}

/// A linear factor and one factor per pair, as scaled Llamas have them (`witness/make_rope_model.py`).
#[test]
fn scaled_rope_is_the_witness() {
    let witness = std::fs::read(fixture("witness/digests.json")).expect("witness/digests.json");
    let witness: Value = serde_json::from_slice(&witness).expect("JSON");
    let model = load(&fixture("golden/rope-factors.gguf"));
    for backend in backends() {
        let run = Run { backend, threads: 1, batch: 64, kv: KvType::F16 };
        assert_eq!(digest(&model, run, usize::MAX), witness["f16"]["rope-factors.gguf"].as_str().expect("hex"));
    }
}

/// A golden model whose context length is another.
fn with_context(name: &str, context: u32) -> std::sync::Arc<Model> {
    let mut bytes = std::fs::read(fixture("golden").join(name)).expect("a golden model");
    let key = b".context_length";
    let at = bytes.windows(key.len()).position(|w| w == key).expect("the key") + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&context.to_le_bytes());
    load_bytes(bytes)
}

#[test]
fn the_reference_is_always_there_and_last() {
    assert_eq!(backends().last().map(|b| b.name()), Some(Backend::REFERENCE.name()));
}
