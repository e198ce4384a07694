//! Bytes of a matrix as rows of blocks, sixteen rows at a time.
//!
//! The kernels read one block of each of sixteen rows in turn. Checked slices would compare every index with every row's length; here
//! the rows are checked once, when the group is made.

use bytemuck::Pod;
use core::array::from_fn;
use core::marker::PhantomData;

/// Rows in a group: the lanes of a kernel.
pub(crate) const GROUP: usize = 16;

/// A matrix as blocks: (rows, blocks in a row).
pub(crate) struct Rows<'a, B> {
    blocks: &'a [B],
    per_row: usize,
    rows: usize,
}

/// Sixteen rows, each `len` blocks long.
pub(crate) struct Group<'a, B> {
    rows: [*const B; GROUP],
    len: usize,
    next: *const u8,
    life: PhantomData<&'a [B]>,
}

impl<'a, B: Pod> Rows<'a, B> {
    /// `rows` rows that fill `bytes`.
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8], rows: usize) -> Self {
        let blocks: &[B] = bytemuck::cast_slice(bytes);
        Rows { blocks, per_row: blocks.len() / rows, rows }
    }

    /// Number of rows.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn row(&self, r: usize) -> &'a [B] {
        &self.blocks[r * self.per_row..][..self.per_row]
    }

    /// The sixteen rows from `first`; past the end, the last row again.
    #[inline(always)]
    pub(crate) fn group(&self, first: usize) -> Group<'a, B> {
        let rows = from_fn(|r| self.row((first + r).min(self.rows - 1)).as_ptr());
        let next = self.blocks.as_ptr().wrapping_add((first + GROUP) * self.per_row).cast();
        Group { rows, len: self.per_row, next, life: PhantomData }
    }

    /// Group `g` of sixteen rows of which each quarter of all rows supplies four, in order.
    #[inline(always)]
    pub(crate) fn quarters(&self, g: usize) -> Quarters<'a, B> {
        let quarter = 4 * self.rows.div_ceil(GROUP);
        // At the end, and where there are too few, some stand in two lanes.
        let (step, apart, last) = if self.rows >= 4 { (1, quarter, self.rows - 4) } else { (0, 1, self.rows - 1) };
        let first = from_fn(|part| (part * apart + 4 * g).min(last));
        let blocks = first.map(|row| self.row(row).as_ptr());
        Quarters { first, step, blocks, len: self.per_row, life: PhantomData }
    }
}

/// Sixteen rows: four, one behind the other, in each of four places. Lane 4 i + k is row i of place k.
pub(crate) struct Quarters<'a, B> {
    first: [usize; 4],
    /// 1, or 0 if all four are the same row
    step: usize,
    blocks: [*const B; 4],
    len: usize,
    life: PhantomData<&'a [B]>,
}

impl<'a, B: Pod> Quarters<'a, B> {
    /// Blocks in each row.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The row of the matrix that a lane is.
    #[inline(always)]
    pub(crate) fn row(&self, lane: usize) -> usize {
        self.first[lane % 4] + self.step * (lane / 4)
    }

    /// Blocks `start..start + n` of a lane.
    #[inline(always)]
    pub(crate) fn strip(&self, lane: usize, start: usize, n: usize) -> &'a [B] {
        assert!(lane < GROUP && start <= self.len && n <= self.len - start);
        // SAFETY: `first` is a row with three more behind it, or `step` is 0, and start + n is within a row of `len` blocks.
        unsafe {
            let row = self.blocks[lane % 4].add(self.step * (lane / 4) * self.len);
            core::slice::from_raw_parts(row.add(start), n)
        }
    }
}

impl<'a, B: Pod> Group<'a, B> {
    /// Blocks in each row.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Blocks `b` of the sixteen rows.
    #[inline(always)]
    pub(crate) fn blocks(&self, b: usize) -> Blocks<'_, B> {
        assert!(b < self.len);
        Blocks { group: self, b }
    }
}

/// One block of each of sixteen rows.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'g, B> {
    group: &'g Group<'g, B>,
    /// below the group's length
    b: usize,
}

impl<'g, B: Pod> Blocks<'g, B> {
    /// The block of row `r`.
    #[inline(always)]
    pub(crate) fn row(&self, r: usize) -> &'g B {
        // SAFETY: the pointer is the start of a row of `len` blocks that outlives the group, and b < len.
        unsafe { &*self.group.rows[r].add(self.b) }
    }

    /// Where the same share of the next group begins: for prefetching only.
    #[inline(always)]
    pub(crate) fn next(&self) -> *const u8 {
        self.group.next.wrapping_add(self.b * GROUP * size_of::<B>())
    }
}
