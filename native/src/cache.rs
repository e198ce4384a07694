//! `--cache FILE`: what was computed for one prompt, kept for the next one.
//!
//! The file is a saved session (`docs/state-format.md`). It can save time and nothing else: of its tokens only those are used with which
//! the new prompt begins too, and a file that is damaged or of another model is a warning. A new one replaces it whole or not at all.

use crate::say;
use anyhow::{Context, Result, ensure};
use picolm_engine::{Batch, Error, Kind, Local, SessionId};
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

    /// Puts the session in the file into the batch, or says why not. Returns its number there.
    pub(crate) fn load(&mut self, batch: &mut Batch<Local>) -> Option<SessionId> {
        let loaded = self.try_load(batch);
        let warn = |why| say(&format!("picolm: the cache {} is not used: {why:#}", self.path.display()));
        let id = loaded.map_err(warn).ok().flatten()?;
        self.held = batch.held(id).ok()?.to_vec();
        Some(id)
    }

    fn try_load(&self, batch: &mut Batch<Local>) -> Result<Option<SessionId>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => BufReader::new(file?),
        };
        Ok(Some(batch.restore(&mut |into| file.read(into).map_err(of_file))?))
    }

    /// Puts this session into the file, if that does not hold it already. That it cannot be written is said, and no reason to fail.
    pub(crate) fn save(&self, batch: &mut Batch<Local>, session: SessionId) {
        if batch.held(session).is_ok_and(|tokens| self.held.starts_with(tokens)) {
            return;
        }
        if let Err(why) = self.try_save(batch, session) {
            say(&format!("picolm: the cache {} is not written: {why:#}", self.path.display()));
        }
    }

    fn try_save(&self, batch: &mut Batch<Local>, session: SessionId) -> Result<()> {
        // Beside it, as a file system can only then put one in the place of the other; and each process has its own.
        let mut name = self.path.file_name().context("it has no name")?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let new = self.path.with_file_name(name);
        let written = write(&new, batch, session).and_then(|()| Ok(fs::rename(&new, &self.path)?));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

/// Writes the file, and waits until the disk has it.
fn write(path: &Path, batch: &mut Batch<Local>, session: SessionId) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    batch.save(session, &mut |bytes| file.write_all(bytes).map_err(of_file))?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

fn of_file(error: io::Error) -> Error {
    Error::new(Kind::State, error)
}
