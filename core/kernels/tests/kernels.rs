//! Every backend against the reference by `==`, every format against gguf-py and against f64, on sizes around block edges.

mod common;

use common::backends;
use picolm_kernels::operand::{ColumnMut, span};
use picolm_kernels::team::{Solo, Tile, for_parts};
use picolm_kernels::{
    Activation, Activations, Backend, CHUNK, ChunkF16, ChunkQ8, Format, Gathered, Layout, Matrix, Operand, Operands,
    Queries, TILE, quantize_column,
};
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;

/// A small generator of test data (PCG-like), so that a failing case is named by its seed.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// About -4..4, sometimes 0, sometimes a thousand times larger.
    fn float(&mut self) -> f32 {
        let x = (self.bits() as f32 / u32::MAX as f32 - 0.5) * 8.0;
        match self.bits() % 16 {
            0 => 0.0,
            1 => x * 1000.0,
            _ => x,
        }
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    fn half(&mut self) -> u16 {
        half::f16::from_f32(self.float()).to_bits()
    }

    /// Random blocks: any codes, and floats and scales that are finite.
    fn weights(&mut self, format: Format, n: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..format.row_bytes(n)).map(|_| self.bits() as u8).collect();
        for block in bytes.chunks_exact_mut(format.block_bytes()) {
            let halves: &[usize] = match format {
                Format::F32 => {
                    block.copy_from_slice(&self.float().to_le_bytes());
                    &[]
                }
                Format::BF16 => {
                    block.copy_from_slice(&self.float().to_le_bytes()[2..]);
                    &[]
                }
                Format::MXFP4 => {
                    block[0] = 110 + block[0] % 32;
                    &[]
                }
                _ => scales(format),
            };
            for &at in halves {
                block[at..at + 2].copy_from_slice(&self.half().to_le_bytes());
            }
        }
        bytes
    }
}

/// Where a block has its f16 scales.
fn scales(format: Format) -> &'static [usize] {
    match format {
        Format::F32 | Format::BF16 | Format::MXFP4 => &[],
        Format::F16 | Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::IQ4_NL | Format::IQ4_XS => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q2_K => &[80, 82],
        Format::Q3_K => &[108],
        Format::Q6_K => &[208],
        Format::TQ1_0 => &[52],
        Format::TQ2_0 => &[64],
    }
}

/// `n` random columns, quantised by `backend`.
fn columns(random: &mut Random, backend: Backend, n: usize, len: usize, operand: Operand) -> Activations {
    quantized(&random.floats(n * len), backend, n, len, operand)
}

/// `x` as `n` columns, quantised by `backend`.
fn quantized(floats: &[f32], backend: Backend, n: usize, len: usize, operand: Operand) -> Activations {
    let operands = Operands::default().with(operand);
    let mut x = Activations::new(n * len, operands);
    x.floats.copy_from_slice(floats);
    for_parts(&Solo, x.parts(n, len), |_, column| assert!(quantize_column(backend, operands, column)));
    x
}

fn matmul(
    backend: Backend,
    format: Format,
    weights: &[u8],
    rows: usize,
    x: &Activations,
    n: usize,
    len: usize,
) -> Vec<u32> {
    let found = |layout, bytes| {
        let mut out = vec![f32::NAN; n * rows];
        let weights = Matrix { format, layout, cols: len, bytes };
        (backend.kernels().matmul)(weights, x.columns(n, len), &mut Tile::new(&mut out, n));
        out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let in_rows = found(Layout::Rows, weights);
    // NaN payloads are nobody's business.
    #[cfg(not(target_family = "wasm"))]
    assert_eq!(
        numbers(&found(Layout::Tiles, &packed(format, weights, rows, len))),
        numbers(&in_rows),
        "{} {} rows {rows} columns {n} length {len}: tiles",
        backend.name(),
        format.name()
    );
    in_rows
}

/// All but the bits of a NaN.
#[cfg(not(target_family = "wasm"))]
fn numbers(bits: &[u32]) -> Vec<Option<u32>> {
    bits.iter().map(|&b| (!f32::from_bits(b).is_nan()).then_some(b)).collect()
}

#[cfg(not(target_family = "wasm"))]
fn packed(format: Format, weights: &[u8], rows: usize, len: usize) -> Vec<u8> {
    // Whatever was there before is written over.
    let mut tiles = vec![0xa5; format.packed_bytes(rows, len)];
    format.pack(len, weights, &mut tiles);
    tiles
}

/// Every bit of every block is in its tile, and rows are found there as floats, too.
#[cfg(not(target_family = "wasm"))]
fn check_packed(seed: u64, format: Format, rows: usize, blocks: usize) {
    let mut random = Random(seed);
    let len = blocks * format.block_len();
    let weights: Vec<u8> = (0..format.row_bytes(rows * len)).map(|_| random.bits() as u8).collect();
    let tiles = packed(format, &weights, rows, len);
    let mut back = vec![0; weights.len()];
    format.unpack(len, &tiles, 0, &mut back);
    assert_eq!(back, weights, "{} rows {rows} blocks {blocks} seed {seed}", format.name());
    let finite = random.weights(format, rows * len);
    let tiles = packed(format, &finite, rows, len);
    let of = |layout, bytes| Matrix { format, layout, cols: len, bytes };
    for row in 0..rows {
        let (mut expected, mut found) = (vec![0.0; len], vec![1.0; len]);
        of(Layout::Rows, &finite).dequantize_row(row, &mut expected);
        of(Layout::Tiles, &tiles).dequantize_row(row, &mut found);
        assert_eq!(found, expected, "{} row {row} of {rows}", format.name());
    }
    if format.operand() != Operand::Float {
        assert!(tiles.len().is_multiple_of(64), "{}", format.name());
        let whole = of(Layout::Tiles, &tiles);
        let start = (rows - 1) / 16 * 16;
        assert_eq!(whole.rows(start..rows).bytes, &tiles[format.packed_bytes(start, len)..]);
    }
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn tiles_have_every_bit() {
    for &format in Format::ALL {
        for rows in [1, 2, 15, 16, 17, 31, 32, 33, 50] {
            for blocks in [1, 2, 3, 5] {
                check_packed(rows as u64, format, rows, blocks);
            }
        }
    }
}

fn check_matmul(seed: u64, format: Format, rows: usize, n: usize, blocks: usize) {
    let len = blocks * format.block_len().max(1);
    for backend in backends() {
        let mut random = Random(seed);
        let weights = random.weights(format, rows * len);
        let x = columns(&mut random, Backend::REFERENCE, n, len, format.operand());
        let expected = matmul(Backend::REFERENCE, format, &weights, rows, &x, n, len);
        let found = matmul(backend, format, &weights, rows, &x, n, len);
        assert_eq!(
            found,
            expected,
            "{} {} rows {rows} columns {n} length {len} seed {seed}",
            backend.name(),
            format.name()
        );
    }
}

#[test]
fn products_equal_the_reference_around_every_edge() {
    for &format in Format::ALL {
        for rows in [1, 2, 15, 16, 17, 33] {
            for n in 1..=10 {
                check_matmul(rows as u64 * 100 + n as u64, format, rows, n, 3);
            }
        }
        let lengths: &[usize] = if format.block_len() == 1 { &[1, 15, 16, 17, 31, 64] } else { &[1, 2, 5] };
        lengths.iter().for_each(|&blocks| check_matmul(7, format, 19, 3, blocks));
        // Longer than a strip.
        check_matmul(8, format, 17, 20, 37);
    }
}

#[cfg(not(target_family = "wasm"))]
proptest! {
    #[test]
    fn any_blocks_are_found_again(seed: u64, f in 0..Format::ALL.len(), rows in 1usize..70, blocks in 1usize..6) {
        check_packed(seed, Format::ALL[f], rows, blocks);
    }
}

proptest! {
    #[test]
    fn products_equal_the_reference(seed: u64, f in 0..Format::ALL.len(), rows in 1usize..40, n in 1usize..12, blocks in 1usize..9) {
        check_matmul(seed, Format::ALL[f], rows, n, blocks);
    }

    #[test]
    fn quantised_columns_equal_the_reference(seed: u64, blocks in 1usize..6, wide: bool, tiny: bool) {
        let block = if wide { 256 } else { 32 };
        let mut x = Random(seed).floats(blocks * block);
        if tiny {
            x.iter_mut().for_each(|x| *x *= 1e-42); // scales that are denormal or vanish
        }
        let run = |backend: Backend| {
            let (mut qs, mut scales) = (vec![99i8; x.len()], vec![9.0f32; blocks]);
            let mut sums = vec![99i16; x.len() / span(block)];
            let column = ColumnMut { qs: &mut qs, scales: &mut scales, sums: &mut sums };
            assert!((backend.kernels().quantize)(&x, block, column));
            (qs, scales.iter().map(|s| s.to_bits()).collect::<Vec<_>>(), sums)
        };
        let expected = run(Backend::REFERENCE);
        for backend in backends() {
            prop_assert_eq!(run(backend), expected.clone());
        }
    }

    #[test]
    fn norms_activations_and_halves_equal_the_reference(seed: u64, n in 1usize..70) {
        let mut random = Random(seed);
        let (x, w) = (random.floats(n), random.floats(n));
        let run = |backend: Backend| {
            let kernels = backend.kernels();
            let (mut floats, mut halves) = (vec![0.0; 7 * n], vec![0; n]);
            let [norm, layer_norm, silu, gelu, silu_up, gelu_up, capped] = floats.chunks_exact_mut(n).collect::<Vec<_>>().try_into().expect("7");
            (kernels.rms_norm)(&x, &w, 1e-5, norm);
            (kernels.layer_norm)(&x, &w, &x, 1e-5, layer_norm);
            (kernels.activate)(Activation::Silu, &x, None, silu);
            (kernels.activate)(Activation::Gelu, &x, None, gelu);
            (kernels.activate)(Activation::Silu, &x, Some(&w), silu_up);
            (kernels.activate)(Activation::Gelu, &x, Some(&w), gelu_up);
            capped.copy_from_slice(&x);
            (kernels.soft_cap)(capped, 30.0);
            (kernels.to_f16)(&x, &mut halves);
            (floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), halves)
        };
        let expected = run(Backend::REFERENCE);
        for backend in backends() {
            prop_assert_eq!(run(backend), expected.clone());
        }
    }

    #[test]
    fn attention_equals_the_reference(
        seed: u64,
        tokens in 1usize..5,
        heads in 1usize..7,
        dim in 1usize..70,
        q8: bool,
        capped: bool,
        ends in prop::collection::vec((0usize..CHUNK, 1usize..=CHUNK), 1..4),
    ) {
        let shape = Shape { tokens, heads, dim, cap: capped.then_some(5.0) };
        let expected = attend(Backend::REFERENCE, seed, shape, q8, &ends);
        for backend in backends() {
            prop_assert_eq!(attend(backend, seed, shape, q8, &ends), expected.clone());
        }
    }
}

#[derive(Clone, Copy)]
struct Shape {
    tokens: usize,
    heads: usize,
    dim: usize,
    cap: Option<f32>,
}

/// Attention over chunks of random keys and values, of which `ends` says what the first token sees: (start, length); each later token
/// sees one more at the end and, in every second, one less at the start. The bits of the state.
fn attend(backend: Backend, seed: u64, shape: Shape, q8: bool, ends: &[(usize, usize)]) -> Vec<u32> {
    let mut random = Random(seed);
    let Shape { tokens, heads, dim, cap } = shape;
    let (padded, rows) = (dim.next_multiple_of(if q8 { 32 } else { 16 }), tokens * heads);
    // Heads of other keys and values lie between a token's and the next's.
    let stride = (heads + 1) * dim;
    let q = random.floats(tokens * stride);
    let queries = Queries { q: &q, stride, heads, head_dim: dim, scale: 0.125, cap };
    let (mut max, mut sum, mut out) = (vec![f32::NEG_INFINITY; rows], vec![0.0; rows], vec![0.0; rows * padded]);
    for &(start, length) in ends {
        let end = (start + length).min(CHUNK);
        let visible: Vec<_> = (0..tokens).map(|t| (start + t / 2).min(end - 1)..(end + t).min(CHUNK)).collect();
        let mut state = Gathered { max: &mut max, sum: &mut sum, out: &mut out };
        let halves = |random: &mut Random, n: usize| -> Vec<u16> { (0..n).map(|_| random.half()).collect() };
        let codes =
            |random: &mut Random, n: usize| -> Vec<i8> { (0..n).map(|_| (random.bits() % 255) as i8).collect() };
        let codes =
            |random: &mut Random, n: usize| -> Vec<i8> { codes(random, n).iter().map(|&c| c.max(-127)).collect() };
        if q8 {
            let (keys, values) = (codes(&mut random, CHUNK * padded), codes(&mut random, CHUNK * padded));
            let key_scales = halves(&mut random, CHUNK * padded / 32);
            let value_scales = halves(&mut random, CHUNK * padded / 32);
            let chunk = ChunkQ8 { keys: &keys, key_scales: &key_scales, values: &values, value_scales: &value_scales };
            (backend.kernels().attend_q8)(&queries, &chunk, &visible, &mut state);
        } else {
            let (keys, values) = (halves(&mut random, CHUNK * dim), halves(&mut random, CHUNK * padded));
            assert_eq!(keys.len(), CHUNK / TILE * dim * TILE);
            (backend.kernels().attend_f16)(&queries, &ChunkF16 { keys: &keys, values: &values }, &visible, &mut state);
        }
    }
    max.iter().chain(&sum).chain(&out).map(|x| x.to_bits()).collect()
}

/// WebAssembly has no instruction for these: every f16, and the f32 at and next to where rounding to f16 changes.
#[test]
fn halves_of_every_kind_equal_the_reference() {
    let halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let (rows, one) = (halves.len() / 2, columns_of_ones());
    let finite = |bits: Vec<u32>| -> Vec<Option<u32>> {
        bits.into_iter().map(|b| (!f32::from_bits(b).is_nan()).then_some(b)).collect()
    };
    let expected = finite(matmul(Backend::REFERENCE, Format::F16, &halves, rows, &one, 1, 1));
    let edges: Vec<f32> = (0..=0x7c00u16)
        .flat_map(|bits| {
            let (low, high) = (half::f16::from_bits(bits).to_f32(), half::f16::from_bits(bits + 1).to_f32());
            let middle = if high.is_finite() { low + (high - low) / 2.0 } else { low * 1.000_244_2 };
            [low, middle].map(f32::to_bits).into_iter().flat_map(|b| [b.saturating_sub(1), b, b + 1])
        })
        .flat_map(|bits| [bits, bits | 1 << 31].map(f32::from_bits))
        .filter(|x| !x.is_nan())
        .collect();
    let to_f16 = |backend: Backend| {
        let mut out = vec![0; edges.len()];
        (backend.kernels().to_f16)(&edges, &mut out);
        out
    };
    for backend in backends() {
        let found = matmul(backend, Format::F16, &halves, rows, &one, 1, 1);
        assert_eq!(finite(found), expected, "{}", backend.name());
        assert_eq!(to_f16(backend), to_f16(Backend::REFERENCE), "{}", backend.name());
    }
}

/// One column of one value, 1.
fn columns_of_ones() -> Activations {
    quantized(&[1.0], Backend::REFERENCE, 1, 1, Operand::Float)
}

/// Each side rounds activations in its own way when compared with llama.cpp, which hides small faults; here both have the same
/// quantised operands, so that only the float chain differs.
#[test]
fn dots_are_within_1e_5_of_f64() {
    for &format in Format::ALL {
        let (rows, n, len) = (16, 3, 8 * format.block_len().max(32));
        for backend in backends() {
            let mut random = Random(5);
            let weights = random.weights(format, rows * len);
            let x = columns(&mut random, backend, n, len, format.operand());
            let found = matmul(backend, format, &weights, rows, &x, n, len);
            assert_near_f64(backend, format, &weights, &x, n, len, &found);
        }
    }
}

/// The integers of a kernel must be exact for any block a file may hold: codes, integer scales and minima at their ends, in runs of
/// 16 bytes, with activations of ±127 only.
#[test]
fn products_of_extreme_codes_are_exact() {
    for &format in Format::ALL.iter().filter(|f| f.operand() != Operand::Float) {
        let (rows, n, len) = (64, 5, 2 * format.block_len());
        let mut random = Random(3);
        let mut weights = vec![0; format.row_bytes(rows * len)];
        for (b, block) in weights.chunks_exact_mut(format.block_bytes()).enumerate() {
            for run in block.chunks_mut(16) {
                // The first blocks have one value throughout, the others one a run.
                let choice = if b < 8 { b as u32 } else { random.bits() >> 8 };
                run.fill([0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0, 0x55, 0xaa][choice as usize % 8]);
            }
            scales(format).iter().for_each(|&at| block[at..at + 2].copy_from_slice(&[0x00, 0x3c]));
            if format == Format::MXFP4 {
                block[0] = 128;
            }
        }
        // A column with one sign, one with the other, and some in which it changes.
        let sign =
            |i: usize, c: usize| if i & [0, 0, 1, 2, 16][c] == 0 { [1.0, -1.0][c % 2] } else { [-1.0, 1.0][c % 2] };
        let x: Vec<f32> = (0..n * len).map(|i| sign(i % len, i / len)).collect();
        let x = quantized(&x, Backend::REFERENCE, n, len, format.operand());
        for c in 0..n {
            let columns = x.columns(n, len);
            let [column] = if format.operand() == Operand::Wide { columns.wide(c) } else { columns.narrow(c) };
            assert!(column.qs.iter().all(|q| q.abs() == 127));
        }
        let expected = matmul(Backend::REFERENCE, format, &weights, rows, &x, n, len);
        for backend in backends() {
            let found = matmul(backend, format, &weights, rows, &x, n, len);
            assert_eq!(found, expected, "{} {}", backend.name(), format.name());
            assert_near_f64(backend, format, &weights, &x, n, len, &found);
        }
    }
}

/// `found` (n, rows) within 1e-5 of the f64 dots of the dequantised weights and the columns as they were quantised.
fn assert_near_f64(
    backend: Backend,
    format: Format,
    weights: &[u8],
    x: &Activations,
    n: usize,
    len: usize,
    found: &[u32],
) {
    let rows = found.len() / n;
    let mut w = vec![0.0; rows * len];
    format.dequantize(weights, &mut w);
    for c in 0..n {
        let x = operand(x, n, len, c, format.operand());
        for r in 0..rows {
            let terms: Vec<f64> = w[r * len..][..len].iter().zip(&x).map(|(&w, x)| f64::from(w) * x).collect();
            let (dot, size) = (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
            let error = (f64::from(f32::from_bits(found[c * rows + r])) - dot).abs();
            assert!(error <= 1e-5 * size, "{} {} row {r}: {error} of {size}", backend.name(), format.name());
        }
    }
}

/// A file may hold any exponent: 2^-128 is a denormal, 2^127 (where OCP's standard has a NaN) times 12 is not finite.
#[test]
fn every_exponent_of_mxfp4_is_a_power_of_two() {
    const TWICE: [f64; 16] = [0., 1., 2., 3., 4., 6., 8., 12., -0., -1., -2., -3., -4., -6., -8., -12.];
    let format = Format::MXFP4;
    let blocks: Vec<u8> = (0..=255u8)
        .flat_map(|e| core::iter::once(e).chain((0..16).map(move |i: u8| (i << 4 | i).wrapping_add(e % 2))))
        .collect();
    let mut found = vec![0.0; 256 * 32];
    format.dequantize(&blocks, &mut found);
    for (e, (block, found)) in blocks.chunks(17).zip(found.chunks(32)).enumerate() {
        for (i, found) in found.iter().enumerate() {
            let nibble = block[1 + i % 16] >> (4 * (i / 16)) & 15;
            let power = f64::from_bits((e as u64 + 1023 - 128) << 52);
            let expected = (TWICE[usize::from(nibble)] * power) as f32;
            assert_eq!(*found, expected, "exponent {e}, nibble {nibble}");
        }
    }
    // Sixteen rows of sixteen blocks; the columns' scales are large, about 1 and tiny.
    let mut random = Random(1);
    let x: Vec<f32> = (0..3 * 512).map(|i| random.float() * [1e30, 1.0, 1e-30][i / 512]).collect();
    let x = quantized(&x, Backend::REFERENCE, 3, 512, Operand::Narrow);
    let run = |backend: Backend| -> Vec<Option<u32>> {
        let bits = matmul(backend, format, &blocks, 16, &x, 3, 512);
        bits.iter().map(|&b| (!f32::from_bits(b).is_nan()).then_some(b)).collect()
    };
    let expected = run(Backend::REFERENCE);
    assert!(expected.iter().any(|b| b.is_none_or(|b| !f32::from_bits(b).is_finite())), "nothing overflowed");
    for backend in backends() {
        assert_eq!(run(backend), expected, "{}", backend.name());
    }
}

/// Column `c` as the kernels see it: codes times scales, or the floats.
fn operand(x: &Activations, n: usize, len: usize, c: usize, operand: Operand) -> Vec<f64> {
    let columns = x.columns(n, len);
    let (column, block) = match operand {
        Operand::Float => return columns.floats(c).iter().map(|&x| x.into()).collect(),
        Operand::Narrow => (columns.narrow::<1>(c)[0], 32),
        Operand::Wide => (columns.wide::<1>(c)[0], 256),
    };
    column.qs.iter().enumerate().map(|(i, &q)| f64::from(q) * f64::from(column.scales[i / block])).collect()
}

/// The vectors are gguf-py's, see `vectors/make_vectors.py`.
#[test]
fn dequantised_blocks_are_gguf_pys_to_the_bit() {
    let unhex = |value: &Value| -> Vec<u8> {
        let text = value.as_str().expect("hex");
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
    };
    for &format in Format::ALL.iter().filter(|&&f| f != Format::F32) {
        let name = format!("{}.json", format.name().to_lowercase());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let vectors: Value = serde_json::from_slice(&text).expect("JSON");
        let blocks = unhex(&vectors["blocks_hex"]);
        let expected: Vec<u32> =
            unhex(&vectors["f32_hex"]).as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        let mut found = vec![0.0; expected.len()];
        assert_eq!(blocks.len(), format.row_bytes(found.len()), "{}", format.name());
        format.dequantize(&blocks, &mut found);
        let found: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
        assert_eq!(found, expected, "{}", format.name());
    }
}

#[test]
fn a_value_that_is_not_finite_is_refused() {
    for backend in backends() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for operand in [Operand::Float, Operand::Narrow, Operand::Wide] {
                let operands = Operands::default().with(operand);
                let mut x = Activations::new(256, operands);
                x.floats[100] = bad;
                for_parts(&Solo, x.parts(1, 256), |_, column| {
                    assert!(!quantize_column(backend, operands, column), "{} {bad} {operand:?}", backend.name());
                });
            }
        }
    }
}
