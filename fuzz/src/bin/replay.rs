//! Runs a target over files, without libFuzzer: to measure coverage, and to reproduce a crash on any toolchain.
//!
//!     cargo run --bin replay -- gguf corpus/gguf

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: replay TARGET FILE_OR_FOLDER…";
    let name = args.next().ok_or(usage)?;
    let (_, target) = picolm_fuzz::TARGETS.iter().find(|t| t.0 == name).ok_or(usage)?;
    let mut count = 0;
    for path in args {
        for file in files(Path::new(&path))? {
            target(&std::fs::read(file)?);
            count += 1;
        }
    }
    println!("{name}: {count} inputs");
    Ok(())
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    std::fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect()
}
