//! How a host lends threads to the core, and how work is cut so that lending more of them changes no bit.
//!
//! The core never spawns. [`Team::run`] calls a job once on each member; [`for_parts`] cuts work into fixed parts that the members
//! take in turn. Which member takes a part never matters: parts write disjoint memory and no sum crosses a part.

use crate::float_env::FloatEnv;
use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Threads of a host.
pub trait Team: Send + Sync {
    /// Number of members.
    fn size(&self) -> usize;
    /// Calls `job(0)..job(size - 1)`, each on a member, and returns when all have returned.
    fn run(&self, job: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Solo;

impl Team for Solo {
    fn size(&self) -> usize {
        1
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        job(0);
    }
}

/// Something that can be cut into parts that do not overlap.
///
/// # Safety
/// Parts of different indices below `count` must be disjoint (may be used on different threads at once).
pub unsafe trait Parts: Sync {
    /// One part.
    type Part;
    /// Number of parts.
    fn count(&self) -> usize;
    /// Part `i`.
    ///
    /// # Safety
    /// `i < count`, and each part is taken at most once while the value is borrowed.
    unsafe fn part(&self, i: usize) -> Self::Part;
}

/// Most runs of parts that are taken apart from each other; more members share them.
const MAX_RUNS: usize = 16;

/// Calls `work(i, part i)` for every part, spread over the team.
///
/// Each member begins with a run of its own, so that what it reads lies in one piece and what it asked for ahead is its own; who is done
/// helps the others.
pub fn for_parts<P: Parts>(team: &dyn Team, parts: P, work: impl Fn(usize, P::Part) + Sync) {
    // SAFETY: `spread` gives each i below the count out once.
    spread(team, parts.count(), &|i| work(i, unsafe { parts.part(i) }));
}

/// Calls `work(i)` for every i below `count`, once.
fn spread(team: &dyn Team, count: usize, work: &(dyn Fn(usize) + Sync)) {
    let runs = team.size().min(count).clamp(1, MAX_RUNS);
    let taken = [const { AtomicUsize::new(0) }; MAX_RUNS];
    let start = |run: usize| run * count / runs;
    let take = |member: usize| {
        let _env = FloatEnv::enter();
        for run in (0..runs).map(|i| (member + i) % runs) {
            let parts_of_run = start(run)..start(run + 1);
            loop {
                // Runs do not overlap, and the run's counter gives each i out once.
                let i = parts_of_run.start + taken[run].fetch_add(1, Ordering::Relaxed);
                if !parts_of_run.contains(&i) {
                    break;
                }
                work(i);
            }
        }
    };
    if count <= 1 || team.size() == 1 { take(0) } else { team.run(&take) }
}

/// A slice cut into strips of equal length. Strips past its end are empty.
pub struct Strips<'a, T> {
    base: *mut T,
    len: usize,
    strip: usize,
    count: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a Strips is a `&mut [T]` whose strips are handed out to threads, each once.
unsafe impl<T: Send> Sync for Strips<'_, T> {}

impl<'a, T> Strips<'a, T> {
    /// `count` strips of `strip` elements.
    pub fn new(data: &'a mut [T], strip: usize, count: usize) -> Self {
        Strips { base: data.as_mut_ptr(), len: data.len(), strip, count, life: PhantomData }
    }
}

// SAFETY: strip i covers elements i * strip..(i + 1) * strip of the slice, so strips are disjoint.
unsafe impl<'a, T: Send + 'a> Parts for Strips<'a, T> {
    type Part = &'a mut [T];

    fn count(&self) -> usize {
        self.count
    }

    unsafe fn part(&self, i: usize) -> &'a mut [T] {
        let start = (i * self.strip).min(self.len);
        let len = self.strip.min(self.len - start);
        // SAFETY: inside the slice; handed out once by the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.base.add(start), len) }
    }
}

/// Rows of a (columns, rows) buffer, for all columns: what a part of a matrix product writes.
pub struct Tile<'a> {
    base: *mut f32,
    stride: usize,
    columns: usize,
    rows: usize,
    life: PhantomData<&'a mut [f32]>,
}

impl<'a> Tile<'a> {
    /// All of a (columns, rows) buffer.
    pub fn new(data: &'a mut [f32], columns: usize) -> Self {
        let rows = data.len() / columns.max(1);
        Tile { base: data.as_mut_ptr(), stride: rows, columns, rows, life: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The rows of column `c`.
    #[inline(always)]
    pub fn column(&mut self, c: usize) -> &mut [f32] {
        assert!(c < self.columns, "column {c} of {}", self.columns);
        // SAFETY: c is in range, the rows lie in the buffer, and the tile is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.base.add(c * self.stride), self.rows) }
    }
}

/// A (columns, rows) buffer cut into tiles of some rows and columns.
pub struct Tiles<'a> {
    whole: Tile<'a>,
    rows_per_tile: usize,
    columns_per_tile: usize,
}

// SAFETY: as for Strips: tiles cover disjoint rows or columns and are handed out once each.
unsafe impl Sync for Tiles<'_> {}

impl<'a> Tiles<'a> {
    /// Tiles of `rows_per_tile` rows and `columns_per_tile` columns of a (columns, rows) buffer; those of the same columns are next to
    /// each other.
    pub fn new(data: &'a mut [f32], columns: usize, rows_per_tile: usize, columns_per_tile: usize) -> Self {
        Tiles { whole: Tile::new(data, columns), rows_per_tile, columns_per_tile }
    }

    fn tiles_down(&self) -> usize {
        self.whole.rows.div_ceil(self.rows_per_tile)
    }
}

// SAFETY: a tile is where a range of rows meets a range of columns, and no two tiles have both in common.
unsafe impl<'a> Parts for Tiles<'a> {
    type Part = (Range<usize>, Tile<'a>);

    fn count(&self) -> usize {
        self.tiles_down() * self.whole.columns.div_ceil(self.columns_per_tile)
    }

    /// The rows of the tile, and the tile.
    unsafe fn part(&self, i: usize) -> Self::Part {
        let whole = &self.whole;
        let (row, column) = (i % self.tiles_down() * self.rows_per_tile, i / self.tiles_down() * self.columns_per_tile);
        let rows = row..(row + self.rows_per_tile).min(whole.rows);
        let columns = self.columns_per_tile.min(whole.columns - column);
        // SAFETY: by the count, row and column are inside the buffer.
        let base = unsafe { whole.base.add(column * whole.stride + row) };
        let tile = Tile { base, stride: whole.stride, columns, rows: rows.len(), life: PhantomData };
        (rows, tile)
    }
}

// SAFETY: the parts of several values, one after the other: disjoint because each value's are. The part says which value.
unsafe impl<P: Parts, const N: usize> Parts for [P; N] {
    type Part = (usize, P::Part);

    fn count(&self) -> usize {
        self.iter().map(Parts::count).sum()
    }

    unsafe fn part(&self, mut i: usize) -> Self::Part {
        for (which, parts) in self.iter().enumerate() {
            if i < parts.count() {
                // SAFETY: i is below this value's count; taken once by the caller's promise.
                return (which, unsafe { parts.part(i) });
            }
            i -= parts.count();
        }
        unreachable!("a part beyond the count")
    }
}

/// Implements [`Parts`] for tuples: part i is the tuple of the parts i.
macro_rules! zip_parts {
    ($($name:ident $index:tt),*) => {
        // SAFETY: parts of each member are disjoint, hence the tuples.
        unsafe impl<$($name: Parts),*> Parts for ($($name,)*) {
            type Part = ($($name::Part,)*);

            fn count(&self) -> usize {
                usize::MAX$(.min(self.$index.count()))*
            }

            unsafe fn part(&self, i: usize) -> Self::Part {
                // SAFETY: i is below every member's count; taken once by the caller's promise.
                unsafe { ($(self.$index.part(i),)*) }
            }
        }
    };
}
zip_parts!(A 0, B 1);
zip_parts!(A 0, B 1, C 2);
zip_parts!(A 0, B 1, C 2, D 3);
