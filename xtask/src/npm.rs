//! The npm package: four builds of `picolm-web` and one of `picolm-web-grammar`, their bindings, and the TypeScript.
//!
//! ```text
//!   cargo build (wasm32, four sets of features) ──► picolm-web-build bind ──► wasm-opt ──► dist/wasm/*.wasm
//!                                                        └► single.js, threads.js, grammar.js ──┐
//!   tsc ──► dist/*.js ──► npm pack ──► picolm-VERSION.tgz                                       ┘
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::process::{Counts, build_dir, built_program, cargo, lock, root, run, run_tests, succeeds};
use crate::{fetch, toolchain};

/// A build, by what it may use of the engine. The two with threads share their bindings, and so do the two without.
struct Build {
    name: &'static str,
    relaxed: bool,
    threads: bool,
}

const BUILDS: [Build; 4] = [
    Build { name: "simd128", relaxed: false, threads: false },
    Build { name: "relaxed", relaxed: true, threads: false },
    Build { name: "simd128-threads", relaxed: false, threads: true },
    Build { name: "relaxed-threads", relaxed: true, threads: true },
];

/// Schemas and grammars: with a memory of its own, so that one build is enough, and its bindings of the same name.
const GRAMMAR: &str = "grammar";

/// The program that makes bindings and components, and its package.
pub(crate) const BUILDER: &str = "picolm-web-build";

const RELAXED: &str = "profile.wasm.package.picolm-kernels.rustflags=['-Ctarget-feature=+relaxed-simd']";

/// What shared memory needs: it comes from JavaScript, and each thread has its own variables.
const THREADS: &str = "-Clink-arg=--shared-memory -Clink-arg=--import-memory -Clink-arg=--max-memory=4294967296 \
    -Clink-arg=--export=__wasm_init_tls -Clink-arg=--export=__tls_size -Clink-arg=--export=__tls_align -Clink-arg=--export=__tls_base";

/// A panic, which would be a fault of ours, is an `unreachable` without words: these take room, and hold paths of the machine that
/// built it.
pub(crate) const SMALL: &str = "-Zlocation-detail=none -Zunstable-options -Cpanic=immediate-abort";

/// The standard library for size, too.
pub(crate) const SMALL_STD: &str = "-Zbuild-std-features=optimize_for_size";

/// Builds the package into `wasm-web/dist` and packs it; returns the tarball.
pub(crate) fn package() -> Result<PathBuf> {
    package_by(&builder()?)
}

/// The same by the program of the tests' builds.
pub(crate) fn package_for_tests() -> Result<Counts> {
    package_by(&built_program(BUILDER))?;
    Ok(Counts::default())
}

fn package_by(builder: &Path) -> Result<PathBuf> {
    let dir = dir();
    install(&dir)?;
    let wasm = dir.join("dist/wasm");
    let _ = fs::remove_dir_all(dir.join("dist"));
    fs::create_dir_all(&wasm)?;
    fs::create_dir_all(dir.join("ts/wasm"))?;
    toolchain::WASM.cargo_with_std("build", "")?; // installs what is missing, before two want to
    // One compiler at a time is a long wait: fat LTO is one thread.
    let make_all = |builds: &[Build]| builds.iter().try_for_each(|build| make(build, builder, &dir, &wasm));
    let (single, threads) = BUILDS.split_at(2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| make_all(threads));
        make_all(single)?;
        make_grammar(builder, &dir, &wasm)?;
        other.join().expect("a build does not panic")
    })?;
    check(builder, &wasm)?;
    run(npm("run", &dir).args(["--silent", "build:ts"]))?;
    let tarball = tarball();
    let folder = tarball.parent().expect("it lies in a folder");
    fs::create_dir_all(folder)?;
    // npm packs what lies below its folder.
    ["LICENSE-APACHE", "LICENSE-MIT"].iter().try_for_each(|name| copy(&root().join(name), &dir.join(name)))?;
    run(npm("pack", &dir).args(["--silent", "--pack-destination"]).arg(folder))?;
    Ok(tarball)
}

/// The packed package.
fn tarball() -> PathBuf {
    build_dir("npm").join(concat!("picolm-", env!("CARGO_PKG_VERSION"), ".tgz"))
}

/// The package as it lies in `wasm-web/dist`, built where a source is newer; returns that folder.
pub(crate) fn built() -> Result<PathBuf> {
    let (dir, root) = (dir(), root());
    let dist = dir.join("dist");
    let sources = [
        root.join("core"),
        root.join("native/machine"),
        root.join("Cargo.lock"),
        dir.join("src"),
        dir.join("grammar"),
        dir.join("ts"),
        dir.join("package-lock.json"),
    ];
    let newest = sources.iter().map(|path| newest(path)).collect::<Result<Vec<_>>>()?.into_iter().max();
    let done = fs::metadata(dist.join("index.js")).and_then(|data| data.modified()).ok();
    if done.is_none() || done < newest {
        package()?;
    }
    Ok(dist)
}

/// When a file, or any file in a folder, was last changed. (The bindings in `ts/wasm` are made by the build; tests are not built.)
fn newest(path: &Path) -> Result<SystemTime> {
    let data = fs::metadata(path).with_context(|| path.display().to_string())?;
    let mut time = data.modified()?;
    if data.is_dir() {
        time = SystemTime::UNIX_EPOCH;
        for entry in fs::read_dir(path)? {
            let entry = entry?.path();
            if !entry.ends_with("ts/wasm") && !entry.ends_with("tests") {
                time = time.max(newest(&entry)?);
            }
        }
    }
    Ok(time)
}

/// Tests the package: in Node, Chromium and Firefox, and installed into an application of each kind.
pub(crate) fn test() -> Result<Counts> {
    let (chromium, firefox) = browsers()?;
    let dir = dir();
    let mut tests = test_files(&dir.join("tests"))?;
    tests.extend(test_files(&dir.join("tests/browser"))?);
    let mut command = Command::new("node");
    command.current_dir(&dir).env("PICOLM_MODEL", fetch::model()?).env("PICOLM_TARBALL", tarball());
    command.env("PICOLM_BIN", built_program("picolm"));
    command.env("CHROMIUM", chromium).env("FIREFOX", firefox);
    // One file after the other: browsers are many processes each.
    run_tests(command.args(["--test", "--test-concurrency=1", "--test-reporter=tap"]).args(tests))
}

pub(crate) fn test_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut tests: Vec<PathBuf> =
        entries.into_iter().filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    tests.sort();
    Ok(tests)
}

/// Chromium and Firefox.
pub(crate) fn browsers() -> Result<(PathBuf, PathBuf)> {
    Ok((browser("CHROMIUM", "chromium", "chromium")?, browser("FIREFOX", "firefox-esr", "firefox-esr")?))
}

/// A browser: the one that the variable names, else the system's, installed if need be.
fn browser(variable: &str, name: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    toolchain::program(name, &[package])?;
    Ok(Path::new("/usr/bin").join(name))
}

/// `wasm-web/`
fn dir() -> PathBuf {
    root().join("wasm-web")
}

/// An npm command in a folder.
pub(crate) fn npm(subcommand: &str, dir: &Path) -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.arg(subcommand).current_dir(dir).env("npm_config_update_notifier", "false");
    command
}

/// The pinned development dependencies, unless they are there.
pub(crate) fn install(dir: &Path) -> Result<()> {
    if !succeeds(Command::new("node").arg("--version")) {
        bail!("the npm package needs Node 20 or newer: install it from nodejs.org");
    }
    let _lock = lock("npm")?;
    let (wanted, installed) = (dir.join("package-lock.json"), dir.join("node_modules/.package-lock.json"));
    let age = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if age(&installed) > age(&wanted) {
        return Ok(());
    }
    run(npm("ci", dir).args(["--silent", "--no-audit", "--no-fund"]))
}

fn make(build: &Build, builder: &Path, dir: &Path, wasm: &Path) -> Result<()> {
    let mut features = String::from(if build.threads { ",+atomics,+bulk-memory,+mutable-globals " } else { "" });
    features += if build.threads { THREADS } else { "" };
    let target = build_dir(if build.threads { "wasm-threads" } else { "wasm" });
    // The kernels ask for what they use: all other crates, the standard library among them, are built once for both.
    let relaxed: &[&str] = if build.relaxed { &["-Zprofile-rustflags", "--config", RELAXED] } else { &[] };
    let built = compile("picolm-web", &features, relaxed, &target)?;

    let bindings = if build.threads { "threads" } else { "single" };
    let bound = build_dir("bindings").join(build.name);
    run(Command::new(builder).arg("bind").arg(&built).arg(&bound).arg(bindings))?;
    if !build.relaxed {
        copy_bindings(&bound, bindings, dir, wasm)?;
    } else {
        same_bindings(&build_dir("bindings"), build, bindings)?;
    }
    let optimised = wasm.join(format!("{}.wasm", build.name));
    let mut more = Vec::from_iter(build.relaxed.then_some("--enable-relaxed-simd"));
    more.extend(build.threads.then_some("--enable-threads"));
    optimise(&bound.join(format!("{bindings}_bg.wasm")), &optimised, &more)
}

fn make_grammar(builder: &Path, dir: &Path, wasm: &Path) -> Result<()> {
    let built = compile("picolm-web-grammar", "", &[], &build_dir("wasm"))?;
    let bound = build_dir("bindings").join(GRAMMAR);
    run(Command::new(builder).arg("bind").arg(&built).arg(&bound).arg(GRAMMAR))?;
    copy_bindings(&bound, GRAMMAR, dir, wasm)?;
    // What llguidance offers to C is of no use here.
    let without_c = "--remove-exports=llg_*";
    optimise(&bound.join(format!("{GRAMMAR}_bg.wasm")), &wasm.join(format!("{GRAMMAR}.wasm")), &[without_c])
}

/// Builds a package for size, with more features of the target and options of cargo; returns the module.
fn compile(package: &str, features: &str, options: &[&str], target: &Path) -> Result<PathBuf> {
    let mut command =
        toolchain::WASM.cargo_with_std("build", &format!("-Ctarget-feature=+simd128{features} {SMALL}"))?;
    command.args([SMALL_STD, "--package", package, "--profile", "wasm"]).args(options);
    run(command.arg("--target-dir").arg(target))?;
    Ok(target.join("wasm32-unknown-unknown/wasm").join(package.replace('-', "_")).with_extension("wasm"))
}

/// Puts bindings beside the modules, and their types where TypeScript looks for them.
fn copy_bindings(bound: &Path, name: &str, dir: &Path, wasm: &Path) -> Result<()> {
    copy(&bound.join(format!("{name}.js")), &wasm.join(format!("{name}.js")))?;
    copy(&bound.join(format!("{name}.d.ts")), &dir.join(format!("ts/wasm/{name}.d.ts")))
}

/// `wasm-opt`, as the package `binaryen` has it: functions that are equal become one. `more`: what a module has beyond the usual, or has to lose.
pub(crate) fn optimise(module: &Path, out: &Path, more: &[&str]) -> Result<()> {
    let dir = dir();
    install(&dir)?;
    let mut optimise = Command::new("node");
    optimise.arg(dir.join("node_modules/binaryen/bin/wasm-opt")).args(more).args([
        "-O1",
        "--strip-debug",
        "--strip-producers",
    ]);
    optimise.args(["--enable-simd", "--enable-bulk-memory", "--enable-nontrapping-float-to-int", "--enable-sign-ext"]);
    optimise.args(["--enable-mutable-globals", "--enable-reference-types", "--enable-multivalue"]);
    run(optimise.arg(module).arg("-o").arg(out))
}

/// The plain and the relaxed build share their bindings, so these must not differ.
fn same_bindings(bound: &Path, build: &Build, bindings: &str) -> Result<()> {
    let read = |name: &str| {
        let path = bound.join(name).join(format!("{bindings}.js"));
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let plain = build.name.replace("relaxed", "simd128");
    if read(build.name)? != read(&plain)? {
        bail!("the bindings of {} and {plain} differ: they cannot share {bindings}.js", build.name);
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// No relaxed instruction but the two exact dots in any wasm that is shipped.
fn check(builder: &Path, wasm: &Path) -> Result<()> {
    let names = BUILDS.iter().map(|build| build.name).chain([GRAMMAR]);
    run(Command::new(builder).arg("check").args(names.map(|name| wasm.join(format!("{name}.wasm")))))
}

/// The program of `wasm-web/build`, built where it is not.
pub(crate) fn builder() -> Result<PathBuf> {
    run(cargo("build").args(["--quiet", "--package", BUILDER]))?;
    Ok(built_program(BUILDER))
}
