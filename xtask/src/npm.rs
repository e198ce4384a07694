//! The npm package: four builds of `picolm-web`, their bindings, and the TypeScript.
//!
//! ```text
//!   cargo build (wasm32, four sets of features) ──► picolm-web-build bind ──► wasm-opt ──► dist/wasm/*.wasm
//!                                                        └► single.js, threads.js ──┐
//!   tsc ──► dist/*.js ──► npm pack ──► picolm-VERSION.tgz                           ┘
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{build_dir, cargo, root, run, succeeds};
use crate::toolchain;

/// A build: its name, its features, and the name of the bindings it shares with the other of its kind.
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

/// What shared memory needs: it comes from JavaScript, and each thread has its own variables.
const THREADS: &str = "-Clink-arg=--shared-memory -Clink-arg=--import-memory -Clink-arg=--max-memory=4294967296 \
    -Clink-arg=--export=__wasm_init_tls -Clink-arg=--export=__tls_size -Clink-arg=--export=__tls_align -Clink-arg=--export=__tls_base";

/// Where a panic stands takes 40 KB, and paths of the machine that built it.
const SMALL: &str = "-Zlocation-detail=none";

/// Builds the package into `wasm-web/dist` and packs it; returns the tarball.
pub(crate) fn package() -> Result<PathBuf> {
    let dir = dir();
    install(&dir)?;
    let wasm = dir.join("dist/wasm");
    let _ = fs::remove_dir_all(dir.join("dist"));
    fs::create_dir_all(&wasm)?;
    fs::create_dir_all(dir.join("ts/wasm"))?;
    for build in &BUILDS {
        make(build, &dir, &wasm)?;
    }
    check(&wasm)?;
    run(npm("run", &dir).args(["--silent", "build:ts"]))?;
    let target = build_dir("npm");
    fs::create_dir_all(&target)?;
    run(npm("pack", &dir).args(["--silent", "--pack-destination"]).arg(&target))?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(target.join(format!("picolm-{version}.tgz")))
}

/// `wasm-web/`
pub(crate) fn dir() -> PathBuf {
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
    let (lock, installed) = (dir.join("package-lock.json"), dir.join("node_modules/.package-lock.json"));
    let age = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if age(&installed) > age(&lock) {
        return Ok(());
    }
    run(npm("ci", dir).args(["--silent", "--no-audit", "--no-fund"]))
}

fn make(build: &Build, dir: &Path, wasm: &Path) -> Result<()> {
    let mut features = String::from("-Ctarget-feature=+simd128");
    features += if build.relaxed { ",+relaxed-simd" } else { "" };
    features += if build.threads { ",+atomics,+bulk-memory,+mutable-globals " } else { "" };
    features += if build.threads { THREADS } else { "" };
    let mut command = toolchain::WASM.cargo_with_std("build", &format!("{features} {SMALL}"))?;
    let target = build_dir("wasm");
    run(command.args(["--package", "picolm-web", "--profile", "wasm", "--target-dir"]).arg(&target))?;
    let built = target.join("wasm32-unknown-unknown/wasm/picolm_web.wasm");

    let bindings = if build.threads { "threads" } else { "single" };
    let bound = build_dir("bindings").join(build.name);
    let mut tool = cargo("run");
    tool.args(["--quiet", "--package", "picolm-web-build", "--", "bind"]).arg(&built).arg(&bound).arg(bindings);
    run(&mut tool)?;
    if !build.relaxed {
        copy(&bound.join(format!("{bindings}.js")), &wasm.join(format!("{bindings}.js")))?;
        copy(&bound.join(format!("{bindings}.d.ts")), &dir.join(format!("ts/wasm/{bindings}.d.ts")))?;
    } else {
        same_bindings(&build_dir("bindings"), build, bindings)?;
    }
    // The binary of the package `binaryen`.
    let mut optimise = Command::new("node");
    optimise.arg(dir.join("node_modules/binaryen/bin/wasm-opt")).args(["-O3", "--strip-debug", "--strip-producers"]);
    optimise.args(["--enable-simd", "--enable-bulk-memory", "--enable-nontrapping-float-to-int", "--enable-sign-ext"]);
    optimise.args(["--enable-mutable-globals", "--enable-reference-types", "--enable-multivalue"]);
    optimise.args(build.relaxed.then_some("--enable-relaxed-simd")).args(build.threads.then_some("--enable-threads"));
    optimise.arg(bound.join(format!("{bindings}_bg.wasm"))).arg("-o").arg(wasm.join(format!("{}.wasm", build.name)));
    run(&mut optimise)
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
fn check(wasm: &Path) -> Result<()> {
    let mut tool = cargo("run");
    tool.args(["--quiet", "--package", "picolm-web-build", "--", "check"]);
    run(tool.args(BUILDS.iter().map(|build| wasm.join(format!("{}.wasm", build.name)))))
}
