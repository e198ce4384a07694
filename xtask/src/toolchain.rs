//! Compilers for other targets, and programs from the system's packages.
//!
//! A target comes from rustup, which has its standard library ready. Where rustup is absent or cannot fetch it, Debian's
//! packages step in: a second Rust (`rustc-web`) with the sources of the standard library, which cargo then builds.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use anyhow::{Context, Result, bail};

use crate::process::{build_dir, cargo, lock, output, root, run, succeeds};

/// A target we build for, in the words of both providers.
pub(crate) struct Target {
    pub(crate) rustup: &'static str,
    pub(crate) debian: &'static str,
    /// The parts of the standard library that Debian's cargo has to build.
    std: &'static str,
    linker: Linker,
}

enum Linker {
    /// Libraries and bare metal: LLVM's, as far as one is needed.
    Lld,
    /// A static Linux program, run under this user-mode emulator; linked by this cross gcc, with the C library beside it, if it comes from Debian.
    Static { gcc: &'static str, packages: [&'static str; 2], qemu: &'static str },
}

pub(crate) const WASM: Target = Target {
    rustup: "wasm32-unknown-unknown",
    debian: "wasm32-unknown-unknown",
    std: "std,panic_abort",
    linker: Linker::Lld,
};

/// WebAssembly with files and arguments, for tests. rustup has it; Debian has not.
const WASI: &str = "wasm32-wasip1";

/// Installs what the tests build and run for other machines.
pub(crate) fn install() -> Result<()> {
    has_sources();
    has_wasi();
    for target in [WASM, BARE, AARCH64] {
        target.cargo("build", "")?;
    }
    Ok(())
}

/// Where other targets are built: beside the usual builds, which would have to wait for them, and together, for they share macros.
const TARGETS: &str = "targets";

/// Whether [`wasi`] works.
pub(crate) fn has_wasi() -> bool {
    rustup_has(WASI)
}

/// A cargo command whose programs run in Node.
pub(crate) fn wasi(subcommand: &str, rustflags: &str) -> Command {
    let mut command = cargo(subcommand);
    command.env("RUSTFLAGS", rustflags).args(["--target", WASI, "--target-dir"]).arg(build_dir(TARGETS));
    let runner = root().join("core/tests/common/run_wasi.mjs");
    command.env(variable(WASI, "RUNNER"), format!("node --no-warnings {}", runner.display()));
    command
}

/// No operating system: proof that the core needs no std. 32 bits and no 64-bit atomics, like the smallest boards.
pub(crate) const BARE: Target = Target {
    rustup: "riscv32imac-unknown-none-elf",
    debian: "riscv32imac-unknown-none-elf",
    std: "core,alloc",
    linker: Linker::Lld,
};

pub(crate) const AARCH64: Target = Target {
    rustup: "aarch64-unknown-linux-musl",
    debian: "aarch64-unknown-linux-gnu",
    std: "std,panic_unwind,test",
    linker: Linker::Static {
        gcc: "aarch64-linux-gnu-gcc",
        packages: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        qemu: "qemu-aarch64-static",
    },
};

pub(crate) const RISCV64: Target = Target {
    rustup: "riscv64gc-unknown-linux-musl",
    debian: "riscv64gc-unknown-linux-gnu",
    std: "std,panic_unwind,test",
    linker: Linker::Static {
        gcc: "riscv64-linux-gnu-gcc",
        packages: ["gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"],
        qemu: "qemu-riscv64-static",
    },
};

impl Target {
    /// A cargo command for this target, everything it needs installed. `rustflags` are added to the target's own.
    pub(crate) fn cargo(&self, subcommand: &str, rustflags: &str) -> Result<Command> {
        let qemu = match self.linker {
            Linker::Static { qemu, .. } => {
                program(qemu, &["qemu-user-static"])?;
                Some(qemu)
            }
            Linker::Lld => None,
        };
        let (mut command, triple) = if rustup_has(self.rustup) {
            let mut command = self.by_rustup(subcommand, rustflags);
            command.arg("--target-dir").arg(build_dir(TARGETS));
            (command, self.rustup)
        } else {
            (self.by_debian(subcommand, rustflags)?, self.debian)
        };
        command.args(["--target", triple]);
        if let Some(qemu) = qemu {
            command.env(variable(triple, "RUNNER"), qemu).env("PICOLM_EMULATED", "1");
        }
        Ok(command)
    }

    /// The same with a standard library that is built along, with the same flags: shared memory needs that. The target directory is
    /// for the caller to say.
    pub(crate) fn cargo_with_std(&self, subcommand: &str, rustflags: &str) -> Result<Command> {
        let mut command = if has_sources() {
            let mut command = self.by_rustup(subcommand, rustflags);
            command.env("RUSTC_BOOTSTRAP", "1").arg(format!("-Zbuild-std={}", self.std));
            command.args(["--target", self.rustup]);
            command
        } else {
            let mut command = self.debian_cargo(subcommand, rustflags)?;
            command.args(["--target", self.debian]);
            command
        };
        command.env_remove("CARGO_TARGET_DIR");
        Ok(command)
    }

    fn by_rustup(&self, subcommand: &str, rustflags: &str) -> Command {
        let mut command = cargo(subcommand);
        command.env("RUSTFLAGS", rustflags);
        if matches!(self.linker, Linker::Static { .. }) {
            // musl's start files come with the target, so that LLVM's linker is enough.
            command.env(variable(self.rustup, "LINKER"), "rust-lld");
        }
        command
    }

    fn by_debian(&self, subcommand: &str, rustflags: &str) -> Result<Command> {
        let mut command = self.debian_cargo(subcommand, rustflags)?;
        command.arg("--target-dir").arg(build_dir("debian"));
        Ok(command)
    }

    fn debian_cargo(&self, subcommand: &str, rustflags: &str) -> Result<Command> {
        program("/usr/bin/rustc", &["rustc-web", "cargo-web", "rust-web-src"])?;
        packages(&["cargo-web", "rust-web-src", "lld-19"])?;
        let mut flags = rustflags.to_string();
        let linker = match self.linker {
            Linker::Lld if self.debian.starts_with("wasm") => "wasm-ld-19",
            Linker::Lld => "ld.lld-19",
            Linker::Static { gcc, packages: needed, .. } => {
                packages(&needed)?;
                flags += " -Ctarget-feature=+crt-static";
                gcc
            }
        };
        let mut command = Command::new("/usr/bin/cargo");
        // What the cargo around us (rustup's) says about itself would mislead this one.
        for name in ["CARGO", "CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(name);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([Path::new("/usr/bin").to_path_buf()].into_iter().chain(env::split_paths(&path)))?;
        command
            .current_dir(root())
            .env("PATH", path)
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags.trim())
            .env(variable(self.debian, "LINKER"), linker)
            .args([subcommand, &format!("-Zbuild-std={}", self.std)]);
        Ok(command)
    }
}

/// The host's own target triple.
pub(crate) fn host() -> Result<String> {
    rustc_says("host: ")
}

/// The compiler's version: `1.95.0`.
pub(crate) fn rust_release() -> Result<String> {
    rustc_says("release: ")
}

/// The first number of the compiler's LLVM version.
pub(crate) fn llvm_major() -> Result<String> {
    Ok(rustc_says("LLVM version: ")?.split('.').next().unwrap_or_default().to_string())
}

/// A tool of the compiler's own LLVM (`llvm-cov`): rustup's component, else Debian's package of the same version.
pub(crate) fn llvm_tool(name: &str) -> Result<Command> {
    let sysroot = output(rustc().args(["--print", "target-libdir"]))?;
    let of_rustup = Path::new(sysroot.trim()).with_file_name("bin").join(name);
    if env::var_os("RUSTUP_TOOLCHAIN").is_some() && !of_rustup.exists() {
        succeeds(rustup().args(["component", "add", "llvm-tools"]));
    }
    if of_rustup.exists() {
        return Ok(Command::new(of_rustup));
    }
    let major = llvm_major()?;
    let versioned = format!("{name}-{major}");
    program(&versioned, &[&format!("llvm-{major}")])?;
    Ok(Command::new(versioned))
}

/// Makes sure that a program is there, by installing packages where this is Debian or Ubuntu.
pub(crate) fn program(name: &str, from: &[&str]) -> Result<()> {
    if succeeds(Command::new(name).arg("--version")) {
        return Ok(());
    }
    packages(from)?;
    match succeeds(Command::new(name).arg("--version")) {
        true => Ok(()),
        false => bail!("{name} does not run though {} is installed", from.join(", ")),
    }
}

/// Makes sure that packages of Debian or Ubuntu are installed.
fn packages(names: &[&str]) -> Result<()> {
    static UPDATE: Once = Once::new();
    let _lock = lock("apt")?;
    let missing: Vec<&str> = names.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("{list} (Debian's name) is not installed and there is no apt-get: install it by hand");
    }
    let mut update = apt()?;
    UPDATE.call_once(|| _ = run(update.args(["update", "-qq"]))); // if it fails, the lists there may still do
    run(apt()?.args(["install", "-qq", "-y", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("cannot install {list}: as root, run apt-get update && apt-get install {list}"))
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    output(query.args(["-W", "-f", "${db:Status-Status}\n", package]).stderr(std::process::Stdio::null()))
        .is_ok_and(|status| status.trim() == "installed")
}

/// apt-get as root: directly, or by a sudo that asks nothing.
fn apt() -> Result<Command> {
    let is_root = output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = Command::new(if is_root { "apt-get" } else { "sudo" });
    if !is_root {
        command.args(["-n", "apt-get"]);
    }
    command.args(["-o", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

/// Whether our cargo is rustup's and has the target, or gets it now.
fn rustup_has(target: &str) -> bool {
    if env::var_os("RUSTUP_TOOLCHAIN").is_none() || env::var_os("PICOLM_NO_RUSTUP").is_some() {
        return false;
    }
    let Ok(_lock) = lock("rustup") else { return false };
    let installed = output(rustup().args(["target", "list", "--installed"])).unwrap_or_default();
    installed.lines().any(|line| line == target) || succeeds(rustup().args(["target", "add", target]))
}

/// Whether our cargo is rustup's and has the sources of the standard library, or gets them now.
fn has_sources() -> bool {
    if env::var_os("RUSTUP_TOOLCHAIN").is_none() || env::var_os("PICOLM_NO_RUSTUP").is_some() {
        return false;
    }
    let Ok(_lock) = lock("rustup") else { return false };
    let sysroot = output(rustc().args(["--print", "sysroot"])).unwrap_or_default();
    let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std");
    sources.exists() || succeeds(rustup().args(["component", "add", "rust-src"]))
}

fn rustup() -> Command {
    let mut command = Command::new("rustup");
    command.env("RUSTUP_MAX_RETRIES", "1");
    command
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn rustc_says(key: &str) -> Result<String> {
    let version = output(rustc().arg("-vV"))?;
    let line = version.lines().find_map(|line| line.strip_prefix(key));
    Ok(line.with_context(|| format!("rustc -vV does not say {key:?}"))?.to_string())
}

/// Cargo's environment variable for a setting of one target.
fn variable(triple: &str, setting: &str) -> String {
    format!("CARGO_TARGET_{}_{setting}", triple.to_uppercase().replace('-', "_"))
}
