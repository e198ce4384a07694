//! Speed of the matrix kernels: GOP/s (a multiply and an add are two) and GB/s of weights, per format, backend and number of columns.
//!
//! ```text
//! cargo run --release -p picolm-benches [-- FORMAT]
//! ```
//! One thread, a matrix of 1536 x 1536 that stays in the L2 cache, medians of seven runs. Random bytes stand in for codes; scales are 1.

use picolm::cpu;
use picolm_core::kernels::{Activations, Backend, Format, Operands, quantize_column};
use picolm_core::team::{Solo, Tile, for_parts};
use std::hint::black_box;
use std::time::Instant;

const ROWS: usize = 1536;
const COLS: usize = 1536;

fn main() {
    let only = std::env::args().nth(1);
    println!("{:8} {:10} {:>7} {:>8} {:>7}", "format", "backend", "columns", "GOP/s", "GB/s");
    for &format in Format::ALL.iter().filter(|f| only.as_deref().is_none_or(|o| o.eq_ignore_ascii_case(f.name()))) {
        for backend in Backend::all(cpu::detect()) {
            for columns in [1, 4, 64] {
                let seconds = time(format, backend, columns);
                let gops = 2.0 * (ROWS * COLS * columns) as f64 / seconds / 1e9;
                let gbs = (ROWS * format.row_bytes(COLS)) as f64 / seconds / 1e9;
                println!("{:8} {:10} {columns:>7} {gops:>8.1} {gbs:>7.1}", format.name(), backend.name());
            }
        }
    }
}

/// Seconds of one product: the median of seven runs of about 50 ms each.
fn time(format: Format, backend: Backend, columns: usize) -> f64 {
    let weights = weights(format);
    let operands = Operands::default().with(format.operand());
    let mut x = Activations::new(columns * COLS, operands);
    x.floats.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 251) as f32 - 125.0);
    for_parts(&Solo, x.parts(columns, COLS), |_, column| assert!(quantize_column(backend, operands, column)));
    let mut out = vec![0.0; columns * ROWS];
    let mut run = |n: usize| {
        let start = Instant::now();
        for _ in 0..n {
            let mut tile = Tile::new(black_box(&mut out), columns);
            (backend.kernels().matmul)(format, black_box(&weights), x.columns(columns, COLS), &mut tile);
        }
        start.elapsed().as_secs_f64() / n as f64
    };
    let repeats = (0.05 / run(1)).max(1.0) as usize;
    let mut runs: Vec<f64> = (0..7).map(|_| run(repeats)).collect();
    runs.sort_by(f64::total_cmp);
    runs[3]
}

/// Random codes, with scales and floats that are finite and not denormal: bit 14 of each pair of bytes that may be an f16 is cleared.
fn weights(format: Format) -> Vec<u8> {
    let mut state = 1u32;
    let mut bytes: Vec<u8> = (0..ROWS * format.row_bytes(COLS))
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0xbf
        })
        .collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        match format {
            Format::F32 | Format::BF16 => *block.last_mut().expect("a block has bytes") = 0x3f,
            Format::MXFP4 => block[0] = 128,
            _ => {}
        }
    }
    bytes
}
