//! What kernels are given beside weights: columns of activations, as floats and quantised in the two ways that weights need; queries
//! and the chunks of keys and values that they attend to.

use crate::team::Strips;
use alloc::vec;
use alloc::vec::Vec;

/// What the columns must look like for a matrix of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// f32
    Float,
    /// int8 in blocks of 32
    Narrow,
    /// int8 in blocks of 256
    Wide,
}

/// A set of [`Operand`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operands(u8);

impl Operands {
    /// The set with one more.
    pub const fn with(self, operand: Operand) -> Self {
        Operands(self.0 | (1 << operand as u8))
    }

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Operands(self.0 | other.0)
    }

    /// Whether it is in the set.
    pub const fn contains(self, operand: Operand) -> bool {
        self.0 & (1 << operand as u8) != 0
    }
}

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

/// The function inside a feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e^-x)`
    Silu,
    /// The tanh form of GELU.
    Gelu,
}

/// The query heads that share one key/value head, for some tokens of a session, one after the other. Row r of attention is head
/// `r % heads` of token `r / heads`.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// The heads of token t, (heads, head_dim) after RoPE, from `stride * t`.
    pub q: &'a [f32],
    /// Floats from a token to the next.
    pub stride: usize,
    /// Query heads of each token.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Scores are multiplied by this,
    pub scale: f32,
    /// and then held within this, by `math::soft_cap`.
    pub cap: Option<f32>,
}

impl<'a> Queries<'a> {
    /// Row `r`: (head_dim).
    #[inline(always)]
    pub fn row(&self, r: usize) -> &'a [f32] {
        &self.q[r / self.heads * self.stride + r % self.heads * self.head_dim..][..self.head_dim]
    }
}

/// What attention has gathered so far, chunk after chunk: per row the maximum, the sum, and the weighted values.
#[derive(Debug)]
pub struct Gathered<'a> {
    /// (rows): -inf before the first chunk
    pub max: &'a mut [f32],
    /// (rows)
    pub sum: &'a mut [f32],
    /// (rows, padded head_dim)
    pub out: &'a mut [f32],
}

/// Positions in a chunk of attention and in a block of the KV cache.
pub const CHUNK: usize = 256;

/// Positions in a tile of keys.
pub const TILE: usize = 16;

/// One chunk of one key/value head in f16. Keys lie in tiles of 16 positions, so that a lane is a position; values lie row by row.
#[derive(Debug, Clone, Copy)]
pub struct ChunkF16<'a> {
    /// (CHUNK / TILE, head_dim, TILE), f16 bits
    pub keys: &'a [u16],
    /// (CHUNK, padded head_dim), f16 bits
    pub values: &'a [u16],
}

/// One chunk of one key/value head in q8_0: int8 codes, an f16 scale per 32 of a head.
#[derive(Debug, Clone, Copy)]
pub struct ChunkQ8<'a> {
    /// (CHUNK / TILE, padded head_dim / 4, TILE, 4)
    pub keys: &'a [i8],
    /// (CHUNK / TILE, padded head_dim / 32, TILE), f16 bits
    pub key_scales: &'a [u16],
    /// (CHUNK, padded head_dim)
    pub values: &'a [i8],
    /// (CHUNK, padded head_dim / 32), f16 bits
    pub value_scales: &'a [u16],
}
