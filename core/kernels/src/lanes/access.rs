//! How kernels reach what they read and write: pieces of known size, lines asked for ahead, lanes as rows of columns.

use crate::cast::{Blocks, GROUP};
use crate::simd::{CodeRange, Simd};
use crate::team::Tile;
use core::hint::black_box;

/// Sixteen rows of `C` columns, as far as there are so many.
#[inline(always)]
pub(super) fn write<S: Simd, const C: usize>(
    s: S,
    out: &mut Tile<'_>,
    first: usize,
    column: usize,
    acc: [S::Lanes; C],
) {
    for (c, acc) in acc.into_iter().enumerate() {
        if column + c == out.columns() {
            return;
        }
        let out = &mut out.column(column + c)[first..];
        match out.first_chunk_mut::<16>() {
            Some(out) => *out = s.store(acc),
            None => out.copy_from_slice(&s.store(acc)[..out.len()]),
        }
    }
}

/// How far ahead lines are asked for, to be brought into the L2 cache. Measured: 4 and 64 KB are slower.
pub(super) const FAR: usize = 16 << 10;

/// Asks for the lines of the next group that lie where row `r` of these blocks would, if a row followed the other, and for those that
/// are [`FAR`] behind them. Bit by bit: a CPU has room for a dozen requests or so, and waits when there are more.
#[inline(always)]
pub(super) fn prefetch<S: Simd, B: bytemuck::Pod>(s: S, blocks: Blocks<'_, B>, r: usize) {
    prefetch_lines(s, blocks, r, r + 1);
}

/// The same for all sixteen rows: for blocks that are small, and in loops that would not know `r`.
#[inline(always)]
pub(super) fn prefetch_all<S: Simd, B: bytemuck::Pod>(s: S, blocks: Blocks<'_, B>) {
    prefetch_lines(s, blocks, 0, GROUP);
}

#[inline(always)]
fn prefetch_lines<S: Simd, B: bytemuck::Pod>(s: S, blocks: Blocks<'_, B>, from: usize, to: usize) {
    let mut line = (from * size_of::<B>()).next_multiple_of(64);
    while line < to * size_of::<B>() {
        s.prefetch(blocks.next().wrapping_add(line));
        s.prefetch_far(blocks.next().wrapping_add(line + FAR));
        line += 64;
    }
}

/// Codes in blocks of 32.
#[inline(always)]
pub(super) fn codes32(qs: &[i8]) -> &[[u8; 32]] {
    bytemuck::cast_slice::<i8, u8>(qs).as_chunks().0
}

/// Codes in blocks of `4 N`.
#[inline(always)]
pub(super) fn fours<const N: usize>(qs: &[i8]) -> &[[[u8; 4]; N]] {
    bytemuck::cast_slice::<i8, u8>(qs).as_chunks().0.as_chunks().0
}

/// Codes `32 j..32 j + 32`, in fours.
#[inline(always)]
pub(super) fn eight(x: &[[u8; 4]; 64], j: usize) -> &[[u8; 4]; 8] {
    &x.as_chunks().0[j]
}

/// By how much codes that are multiplied are larger than weights.
#[inline(always)]
pub(super) fn offset<S: Simd>(s: S, codes: CodeRange, offset: i32) -> i32 {
    if codes == CodeRange::Signed { s.signed_offset() } else { offset }
}

/// Elements `N * i..N * (i + 1)`.
#[inline(always)]
pub(super) fn array<T, const N: usize>(x: &[T], i: usize) -> &[T; N] {
    x[N * i..][..N].try_into().expect("a slice of N elements")
}

/// Hides a value where code has to be small: functions that differ in it only are the same then, and wasm-opt keeps one.
#[inline(always)]
pub(super) fn shared<S: Simd, T>(_: S, what: T) -> T {
    if S::SMALL { black_box(what) } else { what }
}
