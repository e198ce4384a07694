//! picolm-host: components for the sandbox, the program beside them, and their tests.
//!
//! ```text
//!   cargo build (wasm32, picolm-guest) ──► wasm-opt ──► picolm-web-build component ──► picolm.wasm, picolm-command.wasm
//!   cargo build (picolm-host) ──► picolm-host install ──► picolm.cwasm, machine code for this CPU
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Counts, build_dir, built_program, cargo, run, run_tests, target_dir};
use crate::{fetch, npm, programs, toolchain};

/// What is made of the guests: package, features, name.
const COMPONENTS: [(&str, &str, &str); 4] = [
    ("picolm-guest", "grammars", "picolm"),
    ("picolm-guest", "command", "picolm-command"),
    ("picolm-hostile-guest", "", "picolm-hostile"),
    ("picolm-client-guest", "", "picolm-client"),
];

/// memory.fill and memory.copy are the host's.
const FEATURES: &str = "-Ctarget-feature=+simd128,+bulk-memory";

/// The relaxed dots are exact (`check` sees to it that there are no others). Loops over tiles are unrolled before all is linked for size:
/// Cranelift does not, and prompts would be read a quarter slower. (V8 does better with the loops.)
const KERNELS: &str = "profile.wasm.package.picolm-kernels.rustflags=\
    ['-Ctarget-feature=+relaxed-simd', '-Cllvm-args=-unroll-threshold=700']";

/// The program's name.
pub(crate) const PROGRAM: &str = "picolm-host";

/// Builds the program as users have it, and its components; returns the folder that has all that is needed to run it.
pub(crate) fn package() -> Result<PathBuf> {
    let triple = toolchain::host()?;
    let mut build = cargo("build");
    // Static: it runs wherever the kernel does, also in a container that has nothing else.
    build.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    run(build.args(["--profile", "host", "--package", "picolm-host", "--target", &triple]))?;
    let components = components(&COMPONENTS[..2], &npm::builder()?)?;
    assemble("host", &target_dir().join(triple).join("host").join(PROGRAM), &components)
}

/// The same with the program and the components of the tests' builds. The program is a little slower.
pub(crate) fn package_for_tests() -> Result<PathBuf> {
    assemble("host-for-tests", &built_program(PROGRAM), &COMPONENTS[..2].iter().map(component).collect::<Vec<_>>())
}

/// The components of the tests, the programs for which are there.
pub(crate) fn components_for_tests() -> Result<Counts> {
    components(&COMPONENTS, &built_program(npm::BUILDER))?;
    Ok(Counts::default())
}

/// A folder with the program, its components, and machine code for this CPU.
fn assemble(name: &str, program: &Path, components: &[PathBuf]) -> Result<PathBuf> {
    let dir = build_dir(name);
    // The container image has an empty folder (deploy/Dockerfile).
    fs::create_dir_all(dir.join("state"))?;
    copy(program, &dir.join(PROGRAM))?;
    for component in components {
        copy(component, &dir.join(component.file_name().unwrap_or_default()))?;
    }
    let mut install = Command::new(dir.join(PROGRAM));
    run(install.arg("install").arg(dir.join("picolm.wasm")).arg("--output").arg(dir.join("picolm.cwasm")))?;
    Ok(dir)
}

/// The tests of what lies in `wasi-host/`, with their components.
pub(crate) fn test(all_runs: Option<(&str, &str)>) -> Result<Counts> {
    let (model, files) = (fetch::model()?, hostile_files()?);
    let mut counts = Counts::default();
    for test in programs::tests()?.iter().filter(|test| test.folder.starts_with("wasi-host")) {
        let mut command = test.command();
        for (variable, made) in ["", "COMMAND_", "HOSTILE_", "CLIENT_"].into_iter().zip(&COMPONENTS) {
            command.env(format!("PICOLM_{variable}COMPONENT"), component(made));
        }
        command.envs(all_runs);
        counts += run_tests(command.env("PICOLM_KEEP_FILES", &files).env("PICOLM_MODEL", &model))?;
    }
    Ok(counts)
}

/// It builds without a compiler, without a sandbox, without a server.
pub(crate) fn features() -> Result<Counts> {
    let mut counts = Counts::default();
    for features in ["", "sandbox", "serve"] {
        let small = ["--package", "picolm-host", "--no-default-features", "--features", features];
        run(cargo("check").args(small))?;
        counts.passed += 1;
    }
    Ok(counts)
}

/// The folder of the files that the core's tests try.
fn hostile_files() -> Result<PathBuf> {
    let dir = build_dir("hostile-files");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    for test in
        programs::tests()?.iter().filter(|test| test.folder.starts_with("core") && test.name.ends_with("hostile"))
    {
        run(test.command().arg("--quiet").env("PICOLM_KEEP_FILES", &dir).env("PROPTEST_CASES", "1"))?;
    }
    Ok(dir)
}

/// Where the component that is made of a guest lies.
fn component((_, _, name): &(&str, &str, &str)) -> PathBuf {
    build_dir("components").join(format!("{name}.wasm"))
}

/// Builds components; returns their paths.
fn components(wanted: &[(&str, &str, &str)], builder: &Path) -> Result<Vec<PathBuf>> {
    let target = build_dir("guest");
    fs::create_dir_all(build_dir("components"))?;
    wanted
        .iter()
        .map(|guest| {
            let (package, features, name) = guest;
            let mut build = toolchain::WASM.cargo_with_std("build", &format!("{FEATURES} {}", npm::SMALL))?;
            build.args([npm::SMALL_STD, "--package", package, "--profile", "wasm"]);
            build.args(["--config", "profile.wasm.strip=true", "-Zprofile-rustflags", "--config", KERNELS]);
            build.args(["--features", features, "--target-dir"]);
            run(build.arg(&target))?;
            let module = format!("wasm32-unknown-unknown/wasm/{}.wasm", package.replace('-', "_"));
            let (optimised, component) = (target.join(format!("{name}.wasm")), component(guest));
            npm::optimise(&target.join(module), &optimised, &["--enable-relaxed-simd"])?;
            run(Command::new(builder).arg("component").arg(&optimised).arg(&component))?;
            run(Command::new(builder).arg("check").arg(&component))?;
            Ok(component)
        })
        .collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
