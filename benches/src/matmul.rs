//! Matrix products: GOP/s (a multiply and an add are two) and GB/s of weights, by format, layout and number of columns.

use crate::{random_bytes, time};
use memmap2::MmapMut;
use picolm_core::kernels::{Activations, Backend, Format, Layout, Matrix, Operand, Operands, quantize_column};
use picolm_core::team::{Solo, Tile, for_parts};
use std::hint::black_box;

/// Inputs, and rows of a matrix that stays in the L2 cache.
const COLS: usize = 1536;
const ROWS: usize = 1536;
/// Bytes of one that stays in no cache.
const BEYOND_CACHES: usize = 1 << 30;

pub fn print_head() {
    println!("{:8} {:6} {:12} {:>7} {:>8} {:>7}", "format", "layout", "backend", "columns", "GOP/s", "GB/s");
}

/// A line for each layout and number of columns.
pub fn from_cache(format: Format, backend: Backend) {
    let weights = weights(format);
    for layout in layouts(format) {
        let laid_out = laid_out(format, layout, &weights);
        [1, 2, 4, 8, 64].into_iter().for_each(|columns| measure(format, layout, backend, &laid_out, columns));
    }
}

/// A line for each layout: one column, the weights from memory, in huge pages where the system has them.
pub fn from_memory(format: Format, backend: Backend) {
    let weights = weights(format);
    for layout in layouts(format) {
        let laid_out = laid_out(format, layout, &weights);
        let repeats = BEYOND_CACHES / laid_out.len();
        let mut memory = MmapMut::map_anon(repeats * laid_out.len()).expect("1 GiB of memory");
        // Where there are none, small pages cost a little.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        memory.chunks_exact_mut(laid_out.len()).for_each(|copy| copy.copy_from_slice(&laid_out));
        measure(format, layout, backend, &memory, 1);
    }
}

/// As in a file, and packed, where that is something else.
fn layouts(format: Format) -> impl Iterator<Item = Layout> {
    let packed = (format.operand() != Operand::Float).then_some(Layout::Tiles);
    [Layout::Rows].into_iter().chain(packed)
}

fn laid_out(format: Format, layout: Layout, rows: &[u8]) -> Vec<u8> {
    match layout {
        Layout::Rows => rows.to_vec(),
        Layout::Tiles => {
            let mut tiles = vec![0; format.packed_bytes(ROWS, COLS)];
            format.pack(COLS, rows, &mut tiles);
            tiles
        }
    }
}

/// `weights` is (ROWS, COLS), once or more often.
fn measure(format: Format, layout: Layout, backend: Backend, weights: &[u8], columns: usize) {
    let bytes_of_rows = match layout {
        Layout::Rows => format.row_bytes(ROWS * COLS),
        Layout::Tiles => format.packed_bytes(ROWS, COLS),
    };
    let rows = weights.len() / bytes_of_rows * ROWS;
    let operands = Operands::default().with(format.operand());
    let mut x = Activations::new(columns * COLS, operands);
    x.floats.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 251) as f32 - 125.0);
    for_parts(&Solo, x.parts(columns, COLS), |_, column| assert!(quantize_column(backend, operands, column)));
    let mut out = vec![0.0; columns * rows];
    let seconds = time(|| {
        let mut tile = Tile::new(black_box(&mut out), columns);
        let weights = Matrix { format, layout, cols: COLS, bytes: black_box(weights) };
        (backend.kernels().matmul)(weights, x.columns(columns, COLS), &mut tile);
    });
    let gops = 2.0 * (rows * COLS * columns) as f64 / seconds / 1e9;
    let gbs = weights.len() as f64 / seconds / 1e9;
    let layout = if layout == Layout::Rows { "rows" } else { "tiles" };
    println!("{:8} {layout:6} {:12} {columns:>7} {gops:>8.1} {gbs:>7.1}", format.name(), backend.name());
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
