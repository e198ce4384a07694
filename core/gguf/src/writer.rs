//! Writes GGUF files, for tools and tests: what [`Gguf::parse`](super::Gguf::parse) reads, in the order it is told.

use super::{Array, GgmlType, Value, ValueType};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A GGUF file being put together.
///
/// It checks nothing, so that tests can write what the parser must refuse: duplicate names, sizes that do not fit a
/// shape.
///
/// ```
/// use picolm_gguf::{GgmlType, Gguf, Writer};
/// let f32_type = GgmlType::from_name("F32").unwrap();
/// let file = Writer::new()
///     .with("general.architecture", "llama")
///     .with("llama.block_count", 2u32)
///     .with("tokenizer.ggml.tokens", ["a", "b"])
///     .tensor("output_norm.weight", f32_type, &[2], [0; 8])
///     .finish();
/// assert_eq!(Gguf::parse(&file).unwrap().require_u32("llama.block_count"), Ok(2));
/// ```
#[derive(Debug, Clone)]
pub struct Writer {
    version: u32,
    alignment: u32,
    n_pairs: u64,
    /// the metadata, encoded
    pairs: Vec<u8>,
    tensors: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    ty: GgmlType,
    dims: Vec<u64>,
    bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// An empty file of version 3, its tensors aligned to 32 bytes.
    pub fn new() -> Self {
        Writer { version: 3, alignment: 32, n_pairs: 0, pairs: Vec::new(), tensors: Vec::new() }
    }

    /// Writes another version number; 2 differs in nothing else.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Aligns tensors to `n` bytes and says so under `general.alignment`. (0 is written, and aligns to 1.)
    pub fn alignment(mut self, n: u32) -> Self {
        self.alignment = n;
        self.with("general.alignment", n)
    }

    /// Adds a key: a scalar, a string, or a slice, array or `Vec` of those or of each other.
    pub fn with(mut self, key: &str, value: impl Encode) -> Self {
        self.pair(key, &value);
        self
    }

    /// Adds a key with a value that was read from a file.
    pub fn value(mut self, key: &str, value: &Value<'_>) -> Self {
        match value {
            Value::U8(v) => self.pair(key, v),
            Value::I8(v) => self.pair(key, v),
            Value::U16(v) => self.pair(key, v),
            Value::I16(v) => self.pair(key, v),
            Value::U32(v) => self.pair(key, v),
            Value::I32(v) => self.pair(key, v),
            Value::F32(v) => self.pair(key, v),
            Value::Bool(v) => self.pair(key, v),
            Value::String(v) => self.pair(key, v),
            Value::Array(v) => self.pair(key, v),
            Value::U64(v) => self.pair(key, v),
            Value::I64(v) => self.pair(key, v),
            Value::F64(v) => self.pair(key, v),
        }
        self
    }

    /// Adds a tensor; `dims[0]` is the inner dimension. Its data follows that of the tensors before it.
    pub fn tensor(mut self, name: &str, ty: GgmlType, dims: &[u64], bytes: impl Into<Vec<u8>>) -> Self {
        self.tensors.push(Entry { name: name.to_string(), ty, dims: dims.to_vec(), bytes: bytes.into() });
        self
    }

    /// The file: header, directory, then every tensor padded to the alignment.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        self.version.encode(&mut out);
        (self.tensors.len() as u64).encode(&mut out);
        self.n_pairs.encode(&mut out);
        out.extend_from_slice(&self.pairs);

        let alignment = self.alignment.max(1) as usize;
        let mut offset = 0u64;
        for tensor in &self.tensors {
            tensor.name.as_str().encode(&mut out);
            (tensor.dims.len() as u32).encode(&mut out);
            tensor.dims.iter().for_each(|d| d.encode(&mut out));
            tensor.ty.id.encode(&mut out);
            offset.encode(&mut out);
            offset += tensor.bytes.len().next_multiple_of(alignment) as u64;
        }
        for bytes in core::iter::once(&[][..]).chain(self.tensors.iter().map(|t| &t.bytes[..])) {
            out.extend_from_slice(bytes);
            out.resize(out.len().next_multiple_of(alignment), 0);
        }
        out
    }

    fn pair<T: Encode>(&mut self, key: &str, value: &T) {
        key.encode(&mut self.pairs);
        (T::TYPE as u32).encode(&mut self.pairs);
        value.encode(&mut self.pairs);
        self.n_pairs += 1;
    }
}

/// A type that metadata can hold.
pub trait Encode {
    /// Its GGUF type.
    const TYPE: ValueType;
    /// Appends the value without its type.
    fn encode(&self, out: &mut Vec<u8>);
}

macro_rules! encode_scalars {
    ($($rust:ty => $gguf:ident),*) => {$(
        impl Encode for $rust {
            const TYPE: ValueType = ValueType::$gguf;
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
encode_scalars!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32);
encode_scalars!(u64 => U64, i64 => I64, f32 => F32, f64 => F64);

impl Encode for bool {
    const TYPE: ValueType = ValueType::Bool;
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Encode for str {
    const TYPE: ValueType = ValueType::String;
    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as u64).encode(out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Encode for String {
    const TYPE: ValueType = ValueType::String;
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_str().encode(out);
    }
}

impl<T: Encode> Encode for [T] {
    const TYPE: ValueType = ValueType::Array;
    fn encode(&self, out: &mut Vec<u8>) {
        (T::TYPE as u32).encode(out);
        (self.len() as u64).encode(out);
        self.iter().for_each(|item| item.encode(out));
    }
}

impl<T: Encode, const N: usize> Encode for [T; N] {
    const TYPE: ValueType = ValueType::Array;
    fn encode(&self, out: &mut Vec<u8>) {
        self[..].encode(out);
    }
}

impl<T: Encode> Encode for Vec<T> {
    const TYPE: ValueType = ValueType::Array;
    fn encode(&self, out: &mut Vec<u8>) {
        self[..].encode(out);
    }
}

impl Encode for Array<'_> {
    const TYPE: ValueType = ValueType::Array;
    fn encode(&self, out: &mut Vec<u8>) {
        (self.element as u32).encode(out);
        (self.len as u64).encode(out);
        out.extend_from_slice(self.bytes);
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    const TYPE: ValueType = T::TYPE;
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}
