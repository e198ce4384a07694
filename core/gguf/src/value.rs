//! Metadata values: scalars by value, strings and arrays as views into the file.

use super::cursor::Cursor;
use super::{Error, ValueType};
use alloc::string::ToString;

/// Deepest nesting of arrays accepted; no published model nests at all.
const MAX_NESTING: usize = 4;

/// One metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// A metadata array: `len` elements of one type, still encoded. Checked when the file was parsed, so iterating cannot
/// fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    pub(super) element: ValueType,
    pub(super) len: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// The type of this value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// An integer of any width, if this is one.
    pub fn as_int(&self) -> Option<i128> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::I8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::I16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::I32(v) => Some(v.into()),
            Value::U64(v) => Some(v.into()),
            Value::I64(v) => Some(v.into()),
            _ => None,
        }
    }

    /// A string, if this is one.
    pub fn as_str(&self) -> Option<&'a str> {
        if let Value::String(s) = *self { Some(s) } else { None }
    }

    /// An array, if this is one.
    pub fn as_array(&self) -> Option<Array<'a>> {
        if let Value::Array(a) = *self { Some(a) } else { None }
    }

    /// Reads a type id and the value after it.
    pub(super) fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, Error> {
        let element = read_type(cursor, key)?;
        read_value(cursor, element, key, 0)
    }
}

impl<'a> Array<'a> {
    /// Type of the elements.
    pub fn element(&self) -> ValueType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements, decoded one by one.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (element, mut cursor) = (self.element, Cursor::new(self.bytes, self.bytes.len() as u64));
        (0..self.len).map_while(move |_| read_value(&mut cursor, element, "", 0).ok())
    }

    /// The elements as strings, or `None` if they are of another type.
    pub fn strings(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        (self.element == ValueType::String).then(|| self.iter().filter_map(|v| v.as_str()))
    }
}

fn read_type(cursor: &mut Cursor<'_>, key: &str) -> Result<ValueType, Error> {
    let offset = cursor.offset();
    let id = cursor.u32(key)?;
    ValueType::from_id(id).ok_or_else(|| Error::ValueType { key: key.to_string(), id, offset })
}

fn read_value<'a>(cursor: &mut Cursor<'a>, kind: ValueType, key: &str, depth: usize) -> Result<Value<'a>, Error> {
    Ok(match kind {
        ValueType::U8 => Value::U8(cursor.array::<1>(key)?[0]),
        ValueType::I8 => Value::I8(cursor.array::<1>(key)?[0] as i8),
        ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.array(key)?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.array(key)?)),
        ValueType::U32 => Value::U32(u32::from_le_bytes(cursor.array(key)?)),
        ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.array(key)?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array(key)?)),
        ValueType::U64 => Value::U64(u64::from_le_bytes(cursor.array(key)?)),
        ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.array(key)?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array(key)?)),
        ValueType::String => Value::String(cursor.str(key)?),
        ValueType::Bool => {
            let offset = cursor.offset();
            match cursor.array::<1>(key)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                byte => return Err(Error::Bool { key: key.to_string(), byte, offset }),
            }
        }
        ValueType::Array => Value::Array(read_array(cursor, key, depth + 1)?),
    })
}

/// Walks the whole array, so that its end is known and iterating it later cannot fail.
fn read_array<'a>(cursor: &mut Cursor<'a>, key: &str, depth: usize) -> Result<Array<'a>, Error> {
    if depth > MAX_NESTING {
        return Err(Error::Nesting { key: key.to_string(), max: MAX_NESTING });
    }
    let element = read_type(cursor, key)?;
    let len = cursor.count("an array", element.min_bytes())?;
    let bytes = match element {
        ValueType::String | ValueType::Array | ValueType::Bool => {
            let rest = cursor.rest();
            for _ in 0..len {
                read_value(cursor, element, key, depth)?;
            }
            &rest[..rest.len() - cursor.rest().len()]
        }
        scalar => cursor.take(len * scalar.min_bytes(), key)?,
    };
    Ok(Array { element, len: len as usize, bytes })
}
