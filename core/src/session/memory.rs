//! Memory that may be refused. Where it is not asked for in this way, a host that has none left aborts, and in WebAssembly that is the end
//! of the whole instance.

use super::Error;
use crate::kernels::{Activations, Operands};
use alloc::vec::Vec;
use bytemuck::Zeroable;

/// `len` zeros. The operating system gives their pages as they are written.
pub(super) fn zeroed<T: Zeroable>(what: &'static str, len: usize) -> Result<Vec<T>, Error> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| refused::<T>(what, len))
}

/// Room in `list` for `more` entries, and not for others.
pub(super) fn reserve<T>(what: &'static str, list: &mut Vec<T>, more: usize) -> Result<(), Error> {
    list.try_reserve_exact(more).map_err(|_| refused::<T>(what, list.len().saturating_add(more)))
}

/// `Activations::new`, which cannot be refused: as much is asked for first, and given back.
pub(super) fn activations(what: &'static str, values: usize, operands: Operands) -> Result<Activations, Error> {
    // Floats, codes of both kinds, their scales and sums: 6.4 bytes a value. Each of the seven lists is rounded up, and has a header.
    reserve(what, &mut Vec::<u8>::new(), values.saturating_mul(7).saturating_add(8192))?;
    Ok(Activations::new(values, operands))
}

fn refused<T>(what: &'static str, len: usize) -> Error {
    Error::OutOfMemory { what, bytes: (len as u64).saturating_mul(size_of::<T>() as u64) }
}
