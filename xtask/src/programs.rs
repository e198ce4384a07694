//! What runs on this machine in tests: all programs and tests of the workspace, built at once.
//!
//! Cargo gives a crate the features that the packages it builds together ask for. Packages built one by one would have their dependencies
//! built again and again, each time with a few features more or less; so all of them are built together, once, and steps run the programs
//! that came of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{Counts, build_dir, cargo, output, root};

/// xtask is running and built already, with what it needs.
pub(crate) const OURSELVES: [&str; 2] = ["--exclude", "xtask"];

/// A test program.
pub(crate) struct Test {
    /// The folder of its package, in the repository: `core/kernels`.
    pub(crate) folder: String,
    /// `golden`; the name of the crate for its unit tests.
    pub(crate) name: String,
    path: PathBuf,
}

/// Packages that cannot be built on this system.
pub(crate) fn elsewhere() -> &'static [&'static str] {
    if cfg!(target_os = "linux") { &[] } else { &["--exclude", "picolm-host"] }
}

/// Builds them and leaves a list for the steps that run them.
pub(crate) fn build() -> Result<Counts> {
    let mut list = String::new();
    let all = [&["--workspace", "--all-targets"], &OURSELVES[..], elsewhere()].concat();
    for packages in [all.as_slice(), &["--package", "xtask", "--tests"]] {
        let messages = output(cargo("build").args(packages).arg("--message-format=json-render-diagnostics"))?;
        messages
            .lines()
            .filter(|line| line.contains("\"executable\":\""))
            .for_each(|line| list += &format!("{line}\n"));
    }
    let file = list_file();
    fs::create_dir_all(file.parent().expect("it lies in a folder"))?;
    fs::write(file, list)?;
    Ok(Counts::default())
}

/// The tests that [`build`] has built.
pub(crate) fn tests() -> Result<Vec<Test>> {
    let list = fs::read_to_string(list_file()).context("the step `build` has not run")?;
    list.lines().filter_map(|line| test(line).transpose()).collect()
}

impl Test {
    /// Runs it as cargo would.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(root().join(&self.folder));
        command
    }
}

fn list_file() -> PathBuf {
    build_dir("programs.json")
}

/// The test of which cargo's message tells, if it tells of one.
fn test(message: &str) -> Result<Option<Test>> {
    let message: Value = serde_json::from_str(message)?;
    let text = |value: &Value| value.as_str().map(str::to_string).context("a message of cargo lacks something");
    if message["profile"]["test"] != true {
        return Ok(None);
    }
    let manifest = PathBuf::from(text(&message["manifest_path"])?);
    let folder =
        manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok()).context("a package elsewhere")?;
    let folder = folder.to_string_lossy().replace('\\', "/");
    Ok(Some(Test { folder, name: text(&message["target"]["name"])?, path: text(&message["executable"])?.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_programs() {
        let manifest = root().join("core/kernels/Cargo.toml");
        let message = |test: bool| {
            let target = serde_json::json!({ "name": "golden" });
            let executable = "/target/debug/deps/golden-1";
            serde_json::json!({ "manifest_path": manifest, "target": target, "profile": { "test": test }, "executable": executable })
        };
        let found = test(&message(true).to_string()).unwrap().unwrap();
        assert_eq!((found.folder.as_str(), found.name.as_str()), ("core/kernels", "golden"));
        assert!(test(&message(false).to_string()).unwrap().is_none());
        assert!(test("{}").unwrap().is_none());
    }
}
