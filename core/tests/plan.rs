//! Plans of models, as a host takes them that has headers read elsewhere.

mod common;

use common::{fixture, load_bytes};
use picolm_core::gguf::Gguf;
use picolm_core::model::{Config, Experts, LoadError, Model, Plan, Yarn};
use picolm_core::weights::InMemory;
use std::sync::Arc;

/// A plan may come from a stranger without a file's metadata: it is held to the same bounds.
#[test]
fn plans_are_checked_as_files_are() {
    let bytes = std::fs::read(fixture("golden/llama-Q4_0.gguf")).expect("a golden model");
    let experts = std::fs::read(fixture("golden/qwen3moe-F16.gguf")).expect("a golden model");
    type Change = fn(&mut Config);
    let bad: &[(&str, Change)] = &[
        ("layers", |c| c.layers = 0),
        ("layers", |c| c.layers = usize::MAX),
        ("embedding", |c| c.embedding = 0),
        ("feed_forward", |c| c.feed_forward = 0),
        ("heads", |c| c.heads = 0),
        ("kv_heads", |c| c.kv_heads = 0),
        ("kv_heads", |c| c.kv_heads = c.heads + 1),
        ("kv_heads", |c| (c.heads, c.kv_heads) = (4, 3)),
        ("head_dim", |c| c.head_dim = 1 << 20),
        ("rope_dims", |c| c.rope_dims = 0),
        ("rope_dims", |c| c.rope_dims = c.head_dim + 2),
        ("rope_dims", |c| c.rope_dims = 3),
        ("vocab", |c| c.vocab = usize::MAX),
        ("context", |c| c.context = usize::MAX),
        ("windows", |c| c.windows.clear()),
        ("windows", |c| c.windows[0] = Some(0)),
        ("experts", |c| c.experts = Some(Experts { count: 1, used: 1, feed_forward: 32 })),
        ("eps", |c| c.eps = f32::NAN),
        ("embedding_scale", |c| c.embedding_scale = f32::INFINITY),
        ("residual_scale", |c| c.residual_scale = -1.0),
        ("attention_scale", |c| c.attention_scale = 1e9),
        ("logit_scale", |c| c.logit_scale = 0.0),
        ("attention_cap", |c| c.attention_cap = Some(f32::NAN)),
        ("logit_cap", |c| c.logit_cap = Some(0.0)),
        ("rope_bases", |c| c.rope_bases[1] = f32::NAN),
        ("rope_scaling.factor", |c| c.rope_scaling.factor = 0.0),
        ("rope_scaling.attention_factor", |c| c.rope_scaling.attention_factor = f32::NAN),
        ("rope_scaling.yarn", |c| c.rope_scaling.yarn = Some(Yarn { beta_fast: 0.0, beta_slow: 1.0 })),
        ("rope_scaling.original_context", |c| c.rope_scaling.yarn = Some(Yarn { beta_fast: 32.0, beta_slow: 1.0 })),
    ];
    let load = |bytes: &Vec<u8>, change: Change| {
        let gguf = Gguf::parse(bytes).expect("a file");
        let mut plan = Plan::from_gguf(&gguf).expect("a plan");
        change(&mut plan.config);
        Model::from_plan(&plan, Arc::new(InMemory(bytes.clone()))).map(|model| model.fingerprint())
    };
    assert_eq!(load(&bytes, |_| ()), Ok(load_bytes(bytes.clone()).fingerprint()));
    for (field, change) in bad {
        match load(&bytes, *change) {
            Err(LoadError::Hyperparameter { key, .. }) => assert_eq!(&key, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    for (field, change) in [
        ("experts", (|c| c.experts = None) as Change),
        ("experts.count", |c| c.experts.as_mut().expect("experts").count = 0),
        ("experts.used", |c| c.experts.as_mut().expect("experts").used = 1 << 20),
        ("experts.feed_forward", |c| c.experts.as_mut().expect("experts").feed_forward = 0),
    ] {
        match load(&experts, change) {
            Err(LoadError::Hyperparameter { key, .. }) => assert_eq!(key, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    // Numbers that could be, and are not this file's.
    let shape = load(&bytes, |c| c.feed_forward += 32);
    assert!(matches!(shape, Err(LoadError::Shape { .. })), "{shape:?}");
}
