//! Speed of the kernels on one thread, by backend.
//!
//! ```text
//! cargo run --release -p picolm-benches [-- WHAT...] [--backend NAME] [--from-memory]
//!   WHAT            a format of weights, or `attention` [default: everything]
//!   --backend       one backend only
//!   --from-memory   one column and a matrix of 1 GiB, larger than caches: what decoding does. The reference only if it is named
//! ```
//! Integer formats as in a file and packed. Medians of seven runs of about 50 ms. How fast memory itself is, `--bin bandwidth` says; whole models, `cargo xtask bench`.

mod attention;
mod matmul;

use picolm_core::kernels::{Backend, Format};
use picolm_machine::cpu;
use std::process::ExitCode;
use std::time::Instant;

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    /// Formats, or "attention", in lower case; all if there are none.
    what: Vec<String>,
    backend: Option<String>,
    from_memory: bool,
}

fn main() -> ExitCode {
    match Asked::parse(std::env::args().skip(1)) {
        Ok(asked) => {
            run(&asked);
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &Asked) {
    let formats: Vec<Format> = Format::ALL.iter().copied().filter(|format| asked.wants(format.name())).collect();
    if !formats.is_empty() {
        let measure = if asked.from_memory { matmul::from_memory } else { matmul::from_cache };
        matmul::print_head();
        formats.iter().for_each(|&format| asked.backends().for_each(|backend| measure(format, backend)));
    }
    if asked.wants("attention") && !asked.from_memory {
        attention::print_head();
        asked.backends().for_each(attention::measure);
    }
}

impl Asked {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--backend" => asked.backend = Some(args.next().ok_or("--backend needs a name")?),
                "--from-memory" => asked.from_memory = true,
                "--bench" => {} // cargo bench says it
                what => asked.what.push(what.to_lowercase()),
            }
        }
        let known =
            |what: &String| what == "attention" || Format::ALL.iter().any(|f| f.name().eq_ignore_ascii_case(what));
        if let Some(what) = asked.what.iter().find(|what| !known(what)) {
            return Err(format!("{what:?} is neither a format nor `attention`"));
        }
        match asked.backends().count() {
            0 => Err(format!("this machine has no backend {:?}", asked.backend.unwrap_or_default())),
            _ => Ok(asked),
        }
    }

    fn wants(&self, what: &str) -> bool {
        self.what.is_empty() || self.what.iter().any(|asked| asked.eq_ignore_ascii_case(what))
    }

    fn backends(&self) -> impl Iterator<Item = Backend> {
        cpu::backends().into_iter().filter(|backend| match &self.backend {
            Some(name) => backend.name() == name,
            None => !self.from_memory || backend.name() != Backend::REFERENCE.name(),
        })
    }
}

/// Seconds that `work` takes: the median of seven runs of about 50 ms each.
fn time(mut work: impl FnMut()) -> f64 {
    let mut run = |n: usize| {
        let start = Instant::now();
        (0..n).for_each(|_| work());
        start.elapsed().as_secs_f64() / n as f64
    };
    let repeats = (0.05 / run(1)).max(1.0) as usize;
    let mut runs: [f64; 7] = std::array::from_fn(|_| run(repeats));
    runs.sort_by(f64::total_cmp);
    runs[3]
}

/// Pseudo-random bytes: the same in every run.
fn random_bytes(n: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..n).map(next).collect()
}
