//! Matrix products: GOP/s (a multiply and an add are two) and GB/s of weights, by format and number of columns.

use crate::{random_bytes, time};
use picolm_core::kernels::{Activations, Backend, Format, Operands, quantize_column};
use picolm_core::team::{Solo, Tile, for_parts};
use std::hint::black_box;

/// Inputs, and rows of a matrix that stays in the L2 cache.
const COLS: usize = 1536;
const ROWS: usize = 1536;
/// Bytes of one that stays in no cache.
const BEYOND_CACHES: usize = 1 << 30;

pub fn print_head() {
    println!("{:8} {:10} {:>7} {:>8} {:>7}", "format", "backend", "columns", "GOP/s", "GB/s");
}

/// A line for each number of columns.
pub fn from_cache(format: Format, backend: Backend) {
    let weights = weights(format);
    [1, 2, 4, 8, 64].into_iter().for_each(|columns| measure(format, backend, &weights, columns));
}

/// One line: one column, the weights from memory.
pub fn from_memory(format: Format, backend: Backend) {
    let weights = weights(format);
    measure(format, backend, &weights.repeat(BEYOND_CACHES / weights.len()), 1);
}

fn measure(format: Format, backend: Backend, weights: &[u8], columns: usize) {
    let rows = weights.len() / format.row_bytes(COLS);
    let operands = Operands::default().with(format.operand());
    let mut x = Activations::new(columns * COLS, operands);
    x.floats.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 251) as f32 - 125.0);
    for_parts(&Solo, x.parts(columns, COLS), |_, column| assert!(quantize_column(backend, operands, column)));
    let mut out = vec![0.0; columns * rows];
    let seconds = time(|| {
        let mut tile = Tile::new(black_box(&mut out), columns);
        (backend.kernels().matmul)(format, black_box(weights), x.columns(columns, COLS), &mut tile);
    });
    let gops = 2.0 * (rows * COLS * columns) as f64 / seconds / 1e9;
    let gbs = weights.len() as f64 / seconds / 1e9;
    println!("{:8} {:10} {columns:>7} {gops:>8.1} {gbs:>7.1}", format.name(), backend.name());
}

/// (ROWS, COLS) random codes, with scales and floats that are finite and not denormal: bit 14 of each pair of bytes that may be an f16 is
/// cleared.
fn weights(format: Format) -> Vec<u8> {
    let mut bytes = random_bytes(ROWS * format.row_bytes(COLS));
    bytes.iter_mut().for_each(|byte| *byte &= 0xbf);
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        match format {
            Format::F32 | Format::BF16 => *block.last_mut().expect("a block has bytes") = 0x3f,
            Format::MXFP4 => block[0] = 128,
            _ => {}
        }
    }
    bytes
}
