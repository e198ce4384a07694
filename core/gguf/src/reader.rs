//! The parser and the typed look-ups.

use super::cursor::Cursor;
use super::directory::{MAX_TENSOR_NAME, check_distinct, check_name, misplaced, wrong_dimensions};
use super::{Array, Directory, Error, Tensor, Value, ValueType};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

const MAX_KEY: u64 = 65535;
const DEFAULT_ALIGNMENT: u64 = 32;
/// An (empty) name's length, a type, a value of one byte.
const MIN_PAIR_BYTES: u64 = 8 + 4 + 1;
/// An (empty) name's length, a number of dimensions, a type, an offset.
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;

/// A parsed header: metadata and tensor directory, borrowed from the file's bytes.
#[derive(Debug)]
pub struct Gguf<'a> {
    version: u32,
    /// in key order
    metadata: Vec<(&'a str, Value<'a>)>,
    directory: Directory<'a>,
    header_len: u64,
    /// of each part
    headers: Vec<&'a [u8]>,
}

impl<'a> Gguf<'a> {
    /// Parses a whole file.
    ///
    /// # Errors
    /// Anything that is not GGUF v2/v3, is cut short, or whose tensors do not lie in the file as they should: see
    /// [`Error`].
    pub fn parse(file: &'a [u8]) -> Result<Self, Error> {
        Self::parse_header(file, file.len() as u64)
    }

    /// Parses the header alone: `bytes` is the beginning of a file of `file_len` bytes.
    ///
    /// # Errors
    /// Those of [`Gguf::parse`]. [`Error::Truncated`] whose `needed` is at most `file_len` means that `bytes` is too
    /// short: try again with `needed` bytes or more.
    pub fn parse_header(bytes: &'a [u8], file_len: u64) -> Result<Self, Error> {
        let mut cursor = Cursor::new(bytes, file_len);
        let version = read_version(&mut cursor)?;
        let n_tensors = cursor.count("a tensor count", MIN_TENSOR_BYTES)?;
        let n_pairs = cursor.count("a key count", MIN_PAIR_BYTES)?;
        let metadata = read_metadata(&mut cursor, n_pairs)?;
        let tensors = read_tensors(&mut cursor, n_tensors)?;
        let (header_len, headers) = (cursor.offset(), vec![cursor.taken()]);
        let mut gguf = Gguf { version, metadata, directory: Directory::default(), header_len, headers };
        gguf.directory = Directory::new(gguf.placed(tensors)?, file_len)?;
        Ok(gguf)
    }

    /// GGUF version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes of the header: magic to the last tensor entry.
    pub fn header_len(&self) -> u64 {
        self.header_len
    }

    /// Bytes of the whole file.
    pub fn file_len(&self) -> u64 {
        self.directory.file_len()
    }

    /// Files that make it up, put one behind the other.
    pub fn parts(&self) -> u32 {
        self.headers.len() as u32
    }

    /// The bytes of the header, of each part.
    pub fn headers(&self) -> &[&'a [u8]] {
        &self.headers
    }

    /// Adds the tensors of files that stand behind this one.
    pub(super) fn append(&mut self, parts: impl Iterator<Item = Gguf<'a>>) -> Result<(), Error> {
        let (mut tensors, mut len) = (self.tensors().to_vec(), self.file_len());
        for part in parts {
            tensors.extend(part.tensors().iter().map(|t| Tensor { offset: t.offset + len, ..*t }));
            len += part.file_len();
            self.headers.extend(part.headers);
        }
        self.directory = Directory::new(tensors, len)?;
        Ok(())
    }

    /// All metadata, in key order.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, &Value<'a>)> {
        self.metadata.iter().map(|(key, value)| (*key, value))
    }

    /// Where the tensors are.
    pub fn directory(&self) -> &Directory<'a> {
        &self.directory
    }

    /// All tensors, in file order of the directory.
    pub fn tensors(&self) -> &[Tensor<'a>] {
        self.directory.tensors()
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'a>> {
        self.directory.tensor(name)
    }

    /// A tensor by name, or [`Error::MissingTensor`].
    pub fn require_tensor(&self, name: &str) -> Result<&Tensor<'a>, Error> {
        self.tensor(name).ok_or_else(|| Error::MissingTensor(name.to_string()))
    }

    /// A value by key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.binary_search_by(|(other, _)| (*other).cmp(key)).ok().map(|at| &self.metadata[at].1)
    }

    /// A string, `None` if the key is absent, an error if it holds something else.
    pub fn str(&self, key: &str) -> Result<Option<&'a str>, Error> {
        self.typed(key, "a string", |v| v.as_str())
    }

    /// A boolean.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        self.typed(key, "a boolean", |v| if let Value::Bool(b) = *v { Some(b) } else { None })
    }

    /// A float, stored as f32 or f64.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        self.typed(key, "a float", |v| match *v {
            Value::F32(x) => Some(x),
            Value::F64(x) => Some(x as f32),
            _ => None,
        })
    }

    /// An integer of any stored width that fits a u32.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Error> {
        let Some(value) = self.typed(key, "an integer", |v| v.as_int())? else { return Ok(None) };
        match u32::try_from(value) {
            Ok(v) => Ok(Some(v)),
            Err(_) => {
                // Either half of what 64 bits can say. 128 bits would bring code to print them.
                let value = i64::try_from(value).map_or_else(|_| (value as u64).to_string(), |v| v.to_string());
                Err(Error::Range { key: key.to_string(), value, expected: "0 to 4294967295" })
            }
        }
    }

    /// An array of any element type.
    pub fn array(&self, key: &str) -> Result<Option<Array<'a>>, Error> {
        self.typed(key, "an array", |v| v.as_array())
    }

    /// [`Gguf::str`], required.
    pub fn require_str(&self, key: &str) -> Result<&'a str, Error> {
        self.str(key)?.ok_or_else(|| Error::MissingKey(key.to_string()))
    }

    /// [`Gguf::u32`], required.
    pub fn require_u32(&self, key: &str) -> Result<u32, Error> {
        self.u32(key)?.ok_or_else(|| Error::MissingKey(key.to_string()))
    }

    /// [`Gguf::f32`], required.
    pub fn require_f32(&self, key: &str) -> Result<f32, Error> {
        self.f32(key)?.ok_or_else(|| Error::MissingKey(key.to_string()))
    }

    /// [`Gguf::array`], required, of one element type.
    pub fn require_array(&self, key: &str, element: ValueType) -> Result<Array<'a>, Error> {
        let array = self.array(key)?.ok_or_else(|| Error::MissingKey(key.to_string()))?;
        if array.element() == element {
            return Ok(array);
        }
        Err(Error::WrongElement { key: key.to_string(), expected: element, found: array.element() })
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = value.value_type();
        read(value).map(Some).ok_or_else(|| Error::WrongType { key: key.to_string(), expected, found })
    }

    /// Turns offsets relative to the data section into file offsets, and checks their alignment.
    fn placed(&self, mut tensors: Vec<Tensor<'a>>) -> Result<Vec<Tensor<'a>>, Error> {
        let alignment = self.alignment()?;
        let data = self.header_len.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        for tensor in &mut tensors {
            if !tensor.offset.is_multiple_of(alignment) {
                return Err(misplaced(tensor, format!("its offset is not a multiple of {alignment}")));
            }
            let start = data.checked_add(tensor.offset);
            tensor.offset = start.unwrap_or(u64::MAX);
            if start.is_none() {
                return Err(misplaced(tensor, "its offset overflows"));
            }
        }
        Ok(tensors)
    }

    fn alignment(&self) -> Result<u64, Error> {
        let key = "general.alignment";
        match self.u32(key)? {
            None => Ok(DEFAULT_ALIGNMENT),
            Some(n) if n.is_power_of_two() && n >= 8 => Ok(n.into()),
            Some(n) => {
                Err(Error::Range { key: key.to_string(), value: n.to_string(), expected: "a power of two, at least 8" })
            }
        }
    }
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    if cursor.array::<4>("the magic number")? != *b"GGUF" {
        return Err(Error::NotGguf);
    }
    match cursor.u32("the version")? {
        version @ (2 | 3) => Ok(version),
        other => Err(Error::Version(other)),
    }
}

fn read_metadata<'a>(cursor: &mut Cursor<'a>, n: u64) -> Result<Vec<(&'a str, Value<'a>)>, Error> {
    let mut metadata = Vec::new();
    for _ in 0..n {
        let offset = cursor.offset();
        let key = cursor.str("a metadata key")?;
        check_name("a metadata key", key, MAX_KEY, offset)?;
        metadata.push((key, Value::read(cursor, key)?));
    }
    metadata.sort_unstable_by_key(|&(key, _)| key);
    check_distinct("key", metadata.iter().map(|(key, _)| *key))?;
    Ok(metadata)
}

/// Reads the directory; `offset` of each tensor is still relative to the data section.
fn read_tensors<'a>(cursor: &mut Cursor<'a>, n: u64) -> Result<Vec<Tensor<'a>>, Error> {
    let mut tensors = Vec::new();
    for _ in 0..n {
        let at = cursor.offset();
        let name = cursor.str("a tensor name")?;
        check_name("a tensor name", name, MAX_TENSOR_NAME, at)?;
        let n_dims = cursor.u32(name)? as usize;
        let mut dims = [1u64; 4];
        let dims = dims.get_mut(..n_dims).ok_or_else(|| wrong_dimensions(name, n_dims))?;
        for d in dims.iter_mut() {
            *d = cursor.u64(name)?;
        }
        let (id, offset) = (cursor.u32(name)?, cursor.u64(name)?);
        tensors.push(Tensor::new(name, id, dims, offset)?);
    }
    Ok(tensors)
}
