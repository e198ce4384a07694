//! Small models with one thing wrong each: hyperparameters that are missing, zero, absurd or contradict the tensors,
//! tensors that are missing or misshapen, weights that are not numbers. Each is a typed error that names the culprit.

mod common;
mod kept;

use common::{backends, team};
use picolm_core::gguf::{Error as GgufError, GgmlType, Gguf, Value, ValueType, Writer};
use picolm_core::model::{LoadError, Model};
use picolm_core::session::{Error, Executor, Feed, KvType, Session, Want};
use picolm_core::weights::{InMemory, Lent, Part, WeightSource, WeightsError};
use std::collections::BTreeMap;
use std::sync::Arc;

const EMBEDDING: u64 = 64;
const FEED_FORWARD: u64 = 96;
const HEAD_DIM: u64 = 16;
const LAYERS: usize = 2;
const VOCAB: u64 = 8;

#[derive(Debug, Clone, Copy)]
struct Sizes {
    embedding: u64,
    feed_forward: u64,
    kv_heads: u64,
    /// query heads per KV head
    group: u64,
    head_dim: u64,
}

const SIZES: Sizes =
    Sizes { embedding: EMBEDDING, feed_forward: FEED_FORWARD, kv_heads: 2, group: 2, head_dim: HEAD_DIM };

/// Metadata and tensors, to be bent before they are written.
#[derive(Clone)]
struct Small {
    arch: &'static str,
    keys: BTreeMap<String, Value<'static>>,
    tensors: BTreeMap<String, (GgmlType, Vec<u64>, Vec<u8>)>,
}

impl Small {
    fn new(arch: &'static str) -> Self {
        Small::of(arch, SIZES, ty("Q8_0"))
    }

    fn of(arch: &'static str, sizes: Sizes, matrices: GgmlType) -> Self {
        let Sizes { embedding, feed_forward, kv_heads, group, head_dim } = sizes;
        let (q, kv) = (kv_heads * group * head_dim, kv_heads * head_dim);
        let mut model = Small { arch, keys: BTreeMap::new(), tensors: BTreeMap::new() };
        model.keys.insert("general.architecture".into(), Value::String(arch));
        for (key, value) in [
            ("block_count", LAYERS as u64),
            ("context_length", 64),
            ("embedding_length", embedding),
            ("feed_forward_length", feed_forward),
            ("attention.head_count", kv_heads * group),
            ("attention.head_count_kv", kv_heads),
        ] {
            model = model.set(key, Value::U32(value as u32));
        }
        if q != embedding {
            model = model.set("attention.key_length", Value::U32(head_dim as u32));
        }
        model = model.set("attention.layer_norm_rms_epsilon", Value::F32(1e-5)).set("rope.freq_base", Value::F32(1e4));
        model.norm("output_norm.weight", embedding);
        model.matrix("token_embd.weight", matrices, VOCAB, embedding);
        model.matrix("output.weight", matrices, VOCAB, embedding);
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            model.norm(&name("attn_norm"), embedding);
            model.norm(&name("ffn_norm"), embedding);
            model.matrix(&name("attn_q"), matrices, q, embedding);
            model.matrix(&name("attn_k"), matrices, kv, embedding);
            model.matrix(&name("attn_v"), matrices, kv, embedding);
            model.matrix(&name("attn_output"), matrices, embedding, q);
            model.matrix(&name("ffn_gate"), matrices, feed_forward, embedding);
            model.matrix(&name("ffn_up"), matrices, feed_forward, embedding);
            model.matrix(&name("ffn_down"), matrices, embedding, feed_forward);
            if arch == "qwen3" {
                model.norm(&name("attn_q_norm"), head_dim);
                model.norm(&name("attn_k_norm"), head_dim);
            }
        }
        model
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    fn set(mut self, key: &str, value: Value<'static>) -> Self {
        self.keys.insert(self.key(key), value);
        self
    }

    fn without(mut self, name: &str) -> Self {
        let key = self.key(name);
        assert!(
            self.keys.remove(&key).is_some() || self.keys.remove(name).is_some() || self.tensors.remove(name).is_some()
        );
        self
    }

    /// A vector of ones.
    fn norm(&mut self, name: &str, len: u64) {
        let bytes = 1f32.to_le_bytes().repeat(len as usize);
        self.tensors.insert(name.into(), (ty("F32"), vec![len], bytes));
    }

    /// Small numbers of both signs, no two rows alike.
    fn matrix(&mut self, name: &str, ty: GgmlType, rows: u64, cols: u64) {
        let codes = (0..rows * cols).map(|i| (i as u8).wrapping_mul(37));
        let bytes: Vec<u8> = match ty.name {
            "F32" => codes.flat_map(|code| (f32::from(code as i8) / 512.0).to_le_bytes()).collect(),
            "Q8_0" => {
                let scale = half::f16::from_f32(1.0 / 512.0).to_le_bytes();
                let codes: Vec<u8> = codes.collect();
                codes.chunks(32).flat_map(|block| [&scale[..], block].concat()).collect()
            }
            other => panic!("no weights in {other}"),
        };
        self.tensors.insert(name.into(), (ty, vec![cols, rows], bytes));
    }

    /// Overwrites bytes of a tensor.
    fn patch(mut self, name: &str, at: usize, bytes: &[u8]) -> Self {
        let (_, _, data) = self.tensors.get_mut(name).expect("a tensor");
        data[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn file(&self) -> Vec<u8> {
        let with_keys = self.keys.iter().fold(Writer::new(), |to, (key, value)| to.value(key, value));
        let all =
            self.tensors.iter().fold(with_keys, |to, (name, (ty, dims, bytes))| to.tensor(name, *ty, dims, &bytes[..]));
        all.finish()
    }

    fn load(&self) -> Result<Arc<Model>, LoadError> {
        let source = Arc::new(InMemory(self.file()));
        kept::keep("file", &source.0);
        let gguf = Gguf::parse(&source.0).expect("the file itself is good");
        Model::load(&gguf, source.clone()).map(Arc::new)
    }

    #[track_caller]
    fn refused(&self, expected: impl Into<LoadError>) {
        let expected = expected.into();
        match self.load() {
            Ok(_) => panic!("loaded, instead of: {expected}"),
            Err(error) => assert_eq!(error, expected),
        }
    }

    /// Refused for the value of a key.
    #[track_caller]
    fn refused_for(&self, key: &str, value: &str) {
        let (key, value) = (self.key(key), value.to_string());
        match self.load() {
            Err(LoadError::Hyperparameter { key: k, value: v, expected }) if k == key && v == value => {
                assert!(!expected.is_empty());
            }
            other => panic!("{key} = {value}: {other:?}"),
        }
    }
}

fn ty(name: &str) -> GgmlType {
    GgmlType::from_name(name).expect("a ggml type")
}

fn archs() -> [Small; 2] {
    ["llama", "qwen3"].map(Small::new)
}

/// Feeds tokens 0, 1 and 2, and returns the last logits. An error must leave the session empty.
fn run(model: &Arc<Model>, backend: picolm_core::kernels::Backend, kv: KvType) -> Result<Vec<f32>, Error> {
    let mut session = Session::new(model, 64, kv).expect("a session");
    let mut executor = Executor::new(model.clone(), backend, team(1), 2).expect("buffers");
    let mut found = Vec::new();
    let mut feeds = [Feed { session: &mut session, tokens: &[0, 1, 2], want: Want::Last }];
    let result = executor.forward(&mut feeds, &mut |_, _, logits| found = logits.to_vec());
    assert_eq!(session.len(), if result.is_ok() { 3 } else { 0 });
    result.map(|()| found)
}

mod hyperparameters {
    use super::*;

    const COUNTS: [&str; 6] = [
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
    ];

    #[test]
    fn the_models_the_others_are_bent_from_are_good() {
        for small in archs() {
            let model = small.load().expect("a model");
            for backend in backends() {
                let logits = run(&model, backend, KvType::F16).expect("logits");
                assert!(logits.len() == VOCAB as usize && logits.iter().all(|x| x.is_finite()), "{logits:?}");
            }
        }
    }

    #[test]
    fn missing() {
        for small in archs() {
            let missing = |key: &str| GgufError::MissingKey(key.into());
            small.clone().without("general.architecture").refused(missing("general.architecture"));
            // Without a number of KV heads there are as many as query heads: then the tensors do not fit.
            for key in COUNTS.iter().take(5).chain(&["attention.layer_norm_rms_epsilon"]) {
                small.clone().without(key).refused(missing(&small.key(key)));
            }
        }
        let no_base = Small::new("qwen3").without("rope.freq_base");
        no_base.refused(GgufError::MissingKey("qwen3.rope.freq_base".into()));
    }

    #[test]
    fn zero() {
        for small in archs() {
            for key in COUNTS.iter().chain(&["attention.key_length", "attention.value_length", "rope.dimension_count"])
            {
                small.clone().set(key, Value::U32(0)).refused_for(key, "0");
            }
        }
    }

    #[test]
    fn absurd() {
        for small in archs() {
            for key in COUNTS.iter().chain(&["attention.key_length", "attention.value_length", "rope.dimension_count"])
            {
                small.clone().set(key, Value::U32(u32::MAX)).refused_for(key, "4294967295");
                // CVE-2024-8063, CVE-2024-39720: as stored, these would be read as negative or cut to 32 bits.
                let key_name = small.key(key);
                for (value, text) in [(Value::I32(-1), "-1"), (Value::U64(1 << 32 | 64), "4294967360")] {
                    let (value_text, expected) = (text.into(), "0 to 4294967295");
                    let error = GgufError::Range { key: key_name.clone(), value: value_text, expected };
                    small.clone().set(key, value).refused(error);
                }
            }
        }
    }

    #[test]
    fn of_another_type() {
        for small in archs() {
            for key in COUNTS {
                let (expected, found) = ("an integer", ValueType::String);
                let error = GgufError::WrongType { key: small.key(key), expected, found };
                small.clone().set(key, Value::String("2")).refused(error);
            }
            let key = "attention.layer_norm_rms_epsilon";
            let (expected, found) = ("a float", ValueType::U32);
            let error = GgufError::WrongType { key: small.key(key), expected, found };
            small.clone().set(key, Value::U32(1)).refused(error);
        }
    }

    #[test]
    fn an_unknown_architecture() {
        let mut small = Small::new("llama");
        small.keys.insert("general.architecture".into(), Value::String("llama-but-not-quite"));
        match small.load() {
            Err(LoadError::Architecture { name, known }) => {
                assert_eq!(name, "llama-but-not-quite");
                assert!(known.contains(&"llama") && known.contains(&"qwen3"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn heads_that_do_not_divide() {
        for small in archs() {
            for kv_heads in [3, 8] {
                let bent = small.clone().set("attention.head_count_kv", Value::U32(kv_heads));
                bent.refused_for("attention.head_count_kv", &kv_heads.to_string());
            }
            let bent =
                small.clone().set("attention.head_count", Value::U32(6)).set("attention.head_count_kv", Value::U32(6));
            bent.refused_for("attention.head_count", "6"); // 64 / 6
        }
    }

    #[test]
    fn head_sizes() {
        for small in archs() {
            small.clone().set("attention.value_length", Value::U32(8)).refused_for("attention.value_length", "8");
            small.clone().set("attention.key_length", Value::U32(2048)).refused_for("attention.key_length", "2048");
            // The sizes contradict the tensors: q has 4 × 16 rows.
            let bent = small.clone().set("attention.key_length", Value::U32(32));
            assert!(matches!(bent.load(), Err(LoadError::Shape { .. })), "{:?}", bent.load());
            small.clone().set("rope.dimension_count", Value::U32(15)).refused_for("rope.dimension_count", "15");
            small.clone().set("rope.dimension_count", Value::U32(18)).refused_for("rope.dimension_count", "18");
        }
    }

    #[test]
    fn numbers_that_are_not_positive() {
        for small in archs() {
            for (number, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (0.0, "0"), (-1.0, "-1")] {
                for key in ["attention.layer_norm_rms_epsilon", "rope.freq_base"] {
                    small.clone().set(key, Value::F32(number)).refused_for(key, text);
                }
                let linear = small.clone().set("rope.scaling.type", Value::String("linear"));
                linear.set("rope.scaling.factor", Value::F32(number)).refused_for("rope.scaling.factor", text);
            }
        }
    }

    /// What picolm does not compute is refused, not left out.
    #[test]
    fn features_that_picolm_does_not_have() {
        for small in archs() {
            small
                .clone()
                .set("rope.scaling.type", Value::String("dynamic"))
                .refused_for("rope.scaling.type", "dynamic");
            small.clone().set("expert_count", Value::U32(8)).refused_for("expert_count", "8");
        }
    }

    /// An embedding matrix of 2^25 rows, in a file said to be that long: nothing of that size is read or allocated.
    #[test]
    fn an_absurd_vocabulary() {
        struct Huge;
        impl WeightSource for Huge {
            fn len(&self) -> u64 {
                1 << 40
            }
            fn read(&self, offset: u64, _: &mut [u8]) -> Result<(), WeightsError> {
                panic!("read at {offset}")
            }
            fn lend(&self, part: Part) -> Result<Lent<'_>, WeightsError> {
                panic!("read {part}")
            }
        }
        let mut small = Small::new("llama");
        small.tensors.retain(|name, _| name == "token_embd.weight");
        small.tensors.get_mut("token_embd.weight").expect("a tensor").1[1] = 1 << 25;
        let file = small.file();
        let gguf = Gguf::parse_header(&file, 1 << 40).expect("it would fit");
        match Model::load(&gguf, Arc::new(Huge)) {
            Err(LoadError::Shape { tensor, found, .. }) => {
                assert_eq!((&tensor[..], &found[..2]), ("token_embd.weight", &[64, 1 << 25][..]));
            }
            other => panic!("{other:?}"),
        }
    }
}

mod tensors {
    use super::*;

    #[test]
    fn each_missing() {
        for small in archs() {
            for name in small.tensors.keys() {
                let bent = small.clone().without(name);
                if name == "output.weight" {
                    bent.load().expect("the embedding stands in for the output matrix");
                } else {
                    bent.refused(GgufError::MissingTensor(name.clone()));
                }
            }
        }
    }

    #[test]
    fn fewer_or_more_layers_than_block_count() {
        let blocks = |n| Small::new("llama").set("block_count", Value::U32(n));
        for n in [3, 1024] {
            match blocks(n).load() {
                Err(LoadError::Gguf(GgufError::MissingTensor(name))) => assert!(name.starts_with("blk.2."), "{name}"),
                other => panic!("{other:?}"),
            }
        }
        match blocks(1).load() {
            Err(LoadError::UnexpectedTensor(name)) => assert!(name.starts_with("blk.1."), "{name}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_another_architecture() {
        let mut small = Small::new("llama");
        small.norm("blk.0.attn_q_norm.weight", HEAD_DIM);
        small.refused(LoadError::UnexpectedTensor("blk.0.attn_q_norm.weight".into()));
    }

    /// Each with its first dimension twice as long, and matrices transposed.
    #[test]
    fn each_misshapen() {
        for small in archs() {
            for (name, (_, dims, bytes)) in &small.tensors {
                let mut shapes = vec![[&[dims[0] * 2], &dims[1..]].concat()];
                if dims.len() == 2 && dims[0] != dims[1] && dims[1] % 32 == 0 {
                    shapes.push(vec![dims[1], dims[0]]);
                }
                for shape in shapes {
                    let mut bent = small.clone();
                    let tensor = bent.tensors.get_mut(name).expect("a tensor");
                    (tensor.1, tensor.2) = (shape.clone(), bytes.repeat(2));
                    match bent.load() {
                        Err(LoadError::Shape { tensor, found, expected }) => {
                            assert_eq!((&tensor, found), (name, shape));
                            assert_eq!(&expected[..dims.len()], dims);
                        }
                        other => panic!("{name} {shape:?}: {other:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn an_embedding_length_that_does_not_match() {
        for small in archs() {
            let bent = small.set("embedding_length", Value::U32(128));
            match bent.load() {
                Err(LoadError::Shape { tensor, expected, found }) => {
                    assert_eq!(tensor, "token_embd.weight");
                    assert_eq!((&expected[..2], &found[..2]), (&[128, VOCAB][..], &[EMBEDDING, VOCAB][..]));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn in_formats_without_kernels() {
        let mut small = Small::new("llama");
        let (name, cells) = ("blk.1.ffn_up.weight", (EMBEDDING * FEED_FORWARD) as usize);
        small.tensors.insert(name.into(), (ty("I8"), vec![EMBEDDING, FEED_FORWARD], vec![0; cells]));
        match small.load() {
            Err(LoadError::Format { tensor, format, known }) => {
                assert_eq!((&tensor[..], format), (name, "I8"));
                assert!(known.contains(&"Q8_0") && !known.contains(&"I8"));
            }
            other => panic!("{other:?}"),
        }
        // A norm is a vector of floats.
        let mut small = Small::new("llama");
        small.tensors.insert("output_norm.weight".into(), (ty("Q8_0"), vec![EMBEDDING], vec![0; 68]));
        match small.load() {
            Err(LoadError::Format { tensor, format, known }) => {
                assert_eq!((&tensor[..], format), ("output_norm.weight", "Q8_0"));
                assert!(known.contains(&"F32") && !known.contains(&"Q8_0"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_source_shorter_than_the_file() {
        let file = Small::new("llama").file();
        let gguf = Gguf::parse(&file).expect("a file");
        let (expected, found) = (file.len() as u64, file.len() as u64 - 1);
        let short = Arc::new(InMemory(file[..found as usize].to_vec()));
        assert_eq!(Model::load(&gguf, short).err(), Some(LoadError::Source { expected, found }));
    }
}

mod odd_sizes {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Sizes that are no multiple of anything: on every backend, logits of the same bits.
        #[test]
        fn run_on_every_backend(
            sizes in (1..70u64, 1..70u64, 1..4u64, 1..6u64, 1..40u64).prop_map(
                |(embedding, feed_forward, kv_heads, group, half_head)| {
                    Sizes { embedding, feed_forward, kv_heads, group, head_dim: 2 * half_head }
                },
            ),
            arch in prop::sample::select(vec!["llama", "qwen3"]),
            rope in 0..20u32,
            q8 in any::<bool>(),
        ) {
            let mut small = Small::of(arch, sizes, ty("F32"));
            if (1..=sizes.head_dim as u32 / 2).contains(&rope) {
                small = small.set("rope.dimension_count", Value::U32(2 * rope));
            }
            let model = small.load().expect("a model");
            let kv = if q8 { KvType::Q8_0 } else { KvType::F16 };
            let bits = backends().into_iter().map(|backend| {
                let logits = run(&model, backend, kv).expect("logits");
                logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            });
            let bits: Vec<_> = bits.collect();
            prop_assert!(bits.iter().all(|logits| logits.len() == VOCAB as usize && *logits == bits[0]));
        }
    }

    #[test]
    fn widest_heads() {
        let wide = |head_dim| Small::of("llama", Sizes { head_dim, group: 1, kv_heads: 1, ..SIZES }, ty("Q8_0"));
        let model = wide(1024).load().expect("a model");
        for backend in backends() {
            run(&model, backend, KvType::F16).expect("logits");
        }
        wide(1056).refused_for("attention.key_length", "1056");
    }
}

mod not_finite {
    use super::*;

    #[test]
    fn in_each_norm() {
        for small in archs() {
            let norms = small.tensors.iter().filter(|(_, tensor)| tensor.0 == ty("F32"));
            for (name, (_, dims, _)) in norms {
                for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let index = dims[0] as usize - 1;
                    let bent = small.clone().patch(name, 4 * index, &value.to_le_bytes());
                    bent.refused(LoadError::NotFinite { tensor: name.clone(), index });
                }
            }
        }
    }

    #[test]
    fn in_the_rope_factors() {
        for (index, value) in [(0, f32::NAN), (7, f32::INFINITY)] {
            let mut small = Small::new("llama");
            small.norm("rope_freqs.weight", HEAD_DIM / 2);
            let tensor = "rope_freqs.weight".to_string();
            small.patch(&tensor, 4 * index, &value.to_le_bytes()).refused(LoadError::NotFinite { tensor, index });
        }
    }

    #[test]
    fn rope_factors_that_are_not_positive() {
        for (index, value) in [(0, 0.0f32), (3, -1.0)] {
            let mut small = Small::new("llama");
            small.norm("rope_freqs.weight", HEAD_DIM / 2);
            let tensor = "rope_freqs.weight".to_string();
            let error = LoadError::RopeFactor { tensor: tensor.clone(), index, value };
            small.patch(&tensor, 4 * index, &value.to_le_bytes()).refused(error);
        }
    }

    /// A scale that is NaN or infinite in each matrix: the forward pass says in which part of which layer it turned up,
    /// on every backend and for both caches.
    #[test]
    fn in_a_scale_of_each_matrix() {
        let input = |layer| ("the attention input", layer);
        let feed_forward = |layer| ("the feed-forward part", layer);
        let output = ("the output", LAYERS);
        for (name, (stage, layer)) in [
            ("token_embd.weight", input(0)),
            ("blk.0.attn_q.weight", input(0)),
            ("blk.1.attn_q.weight", input(1)),
            ("blk.0.attn_k.weight", ("the keys and values", 0)),
            ("blk.1.attn_v.weight", ("the keys and values", 1)),
            // What a part adds is seen by the next one to read it.
            ("blk.0.attn_output.weight", feed_forward(0)),
            ("blk.0.ffn_gate.weight", feed_forward(0)),
            ("blk.1.ffn_up.weight", feed_forward(1)),
            ("blk.0.ffn_down.weight", input(1)),
            ("blk.1.ffn_down.weight", output),
            ("output.weight", output),
        ] {
            for scale in [half::f16::NAN, half::f16::INFINITY] {
                for small in archs() {
                    let model = small.patch(name, 0, &scale.to_le_bytes()).load().expect("only the weights are bad");
                    for backend in backends() {
                        for kv in [KvType::F16, KvType::Q8_0] {
                            let error = run(&model, backend, kv).expect_err("an error");
                            assert_eq!(error, Error::NotFinite { stage, layer }, "{name} {scale} {backend:?} {kv:?}");
                        }
                    }
                }
            }
        }
    }

    /// All weights finite, their products not.
    #[test]
    fn by_overflow() {
        let mut small = Small::new("llama");
        for (name, (_, dims, bytes)) in &mut small.tensors {
            if name.ends_with("norm.weight") {
                *bytes = 1e30f32.to_le_bytes().repeat(dims[0] as usize);
            }
        }
        let model = small.load().expect("finite norms");
        for backend in backends() {
            let error = run(&model, backend, KvType::F16).expect_err("an error");
            assert!(matches!(error, Error::NotFinite { layer: 0, .. }), "{error}");
        }
    }
}
