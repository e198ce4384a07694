//! `cargo xtask bench`: picolm and llama.cpp on the same models, in turn.
//!
//! Machines drift: a figure from yesterday, or from a minute ago, says little. So both engines are loaded, one process each, and
//! make their runs alternately, and the ratios hold, if nobody else needs the processors (`machine.rs`).
//!
//! ```text
//!   models ──► for each, and each number of threads:   Engine picolm  ◄─ a line ─┐
//!                                                      Engine llama.cpp ◄────────┴─ in turn ──► Case ──► table, JSON, plot
//! ```

mod engine;
mod machine;
mod plot;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::{cache_dir, cargo, output, python, root, run as run_program, succeeds, target_dir};
use crate::{fetch, witness};
use engine::{Engine, Run};
use machine::Ticks;
use report::Report;

pub(crate) const HELP: &str = "\
cargo xtask bench                    time picolm, and llama.cpp beside it, in tokens per second
    --models FILE...                 GGUF files [default: the model of `chat`]
    --shapes                         as well: files with random weights in the shapes of SmolLM2, TinyLlama and Qwen3
    --threads 1,2  --runs 5          numbers of threads; runs, of which medians count
    --prompt 256  --gen 64           tokens of the prompt, fed in one go; tokens after it, one at a time
    --bandwidth                      measure how fast memory can be read, and say how much of that decoding uses
    --python FILE                    the Python that has llama-cpp-python [default: python3]
    --json FILE  --svg FILE          all runs; a plot
    --readme                         write table and plot into README.md and docs/speed.svg";

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    models: Vec<PathBuf>,
    shapes: bool,
    threads: Vec<usize>,
    runs: usize,
    prompt: usize,
    r#gen: usize,
    bandwidth: bool,
    python: Option<PathBuf>,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    readme: bool,
}

/// One model on one number of threads.
pub(crate) struct Case {
    model: String,
    threads: usize,
    /// What decoding reads for a token: weights, keys and values.
    bytes_per_token: u64,
    picolm: Vec<Run>,
    /// None where llama.cpp is not installed.
    llamacpp: Option<Vec<Run>>,
    /// How many processors were busy with something else, where the system tells.
    others: Option<f64>,
}

/// Measures, and writes what `args` ask for. The table goes to stdout.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let models = models(&options)?;
    run_program(cargo("build").args(["--release", "--package", "picolm"]))?;
    if options.bandwidth {
        run_program(cargo("build").args(["--release", "--package", "picolm-benches", "--bin", "bandwidth"]))?;
    }
    let bandwidth = || options.bandwidth.then(|| bandwidth(&options.threads)).transpose();
    let before = bandwidth()?;
    let python = llamacpp_python(&options);

    let mut report = Report::default();
    for model in &models {
        for &threads in &options.threads {
            let mut picolm = Engine::start("picolm", &mut picolm(&options, model, threads))?;
            let llamacpp = |python| Engine::start("llama.cpp", &mut llamacpp(&options, python, model, threads));
            let mut llamacpp = python.as_ref().map(llamacpp).transpose()?;
            report.cases.push(measure(&options, model, threads, &mut picolm, llamacpp.as_mut())?);
            report.picolm = picolm.about("backend");
            report.llamacpp = llamacpp.map(|engine| engine.about("version"));
        }
    }
    // The machine may have been disturbed the one time or the other.
    report.bandwidth = before.zip(bandwidth()?).map(|(before, after)| {
        before.into_iter().zip(after).map(|((threads, a), (_, b))| (threads, a.max(b))).collect()
    });
    publish(&options, &report)
}

/// The files to measure.
fn models(options: &Options) -> Result<Vec<PathBuf>> {
    let mut models = options.models.clone();
    if models.is_empty() {
        models.push(fetch::model()?);
    }
    if options.shapes {
        models.extend(shapes()?);
    }
    match models.iter().find(|model| !model.is_file()) {
        Some(missing) => bail!("there is no file {}", missing.display()),
        None => Ok(models),
    }
}

/// Files of benches/shapes.py, in the cache folder; written where they are missing.
fn shapes() -> Result<Vec<PathBuf>> {
    const SHAPES: &[(&str, &str)] =
        &[("smollm2-135m", "Q4_0"), ("smollm2-135m", "Q8_0"), ("tinyllama-1.1b", "Q4_K_M"), ("qwen3-0.6b", "Q4_K_M")];
    let folder = cache_dir()?.join("shapes");
    fs::create_dir_all(&folder)?;
    let mut files = Vec::new();
    for (shape, mix) in SHAPES {
        let file = folder.join(format!("{shape}.{mix}.gguf"));
        if !file.is_file() {
            let part = file.with_extension("part");
            let mut python = Command::new(witness::environment()?);
            run_program(python.arg(root().join("benches/shapes.py")).args([shape, mix]).arg(&part))?;
            fs::rename(&part, &file)?;
        }
        files.push(file);
    }
    Ok(files)
}

/// GB/s by number of threads.
fn bandwidth(threads: &[usize]) -> Result<Vec<(usize, f64)>> {
    let printed = output(Command::new(release("bandwidth")).args(threads.iter().map(usize::to_string)))?;
    let rates: Value = serde_json::from_str(&printed).context("what `bandwidth` printed")?;
    let rate = |&n: &usize| Some((n, rates[n.to_string()].as_f64()?));
    threads.iter().map(rate).collect::<Option<_>>().with_context(|| format!("`bandwidth` printed {printed:?}"))
}

/// The Python to run llama.cpp with; where there is none, says how to get it.
fn llamacpp_python(options: &Options) -> Option<PathBuf> {
    let python = options.python.clone().or_else(|| Some(python()?.get_program().into()));
    let Some(python) = python else {
        eprintln!("note: there is no python3, so picolm is timed alone");
        return None;
    };
    if succeeds(Command::new(&python).args(["-c", "import llama_cpp"])) {
        return Some(python);
    }
    let name = python.display();
    eprintln!(
        "note: {name} has no llama-cpp-python, so picolm is timed alone. To time llama.cpp beside it:
    {name} -m pip install llama-cpp-python
(it builds llama.cpp for this CPU, with a C++ compiler and cmake, in some minutes), or name another Python with --python"
    );
    None
}

fn picolm(options: &Options, model: &Path, threads: usize) -> Command {
    let mut command = Command::new(release("picolm"));
    command.arg("bench").arg(model).arg("--on-demand").args(["--threads", &threads.to_string()]);
    command.args(["--prompt", &options.prompt.to_string(), "--max-tokens", &options.r#gen.to_string()]);
    command
}

fn llamacpp(options: &Options, python: &PathBuf, model: &Path, threads: usize) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join("benches/llamacpp.py")).arg(model).args(["--threads", &threads.to_string()]);
    command.args(["--prompt", &options.prompt.to_string(), "--gen", &options.r#gen.to_string()]);
    command
}

/// An executable of the release build.
fn release(name: &str) -> PathBuf {
    target_dir().join("release").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// The runs of both, in turn.
fn measure(
    options: &Options,
    model: &Path,
    threads: usize,
    picolm: &mut Engine,
    mut llamacpp: Option<&mut Engine>,
) -> Result<Case> {
    let model = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes_per_token = picolm.about["bytes_per_token"].as_u64().context("picolm does not say what a token reads")?;
    let (mut ours, mut theirs) = (Vec::new(), llamacpp.is_some().then(Vec::new));
    let before = Ticks::now([&*picolm].into_iter().chain(llamacpp.as_deref()));
    for run in 1..=options.runs {
        let mut line = format!("{model}, threads {threads}, run {run}");
        let made = picolm.run()?;
        line += &format!(": picolm {:.1} / {:.1}", made.prefill, made.decode);
        ours.push(made);
        if let (Some(engine), Some(runs)) = (llamacpp.as_deref_mut(), theirs.as_mut()) {
            let made = engine.run()?;
            line += &format!(", llama.cpp {:.1} / {:.1}", made.prefill, made.decode);
            runs.push(made);
        }
        eprintln!("{line}");
    }
    let after = Ticks::now([&*picolm].into_iter().chain(llamacpp.as_deref()));
    let others = before.zip(after).map(|(before, after)| after.others_since(&before));
    if let Some(others) = others.filter(|&others| others > 0.1) {
        eprintln!(
            "note: others kept {others:.1} processors busy meanwhile, so trust neither these figures nor their ratios"
        );
    }
    Ok(Case { model, threads, bytes_per_token, picolm: ours, llamacpp: theirs, others })
}

/// Writes everything that was asked for.
fn publish(options: &Options, report: &Report) -> Result<()> {
    let write = |path: &Path, text: String| {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
        Ok::<(), anyhow::Error>(())
    };
    let table = report.markdown(options);
    println!("\n{table}");
    if let Some(path) = &options.json {
        write(path, format!("{:#}\n", report.json(options)))?;
    }
    if let Some(path) = &options.svg {
        write(path, plot::svg(&report.cases))?;
    }
    if options.readme {
        write(&root().join("docs/speed.svg"), plot::svg(&report.cases))?;
        let readme = root().join("README.md");
        let section = format!("{table}\n\n![the same as bars](docs/speed.svg)");
        write(&readme, report::replace_section(&fs::read_to_string(&readme)?, "bench", &section)?)?;
    }
    Ok(())
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            models: Vec::new(),
            shapes: false,
            threads: vec![1, 2],
            runs: 5,
            prompt: 256,
            r#gen: 64,
            bandwidth: false,
            python: None,
            json: None,
            svg: None,
            readme: false,
        };
        let mut args = args.iter().map(String::as_str).peekable();
        while let Some(name) = args.next() {
            let mut value = || args.next().with_context(|| format!("{name} needs a value"));
            match name {
                "--models" => {
                    while let Some(file) = args.next_if(|arg| !arg.starts_with("--")) {
                        options.models.push(std::path::absolute(file)?);
                    }
                    ensure!(!options.models.is_empty(), "--models needs a file");
                }
                "--shapes" => options.shapes = true,
                "--bandwidth" => options.bandwidth = true,
                "--readme" => options.readme = true,
                "--threads" => options.threads = value()?.split(',').map(|n| number(name, n)).collect::<Result<_>>()?,
                "--runs" => options.runs = number(name, value()?)?,
                "--prompt" => options.prompt = number(name, value()?)?,
                "--gen" => options.r#gen = number(name, value()?)?,
                "--python" => options.python = Some(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                _ => bail!("bench knows no {name:?}\n\n{HELP}"),
            }
        }
        Ok(options)
    }
}

/// 1 or more.
fn number(name: &str, text: &str) -> Result<usize> {
    text.parse().ok().filter(|&n| n > 0).with_context(|| format!("{name} {text}: 1 or more is needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let read = parse("--models /a.gguf /b.gguf --threads 1,4 --runs 3 --json out.json --shapes").unwrap();
        let expected = Options {
            models: vec!["/a.gguf".into(), "/b.gguf".into()],
            threads: vec![1, 4],
            runs: 3,
            json: Some("out.json".into()),
            shapes: true,
            ..parse("").unwrap()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn options_that_are_none_are_refused() {
        for (line, says) in [
            ("--models --shapes", "--models needs a file"),
            ("--runs", "--runs needs a value"),
            ("--runs 0", "--runs 0: 1 or more"),
            ("--threads 1,x", "--threads x: 1 or more"),
            ("model.gguf", "no \"model.gguf\""),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
