//! Bytes of a matrix as rows of blocks, sixteen rows at a time.
//!
//! The kernels read one block of each of sixteen rows in turn. Checked slices would compare every index with every row's length; here
//! the rows are checked once, when the group is made.

use bytemuck::Pod;
use core::array::from_fn;
use core::marker::PhantomData;

/// Rows in a group: the lanes of a kernel.
pub(super) const GROUP: usize = 16;

/// A matrix as blocks: (rows, blocks in a row).
pub(super) struct Rows<'a, B> {
    blocks: &'a [B],
    per_row: usize,
    rows: usize,
}

/// Sixteen rows, each `len` blocks long.
pub(super) struct Group<'a, B> {
    rows: [*const B; GROUP],
    len: usize,
    next: *const u8,
    life: PhantomData<&'a [B]>,
}

impl<'a, B: Pod> Rows<'a, B> {
    /// `rows` rows that fill `bytes`.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8], rows: usize) -> Self {
        let blocks: &[B] = bytemuck::cast_slice(bytes);
        Rows { blocks, per_row: blocks.len() / rows, rows }
    }

    /// Number of rows.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// One row.
    #[inline(always)]
    pub(super) fn row(&self, r: usize) -> &'a [B] {
        &self.blocks[r * self.per_row..][..self.per_row]
    }

    /// The sixteen rows from `first`; past the end, the last row again.
    #[inline(always)]
    pub(super) fn group(&self, first: usize) -> Group<'a, B> {
        let next = self.blocks.as_ptr().wrapping_add((first + GROUP) * self.per_row).cast();
        self.rows_at(next, |r| first + r)
    }

    /// Group `g` of those that [`Rows::spread`] makes; past the end, the last row again.
    #[cfg(target_family = "wasm")]
    #[inline(always)]
    pub(super) fn spread_group(&self, g: usize) -> Group<'a, B> {
        self.rows_at(core::ptr::null(), |lane| self.spread(g, lane))
    }

    /// The row that is in lane `lane` of group `g` if each quarter of all rows, in order, supplies a lane of four. It may be past the end.
    #[cfg(target_family = "wasm")]
    #[inline(always)]
    pub(super) fn spread(&self, g: usize, lane: usize) -> usize {
        let quarter = 4 * self.rows.div_ceil(GROUP);
        lane % 4 * quarter + 4 * g + lane / 4
    }

    #[inline(always)]
    fn rows_at(&self, next: *const u8, row: impl Fn(usize) -> usize) -> Group<'a, B> {
        let rows = from_fn(|r| self.row(row(r).min(self.rows - 1)).as_ptr());
        Group { rows, len: self.per_row, next, life: PhantomData }
    }
}

impl<'a, B: Pod> Group<'a, B> {
    /// Blocks in each row.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Blocks `b` of the sixteen rows.
    #[inline(always)]
    pub(super) fn blocks(&self, b: usize) -> Blocks<'_, B> {
        assert!(b < self.len);
        Blocks { group: self, b }
    }
}

/// One block of each of sixteen rows.
#[derive(Clone, Copy)]
pub(super) struct Blocks<'g, B> {
    group: &'g Group<'g, B>,
    /// below the group's length
    b: usize,
}

impl<'g, B: Pod> Blocks<'g, B> {
    /// The block of row `r`.
    #[inline(always)]
    pub(super) fn row(&self, r: usize) -> &'g B {
        // SAFETY: the pointer is the start of a row of `len` blocks that outlives the group, and b < len.
        unsafe { &*self.group.rows[r].add(self.b) }
    }

    /// Where the same share of the next group begins: for prefetching only.
    #[inline(always)]
    pub(super) fn next(&self) -> *const u8 {
        self.group.next.wrapping_add(self.b * GROUP * size_of::<B>())
    }
}
