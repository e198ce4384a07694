//! What the writer writes the reader reads; what gguf-py and llama.cpp write both agree on; what is damaged is refused
//! or still keeps the reader's promises.

use picolm_gguf::{Array, Encode, GgmlType, Gguf, Value, ValueType, Writer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Written by gguf-py: `make_gguf.py` lists the contents.
const GGUF_PY: &[u8] = include_bytes!("gguf_py.gguf");

fn ty(name: &str) -> GgmlType {
    GgmlType::from_name(name).expect("a ggml type")
}

/// The contents of `make_gguf.py`, in its order.
fn same_as_gguf_py() -> Writer {
    let f32s: Vec<u8> = [1f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    Writer::new()
        .with("general.architecture", "llama")
        .alignment(64)
        .with("t.u8", u8::MAX)
        .with("t.i8", i8::MIN)
        .with("t.u16", u16::MAX)
        .with("t.i16", i16::MIN)
        .with("t.u32", u32::MAX)
        .with("t.i32", i32::MIN)
        .with("t.f32", 0.1f32)
        .with("t.u64", u64::MAX)
        .with("t.i64", i64::MIN)
        .with("t.f64", 0.1f64)
        .with("t.bool", true)
        .with("t.string", "naïve 🦙")
        .with("t.strings", ["", "a", "▁b"])
        .with("t.i32s", [1i32, -1])
        .with("t.f32s", [0.5f32, -0.0])
        .tensor("norm", ty("F32"), &[3], f32s)
        .tensor("half", ty("F16"), &[1, 2], [0x00, 0x3c, 0x00, 0xc0])
        .tensor("q4", ty("Q4_0"), &[64, 2], (0..72).collect::<Vec<u8>>())
}

#[test]
fn writes_what_gguf_py_writes() {
    assert_eq!(same_as_gguf_py().finish(), GGUF_PY);
}

#[test]
fn reads_what_gguf_py_writes() {
    let gguf = Gguf::parse(GGUF_PY).unwrap();
    assert_eq!((gguf.version(), gguf.file_len()), (3, GGUF_PY.len() as u64));
    assert_eq!(gguf.metadata().count(), 17);
    assert_eq!(gguf.require_str("general.architecture"), Ok("llama"));
    assert_eq!(gguf.require_u32("general.alignment"), Ok(64));
    let scalars = [
        ("t.u8", Value::U8(255)),
        ("t.i8", Value::I8(-128)),
        ("t.u16", Value::U16(65535)),
        ("t.i16", Value::I16(-32768)),
        ("t.u32", Value::U32(4294967295)),
        ("t.i32", Value::I32(-2147483648)),
        ("t.f32", Value::F32(0.1)),
        ("t.u64", Value::U64(18446744073709551615)),
        ("t.i64", Value::I64(-9223372036854775808)),
        ("t.f64", Value::F64(0.1)),
        ("t.bool", Value::Bool(true)),
        ("t.string", Value::String("naïve 🦙")),
    ];
    for (key, value) in scalars {
        assert_eq!(gguf.get(key), Some(&value), "{key}");
    }
    let strings = gguf.require_array("t.strings", ValueType::String).unwrap();
    assert_eq!(strings.strings().unwrap().collect::<Vec<_>>(), ["", "a", "▁b"]);
    let i32s = gguf.require_array("t.i32s", ValueType::I32).unwrap();
    assert!(i32s.strings().is_none());
    assert_eq!(i32s.iter().collect::<Vec<_>>(), [Value::I32(1), Value::I32(-1)]);
    let f32s: Vec<_> = gguf.require_array("t.f32s", ValueType::F32).unwrap().iter().collect();
    assert!(matches!(f32s[..], [Value::F32(a), Value::F32(b)] if a == 0.5 && b.to_bits() == (-0.0f32).to_bits()));

    // gguf-py's shapes are NumPy's, outermost first; the file's are the other way round.
    let found: Vec<_> = gguf.tensors().iter().map(|t| (t.name, t.ty.name, t.dims, t.n_dims, t.len)).collect();
    let expected = [
        ("norm", "F32", [3, 1, 1, 1], 1, 12),
        ("half", "F16", [1, 2, 1, 1], 2, 4),
        ("q4", "Q4_0", [64, 2, 1, 1], 2, 72),
    ];
    assert_eq!(found, expected);
    let bytes = |name: &str| {
        let tensor = gguf.require_tensor(name).unwrap();
        assert!(tensor.offset.is_multiple_of(64) && tensor.offset >= gguf.header_len());
        &GGUF_PY[tensor.offset as usize..][..tensor.len as usize]
    };
    assert_eq!(bytes("norm"), [0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64]);
    assert_eq!(bytes("half"), [0x00, 0x3c, 0x00, 0xc0]);
    assert!(bytes("q4").iter().copied().eq(0..72));
}

/// Written by llama.cpp and gguf-py, which lay tensors out without gaps: sizes computed from types and shapes must fill the file.
#[test]
fn reads_what_llama_cpp_and_gguf_py_write() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: Vec<serde_json::Value> = serde_json::from_slice(&index).unwrap();
    assert!(index.len() >= 32);
    for entry in index {
        let [name, arch, quantised] = ["file", "arch", "type"].map(|key| entry[key].as_str().unwrap());
        let file = std::fs::read(folder.join(name)).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        assert_eq!(gguf.require_str("general.architecture"), Ok(arch), "{name}");
        let quantised = quantised.trim_end_matches("_S").trim_end_matches("_MOE");
        let embedding = gguf.require_tensor("token_embd.weight").unwrap();
        assert_eq!(embedding.ty.name, quantised, "{name}");
        let width = gguf.require_u32(&format!("{arch}.embedding_length")).unwrap().into();
        let vocabulary = gguf.require_u32(&format!("{arch}.vocab_size")).unwrap().into();
        assert_eq!(embedding.dims, [width, vocabulary, 1, 1], "{name}");

        let mut places: Vec<_> = gguf.tensors().iter().map(|t| (t.offset, t.offset + t.len)).collect();
        places.sort();
        let ends = places.iter().map(|place| place.1.next_multiple_of(32));
        let starts = places[1..].iter().map(|place| place.0).chain([file.len() as u64]);
        assert!(ends.eq(starts), "{name}: {places:?}");
    }
}

/// Vocabularies whose sizes are known from their models' cards.
#[test]
fn reads_published_vocabularies() {
    for (name, size) in [("gpt-2", 50_257), ("llama-bpe", 128_256), ("llama-spm", 32_000), ("qwen2", 151_936)] {
        let path = format!("{}/../tests/tokenizers/ggml-vocab-{name}.gguf", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let tokens = gguf.require_array("tokenizer.ggml.tokens", ValueType::String).unwrap();
        assert_eq!((tokens.len(), tokens.iter().count(), gguf.tensors().len()), (size, size, 0), "{name}");
    }
}

/// Numbers are read whatever width a writer chose for them.
#[test]
fn look_ups_accept_every_width() {
    let file = Writer::new().with("u8", 7u8).with("i64", 7i64).with("f32", 0.5f32).with("f64", 0.5f64).finish();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!((gguf.require_u32("u8"), gguf.require_u32("i64")), (Ok(7), Ok(7)));
    assert_eq!((gguf.require_f32("f32"), gguf.require_f32("f64")), (Ok(0.5), Ok(0.5)));
}

/// A value that owns what it holds, to be generated.
#[derive(Debug, Clone)]
enum Owned {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    U64(u64),
    I64(i64),
    F64(f64),
    Bools(Vec<bool>),
    U16s(Vec<u16>),
    F64s(Vec<f64>),
    Strings(Vec<String>),
    Nested(Vec<Vec<String>>),
    Deep(Vec<Vec<Vec<i8>>>),
}

impl Owned {
    fn write(&self, to: Writer, key: &str) -> Writer {
        match self {
            Owned::U8(v) => to.with(key, v),
            Owned::I8(v) => to.with(key, v),
            Owned::U16(v) => to.with(key, v),
            Owned::I16(v) => to.with(key, v),
            Owned::U32(v) => to.with(key, v),
            Owned::I32(v) => to.with(key, v),
            Owned::F32(v) => to.with(key, v),
            Owned::Bool(v) => to.with(key, v),
            Owned::String(v) => to.with(key, v),
            Owned::U64(v) => to.with(key, v),
            Owned::I64(v) => to.with(key, v),
            Owned::F64(v) => to.with(key, v),
            Owned::Bools(v) => to.with(key, v),
            Owned::U16s(v) => to.with(key, v),
            Owned::F64s(v) => to.with(key, v),
            Owned::Strings(v) => to.with(key, v),
            Owned::Nested(v) => to.with(key, v),
            Owned::Deep(v) => to.with(key, v),
        }
    }

    /// Compares floats by their bits.
    fn is(&self, found: &Value<'_>) -> bool {
        match (self, *found) {
            (Owned::U8(a), Value::U8(b)) => *a == b,
            (Owned::I8(a), Value::I8(b)) => *a == b,
            (Owned::U16(a), Value::U16(b)) => *a == b,
            (Owned::I16(a), Value::I16(b)) => *a == b,
            (Owned::U32(a), Value::U32(b)) => *a == b,
            (Owned::I32(a), Value::I32(b)) => *a == b,
            (Owned::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
            (Owned::Bool(a), Value::Bool(b)) => *a == b,
            (Owned::String(a), Value::String(b)) => a == b,
            (Owned::U64(a), Value::U64(b)) => *a == b,
            (Owned::I64(a), Value::I64(b)) => *a == b,
            (Owned::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
            (Owned::Bools(a), Value::Array(b)) => all(a, b, |a, b| Owned::Bool(*a).is(b)),
            (Owned::U16s(a), Value::Array(b)) => all(a, b, |a, b| Owned::U16(*a).is(b)),
            (Owned::F64s(a), Value::Array(b)) => all(a, b, |a, b| Owned::F64(*a).is(b)),
            (Owned::Strings(a), Value::Array(b)) => all(a, b, |a, b| Owned::String(a.clone()).is(b)),
            (Owned::Nested(a), Value::Array(b)) => all(a, b, |a, b| Owned::Strings(a.clone()).is(b)),
            (Owned::Deep(a), Value::Array(b)) => all(a, b, |a, b| match b {
                Value::Array(b) => {
                    all(a, *b, |a, b| matches!(b, Value::Array(b) if all(a, *b, |a, b| Owned::I8(*a).is(b))))
                }
                _ => false,
            }),
            _ => false,
        }
    }
}

fn all<T: Encode>(expected: &[T], found: Array<'_>, same: impl Fn(&T, &Value<'_>) -> bool) -> bool {
    let values: Vec<_> = found.iter().collect();
    found.element() == T::TYPE
        && found.len() == expected.len()
        && found.is_empty() == expected.is_empty()
        && values.len() == expected.len()
        && expected.iter().zip(&values).all(|(a, b)| same(a, b))
}

fn value() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<u8>().prop_map(Owned::U8),
        any::<i8>().prop_map(Owned::I8),
        any::<u16>().prop_map(Owned::U16),
        any::<i16>().prop_map(Owned::I16),
        any::<u32>().prop_map(Owned::U32),
        any::<i32>().prop_map(Owned::I32),
        any::<u32>().prop_map(|bits| Owned::F32(f32::from_bits(bits))),
        any::<bool>().prop_map(Owned::Bool),
        any::<String>().prop_map(Owned::String),
        any::<u64>().prop_map(Owned::U64),
        any::<i64>().prop_map(Owned::I64),
        any::<u64>().prop_map(|bits| Owned::F64(f64::from_bits(bits))),
        vec(any::<bool>(), 0..4).prop_map(Owned::Bools),
        vec(any::<u16>(), 0..4).prop_map(Owned::U16s),
        vec(any::<f64>(), 0..4).prop_map(Owned::F64s),
        vec(any::<String>(), 0..4).prop_map(Owned::Strings),
        vec(vec(any::<String>(), 0..3), 0..3).prop_map(Owned::Nested),
        vec(vec(vec(any::<i8>(), 0..3), 0..3), 0..3).prop_map(Owned::Deep),
    ]
}

#[derive(Debug, Clone)]
struct OwnedTensor {
    ty: GgmlType,
    dims: Vec<u64>,
    bytes: Vec<u8>,
}

/// A tensor of any type and of one to four dimensions, of at most a few blocks, filled from a seed byte.
fn tensor() -> impl Strategy<Value = OwnedTensor> {
    let types: Vec<GgmlType> = GgmlType::all().collect();
    (proptest::sample::select(types), vec(1..3u64, 1..=4), any::<u8>()).prop_map(|(ty, mut dims, seed)| {
        let blocks: u64 = dims.iter().product();
        dims[0] *= ty.block;
        let bytes = (0..blocks * ty.bytes).map(|i| seed.wrapping_add(i as u8)).collect();
        OwnedTensor { ty, dims, bytes }
    })
}

#[derive(Debug, Clone)]
struct Model {
    version: u32,
    alignment: Option<u32>,
    metadata: BTreeMap<String, Owned>,
    tensors: BTreeMap<String, OwnedTensor>,
}

impl Model {
    fn file(&self) -> Vec<u8> {
        let mut to = Writer::new().version(self.version);
        if let Some(n) = self.alignment {
            to = to.alignment(n);
        }
        let to = self.metadata.iter().fold(to, |to, (key, value)| value.write(to, key));
        self.tensors.iter().fold(to, |to, (name, t)| to.tensor(name, t.ty, &t.dims, &t.bytes[..])).finish()
    }
}

fn model() -> impl Strategy<Value = Model> {
    let alignment = proptest::option::of((3..9u32).prop_map(|log| 1 << log));
    let metadata = btree_map("[a-z_.é]{1,12}", value(), 0..12);
    let tensors = btree_map("[a-z0-9.]{1,12}", tensor(), 0..5);
    (2..=3u32, alignment, metadata, tensors).prop_map(|(version, alignment, metadata, tensors)| Model {
        version,
        alignment,
        metadata,
        tensors,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(model in model()) {
        let file = model.file();
        let gguf = Gguf::parse(&file).unwrap();
        prop_assert_eq!(gguf.version(), model.version);
        prop_assert_eq!(gguf.u32("general.alignment"), Ok(model.alignment));
        prop_assert_eq!(gguf.metadata().count(), model.metadata.len() + usize::from(model.alignment.is_some()));
        for (key, value) in &model.metadata {
            let found = gguf.get(key).unwrap();
            prop_assert!(value.is(found), "{}: {:?} became {:?}", key, value, found);
        }
        prop_assert_eq!(gguf.tensors().len(), model.tensors.len());
        for ((name, t), in_order) in model.tensors.iter().zip(gguf.tensors()) {
            let found = gguf.tensor(name).unwrap();
            prop_assert_eq!(found, in_order);
            prop_assert_eq!((found.ty, &found.dims[..found.n_dims]), (t.ty, &t.dims[..]));
            prop_assert!(found.dims[found.n_dims..].iter().all(|&d| d == 1));
            prop_assert_eq!(&file[found.offset as usize..][..found.len as usize], &t.bytes[..]);
        }
    }

    /// Copying every value of a parsed file gives the same values: what a tool that edits one key relies on.
    #[test]
    fn what_is_read_is_written(model in model()) {
        let file = model.file();
        let gguf = Gguf::parse(&file).unwrap();
        let copy = gguf.metadata().fold(Writer::new(), |to, (key, value)| to.value(key, value)).finish();
        let copy = Gguf::parse(&copy).unwrap();
        prop_assert_eq!(copy.metadata().count(), gguf.metadata().count());
        for (key, value) in &model.metadata {
            prop_assert!(value.is(copy.get(key).unwrap()), "{}", key);
        }
    }

    /// A damaged file is refused, or what it now says still holds: tensors in the file, aligned, apart from each other.
    #[test]
    fn damage_is_refused_or_harmless(model in model(), damage in vec(any::<(prop::sample::Index, u8)>(), 1..4)) {
        let mut file = model.file();
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let Ok(gguf) = Gguf::parse(&file) else { return Ok(()) };
        for (_, value) in gguf.metadata() {
            if let Value::Array(array) = value {
                prop_assert_eq!(array.iter().count(), array.len());
            }
        }
        let mut places: Vec<_> = gguf.tensors().iter().map(|t| (t.offset, t.offset + t.len)).collect();
        places.sort();
        prop_assert!(places.iter().all(|&(start, end)| start >= gguf.header_len() && end <= file.len() as u64));
        prop_assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
}
