//! A model on disk, in one file or several.

use super::{Error, Mapping, Watched, Why};
use picolm_core::gguf::{Gguf, part_names};
use picolm_core::weights::{Joined, Span};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mapped model file, or all files of a split model.
#[derive(Debug)]
pub struct ModelFile {
    files: Vec<Watched>,
    source: Arc<Joined<Mapping>>,
}

impl ModelFile {
    /// Maps a file, and if its name is that of a part of a split model (`-00001-of-00003.gguf`), the others as well. Looks at nothing in
    /// them.
    ///
    /// # Errors
    /// A file cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let names = path.file_name().and_then(|name| part_names(name.to_str()?));
        let paths: Vec<PathBuf> = match names {
            Some(names) => names.into_iter().map(|name| path.with_file_name(name)).collect(),
            None => vec![path.to_owned()],
        };
        let files = paths.iter().map(|part| match part.exists() || part == path {
            true => Watched::open(part),
            false => Err(Why::Part(paths.len(), part.clone()).of(path)),
        });
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let maps = files.iter().map(Watched::map).collect::<Result<_, _>>()?;
        Ok(ModelFile { files, source: Arc::new(Joined(maps)) })
    }

    /// The path, of the first file if there are several.
    pub fn path(&self) -> &Path {
        self.files[0].path()
    }

    /// The bytes of its tensors.
    pub fn source(&self) -> Arc<Joined<Mapping>> {
        self.source.clone()
    }

    /// Gives the pages of a part of the file back to the system: they are read again if they are asked for. Where that is not known how, or
    /// where the part is no part of a file, nothing happens.
    pub fn give_back(&self, span: Span) {
        let mut start = span.offset;
        for (file, map) in self.files.iter().zip(&self.source.0) {
            let size = file.size();
            if let (true, Ok(at)) = (start < size, usize::try_from(start)) {
                return map.give_back(file, at..at.saturating_add(span.len).min(map.as_ref().len()));
            }
            start -= size;
        }
    }

    /// Its header, or those of all parts joined.
    ///
    /// # Errors
    /// It is not a GGUF file, or a damaged one; parts that do not belong together; [`ModelFile::check`].
    pub fn gguf(&self) -> Result<Gguf<'_>, Error> {
        let files = self.files.iter().zip(&self.source.0);
        let parts =
            files.map(|(file, map)| Gguf::parse(map.as_ref()).map_err(|error| Why::Gguf(error).of(file.path())));
        let gguf = parts.collect::<Result<Vec<_>, _>>().and_then(|mut parts| match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Gguf::join(parts).map_err(|error| Why::Gguf(error).of(self.path())),
        });
        // First whether it was to be believed.
        self.check()?;
        gguf
    }

    /// Whether all of it is what was opened: what was computed from a file that has changed is to be thrown away.
    ///
    /// # Errors
    /// [`Why::Changed`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        self.files.iter().try_for_each(Watched::check)?;
        #[cfg(target_os = "linux")]
        for (file, map) in self.files.iter().zip(&self.source.0) {
            if map.fault().is_some() {
                return Err(Why::Changed("cut short, or its disk failed,").of(file.path()));
            }
        }
        Ok(())
    }
}
