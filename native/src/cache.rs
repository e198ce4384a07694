//! `--cache FILE`: what was computed for one prompt, kept for the next one.
//!
//! The file is a saved session (`docs/state-format.md`). It can save time and nothing else: of its tokens only those are used with which
//! the new prompt begins too, and a file that is damaged or of another model is a warning. A new one replaces it whole or not at all.

use crate::say;
use anyhow::{Context, Result, ensure};
use picolm_core::model::Model;
use picolm_core::session::Session;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

pub(crate) struct Cache {
    path: PathBuf,
    /// The tokens in the file.
    held: Vec<u32>,
}

impl Cache {
    /// A cache at this path, where there may be none yet.
    ///
    /// # Errors
    /// Something is there that is no file: it must not be replaced.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let free = fs::metadata(path).map_or(true, |there| there.is_file());
        ensure!(free, "--cache: {} is not a file", path.display());
        Ok(Cache { path: path.to_owned(), held: Vec::new() })
    }

    /// Puts the session in the file into this one, or leaves it empty and says why.
    pub(crate) fn load(&mut self, model: &Model, session: &mut Session) {
        match self.try_load(model, session) {
            Ok(()) => self.held = session.tokens().to_vec(),
            Err(why) => say(&format!("picolm: the cache {} is not used: {why:#}", self.path.display())),
        }
    }

    fn try_load(&self, model: &Model, session: &mut Session) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => BufReader::new(file?),
        };
        Ok(session.load(model, &mut |into| file.read(into))?)
    }

    /// Puts this session into the file, if that does not hold it already. That it cannot be written is said, and no reason to fail.
    pub(crate) fn save(&self, model: &Model, session: &Session) {
        if self.held.starts_with(session.tokens()) {
            return;
        }
        if let Err(why) = self.try_save(model, session) {
            say(&format!("picolm: the cache {} is not written: {why:#}", self.path.display()));
        }
    }

    fn try_save(&self, model: &Model, session: &Session) -> Result<()> {
        // Beside it, as a file system can only then put one in the place of the other; and each process has its own.
        let mut name = self.path.file_name().context("it has no name")?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let new = self.path.with_file_name(name);
        let written = write(&new, model, session).and_then(|()| Ok(fs::rename(&new, &self.path)?));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

/// Writes the file, and waits until the disk has it.
fn write(path: &Path, model: &Model, session: &Session) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    session.save(model, &mut |bytes| file.write_all(bytes))?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}
