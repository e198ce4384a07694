//! Columns of activations, as floats and quantised in the two ways that weights need.

use super::Backend;
use super::quant::{Operand, Operands};
use crate::team::{Parts, Strips};
use alloc::vec;
use alloc::vec::Vec;

/// Columns cut into blocks of `block` values, each with one scale: see "Activations" in `docs/numerics.md`.
#[derive(Debug)]
pub struct Quantized {
    block: usize,
    /// (columns, len)
    qs: Vec<i8>,
    /// (columns, len / block)
    scales: Vec<f32>,
    /// (columns, len / span): sums of the codes of each 32 (blocks of 32) or each 16 (blocks of 256)
    sums: Vec<i16>,
}

/// One quantised column.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// (len) codes in -127..=127
    pub qs: &'a [i8],
    /// (len / block)
    pub scales: &'a [f32],
    /// (len / span)
    pub sums: &'a [i16],
}

/// One column to be quantised into.
#[derive(Debug)]
pub struct ColumnMut<'a> {
    /// (len)
    pub qs: &'a mut [i8],
    /// (len / block)
    pub scales: &'a mut [f32],
    /// (len / span)
    pub sums: &'a mut [i16],
}

/// Values that one entry of `sums` covers, for blocks of `block`.
pub const fn span(block: usize) -> usize {
    if block == 32 { 32 } else { 16 }
}

impl Quantized {
    /// Columns `c..c + N` of `n`, each `len` long; past the end, the last column again.
    #[inline(always)]
    fn columns<const N: usize>(&self, c: usize, n: usize, len: usize) -> [Column<'_>; N] {
        let mut columns = [self.column(c, len); N];
        for i in 1..N {
            columns[i] = self.column((c + i).min(n - 1), len);
        }
        columns
    }

    fn new(block: usize, values: usize) -> Self {
        let values = values.next_multiple_of(block);
        Quantized { block, qs: vec![0; values], scales: vec![0.0; values / block], sums: vec![0; values / span(block)] }
    }

    fn parts(&mut self, n: usize, len: usize) -> QuantizedParts<'_> {
        (
            Strips::new(&mut self.qs, len, n),
            Strips::new(&mut self.scales, len / self.block, n),
            Strips::new(&mut self.sums, len / span(self.block), n),
        )
    }

    /// Column `c` of columns that are `len` long.
    #[inline(always)]
    pub fn column(&self, c: usize, len: usize) -> Column<'_> {
        let (nb, ns) = (len / self.block, len / span(self.block));
        Column {
            qs: &self.qs[c * len..][..len],
            scales: &self.scales[c * nb..][..nb],
            sums: &self.sums[c * ns..][..ns],
        }
    }
}

/// A buffer of columns: floats, and the quantised forms that the matrices reading them ask for.
#[derive(Debug)]
pub struct Activations {
    /// (columns, len)
    pub floats: Vec<f32>,
    narrow: Quantized,
    wide: Quantized,
}

/// Columns ready to be multiplied: `n` of them, each `len` long.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Number of columns.
    pub n: usize,
    /// Values in a column.
    pub len: usize,
    data: &'a Activations,
}

impl Activations {
    /// Room for `values` floats in all columns together, and for the quantised forms among `operands`.
    pub fn new(values: usize, operands: Operands) -> Self {
        let room = |operand| if operands.contains(operand) { values } else { 0 };
        Activations {
            floats: vec![0.0; values],
            narrow: Quantized::new(32, room(Operand::Narrow)),
            wide: Quantized::new(256, room(Operand::Wide)),
        }
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        let q = |q: &Quantized| q.qs.len() + 4 * q.scales.len() + 2 * q.sums.len();
        4 * self.floats.len() + q(&self.narrow) + q(&self.wide)
    }

    /// The first `n` columns of `len` values, to be multiplied.
    pub fn columns(&self, n: usize, len: usize) -> Columns<'_> {
        Columns { n, len, data: self }
    }

    /// The first `n` columns of `len` values, cut apart so that each can be filled and quantised on its own.
    pub fn parts(&mut self, n: usize, len: usize) -> ColumnParts<'_> {
        let floats = Strips::new(&mut self.floats, len, n);
        (floats, self.narrow.parts(n, len), self.wide.parts(n, len))
    }
}

/// Columns cut apart: the floats, and (codes, scales, sums) in blocks of 32 and of 256.
pub type ColumnParts<'a> = (Strips<'a, f32>, QuantizedParts<'a>, QuantizedParts<'a>);
type QuantizedParts<'a> = (Strips<'a, i8>, Strips<'a, f32>, Strips<'a, i16>);

/// Quantises one column in the ways that `operands` asks for. Returns false if a value is not finite.
pub fn quantize_column(backend: Backend, operands: Operands, column: <ColumnParts<'_> as Parts>::Part) -> bool {
    let (floats, narrow, wide) = column;
    let quantize =
        |block, (qs, scales, sums)| (backend.kernels().quantize)(floats, block, ColumnMut { qs, scales, sums });
    (!operands.contains(Operand::Float) || floats.iter().all(|x| x.is_finite()))
        && (!operands.contains(Operand::Narrow) || quantize(32, narrow))
        && (!operands.contains(Operand::Wide) || quantize(256, wide))
}

impl<'a> Columns<'a> {
    /// Column `c` as floats.
    #[inline(always)]
    pub fn floats(&self, c: usize) -> &'a [f32] {
        &self.data.floats[c * self.len..][..self.len]
    }

    /// `N` columns from `c` in blocks of 32; past the end, the last column again.
    #[inline(always)]
    pub fn narrow<const N: usize>(&self, c: usize) -> [Column<'a>; N] {
        self.data.narrow.columns(c, self.n, self.len)
    }

    /// [`Columns::narrow`] in blocks of 256.
    #[inline(always)]
    pub fn wide<const N: usize>(&self, c: usize) -> [Column<'a>; N] {
        self.data.wide.columns(c, self.n, self.len)
    }
}
