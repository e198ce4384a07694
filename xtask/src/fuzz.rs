//! The fuzz targets of `fuzz/`, built and run as `cargo fuzz` does, but with the compiler at hand: its flags are few, and
//! this way neither a nightly toolchain nor another tool has to be installed (RUSTC_BOOTSTRAP allows `-Zsanitizer`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Counts, build_dir, cargo, output, root, run};
use crate::toolchain::{host, llvm_tool};

/// What libFuzzer needs to see of the program.
const FUZZING: &str = "--cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Cllvm-args=-sanitizer-coverage-stack-depth";

/// Runs each target for some seconds under AddressSanitizer; each counts as one test.
pub(crate) fn test(seconds: u32) -> Result<Counts> {
    let bin = build("fuzz", &format!("{FUZZING} -Zsanitizer=address"))?;
    let mut seeds = cargo("run");
    seeds.args(["--quiet", "--manifest-path", "fuzz/Cargo.toml", "--bin", "seeds", "--target-dir"]);
    run(seeds.arg(build_dir("fuzz")).arg("--").arg(root().join("fuzz/corpus")))?;
    let mut counts = Counts::default();
    for target in targets()? {
        println!("fuzzing {target} for {seconds} s");
        match fuzz(&bin, &target, seconds) {
            Ok(()) => counts.passed += 1,
            Err(error) => {
                println!("{error:#}");
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

/// Replays what `test` has collected and demands that it reaches `percent` of the lines under `sources`.
pub(crate) fn coverage(sources: &str, percent: f64) -> Result<()> {
    let bin = build("fuzz-coverage", &format!("{FUZZING} -Cinstrument-coverage"))?;
    let profiles = build_dir("fuzz-profiles");
    let _ = fs::remove_dir_all(&profiles);
    fs::create_dir_all(&profiles)?;
    let targets = targets()?;
    for target in &targets {
        let mut replay = Command::new(bin.join(target));
        replay.env("LLVM_PROFILE_FILE", profiles.join(format!("{target}.profraw"))).arg("-runs=0").arg(corpus(target));
        run(replay.stderr(log(target)?))?;
    }
    let merged = profiles.join("merged");
    run(llvm_tool("llvm-profdata")?
        .args(["merge", "-o"])
        .arg(&merged)
        .args(targets.iter().map(|target| profiles.join(format!("{target}.profraw")))))?;
    let mut export = llvm_tool("llvm-cov")?;
    export.args(["export", "-summary-only", "-instr-profile"]).arg(&merged);
    for target in &targets {
        export.arg("-object").arg(bin.join(target));
    }
    let summary: Value = serde_json::from_str(&output(export.arg("-sources").arg(root().join(sources)))?)?;
    for file in summary["data"][0]["files"].as_array().context("llvm-cov names no files")? {
        let name = Path::new(file["filename"].as_str().unwrap_or("?")).file_name().unwrap_or_default();
        println!(
            "{:16} {:5.1} % of lines",
            name.display(),
            file["summary"]["lines"]["percent"].as_f64().unwrap_or(0.0)
        );
    }
    let reached = summary["data"][0]["totals"]["lines"]["percent"].as_f64().context("llvm-cov gives no total")?;
    println!("fuzzing reaches {reached:.1} % of the lines of {sources}");
    ensure!(reached >= percent, "fuzzing reaches only {reached:.1} % of the lines of {sources}, not {percent} %");
    Ok(())
}

/// The names of the programs in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let rust = files.filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<String> = rust.filter_map(|file| Some(file.file_stem()?.to_str()?.to_string())).collect();
    names.sort();
    Ok(names)
}

/// Builds all targets with these flags; the folder of the programs.
fn build(name: &str, rustflags: &str) -> Result<PathBuf> {
    let (host, dir) = (host()?, build_dir(name));
    let mut command = cargo("build");
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", rustflags);
    command.args(["--manifest-path", "fuzz/Cargo.toml", "--release"]);
    for target in targets()? {
        command.args(["--bin", &target]);
    }
    // With a target named, the flags leave build scripts and procedural macros alone.
    run(command.args(["--target", &host, "--target-dir"]).arg(&dir))?;
    Ok(dir.join(host).join("release"))
}

fn fuzz(bin: &Path, target: &str, seconds: u32) -> Result<()> {
    let artifacts = root().join("fuzz/artifacts").join(target);
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(bin.join(target));
    command
        .args([format!("-max_total_time={seconds}"), format!("-artifact_prefix={}/", artifacts.display())])
        .args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1"])
        .arg(corpus(target))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log(target)?);
    let status = command.status()?;
    let text = fs::read(log_path(target))?;
    let text = String::from_utf8_lossy(&text);
    let tail: Vec<&str> = text.lines().rev().take(40).collect();
    if !status.success() {
        tail.iter().rev().for_each(|line| println!("{line}"));
    }
    ensure!(
        status.success(),
        "{target} failed; the input lies in {}: run `cargo +nightly fuzz run {target} INPUT`",
        artifacts.display()
    );
    let runs = tail.iter().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("  {} runs", runs.context("libFuzzer gave no statistics")?.trim());
    Ok(())
}

/// The folder of inputs: the seeds and what fuzzing adds to them.
fn corpus(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

fn log(target: &str) -> Result<File> {
    Ok(File::create(log_path(target))?)
}

fn log_path(target: &str) -> PathBuf {
    build_dir("fuzz").join(format!("{target}.log"))
}
