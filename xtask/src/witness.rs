//! The numerics contract computed a second time, in NumPy, and compared with the digests the Rust tests hold to.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{Counts, cache_dir, lock, output, python, root, run, succeeds};

const PACKAGES: &[&str] = &[
    "numpy==2.2.6; python_version < '3.11'",
    "numpy==2.4.6; python_version >= '3.11'",
    "gguf==0.19.0",
    "jinja2==3.1.6",
];

/// Every digest of `digests.json` counts as one test, and so does the witness's check of itself.
pub(crate) fn test() -> Result<Counts> {
    let python = environment()?;
    let witness = root().join("core/tests/witness");
    let golden = root().join("core/tests/golden");
    let mut counts = Counts::default();
    let mut count = |ok| if ok { counts.passed += 1 } else { counts.failed += 1 };

    count(run(Command::new(&python).arg(witness.join("check.py")).arg(&golden)).is_ok());
    let stored = fs::read_to_string(witness.join("digests.json")).context("core/tests/witness/digests.json")?;
    // {"f16_context_600": {"llama-F16.gguf": "1f78..."}}
    let stored: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&stored)?;
    for (kind, digests) in stored {
        let (kv, context) = kind.split_once("_context_").map_or((kind.as_str(), None), |(kv, n)| (kv, Some(n)));
        let mut command = Command::new(&python);
        command.arg(witness.join("witness.py")).args(["--kv", kv]);
        if let Some(context) = context {
            command.args(["--context", context]);
        }
        let printed = output(command.args(digests.keys().map(|file| golden.join(file))))?;
        for line in printed.lines() {
            let found: Value = serde_json::from_str(line)?;
            let (file, sha256) = (found["file"].as_str(), found["sha256"].as_str());
            let expected = file.and_then(|file| digests.get(file)).map(String::as_str);
            let same = sha256.is_some() && sha256 == expected;
            println!("{kind:16} {:20} {}", file.unwrap_or("?"), if same { "the same bits" } else { "OTHER BITS" });
            count(same);
        }
        let missing = digests.len() - printed.lines().count().min(digests.len());
        (0..missing).for_each(|_| count(false));
    }
    Ok(counts)
}

/// A Python with the packages, in a virtual environment in the cache folder; its python's path.
pub(crate) fn environment() -> Result<PathBuf> {
    let _lock = lock("witness-python")?;
    let folder = cache_dir()?.join("witness-python");
    let bin = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" });
    // Written last, so that a half-made environment is made again.
    let stamp = folder.join("packages");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) && succeeds(Command::new(&bin).arg("--version")) {
        return Ok(bin);
    }
    let Some(mut python) = python() else { bail!("there is no python3: install it, with pip and venv") };
    run(python.args(["-m", "venv", "--clear"]).arg(&folder))
        .context("on Debian and Ubuntu, venv needs the package python3-venv")?;
    let mut pip = Command::new(&bin);
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]).args(PACKAGES);
    run(&mut pip)?;
    fs::write(&stamp, wanted)?;
    Ok(bin)
}
