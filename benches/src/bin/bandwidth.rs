//! How fast this machine's memory can be read, by number of threads: the bound of decoding, which reads every weight for every token.
//!
//! ```text
//! cargo run --release -p picolm-benches --bin bandwidth [-- THREADS...]     {"1": 24.9, "2": 46.3}
//! ```
//! GB/s (10^9 bytes): the best of seven sequential passes over 1 GiB, more than any cache holds, in huge pages where the system has them.

use memmap2::MmapMut;
use multiversion::multiversion;
use std::hint::black_box;
use std::time::Instant;

const BYTES: usize = 1 << 30;
const PASSES: usize = 7;
/// A cache line.
type Line = [u64; 8];
/// Places a thread reads from in turn: one sequence alone does not keep a core's line buffers busy.
const STREAMS: usize = 4;

fn main() {
    let mut threads: Vec<usize> =
        std::env::args().skip(1).map(|n| n.parse().expect("numbers of threads: 1 2 4")).filter(|&n| n > 0).collect();
    if threads.is_empty() {
        threads = (1..=std::thread::available_parallelism().map_or(1, |n| n.get())).collect();
    }
    let mut memory = MmapMut::map_anon(BYTES).expect("1 GiB of memory");
    // Where there are none, small pages cost a little.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    memory.fill(1);
    let lines: &[Line] = bytemuck::cast_slice(&memory);
    let rates: Vec<String> = threads.into_iter().map(|n| format!("\"{n}\": {:.1}", best_rate(lines, n))).collect();
    println!("{{{}}}", rates.join(", "));
}

/// GB/s of `n` threads that read a part each.
fn best_rate(lines: &[Line], n: usize) -> f64 {
    let part = lines.len().div_ceil(n);
    let pass = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            lines.chunks(part).for_each(|part| _ = scope.spawn(|| black_box(sums(part))));
        });
        size_of_val(lines) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}

/// The sums of each stream's lines, in the widest registers there are: with narrow loads a core asks for too few lines at a time.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn sums(lines: &[Line]) -> [Line; STREAMS] {
    let mut sums = [[0u64; 8]; STREAMS];
    let stream = lines.len() / STREAMS;
    let streams: [&[Line]; STREAMS] = std::array::from_fn(|s| &lines[s * stream..][..stream]);
    for i in 0..stream {
        for s in 0..STREAMS {
            for word in 0..8 {
                sums[s][word] = sums[s][word].wrapping_add(streams[s][i][word]);
            }
        }
    }
    sums
}
