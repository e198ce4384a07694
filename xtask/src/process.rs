//! Starting other programs: shown before they run, stopped on failure, their tests counted.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_path_buf()
}

/// Where builds with other flags, compilers or targets go, so that they do not evict the usual ones.
pub(crate) fn build_dir(name: &str) -> PathBuf {
    target_dir().join("xtask").join(name)
}

/// Where cargo puts the usual builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A program that `cargo build` has made.
pub(crate) fn built_program(name: &str) -> PathBuf {
    target_dir().join("debug").join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// Downloads and tools that outlive the repository: `picolm` in the user's cache folder.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || var("HOME").context("neither XDG_CACHE_HOME nor HOME is set: set one, or PICOLM_MODEL=file.gguf");
    let base = if cfg!(windows) {
        var("LOCALAPPDATA").context("LOCALAPPDATA is not set: set it, or PICOLM_MODEL=file.gguf")?
    } else if cfg!(target_os = "macos") {
        home()?.join("Library/Caches")
    } else {
        var("XDG_CACHE_HOME")
            .filter(|dir| dir.is_absolute())
            .map_or_else(|| home().map(|dir| dir.join(".cache")), Ok)?
    };
    let dir = base.join("picolm");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Held while something is installed that two steps may want at once; the second waits, and finds it there.
pub(crate) fn lock(name: &str) -> Result<File> {
    let lock = File::create(cache_dir()?.join(format!("{name}.lock")))?;
    lock.lock().with_context(|| format!("cannot lock {name}.lock in the cache folder"))?;
    Ok(lock)
}

/// The seconds of processor time that this program and all it has waited for took, where the system tells.
pub(crate) fn processor_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may have spaces: state, parent, ...; the 12th to 15th are the times, in hundredths.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Option<Vec<u64>> = fields.split_whitespace().skip(11).take(4).map(|ticks| ticks.parse().ok()).collect();
    Some(ticks?.iter().sum::<u64>() as f64 / 100.0)
}

/// The cargo that runs xtask, in the root of the repository.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    // What `cargo run` says of xtask: build scripts that look at these (ring's) would run anew each time cargo runs within cargo.
    let of_xtask = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_xtask)) {
        command.env_remove(name);
    }
    command
}

/// The python that is there: `python3`, or `python` on Windows.
pub(crate) fn python() -> Option<Command> {
    ["python3", "python"].into_iter().find(|name| succeeds(Command::new(name).arg("--version"))).map(Command::new)
}

/// Runs to the end with the terminal as output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {}", program(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", program(command));
    }
    Ok(())
}

/// Runs a test runner, shows its output and adds up its `test result:` lines. One that fails without a failed test (it
/// did not compile, it crashed) counts as one failure.
pub(crate) fn run_tests(command: &mut Command) -> Result<Counts> {
    announce(command);
    let command_name = program(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command_name}"))?;
    let mut counts = Counts::default();
    for line in BufReader::new(child.stdout.take().expect("piped above")).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if let Some(found) = test_result(&line) {
            counts += found;
        }
    }
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// What it prints on stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", program(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", program(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether it starts and succeeds, quietly.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Prints the command as one could type it.
fn announce(command: &Command) {
    let mut line = String::from("$");
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            line += &format!(" {}={}", name.display(), quoted(value));
        }
    }
    for word in std::iter::once(OsStr::new(&program(command))).chain(command.get_args()) {
        line += &format!(" {}", quoted(word));
    }
    eprintln!("{line}");
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.contains('\'') {
        format!("\"{word}\"")
    } else if word.contains(' ') {
        format!("'{word}'")
    } else {
        word.into_owned()
    }
}

fn program(command: &Command) -> String {
    Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// `test result: ok. 12 passed; 0 failed; ...` of Rust, or `# pass 12` and `# fail 0` of Node.
fn test_result(line: &str) -> Option<Counts> {
    let of_node = |word: &str| line.strip_prefix(word)?.trim().parse().ok();
    if let Some(passed) = of_node("# pass ") {
        return Some(Counts { passed, failed: 0 });
    }
    if let Some(failed) = of_node("# fail ") {
        return Some(Counts { passed: 0, failed });
    }
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| rest.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok());
    Some(Counts { passed: number("passed")?, failed: number("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_cargos_line() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.01s";
        assert_eq!(test_result(line), Some(Counts { passed: 12, failed: 3 }));
        assert_eq!(test_result("test result_of_the_day ... ok"), None);
        assert_eq!(test_result("# pass 12"), Some(Counts { passed: 12, failed: 0 }));
        assert_eq!(test_result("# fail 1"), Some(Counts { passed: 0, failed: 1 }));
        assert_eq!(test_result("# passing by"), None);
    }

    #[test]
    #[cfg(unix)]
    fn a_runner_that_dies_counts_as_a_failure() {
        let shell = |script| run_tests(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(shell("echo 'test result: ok. 2 passed; 0 failed; 0 ignored'"), Counts { passed: 2, failed: 0 });
        assert_eq!(shell("exit 101"), Counts { passed: 0, failed: 1 });
        assert_eq!(
            shell("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101"),
            Counts { passed: 1, failed: 2 }
        );
    }
}
