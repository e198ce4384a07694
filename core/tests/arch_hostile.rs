//! What each architecture needs besides the common: keys that are missing or absurd, biases, experts and RoPE factors that are not
//! there. Golden models with one thing changed; each is a typed error that names the culprit, or a model that runs.

mod common;
mod kept;

use common::{Run, backends, fixture, logits};
use picolm_core::gguf::{Error as GgufError, GgmlType, Gguf, Value, Writer};
use picolm_core::model::{LoadError, Model};
use picolm_core::session::KvType;
use picolm_core::weights::InMemory;
use std::sync::Arc;

/// A golden model, some keys and tensors of which are left out, and others put in.
struct Bent {
    file: Vec<u8>,
    without: Vec<String>,
    with: Writer,
}

impl Bent {
    fn new(name: &str) -> Self {
        let file = std::fs::read(fixture("golden").join(name)).expect("a golden model");
        Bent { file, without: Vec::new(), with: Writer::new() }
    }

    fn without(mut self, name: &str) -> Self {
        self.without.push(name.into());
        self
    }

    fn set(mut self, key: &str, value: Value<'_>) -> Self {
        self.with = self.with.value(key, &value);
        self.without(key)
    }

    fn floats(mut self, name: &str, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.with = self.with.tensor(name, ty("F32"), &[values.len() as u64], bytes);
        self.without(name)
    }

    fn load(&self) -> Result<Arc<Model>, LoadError> {
        let gguf = Gguf::parse(&self.file).expect("a GGUF file");
        let kept = |name: &str| !self.without.iter().any(|w| w == name);
        let writer = gguf.metadata().filter(|(k, _)| kept(k)).fold(self.with.clone(), |to, (k, v)| to.value(k, v));
        let writer = gguf.tensors().iter().filter(|t| kept(t.name)).fold(writer, |to, t| {
            to.tensor(t.name, t.ty, &t.dims[..t.n_dims], &self.file[t.offset as usize..][..t.len as usize])
        });
        let source = Arc::new(InMemory(writer.finish()));
        kept::keep("file", &source.0);
        let gguf = Gguf::parse(&source.0).expect("the file itself is good");
        Model::load(&gguf, source.clone()).map(Arc::new)
    }

    #[track_caller]
    fn runs(&self) -> Vec<Vec<f32>> {
        let run = Run { backend: backends()[0], threads: 1, batch: 64, kv: KvType::F16 };
        let model = self.load().unwrap_or_else(|e| panic!("{e}"));
        logits(&model, run, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    }

    #[track_caller]
    fn refused(&self, expected: impl Into<LoadError>) {
        assert_eq!(self.load().err(), Some(expected.into()));
    }

    #[track_caller]
    fn refused_for(&self, key: &str, value: &str) {
        match self.load() {
            Err(LoadError::Hyperparameter { key: k, value: v, .. }) => assert_eq!((&k[..], &v[..]), (key, value)),
            other => panic!("{key} = {value}: {other:?}"),
        }
    }
}

fn ty(name: &str) -> GgmlType {
    GgmlType::from_name(name).expect("a ggml type")
}

fn no_key(key: &str) -> GgufError {
    GgufError::MissingKey(key.into())
}

fn no_tensor(name: &str) -> GgufError {
    GgufError::MissingTensor(name.into())
}

#[test]
fn keys_an_architecture_must_have() {
    for (file, key) in [
        ("gemma2-F16.gguf", "gemma2.attention.sliding_window"),
        ("gemma2-F16.gguf", "gemma2.attn_logit_softcapping"),
        ("gemma2-F16.gguf", "gemma2.final_logit_softcapping"),
        ("gemma3-F16.gguf", "gemma3.attention.sliding_window"),
        ("gemma3-F16.gguf", "gemma3.rope.freq_base"),
        ("phi2-F16.gguf", "phi2.attention.layer_norm_epsilon"),
        ("qwen3moe-F16.gguf", "qwen3moe.expert_count"),
        ("qwen3moe-F16.gguf", "qwen3moe.expert_used_count"),
        ("qwen3moe-F16.gguf", "qwen3moe.expert_feed_forward_length"),
        ("granite-F16.gguf", "granite.embedding_scale"),
        ("granite-F16.gguf", "granite.residual_scale"),
        ("granite-F16.gguf", "granite.attention.scale"),
        ("granite-F16.gguf", "granite.logit_scale"),
        ("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.factor"),
        ("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.original_context_length"),
        ("phi3-long-F16.gguf", "phi3.rope.scaling.original_context_length"),
    ] {
        Bent::new(file).without(key).refused(no_key(key));
    }
}

#[test]
fn tensors_an_architecture_must_have() {
    for (file, tensor) in [
        ("qwen2-F16.gguf", "blk.1.attn_k.bias"),
        ("phi2-F16.gguf", "blk.0.attn_norm.bias"),
        ("phi2-F16.gguf", "blk.1.attn_output.bias"),
        ("phi2-F16.gguf", "blk.1.ffn_up.bias"),
        ("phi2-F16.gguf", "output_norm.bias"),
        ("olmo2-F16.gguf", "blk.0.post_attention_norm.weight"),
        ("olmo2-F16.gguf", "blk.1.post_ffw_norm.weight"),
        ("olmo2-F16.gguf", "blk.0.attn_q_norm.weight"),
        ("olmo2-F16.gguf", "blk.3.attn_k_norm.weight"),
        ("phi2-F16.gguf", "output.bias"),
        ("gemma2-F16.gguf", "blk.0.post_attention_norm.weight"),
        ("gemma3-F16.gguf", "blk.3.post_ffw_norm.weight"),
        ("gemma3-F16.gguf", "blk.3.attn_q_norm.weight"),
        ("qwen3moe-F16.gguf", "blk.0.ffn_gate_inp.weight"),
        ("qwen3moe-F16.gguf", "blk.1.ffn_down_exps.weight"),
        ("phi3-F16.gguf", "blk.0.ffn_down.weight"),
        ("phi3-long-F16.gguf", "rope_factors_short.weight"),
    ] {
        Bent::new(file).without(tensor).refused(no_tensor(tensor));
    }
    // q, k and v in one matrix, or apart: without the one, the others are looked for.
    Bent::new("phi3-F16.gguf").without("blk.1.attn_qkv.weight").refused(no_tensor("blk.1.attn_q.weight"));
}

#[test]
fn numbers_that_cannot_be() {
    let float = |file: &str, key: &str, value: f32| {
        Bent::new(file).set(key, Value::F32(value)).refused_for(key, &value.to_string());
    };
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        float("gemma2-F16.gguf", "gemma2.attn_logit_softcapping", bad);
        float("gemma2-F16.gguf", "gemma2.final_logit_softcapping", bad);
        float("gemma3-F16.gguf", "gemma3.rope.freq_base_swa", bad);
        float("phi2-F16.gguf", "phi2.attention.layer_norm_epsilon", bad);
        float("granite-F16.gguf", "granite.logit_scale", bad);
        float("granite-F16.gguf", "granite.residual_scale", bad);
        float("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.factor", bad);
        float("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.attn_factor", bad);
        float("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.yarn_beta_fast", bad);
        float("llama-F16.gguf", "llama.rope.scaling.factor", bad);
    }
    float("granite-F16.gguf", "granite.logit_scale", 0.0);
    for (file, key) in
        [("granite-F16.gguf", "granite.rope.scaling.finetuned"), ("qwen2-F16.gguf", "qwen2.attention.causal")]
    {
        Bent::new(file).set(key, Value::Bool(false)).refused_for(key, "false");
    }
    let int = |file: &str, key: &str, value: u32| {
        Bent::new(file).set(key, Value::U32(value)).refused_for(key, &value.to_string());
    };
    int("qwen3moe-F16.gguf", "qwen3moe.expert_count", 0);
    int("qwen3moe-F16.gguf", "qwen3moe.expert_count", u32::MAX);
    int("qwen3moe-F16.gguf", "qwen3moe.expert_used_count", 0);
    int("qwen3moe-F16.gguf", "qwen3moe.expert_used_count", 9);
    int("qwen3moe-F16.gguf", "qwen3moe.expert_feed_forward_length", 0);
    int("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.original_context_length", 0);
    int("gemma3-F16.gguf", "gemma3.attention.sliding_window_pattern", 0);
    int("llama-F16.gguf", "llama.expert_count", 8);
    float("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.factor", 0.5);
    float("qwen3-yarn-F16.gguf", "qwen3.rope.scaling.yarn_ext_factor", 0.5);
    float("granite-F16.gguf", "granite.logit_scale", 1e-39);
    float("granite-F16.gguf", "granite.attention.scale", 1e30);
    let key = "qwen3.rope.scaling.type";
    Bent::new("qwen3-yarn-F16.gguf").set(key, Value::String("dynamic")).refused_for(key, "dynamic");
}

/// Some converters write a number once for each layer.
#[test]
fn lists_of_one_number() {
    let key = "granite.attention.head_count_kv";
    let mut bent = Bent::new("granite-F16.gguf").without(key);
    let model = Bent::new("granite-F16.gguf").load().expect("a model");
    let heads = model.config.kv_heads as u32;
    bent.with = bent.with.with(key, vec![heads; model.config.layers]);
    assert_eq!(bent.runs(), Bent::new("granite-F16.gguf").runs());
    for list in [vec![heads, heads + 1], vec![]] {
        let mut bent = Bent::new("granite-F16.gguf").without(key);
        bent.with = bent.with.with(key, list);
        bent.refused_for(key, "a list");
    }
}

/// More than memory would hold, or 32 bits.
#[test]
fn a_cache_beyond_all_measure() {
    use picolm_core::session::{Error, Session};
    let model = Bent::new("llama-F16.gguf").load().expect("a model");
    let mut model = Arc::into_inner(model).expect("one owner");
    model.config.layers = 1024;
    model.config.windows = vec![None; 1024];
    model.config.kv_heads = 1024;
    model.config.head_dim = 1024;
    let bytes = 1024 * 1024 * 256 * 2 * 2048;
    assert_eq!(Session::new(&model, 8, KvType::F16).err(), Some(Error::KvBlock { bytes, max: 1 << 30 }));
}

/// A cap turns an infinite logit into a plausible one.
#[test]
fn an_infinite_logit_is_not_hidden_by_the_cap() {
    use picolm_core::session::{Error, Executor, Feed, Session, Want};
    let mut bent = Bent::new("gemma2-F16.gguf");
    let gguf = Gguf::parse(&bent.file).expect("a GGUF file");
    let embedding = gguf.require_tensor("token_embd.weight").expect("the embedding").offset as usize;
    // Infinity as the first weight of token 7, which is not fed.
    let at = embedding + 7 * 128 * 2;
    bent.file[at..at + 2].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
    let model = bent.load().expect("a model");
    let mut session = Session::new(&model, 8, KvType::F16).expect("a session");
    let feed = Feed { session: &mut session, tokens: &[1, 2], want: Want::Last };
    let result = Executor::new(model.clone(), backends()[0], common::team(1), 8)
        .expect("buffers")
        .forward(&mut [feed], &mut |_, _, _| ());
    assert_eq!(result, Err(Error::NotFinite { stage: "the output", layer: 2 }));
}

#[test]
fn shapes_of_experts_and_factors() {
    let key = "qwen3moe.expert_count";
    match Bent::new("qwen3moe-F16.gguf").set(key, Value::U32(4)).load() {
        Err(LoadError::Shape { tensor, expected, found }) => {
            assert_eq!((&tensor[..], expected, found), ("blk.0.ffn_gate_inp.weight", vec![128, 4], vec![128, 8]));
        }
        other => panic!("{other:?}"),
    }
    match Bent::new("phi3-long-F16.gguf").floats("rope_factors_long.weight", &[1.0; 3]).load() {
        Err(LoadError::Shape { tensor, .. }) => assert_eq!(tensor, "rope_factors_long.weight"),
        other => panic!("{other:?}"),
    }
    let pairs = Bent::new("phi3-long-F16.gguf").load().expect("a model").config.rope_dims / 2;
    for (name, value) in [("rope_factors_long.weight", 0.0), ("rope_factors_short.weight", -2.0)] {
        let mut factors = vec![1.0; pairs];
        factors[1] = value;
        let error = LoadError::RopeFactor { tensor: name.into(), index: 1, value };
        Bent::new("phi3-long-F16.gguf").floats(name, &factors).refused(error);
    }
}

/// Norms of q and k go over the whole row: those of a head do not fit, however many heads have the same.
#[test]
fn norms_of_rows_are_as_wide_as_rows() {
    for (name, width) in [("blk.0.attn_q_norm.weight", 64), ("blk.2.attn_k_norm.weight", 32)] {
        match Bent::new("olmo2-F16.gguf").floats(name, &[1.0; 16]).load() {
            Err(LoadError::Shape { tensor, expected, found }) => {
                assert_eq!((&tensor[..], expected, found), (name, vec![width], vec![16]));
            }
            other => panic!("{other:?}"),
        }
    }
    // A norm before the part is one that nobody would read.
    let extra = Bent::new("olmo2-F16.gguf").floats("blk.0.attn_norm.weight", &[1.0; 64]);
    extra.refused(LoadError::UnexpectedTensor("blk.0.attn_norm.weight".into()));
}

#[test]
fn windows_as_the_file_says() {
    let (window, pattern) = ("gemma3.attention.sliding_window", "gemma3.attention.sliding_window_pattern");
    let plain = Bent::new("gemma3-F16.gguf");
    let windows = |bent: &Bent| bent.load().expect("a model").config.windows.clone();
    let (some, none) = (Some(32), None);
    assert_eq!(windows(&plain), [some, some, some, some, some, none, some]);
    assert_eq!(windows(&Bent::new("gemma2-F16.gguf")), [some, none]);
    assert_eq!(
        windows(&Bent::new("gemma3-F16.gguf").set(pattern, Value::U32(3))),
        [some, some, none, some, some, none, some]
    );
    Bent::new("gemma3-F16.gguf").set(window, Value::U32(0)).refused_for(window, "0");
    let mut listed = Bent::new("gemma3-F16.gguf");
    listed.with = listed.with.with(pattern, [true, false, true, true, false, false, false]);
    assert_eq!(windows(&listed), [some, none, some, some, none, none, none]);
    let mut short = Bent::new("gemma3-F16.gguf");
    short.with = short.with.with(pattern, [true, false]);
    short.refused_for(pattern, "2");
    let listed = windows(&Bent::new("olmo3-F16.gguf"));
    assert_eq!(listed, [Some(16), none, Some(16), none]);
    assert_eq!(windows(&Bent::new("olmo2-F16.gguf")), [none; 4]);
    let every = Bent::new("olmo2-F16.gguf").set("olmo2.attention.sliding_window", Value::U32(8));
    assert_eq!(windows(&every), [Some(8), Some(8), Some(8), none]);
    // A window that reaches as far as the text changes nothing; one that does not, does. It is what sets Mistral 7B apart from Llama.
    let llama = Bent::new("llama-F16.gguf").runs();
    let key = "llama.attention.sliding_window";
    assert_eq!(Bent::new("llama-F16.gguf").set(key, Value::U32(12)).runs(), llama);
    let narrow = Bent::new("llama-F16.gguf").set(key, Value::U32(11)).runs();
    assert_eq!(narrow[..11], llama[..11]);
    assert_ne!(narrow[11], llama[11]);
}

/// Long-RoPE: the session's context chooses the factors.
#[test]
fn a_session_within_the_original_context_uses_the_short_factors() {
    use picolm_core::session::{Executor, Feed, Session, Want};
    let model = Bent::new("phi3-long-F16.gguf").load().expect("a model");
    let last = |context: usize| {
        let mut session = Session::new(&model, context, KvType::F16).expect("a session");
        let mut found = Vec::new();
        let feed = Feed { session: &mut session, tokens: &[1, 2, 3, 4, 5], want: Want::Last };
        let mut executor = Executor::new(model.clone(), backends()[0], common::team(1), 8).expect("buffers");
        executor.forward(&mut [feed], &mut |_, _, logits| found = logits.to_vec()).expect("finite logits");
        found
    };
    assert_eq!(last(5), last(64));
    assert_eq!(last(65), last(256));
    assert_ne!(last(64), last(65));
}
