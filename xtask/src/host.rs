//! picolm-host: components for the sandbox, the program beside them, and their tests.
//!
//! ```text
//!   cargo build (wasm32, picolm-guest) ──► wasm-opt ──► picolm-web-build component ──► picolm.wasm, picolm-command.wasm
//!   cargo build (picolm-host) ──► picolm-host install ──► picolm.cwasm, machine code for this CPU
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::{Counts, build_dir, built_program, cargo, run, run_tests, target_dir};
use crate::{fetch, npm, toolchain};

/// What is made of the guests: package, features, name.
const COMPONENTS: [(&str, &str, &str); 4] = [
    ("picolm-guest", "", "picolm"),
    ("picolm-guest", "command", "picolm-command"),
    ("picolm-hostile-guest", "", "picolm-hostile"),
    ("picolm-client-guest", "", "picolm-client"),
];

/// The relaxed dots are exact (`check` sees to it that there are no others); memory.fill and memory.copy are the host's.
const FEATURES: &str = "-Ctarget-feature=+simd128,+relaxed-simd,+bulk-memory";

/// What is tested together.
const PACKAGES: [&str; 6] = ["--package", "picolm-host", "--package", "picolm-server", "--package", "picolm-engine"];

/// The program's name.
pub(crate) const PROGRAM: &str = "picolm-host";

/// Builds the program as users have it, and its components; returns the folder that has all that is needed to run it.
pub(crate) fn package() -> Result<PathBuf> {
    let triple = toolchain::host()?;
    let mut build = cargo("build");
    // Static: it runs wherever the kernel does, also in a container that has nothing else.
    build.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    run(build.args(["--release", "--package", "picolm-host", "--target", &triple]))?;
    assemble("host", &target_dir().join(triple).join("release").join(PROGRAM))
}

/// The same with the program as the tests have it, which is a little slower, and built already. (`cargo build` would build wasmtime
/// once more, without the features that only tests ask for.)
pub(crate) fn package_for_tests() -> Result<PathBuf> {
    run(cargo("test").args(["--no-run"]).args(PACKAGES))?;
    assemble("host-for-tests", &built_program(PROGRAM))
}

/// A folder with the program, its components, and machine code for this CPU.
fn assemble(name: &str, program: &Path) -> Result<PathBuf> {
    let dir = build_dir(name);
    // The container image has an empty folder (deploy/Dockerfile).
    fs::create_dir_all(dir.join("state"))?;
    copy(program, &dir.join(PROGRAM))?;
    for component in components(&COMPONENTS[..2])? {
        copy(&component, &dir.join(component.file_name().unwrap_or_default()))?;
    }
    let mut install = std::process::Command::new(dir.join(PROGRAM));
    run(install.arg("install").arg(dir.join("picolm.wasm")).arg("--output").arg(dir.join("picolm.cwasm")))?;
    Ok(dir)
}

/// The tests of the host and its guests, with their components, and that it builds without a compiler and without a sandbox.
pub(crate) fn test() -> Result<Counts> {
    let built = components(&COMPONENTS)?;
    let mut command = cargo("test");
    command.args(PACKAGES).arg("--no-fail-fast");
    for (variable, component) in ["", "COMMAND_", "HOSTILE_", "CLIENT_"].into_iter().zip(&built) {
        command.env(format!("PICOLM_{variable}COMPONENT"), component);
    }
    command.env("PICOLM_KEEP_FILES", hostile_files()?);
    let mut counts = run_tests(command.env("PICOLM_MODEL", fetch::model()?))?;
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
    let mut tests = cargo("test");
    tests.args(["--quiet", "--package", "picolm-core", "--package", "picolm-gguf", "--package", "picolm-template"]);
    tests.args(["--test", "*hostile"]);
    run(tests.env("PICOLM_KEEP_FILES", &dir).env("PROPTEST_CASES", "1"))?;
    Ok(dir)
}

/// Builds components; returns their paths.
fn components(wanted: &[(&str, &str, &str)]) -> Result<Vec<PathBuf>> {
    let (dir, target) = (build_dir("components"), build_dir("guest"));
    fs::create_dir_all(&dir)?;
    wanted
        .iter()
        .map(|(package, features, name)| {
            let mut build = toolchain::WASM.cargo_with_std("build", &format!("{FEATURES} {}", npm::SMALL))?;
            build.args([npm::SMALL_STD, "--package", package, "--profile", "wasm"]);
            build.args(["--config", "profile.wasm.strip=true"]);
            build.args(["--features", features, "--target-dir"]);
            run(build.arg(&target))?;
            let module = format!("wasm32-unknown-unknown/wasm/{}.wasm", package.replace('-', "_"));
            let (optimised, component) = (target.join(format!("{name}.wasm")), dir.join(format!("{name}.wasm")));
            npm::optimise(&target.join(module), &optimised, true, false)?;
            run(npm::builder()?.arg("component").arg(&optimised).arg(&component))?;
            run(npm::builder()?.arg("check").arg(&component))?;
            Ok(component)
        })
        .collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
