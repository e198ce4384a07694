//! Plans of models, as a host takes them that has headers read elsewhere.

mod common;

use common::{fixture, load_bytes};
use picolm_core::gguf::{Error as GgufError, Gguf};
use picolm_core::model::{LoadError, Model, Plan, Raw, RawValue};
use picolm_core::weights::InMemory;
use std::sync::Arc;

/// Loads a golden model by its plan, with another value for some keys, or none.
fn load(name: &str, changes: &[(&str, Option<RawValue>)]) -> Result<u64, LoadError> {
    let bytes = std::fs::read(fixture("golden").join(name)).expect("a golden model");
    let gguf = Gguf::parse(&bytes).expect("a file");
    let mut plan = Plan::from_gguf(&gguf).expect("a plan");
    let mut raw = Raw::new(plan.raw.architecture());
    for (key, value) in plan.raw.entries().filter(|(key, _)| changes.iter().all(|(other, _)| other != key)) {
        raw.insert(key, value.clone()).expect("what a file has");
    }
    for (key, value) in changes {
        if let Some(value) = value {
            raw.insert(key, value.clone())?;
        }
    }
    plan.raw = raw;
    Model::from_plan(&plan, Arc::new(InMemory(bytes.clone()))).map(|model| model.fingerprint())
}

/// The numbers of a plan are those of a file, read by the same code: whatever a stranger puts into them is refused by its key.
#[test]
fn numbers_that_cannot_be() {
    use RawValue::{Bools, Float, Int, Ints, Text};
    let name = "llama-Q4_0.gguf";
    let bytes = std::fs::read(fixture("golden").join(name)).expect("a golden model");
    assert_eq!(load(name, &[]), Ok(load_bytes(bytes).fingerprint()));
    let counts = [
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "context_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "rope.dimension_count",
        "rope.scaling.original_context_length",
    ];
    for key in counts {
        // A context first trained for has no bound.
        for value in if key.ends_with("original_context_length") { vec![0] } else { vec![0, u32::MAX.into()] } {
            hyperparameter(load(name, &[(key, Some(Int(value)))]), key);
        }
        for value in [-1, 1 << 32, i64::MIN, i64::MAX] {
            match load(name, &[(key, Some(Int(value)))]) {
                Err(LoadError::Gguf(GgufError::Range { key: found, .. })) => assert_eq!(found, format!("llama.{key}")),
                other => panic!("{key} = {value}: {other:?}"),
            }
        }
        for value in [Text("2".into()), Float(2.0), RawValue::Bool(true), Bools(vec![true; 2])] {
            match load(name, &[(key, Some(value.clone()))]) {
                Err(LoadError::Gguf(GgufError::WrongType { key: found, .. })) => {
                    assert_eq!(found, format!("llama.{key}"));
                }
                other => panic!("{key} = {value:?}: {other:?}"),
            }
        }
        for list in [vec![], vec![-1; 2], vec![1 << 40; 2], vec![2, 3]] {
            hyperparameter(load(name, &[(key, Some(Ints(list)))]), key);
        }
    }
    let numbers = ["attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.attn_factor"];
    for key in numbers.into_iter().chain(["rope.scaling.factor", "rope.scale_linear"]) {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -1.0] {
            hyperparameter(load(name, &[(key, Some(Float(value)))]), key);
        }
    }
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        hyperparameter(load(name, &[(key, Some(Float(f32::NAN)))]), key);
    }
    let heads = [("attention.head_count", Some(Int(4))), ("attention.head_count_kv", Some(Int(3)))];
    hyperparameter(load(name, &heads), "attention.head_count_kv");
    hyperparameter(load(name, &[("rope.dimension_count", Some(Int(3)))]), "rope.dimension_count");
    hyperparameter(load(name, &[("expert_count", Some(Int(1)))]), "expert_count");
    hyperparameter(load(name, &[("rope.scaling.type", Some(Text("x".repeat(1 << 20))))]), "rope.scaling.type");
    let pattern = "attention.sliding_window_pattern";
    for value in [Bools(vec![]), Bools(vec![true]), Ints(vec![2, 2]), Int(0)] {
        hyperparameter(load(name, &[(pattern, Some(value))]), pattern);
    }
    let yarn = |key, value: f32| {
        let scaling = [("rope.scaling.type", Some(Text("yarn".into()))), ("rope.scaling.factor", Some(Float(2.0)))];
        let original = ("rope.scaling.original_context_length", Some(Int(64)));
        let all: Vec<_> = scaling.into_iter().chain([original]).filter(|(other, _)| *other != key).collect();
        load(name, &[&all[..], &[(key, Some(Float(value)))]].concat())
    };
    hyperparameter(yarn("rope.scaling.yarn_beta_fast", 0.0), "rope.scaling.yarn_beta_fast");
    hyperparameter(yarn("rope.scaling.yarn_beta_slow", f32::NAN), "rope.scaling.yarn_beta_slow");
    hyperparameter(yarn("rope.scaling.factor", 0.5), "rope.scaling.factor");
    // Numbers that could be, and are not this file's.
    let shape = load(name, &[("feed_forward_length", Some(Int(192)))]);
    assert!(matches!(shape, Err(LoadError::Shape { .. })), "{shape:?}");
}

#[test]
fn numbers_of_experts_and_scales() {
    use RawValue::{Float, Int};
    let experts = "qwen3moe-F16.gguf";
    for key in ["expert_count", "expert_used_count", "expert_feed_forward_length"] {
        for value in [0, 1 << 21] {
            hyperparameter(load(experts, &[(key, Some(Int(value)))]), key);
        }
        let missing = load(experts, &[(key, None)]);
        assert_eq!(missing, Err(GgufError::MissingKey(format!("qwen3moe.{key}")).into()));
    }
    hyperparameter(load(experts, &[("expert_used_count", Some(Int(9)))]), "expert_used_count");
    for key in ["embedding_scale", "residual_scale", "attention.scale", "logit_scale"] {
        for value in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
            hyperparameter(load("granite-F16.gguf", &[(key, Some(Float(value)))]), key);
        }
    }
    hyperparameter(load("granite-F16.gguf", &[("attention.scale", Some(Float(1e9)))]), "attention.scale");
    hyperparameter(load("granite-F16.gguf", &[("logit_scale", Some(Float(1e-40)))]), "logit_scale");
    hyperparameter(load("gemma2-F16.gguf", &[("attention.sliding_window", Some(Int(0)))]), "attention.sliding_window");
}

#[test]
fn more_than_a_model_has() {
    let mut raw = Raw::new("llama");
    raw.insert("a", RawValue::Bool(true)).expect("the first");
    let twice = raw.insert("a", RawValue::Bool(true));
    assert_eq!(twice, Err(GgufError::Duplicate { what: "key", name: "llama.a".into() }.into()));
    for list in [
        RawValue::Bools(vec![true; 1025]),
        RawValue::Ints(vec![1; 1 << 20]),
        RawValue::Floats(vec![1.0; 1025]),
        RawValue::Texts(vec![String::new(); 1025]),
    ] {
        match raw.insert("list", list) {
            Err(LoadError::Hyperparameter { key, .. }) => assert_eq!(key, "llama.list"),
            other => panic!("{other:?}"),
        }
    }
    let full = (0..2000).map(|i| raw.insert(&format!("{i}"), RawValue::Int(i))).filter(Result::is_err).count();
    assert_eq!(full, 2000 - 1023);
    assert_eq!(raw.entries().count(), 1024);
}

#[track_caller]
fn hyperparameter(result: Result<u64, LoadError>, key: &str) {
    match result {
        Err(LoadError::Hyperparameter { key: found, value, .. }) => {
            assert!(found.ends_with(&format!(".{key}")), "{found}: {value}");
        }
        other => panic!("{key}: {other:?}"),
    }
}
