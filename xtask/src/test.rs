//! `cargo xtask test`: all steps of CI, each with its time. All of them run; failures are summed up at the end.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::process::{self, Counts, build_dir, cargo, root, run_tests, succeeds};
use crate::toolchain::{self, Target};
use crate::{disassembly, fetch, fuzz, host, layers, npm, serve, web, witness};

/// A step counts its tests, or as one test if it has none. It is skipped only where the platform cannot do it.
struct Step {
    name: &'static str,
    run: fn(full: bool) -> Result<Counts>,
    full_only: bool,
    possible: fn() -> bool,
}

const STEPS: &[Step] = &[
    step("format", format),
    step("clippy", clippy),
    step("layers", check_layers),
    step("workspace", workspace),
    step("witness", |_| witness::test()),
    Step { possible: on_x86_64_linux, ..step("disassembly", |_| disassembly::test()) },
    step("wasm", wasm),
    Step { possible: toolchain::has_wasi, ..step("wasm-kernels", wasm_kernels) },
    step("no-std", no_std),
    Step { possible: on_linux, ..step("npm", |_| npm::test()) },
    Step { possible: on_linux, ..step("page", |_| web::test()) },
    Step { possible: on_linux, ..step("host", |_| host::test()) },
    Step { possible: on_linux, ..step("serve", serve::test) },
    Step { possible: on_linux, ..step("aarch64", |full| emulated(&toolchain::AARCH64, full)) },
    Step { possible: on_linux, ..only_full("riscv64", |full| emulated(&toolchain::RISCV64, full)) },
    Step { possible: on_unix, ..only_full("fuzz", |_| fuzz::test(60)) },
    Step { possible: on_unix, ..only_full("fuzz-coverage", |_| fuzz::coverage("core/gguf/src", 80.0).map(|()| ONE)) },
    Step { possible: on_linux, ..only_full("address-sanitizer", address_sanitizer) },
    only_full("properties", properties),
];

/// The crates that make up the core.
const CORE: [&str; 10] = [
    "--package",
    "picolm-core",
    "--package",
    "picolm-gguf",
    "--package",
    "picolm-kernels",
    "--package",
    "picolm-template",
    "--package",
    "picolm-unicode",
];

/// Golden models in every way of running.
const ALL_RUNS: (&str, &str) = ("PICOLM_ALL_RUNS", "1");

const ONE: Counts = Counts { passed: 1, failed: 0 };

/// Runs the steps that `args` name (all without), and prints `N passed, N failed` last.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let full = args.iter().any(|arg| arg == "--full");
    let words: Vec<&String> = args.iter().filter(|arg| *arg != "--full").collect();
    let wanted = |step: &Step| match words.is_empty() {
        true => full || !step.full_only,
        false => words.iter().any(|word| step.name.contains(*word)),
    };
    let steps: Vec<&Step> = STEPS.iter().filter(|step| wanted(step)).collect();
    if steps.is_empty() {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("no step is named so; there are {}", names.join(", "));
    }

    let (mut total, mut skipped) = (Counts::default(), 0);
    let mut lines = Vec::new();
    for step in steps {
        println!("\n=== {}", step.name);
        let start = Instant::now();
        let outcome = if !(step.possible)() {
            skipped += 1;
            format!("skipped: not possible on {} {}", std::env::consts::OS, std::env::consts::ARCH)
        } else {
            let counts = (step.run)(full).unwrap_or_else(|error| {
                println!("error: {error:#}");
                Counts { passed: 0, failed: 1 }
            });
            total += counts;
            format!("{} passed, {} failed", counts.passed, counts.failed)
        };
        let line = format!("{:18} {:6.1} s  {outcome}", step.name, start.elapsed().as_secs_f64());
        println!("--- {line}");
        lines.push(line);
    }

    println!("\n=== summary\n{}\n", lines.join("\n"));
    let skips = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    println!("{} passed, {} failed{skips}", total.passed, total.failed);
    match total.failed {
        0 => Ok(()),
        _ => bail!("the tests failed"),
    }
}

const fn step(name: &'static str, run: fn(bool) -> Result<Counts>) -> Step {
    Step { name, run, full_only: false, possible: || true }
}

const fn only_full(name: &'static str, run: fn(bool) -> Result<Counts>) -> Step {
    Step { full_only: true, ..step(name, run) }
}

fn on_linux() -> bool {
    cfg!(target_os = "linux")
}

fn on_x86_64_linux() -> bool {
    cfg!(all(target_arch = "x86_64", target_os = "linux"))
}

fn on_unix() -> bool {
    cfg!(unix)
}

fn format(_: bool) -> Result<Counts> {
    component("rustfmt", "fmt");
    run_all([
        cargo("fmt").args(["--all", "--check"]),
        cargo("fmt").args(["--manifest-path", "fuzz/Cargo.toml", "--check"]),
    ])
}

fn clippy(_: bool) -> Result<Counts> {
    component("clippy", "clippy");
    let strict = ["--", "--deny", "warnings"];
    let linux_only: &[&str] = if on_linux() { &[] } else { &["--exclude", "picolm-host"] };
    run_all([cargo("clippy").args(["--workspace", "--all-targets"]).args(linux_only).args(strict)])
}

fn check_layers(_: bool) -> Result<Counts> {
    let faults = layers::check(&root())?;
    faults.iter().for_each(|fault| println!("{fault}"));
    Ok(Counts { passed: usize::from(faults.is_empty()), failed: faults.len() })
}

/// All tests of all crates but picolm-host (whose step makes what it runs), with the real models at hand.
fn workspace(full: bool) -> Result<Counts> {
    let (model, gemma) = (fetch::model()?, fetch::gemma()?);
    let mut tests = cargo("test");
    tests.args(["--workspace", "--exclude", "picolm-host", "--no-fail-fast"]);
    tests.envs(full.then_some(ALL_RUNS));
    run_tests(tests.env("PICOLM_MODEL", model).env("PICOLM_TEST_GEMMA", gemma))
}

fn wasm(_: bool) -> Result<Counts> {
    let mut build = toolchain::WASM.cargo("build", "")?;
    process::run(unoptimised(&mut build).args(["--package", "picolm-core"]))?;
    Ok(ONE)
}

/// The kernels and the golden models in Node, with and without relaxed SIMD. (`npm` runs golden models in a browser.)
fn wasm_kernels(full: bool) -> Result<Counts> {
    let mut counts = Counts::default();
    for flags in ["-Ctarget-feature=+simd128", "-Ctarget-feature=+simd128,+relaxed-simd"] {
        let mut command = toolchain::wasi("test", flags);
        command.args(["--package", "picolm-kernels", "--package", "picolm-core", "--no-fail-fast"]);
        command.args(["--test", "kernels", "--test", "golden"]);
        command.envs(full.then_some(ALL_RUNS));
        counts += run_tests(command.env("PROPTEST_CASES", "64").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"))?;
    }
    Ok(counts)
}

fn no_std(_: bool) -> Result<Counts> {
    let mut command = toolchain::BARE.cargo("build", "")?;
    process::run(unoptimised(&mut command).args(["--package", "picolm-core"]))?;
    Ok(ONE)
}

/// For builds that nobody runs: half the time.
fn unoptimised(command: &mut Command) -> &mut Command {
    let packages = ["picolm-core", "picolm-kernels", "picolm-template", "libm"]
        .map(|name| format!("profile.dev.package.{name}.opt-level=0"));
    command.args(["--config", "profile.dev.opt-level=0"]).args(packages.iter().flat_map(|name| ["--config", name]))
}

/// The core's tests on another processor, emulated: some ten times slower, so optimised and with fewer random cases; and without
/// `full` only those that compute.
fn emulated(target: &Target, full: bool) -> Result<Counts> {
    let mut command = target.cargo("test", "")?;
    command.arg("--no-fail-fast").env("PROPTEST_CASES", "32");
    match full {
        true => command.args(CORE).args(["--lib", "--tests"]),
        false => {
            command.args(["--package", "picolm-kernels", "--package", "picolm-core"]);
            command.args(["--test", "kernels", "--test", "sessions", "--test", "golden"])
        }
    };
    run_tests(command.envs(full.then_some(ALL_RUNS)))
}

/// The core's tests with every access to memory checked, and leaks; the checks of std's unsafe functions are on in any debug build.
fn address_sanitizer(_: bool) -> Result<Counts> {
    let mut command = cargo("test");
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address").args(CORE);
    command.args(["--lib", "--tests", "--no-fail-fast", "--target", &toolchain::host()?, "--target-dir"]);
    command.env("PROPTEST_CASES", "64").env("PICOLM_GUARDED_STACK", "1");
    run_tests(command.arg(build_dir("address")))
}

/// The core's tests as users run it, optimised, and with many more random cases.
fn properties(_: bool) -> Result<Counts> {
    let command = &mut cargo("test");
    run_tests(command.args(CORE).args(["--release", "--no-fail-fast"]).env("PROPTEST_CASES", "4096"))
}

/// Each command counts as one test.
fn run_all<'a>(commands: impl IntoIterator<Item = &'a mut Command>) -> Result<Counts> {
    let mut counts = Counts::default();
    for command in commands {
        match process::run(command) {
            Ok(()) => counts.passed += 1,
            Err(error) => {
                println!("error: {error:#}");
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

/// Asks rustup for a component that may be missing; cargo says the rest.
fn component(name: &str, subcommand: &str) {
    if !succeeds(cargo(subcommand).arg("--version")) {
        succeeds(Command::new("rustup").args(["component", "add", name]));
    }
}
