//! A model file on disk, and what is made of it.

use crate::{cpu, mmap, pool::Pool};
use anyhow::{Context, Result, anyhow};
use memmap2::Mmap;
use picolm_core::gguf::{Gguf, part_names};
use picolm_core::model::Model;
use picolm_core::session::Engine;
use picolm_core::text::Tokenizer;
use picolm_core::weights::{Joined, WeightSource};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mapped model file, or all files of a split model.
#[derive(Debug)]
pub struct ModelFile {
    paths: Vec<PathBuf>,
    source: Arc<Joined<Mmap>>,
}

impl ModelFile {
    /// Maps a file, and if its name is that of a part of a split model (`-00001-of-00003.gguf`), the others as well. Looks at nothing in
    /// them.
    ///
    /// # Errors
    /// A file cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let names = path.file_name().and_then(|name| part_names(name.to_str()?));
        let paths = match names {
            Some(names) => names.into_iter().map(|name| path.with_file_name(name)).collect(),
            None => vec![path.to_owned()],
        };
        let missing = |part: &PathBuf| {
            format!("{} is one of {} parts, and {} is missing", path.display(), paths.len(), part.display())
        };
        let maps = paths.iter().map(|part| match part.exists() || part == path {
            true => mmap::map(part),
            false => Err(anyhow!(missing(part))),
        });
        let maps = maps.collect::<Result<_>>()?;
        Ok(ModelFile { paths, source: Arc::new(Joined(maps)) })
    }

    /// Length of the files together.
    pub fn len(&self) -> u64 {
        self.source.len()
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its header, or those of all parts joined.
    ///
    /// # Errors
    /// It is not a GGUF file, or a damaged one; parts that do not belong together.
    pub fn gguf(&self) -> Result<Gguf<'_>> {
        let files = self.paths.iter().zip(&self.source.0);
        let parts = files.map(|(path, map)| Gguf::parse(map).with_context(|| path.display().to_string()));
        let mut parts = parts.collect::<Result<Vec<_>>>()?;
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Gguf::join(parts).with_context(|| self.name()),
        }
    }

    /// The path, of the first if there are several.
    fn name(&self) -> String {
        self.paths[0].display().to_string()
    }

    /// The model in it.
    ///
    /// # Errors
    /// Those of [`ModelFile::gguf`], and a model that picolm cannot run.
    pub fn model(&self) -> Result<Arc<Model>> {
        let model = Model::load(&self.gguf()?, self.source.clone());
        model.map(Arc::new).with_context(|| self.name())
    }

    /// The tokenizer in it; the file may hold nothing else.
    ///
    /// # Errors
    /// Those of [`ModelFile::gguf`], and a vocabulary that picolm cannot use.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_gguf(&self.gguf()?).with_context(|| self.name())
    }
}

/// An engine on this machine, with the backend of that name (the best if none is named).
///
/// # Errors
/// There is no such backend, or no more threads or memory are to be had.
pub(crate) fn engine(model: &Arc<Model>, backend: Option<&str>, threads: usize, batch: usize) -> Result<Engine> {
    let backend = cpu::backend(backend)?;
    let team = Pool::new(threads).with_context(|| format!("cannot start {threads} threads (fewer: -j)"))?;
    Engine::new(model.clone(), backend, Arc::new(team), batch).context("a smaller --batch takes less")
}
