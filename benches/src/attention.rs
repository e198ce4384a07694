//! Attention of one token in one layer of TinyLlama's shape, after some positions: time, GOP/s, and GB/s of keys and values.

use crate::{random_bytes, time};
use picolm_core::kernels::{Backend, CHUNK, ChunkF16, ChunkQ8, Gathered, Queries};
use std::hint::black_box;

const HEADS: usize = 32;
const KV_HEADS: usize = 4;
const DIM: usize = 64;
/// Query heads that share a key/value head.
const GROUP: usize = HEADS / KV_HEADS;
/// Values of one key/value head's chunk, keys or values.
const CHUNK_VALUES: usize = CHUNK * DIM;

pub fn print_head() {
    println!("\n{:9} {:10} {:>9} {:>8} {:>8} {:>7}", "attention", "backend", "positions", "µs", "GOP/s", "GB/s");
}

/// A line for each type of cache and number of positions.
pub fn measure(backend: Backend) {
    for positions in [256, 2000] {
        let cache = f16_cache(positions);
        let attend = |q: &Queries<'_>, i: usize, visible: usize, state: &mut Gathered<'_>| {
            let [keys, values] = cache.each_ref().map(|halves| &halves[i * CHUNK_VALUES..][..CHUNK_VALUES]);
            (backend.kernels().attend_f16)(q, &ChunkF16 { keys, values }, &[0..visible; 1], state);
        };
        report("f16", 2.0, backend, positions, attend);

        let codes = q8_cache(positions);
        // 2^-7: a head's values within ±1, as in f16.
        let scales = vec![0x2000; CHUNK_VALUES / 32];
        let attend = |q: &Queries<'_>, i: usize, visible: usize, state: &mut Gathered<'_>| {
            let [keys, values] = codes.each_ref().map(|codes| &codes[i * CHUNK_VALUES..][..CHUNK_VALUES]);
            let chunk = ChunkQ8 { keys, key_scales: &scales, values, value_scales: &scales };
            (backend.kernels().attend_q8)(q, &chunk, &[0..visible; 1], state);
        };
        report("q8_0", 34.0 / 32.0, backend, positions, attend);
    }
}

/// Times all heads over all chunks; `attend` takes the number of a chunk among those of all heads.
fn report(
    kv: &str,
    bytes_per_value: f64,
    backend: Backend,
    positions: usize,
    attend: impl Fn(&Queries<'_>, usize, usize, &mut Gathered<'_>),
) {
    let q: Vec<f32> = random_bytes(GROUP * DIM).into_iter().map(|byte| f32::from(byte) / 128.0 - 1.0).collect();
    let queries = Queries { q: &q, stride: q.len(), heads: GROUP, head_dim: DIM, scale: 0.125, cap: None };
    let (mut max, mut sum, mut out) = ([0.0; GROUP], [0.0; GROUP], [0.0; GROUP * DIM]);
    let chunks = positions.div_ceil(CHUNK);
    let seconds = time(|| {
        for head in 0..KV_HEADS {
            max.fill(f32::NEG_INFINITY);
            sum.fill(0.0);
            out.fill(0.0);
            let mut state = Gathered { max: &mut max, sum: &mut sum, out: &mut out };
            for chunk in 0..chunks {
                let visible = CHUNK.min(positions - chunk * CHUNK);
                attend(black_box(&queries), head * chunks + chunk, visible, &mut state);
            }
            black_box(&mut out);
        }
    });
    let gops = 4.0 * (HEADS * DIM * positions) as f64 / seconds / 1e9;
    let gbs = bytes_per_value * (2 * KV_HEADS * DIM * positions) as f64 / seconds / 1e9;
    println!("{kv:9} {:10} {positions:>9} {:>8.1} {gops:>8.1} {gbs:>7.1}", backend.name(), seconds * 1e6);
}

/// Keys and values of all heads' chunks: random halves between -1 and 1.
fn f16_cache(positions: usize) -> [Vec<u16>; 2] {
    let bytes = random_bytes(2 * values(positions));
    let halves: Vec<u16> = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair) & 0xbbff).collect();
    [halves.clone(), halves]
}

/// Keys and values of all heads' chunks: random codes.
fn q8_cache(positions: usize) -> [Vec<i8>; 2] {
    let codes: Vec<i8> = random_bytes(values(positions)).into_iter().map(|byte| (byte as i8).max(-127)).collect();
    [codes.clone(), codes]
}

fn values(positions: usize) -> usize {
    KV_HEADS * positions.div_ceil(CHUNK) * CHUNK_VALUES
}
