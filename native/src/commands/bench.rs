//! `picolm bench`: tokens per second, measured as `llama_decode` is: no sampling, no text.

use crate::cli::Bench;
use crate::model_file::{self, ModelFile};
use crate::stats::Rate;
use anyhow::{Result, ensure};
use picolm_core::session::{Engine, Feed, Session, Want};
use serde::Serialize;
use std::time::Instant;

#[derive(Serialize)]
struct Measured {
    threads: usize,
    /// Tokens per second of the prompt, in one call.
    prefill: f64,
    /// Tokens per second after it, one at a time.
    decode: f64,
}

pub(super) fn run(args: &Bench) -> Result<()> {
    ensure!(args.prompt > 0 && args.max_tokens > 0, "-p and -n must be 1 or more");
    let model = ModelFile::open(&args.model)?.model()?;
    let vocab = model.config.vocab as u64;
    let token = |n: u64| (n % vocab) as u32;
    let prompt: Vec<u32> = (0..args.prompt as u64).map(|i| token(300 + (i * 7919) % 20000)).collect();
    let mut measured = Vec::new();
    for &threads in &args.threads {
        let threads = usize::from(threads);
        let mut engine = model_file::engine(&model, args.backend.as_deref(), threads, args.batch)?;
        let mut session = Session::new(&model, args.prompt + args.max_tokens, args.kv.into())?;
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for run in 0..=args.runs {
            session.truncate(0);
            let (p, d) = measure(&mut engine, &mut session, &prompt, token(500), args.max_tokens)?;
            // Run 0 warms up.
            if run > 0 {
                prefill.push(p);
                decode.push(d);
            }
        }
        measured.push(Measured { threads, prefill: median(prefill), decode: median(decode) });
    }
    args.output.print(&measured, || table(&measured))
}

/// Tokens per second of the prompt, and of `n` tokens one by one after it.
fn measure(engine: &mut Engine, session: &mut Session, prompt: &[u32], token: u32, n: usize) -> Result<(f64, f64)> {
    let mut feed = |tokens: &[u32]| {
        engine.forward(&mut [Feed { session: &mut *session, tokens, want: Want::Last }], &mut |_, _, _| {})
    };
    let start = Instant::now();
    feed(prompt)?;
    let prefill = Rate { tokens: prompt.len(), time: start.elapsed() };
    let start = Instant::now();
    for _ in 0..n {
        feed(&[token])?;
    }
    Ok((prefill.per_second(), Rate { tokens: n, time: start.elapsed() }.per_second()))
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

fn table(measured: &[Measured]) -> String {
    let line = |m: &Measured| format!("{:7}  {:11.1}  {:11.1}", m.threads, m.prefill, m.decode);
    let head = "threads  prefill t/s   decode t/s".to_string();
    std::iter::once(head).chain(measured.iter().map(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn medians() {
        assert_eq!(super::median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(super::median(vec![1.5]), 1.5);
    }
}
