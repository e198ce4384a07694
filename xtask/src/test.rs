//! `cargo xtask test`: all steps of CI. `cargo xtask check`: those that a change needs at once.
//!
//! A step is a process of its own (`cargo xtask step NAME`), so that steps run side by side and what each prints stays together
//! (`schedule`). All of them run; failures are summed up at the end.

mod schedule;

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, Counts, build_dir, cargo, output, processor_time, root, run_tests, succeeds};
use crate::toolchain::{self, Target};
use crate::{disassembly, fetch, fuzz, host, layers, npm, programs, serve, web, witness};

/// A step counts its tests, or as one test if it has none. It is skipped only where the platform cannot do it.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    run: fn(full: bool) -> Result<Counts>,
    /// The steps that make what it takes. They run before it, also where nobody asked for them.
    needs: &'static [&'static str],
    /// It waits for the network and leaves the processors to others.
    waits: bool,
    when: When,
    possible: fn() -> bool,
}

/// When a step runs that nobody has named.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Always,
    Full,
}

/// In the order in which they begin, as far as what they need is there: while one builds what runs here, others build for other machines,
/// and what takes long comes before what takes short, so that the end finds no processor idle.
const STEPS: &[Step] = &[
    step("fetch-models", fetch_models).waiting(),
    step("fetch-tools", fetch_tools).waiting(),
    step("format", format),
    step("layers", check_layers),
    step("rust-version", rust_version),
    step("build", |_| programs::build()),
    step("wasm-kernels", wasm_kernels).only(toolchain::has_wasi),
    step("aarch64", |full| emulated(&toolchain::AARCH64, full)).only(on_linux),
    step("npm-build", |_| npm::package_for_tests()).needs(&["build"]),
    step("components", |_| host::components_for_tests()).needs(&["build"]).only(on_linux),
    step("workspace", workspace).needs(&["build"]),
    step("host", |full| host::test(full.then_some(ALL_RUNS))).needs(&["build", "components"]).only(on_linux),
    step("npm", |_| npm::test()).needs(&["build", "npm-build"]).only(on_linux),
    step("page", |_| web::test()).needs(&["npm-build"]).only(on_linux),
    step("serve", serve::test).needs(&["build", "components"]).only(on_linux),
    step("clippy", clippy),
    // It lists the files of every package, and those of the npm package are made anew.
    step("doc", doc).needs(&["npm-build"]),
    step("features", |_| host::features()).only(on_linux),
    step("doctest", doctest),
    step("witness", |_| witness::test()),
    step("disassembly", |_| disassembly::test()).only(on_x86_64_linux),
    step("wasm", |_| builds_for(&toolchain::WASM)),
    step("no-std", |_| builds_for(&toolchain::BARE)),
    step("riscv64", |full| emulated(&toolchain::RISCV64, full)).only(on_linux).with_full(),
    step("fuzz", |_| fuzz::test(60)).only(on_unix).with_full(),
    step("fuzz-coverage", |_| fuzz::coverage("core/gguf/src", 80.0).map(|()| ONE))
        .needs(&["fuzz"])
        .only(on_unix)
        .with_full(),
    step("address-sanitizer", address_sanitizer).only(on_linux).with_full(),
    step("properties", properties).with_full(),
];

/// The crates of the core, which know no host: they are built for every machine.
const CORE: [&str; 6] =
    ["picolm-core", "picolm-gguf", "picolm-kernels", "picolm-template", "picolm-unicode", "picolm-engine"];

/// Those of them that compute, and their tests that do: all that another machine can change.
const COMPUTING: [&str; 2] = ["picolm-core", "picolm-kernels"];
const COMPUTING_TESTS: [&str; 3] = ["kernels", "sessions", "golden"];

/// What `check` leaves to `test`: half a minute of the other type of cache.
const NOT_AT_ONCE: &str = "one_digest_with_the_q8_0_cache";

/// Golden models in every way of running.
const ALL_RUNS: (&str, &str) = ("PICOLM_ALL_RUNS", "1");

const ONE: Counts = Counts { passed: 1, failed: 0 };

/// Runs the steps that `args` name (all without), and prints `N passed, N failed` last.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (full, words) = parse(args);
    let wanted = |step: &Step| match words.is_empty() {
        true => full || step.when == When::Always,
        false => words.iter().any(|word| step.name.contains(*word)),
    };
    let mut names: Vec<&str> = STEPS.iter().filter(|step| wanted(step)).map(|step| step.name).collect();
    if names.is_empty() {
        bail!("no step is named so; there are {}", STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", "));
    }
    let mut at = 0;
    while let Some(name) = names.get(at) {
        names.extend(find(name)?.needs);
        at += 1;
    }
    schedule::run(STEPS.iter().filter(|step| names.contains(&step.name)).copied().collect(), full)
}

/// What a change of the core or of a host needs at once: the steps that read the sources, then the core's tests that compute.
pub(crate) fn check(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("check takes no {arg:?}; `cargo xtask test` has steps");
    }
    let mut counts = format(false)?;
    counts += check_layers(false)?;
    counts += clippy(false)?;
    let mut tests = cargo("test");
    tests.args(["--workspace", "--no-fail-fast"]).args(programs::OURSELVES).args(programs::elsewhere());
    counts += run_tests(tests.args(options("--test", &COMPUTING_TESTS)).args(["--", "--skip", NOT_AT_ONCE]))?;
    println!("\n{} passed, {} failed", counts.passed, counts.failed);
    match counts.failed {
        0 => Ok(()),
        _ => bail!("the check failed"),
    }
}

/// One step, in this process; its counts and its time are its last line, for the process that began it.
pub(crate) fn run_step(args: &[String]) -> Result<()> {
    let (full, words) = parse(args);
    let [name] = words[..] else { bail!("step takes one name") };
    let counts = (find(name)?.run)(full).unwrap_or_else(|error| {
        println!("error: {error:#}");
        Counts { passed: 0, failed: 1 }
    });
    println!("{}", schedule::result_line(counts, processor_time()));
    match counts.failed {
        0 => Ok(()),
        _ => bail!("{name} failed"),
    }
}

/// `--full`, and the words beside it.
fn parse(args: &[String]) -> (bool, Vec<&str>) {
    let words = args.iter().map(String::as_str).filter(|arg| *arg != "--full").collect();
    (args.iter().any(|arg| arg == "--full"), words)
}

fn find(name: &str) -> Result<&'static Step> {
    STEPS.iter().find(|step| step.name == name).with_context(|| format!("there is no step {name}"))
}

const fn step(name: &'static str, run: fn(bool) -> Result<Counts>) -> Step {
    Step { name, run, needs: &[], waits: false, when: When::Always, possible: || true }
}

impl Step {
    const fn needs(self, needs: &'static [&'static str]) -> Step {
        Step { needs, ..self }
    }

    const fn only(self, possible: fn() -> bool) -> Step {
        Step { possible, ..self }
    }

    const fn waiting(self) -> Step {
        Step { waits: true, ..self }
    }

    const fn with_full(self) -> Step {
        Step { when: When::Full, ..self }
    }
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

// --- steps ---------------------------------------------------------------------------------------------------------------

/// The models, while others build.
fn fetch_models(_: bool) -> Result<Counts> {
    fetch::model()?;
    fetch::gemma()?;
    Ok(Counts::default())
}

/// What later steps would install one after the other, while others build.
fn fetch_tools(_: bool) -> Result<Counts> {
    toolchain::install()?;
    if on_linux() {
        npm::browsers()?;
        serve::clients()?;
    }
    npm::install(&root().join("wasm-web"))?;
    witness::environment()?;
    Ok(Counts::default())
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
    run_all([cargo("clippy").args(["--workspace", "--all-targets"]).args(programs::elsewhere()).args(strict)])
}

/// The documentation of all crates has no warnings.
///
/// Libraries, examples and the programs without a library are named, and so crates have the features they have for clippy: plain
/// `cargo doc` would check wasmtime once more.
fn doc(_: bool) -> Result<Counts> {
    let mut doc = cargo("doc");
    doc.args(["--workspace", "--no-deps", "--lib", "--examples"]).args(programs::elsewhere());
    for package in packages("Cargo.toml")? {
        let targets = package["targets"].as_array().context("a package without targets")?;
        let is = |target: &Value, kind| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind));
        if !targets.iter().any(|target| is(target, "lib") || is(target, "rlib") || is(target, "cdylib")) {
            let programs =
                targets.iter().filter(|target| is(target, "bin")).filter_map(|target| target["name"].as_str());
            doc.args(programs.flat_map(|name| ["--bin", name].map(str::to_string)));
        }
    }
    run_all([doc.env("RUSTDOCFLAGS", "-Dwarnings")])
}

/// What cargo says of the packages of a workspace.
fn packages(manifest: &str) -> Result<Vec<Value>> {
    let mut metadata = cargo("metadata");
    metadata.args(["--no-deps", "--format-version", "1", "--manifest-path", manifest]);
    let mut metadata: Value = serde_json::from_str(&output(&mut metadata)?)?;
    metadata["packages"].as_array_mut().map(std::mem::take).context("cargo names no packages")
}

fn check_layers(_: bool) -> Result<Counts> {
    let faults = layers::check(&root())?;
    faults.iter().for_each(|fault| println!("{fault}"));
    Ok(Counts { passed: usize::from(faults.is_empty()), failed: faults.len() })
}

/// Every crate declares the workspace's Rust. (Clippy denies what a newer standard library has; where the compiler at hand is that Rust,
/// as in CI, all of it is built by it.)
fn rust_version(_: bool) -> Result<Counts> {
    let mut versions = Vec::new();
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        for package in packages(manifest)? {
            let name = package["name"].as_str().unwrap_or_default().to_string();
            versions.push((name, package["rust_version"].as_str().unwrap_or("none").to_string()));
        }
    }
    let (_, declared) = versions.iter().find(|(name, _)| name == "picolm-core").context("picolm-core is missing")?;
    let others: Vec<_> = versions.iter().filter(|(_, version)| version != declared).collect();
    others.iter().for_each(|(name, version)| println!("{name} declares {version}, not {declared}"));
    println!("{} crates declare Rust {declared}; this is {}", versions.len(), toolchain::rust_release()?);
    Ok(Counts { passed: usize::from(others.is_empty()), failed: others.len() })
}

/// All tests of all crates but the hosts of the sandbox (whose step makes what they run), with the real models at hand.
fn workspace(full: bool) -> Result<Counts> {
    let (model, gemma) = (fetch::model()?, fetch::gemma()?);
    let mut counts = Counts::default();
    for test in programs::tests()?.iter().filter(|test| !test.folder.starts_with("wasi-host")) {
        let mut command = test.command();
        command.envs(full.then_some(ALL_RUNS));
        counts += run_tests(command.env("PICOLM_MODEL", &model).env("PICOLM_TEST_GEMMA", &gemma))?;
    }
    Ok(counts)
}

fn doctest(_: bool) -> Result<Counts> {
    run_tests(
        cargo("test")
            .args(["--doc", "--workspace", "--no-fail-fast"])
            .args(programs::OURSELVES)
            .args(programs::elsewhere()),
    )
}

/// The kernels and the golden models in Node, with and without relaxed SIMD. (`npm` runs golden models in a browser.)
fn wasm_kernels(full: bool) -> Result<Counts> {
    let mut counts = Counts::default();
    for flags in ["-Ctarget-feature=+simd128", "-Ctarget-feature=+simd128,+relaxed-simd"] {
        let mut command = toolchain::wasi("test", flags);
        command.args(options("--package", &COMPUTING)).args([
            "--test",
            "kernels",
            "--test",
            "golden",
            "--no-fail-fast",
        ]);
        command.envs(full.then_some(ALL_RUNS));
        counts += run_tests(command.env("PROPTEST_CASES", "64").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"))?;
    }
    Ok(counts)
}

/// The core is built for a machine, and not run: unoptimised, which is half the time.
fn builds_for(target: &Target) -> Result<Counts> {
    let mut build = target.cargo("build", "")?;
    for package in CORE.iter().chain(&["libm"]) {
        build.args(["--config", &format!("profile.dev.package.{package}.opt-level=0")]);
    }
    process::run(build.args(options("--package", &CORE)))?;
    Ok(ONE)
}

/// The core's tests on another processor, emulated: some ten times slower, so optimised and with fewer random cases; and without
/// `full` only those that compute.
fn emulated(target: &Target, full: bool) -> Result<Counts> {
    let mut command = target.cargo("test", "")?;
    command.arg("--no-fail-fast").env("PROPTEST_CASES", "32");
    match full {
        true => command.args(options("--package", &CORE)).args(["--lib", "--tests"]),
        false => command.args(options("--package", &COMPUTING)).args(options("--test", &COMPUTING_TESTS)),
    };
    run_tests(command.envs(full.then_some(ALL_RUNS)))
}

/// The core's tests with every access to memory checked, and leaks; the checks of std's unsafe functions are on in any debug build.
fn address_sanitizer(_: bool) -> Result<Counts> {
    let mut command = cargo("test");
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    command.args(options("--package", &CORE)).args(["--lib", "--tests", "--no-fail-fast"]);
    command.args(["--target", &toolchain::host()?, "--target-dir"]).arg(build_dir("address"));
    // Some tests ask for more memory than there is, and want an error.
    command.env("ASAN_OPTIONS", "allocator_may_return_null=1");
    run_tests(command.env("PROPTEST_CASES", "64").env("PICOLM_GUARDED_STACK", "1"))
}

/// The core's tests as users run it, optimised, and with many more random cases.
fn properties(_: bool) -> Result<Counts> {
    let mut command = cargo("test");
    command.arg("--release").args(options("--package", &CORE));
    run_tests(command.arg("--no-fail-fast").env("PROPTEST_CASES", "4096"))
}

/// `--package a --package b`
fn options<'a>(option: &'a str, values: &'a [&str]) -> impl Iterator<Item = &'a str> {
    values.iter().flat_map(move |value| [option, value])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_need_what_stands_before_them() {
        for (at, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                assert!(STEPS[..at].iter().any(|earlier| earlier.name == *need), "{} needs {need}", step.name);
            }
        }
    }
}
