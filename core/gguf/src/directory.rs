//! Where the tensors of a model lie.

use super::{Error, GgmlType, Tensor};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// Longest name of a tensor, in bytes.
pub(super) const MAX_TENSOR_NAME: u64 = 255;

/// Tensors, each inside of the file, none over another, no two of one name.
#[derive(Debug, Clone, Default)]
pub struct Directory<'a> {
    tensors: Vec<Tensor<'a>>,
    /// indices into `tensors`, in the order of their names
    by_name: Vec<usize>,
    file_len: u64,
}

impl<'a> Directory<'a> {
    /// The tensors of a file (or of several, one behind the other) of `file_len` bytes. Where they come from a stranger,
    /// [`Tensor::new`] has checked each for itself.
    ///
    /// # Errors
    /// A tensor that leaves the file, overlaps another, or has its name.
    pub fn new(tensors: Vec<Tensor<'a>>, file_len: u64) -> Result<Self, Error> {
        for tensor in &tensors {
            if tensor.offset.checked_add(tensor.len).is_none_or(|end| end > file_len) {
                return Err(misplaced(tensor, format!("it ends past the file's {file_len} bytes")));
            }
        }
        let mut by_name: Vec<usize> = (0..tensors.len()).collect();
        let name = |i: &usize| tensors[*i].name;
        by_name.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        check_distinct("tensor", by_name.iter().map(name))?;
        let directory = Directory { tensors, by_name, file_len };
        directory.check_overlap()?;
        Ok(directory)
    }

    /// All of them.
    pub fn tensors(&self) -> &[Tensor<'a>] {
        &self.tensors
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'a>> {
        self.index(name).map(|i| &self.tensors[i])
    }

    /// Where a tensor stands in [`tensors`](Self::tensors).
    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.binary_search_by(|&i| self.tensors[i].name.cmp(name)).ok().map(|at| self.by_name[at])
    }

    fn check_overlap(&self) -> Result<(), Error> {
        let mut order: Vec<&Tensor<'a>> = self.tensors.iter().collect();
        order.sort_unstable_by_key(|t| (t.offset, t.name));
        for pair in order.windows(2) {
            if pair[0].offset + pair[0].len > pair[1].offset {
                return Err(misplaced(pair[1], format!("it overlaps tensor {:?}", pair[0].name)));
            }
        }
        Ok(())
    }
}

impl<'a> Tensor<'a> {
    /// A tensor of a ggml type, of 1 to 4 dimensions, at `offset`.
    ///
    /// # Errors
    /// A name of no or more than 255 bytes, an unknown type, a number of dimensions or a size that cannot be.
    pub fn new(name: &'a str, type_id: u32, shape: &[u64], offset: u64) -> Result<Self, Error> {
        check_name("a tensor name", name, MAX_TENSOR_NAME, offset)?;
        let shape_error = |why: &str| Error::Shape { name: name.to_string(), why: why.to_string() };
        let n_dims = shape.len();
        if !(1..=4).contains(&n_dims) {
            return Err(wrong_dimensions(name, n_dims));
        }
        let mut dims = [1; 4];
        dims[..n_dims].copy_from_slice(shape);
        let ty = GgmlType::from_id(type_id).ok_or_else(|| Error::TensorType { name: name.to_string(), id: type_id })?;
        let len = byte_len(dims, ty).map_err(|why| shape_error(&format!("shape {shape:?}: {why}")))?;
        Ok(Tensor { name, ty, dims, n_dims, offset, len })
    }
}

pub(super) fn wrong_dimensions(name: &str, n: usize) -> Error {
    Error::Shape { name: name.to_string(), why: format!("{n} dimensions (allowed: 1 to 4)") }
}

/// A tensor where it cannot be.
pub(super) fn misplaced(tensor: &Tensor<'_>, why: impl Into<alloc::string::String>) -> Error {
    let (start, end) = (tensor.offset, tensor.offset.saturating_add(tensor.len));
    Error::Place { name: tensor.name.to_string(), start, end, why: why.into() }
}

/// Of sorted names, no two may be the same.
pub(super) fn check_distinct<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut before = None;
    for name in names {
        if before.replace(name) == Some(name) {
            return Err(Error::Duplicate { what, name: name.to_string() });
        }
    }
    Ok(())
}

/// `offset` says where, if the length of a name is wrong.
pub(super) fn check_name(what: &'static str, name: &str, max: u64, offset: u64) -> Result<(), Error> {
    let len = name.len() as u64;
    if len == 0 || len > max {
        return Err(Error::NameLength { what, len, max, offset });
    }
    Ok(())
}

fn byte_len(dims: [u64; 4], ty: GgmlType) -> Result<u64, &'static str> {
    if dims.contains(&0) {
        return Err("a dimension is zero");
    }
    if !dims[0].is_multiple_of(ty.block) {
        return Err("its first dimension is not a whole number of blocks");
    }
    let weights = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    weights.and_then(|n| (n / ty.block).checked_mul(ty.bytes)).ok_or("its size overflows")
}
