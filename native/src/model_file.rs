//! A model file on disk, and what is made of it.

use crate::{cpu, mmap, pool::Pool};
use anyhow::{Context, Result};
use memmap2::Mmap;
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::session::Engine;
use picolm_core::text::Tokenizer;
use picolm_core::weights::InMemory;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mapped model file.
#[derive(Debug)]
pub struct ModelFile {
    path: PathBuf,
    source: Arc<InMemory<Mmap>>,
}

/// Tokens taken through the layers at once.
pub(crate) const BATCH: usize = 64;

impl ModelFile {
    /// Maps a file; looks at nothing in it.
    ///
    /// # Errors
    /// The file cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(ModelFile { path: path.to_owned(), source: Arc::new(InMemory(mmap::map(path)?)) })
    }

    /// Length of the file.
    pub fn len(&self) -> u64 {
        self.source.0.len() as u64
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its header.
    ///
    /// # Errors
    /// It is not a GGUF file, or a damaged one.
    pub fn gguf(&self) -> Result<Gguf<'_>> {
        Gguf::parse(&self.source.0).with_context(|| self.path.display().to_string())
    }

    /// The model in it.
    ///
    /// # Errors
    /// Those of [`ModelFile::gguf`], and a model that picolm cannot run.
    pub fn model(&self) -> Result<Arc<Model>> {
        let model = Model::load(&self.gguf()?, self.source.clone());
        model.map(Arc::new).with_context(|| self.path.display().to_string())
    }

    /// The tokenizer in it; the file may hold nothing else.
    ///
    /// # Errors
    /// Those of [`ModelFile::gguf`], and a vocabulary that picolm cannot use.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_gguf(&self.gguf()?).with_context(|| self.path.display().to_string())
    }
}

/// An engine on this machine, with the backend of that name (the best if none is named).
///
/// # Errors
/// There is no such backend, or no more threads are to be had.
pub(crate) fn engine(model: &Arc<Model>, backend: Option<&str>, threads: usize, batch: usize) -> Result<Engine> {
    let backend = cpu::backend(backend)?;
    let team = Pool::new(threads).with_context(|| format!("cannot start {threads} threads (fewer: -j)"))?;
    Ok(Engine::new(model.clone(), backend, Arc::new(team), batch))
}
