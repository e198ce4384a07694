//! `picolm bench`: tokens per second, measured as `llama_decode` is: no sampling, no text.
//!
//! With `--on-demand` another program sets the pace (`cargo xtask bench`, which alternates with llama.cpp). After the warm-up we say
//! what we are, then each line that comes in is answered by one run:
//!
//! ```text
//!   ◄── {"backend": "avx2", "bytes_per_token": 98123456}
//!   ──► (a line)
//!   ◄── {"prefill": 1234.5, "decode": 123.4, "own_memory": 12345678}
//! ```

use crate::cli::Bench;
use crate::engine::{self, checked};
use crate::stats::Rate;
use anyhow::{Result, bail, ensure};
use picolm_core::kernels::CHUNK;
use picolm_core::model::Model;
use picolm_core::session::{Executor, Feed, KvType, Session, Want};
use picolm_machine::{ModelFile, memory};
use serde::Serialize;
use serde_json::json;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
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
    let file = ModelFile::open(&args.model)?;
    let most = args.threads.iter().copied().max().map_or(1, usize::from);
    let model = engine::ready(&file, args.pack, most)?;
    if args.on_demand {
        return on_demand(args, &file, &model);
    }
    let mut measured = Vec::new();
    for &threads in &args.threads {
        let threads = usize::from(threads);
        let mut runner = Runner::new(args, &file, &model, threads)?;
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for _ in 0..args.runs {
            let (p, d) = runner.run()?;
            prefill.push(p);
            decode.push(d);
        }
        measured.push(Measured { threads, prefill: median(prefill), decode: median(decode) });
    }
    args.output.print(&measured, || table(&measured))
}

/// Runs when it is told to, until standard input ends.
fn on_demand(args: &Bench, file: &ModelFile, model: &Arc<Model>) -> Result<()> {
    let &[threads] = &args.threads[..] else { bail!("--on-demand needs one number of threads: -j N") };
    let mut runner = Runner::new(args, file, model, threads.into())?;
    let bytes_per_token = bytes_per_token(model, args.prompt, args.max_tokens, args.kv.into());
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "backend": runner.engine.backend().name(), "bytes_per_token": bytes_per_token }))?;
    for line in io::stdin().lock().lines() {
        line?;
        let (prefill, decode) = runner.run()?;
        writeln!(out, "{}", json!({ "prefill": prefill, "decode": decode, "own_memory": memory::anonymous() }))?;
    }
    Ok(())
}

/// One model, team and session, run again and again.
struct Runner<'a> {
    file: &'a ModelFile,
    engine: Executor,
    session: Session,
    prompt: Vec<u32>,
    /// What is fed after the prompt, and how often.
    token: u32,
    n: usize,
}

impl<'a> Runner<'a> {
    /// Warmed up: the weights are in memory, the buffers touched, the threads started.
    fn new(args: &Bench, file: &'a ModelFile, model: &Arc<Model>, threads: usize) -> Result<Self> {
        let vocab = model.config.vocab as u64;
        let token = |n: u64| (n % vocab) as u32;
        let mut runner = Runner {
            file,
            engine: engine::engine(model, args.backend.as_deref(), threads, args.batch)?,
            session: Session::new(model, args.prompt + args.max_tokens, args.kv.into())?,
            prompt: (0..args.prompt as u64).map(|i| token(300 + (i * 7919) % 20000)).collect(),
            token: token(500),
            n: args.max_tokens,
        };
        runner.run()?;
        Ok(runner)
    }

    /// Tokens per second of the prompt, and of the tokens one by one after it.
    fn run(&mut self) -> Result<(f64, f64)> {
        let measured = self.measure();
        checked(self.file, measured)
    }

    fn measure(&mut self) -> Result<(f64, f64)> {
        self.session.rewind(0);
        let (engine, session) = (&mut self.engine, &mut self.session);
        let mut feed = |tokens: &[u32]| {
            engine.forward(&mut [Feed { session: &mut *session, tokens, want: Want::Last }], &mut |_, _, _| {})
        };
        let start = Instant::now();
        feed(&self.prompt)?;
        let prefill = Rate { tokens: self.prompt.len(), time: start.elapsed() };
        let start = Instant::now();
        for _ in 0..self.n {
            feed(&[self.token])?;
        }
        let decode = Rate { tokens: self.n, time: start.elapsed() };
        Ok((prefill.per_second(), decode.per_second()))
    }
}

/// What decoding must read for a token, whoever does it: the weights, and the keys and values of all positions it sees, of which
/// there are more with each of the `n` tokens (the mean counts).
fn bytes_per_token(model: &Model, prompt: usize, n: usize, kv: KvType) -> u64 {
    let per_position = Session::memory_for(model, CHUNK, kv) / (CHUNK * model.layers.len()) as u64;
    let seen = |position: usize| {
        model.config.windows.iter().map(|window| window.unwrap_or(usize::MAX).min(position) as u64).sum::<u64>()
    };
    model.weight_bytes() + (prompt + 1..=prompt + n).map(seen).sum::<u64>() * per_position / n as u64
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
