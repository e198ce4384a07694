//! Model files: opened, mapped, and watched.
//!
//! ```text
//!   ModelFile      a model: one file, or the parts of a split one, joined
//!     └─► Watched  an open file that notices when it is changed
//!     └─► Mapping  its bytes: Linux' (`mapping`, and `faults` where the file gets shorter), or any system's (`plain`)
//!   Anonymous      memory that is nobody's file
//! ```

#[cfg(target_os = "linux")]
pub mod faults;
#[cfg(target_os = "linux")]
mod mapping;
mod model_file;
#[cfg(not(target_os = "linux"))]
mod plain;

#[cfg(target_os = "linux")]
pub use mapping::{Anonymous, Mapping};
pub use model_file::ModelFile;
#[cfg(not(target_os = "linux"))]
pub use plain::{Anonymous, Mapping};

use picolm_core::gguf;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file that holds no bytes of a model, or none to be believed.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub why: Why,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// There is nothing, or nothing that we may read.
    #[error("cannot be opened (the path of a GGUF model is needed): {0}")]
    Open(io::Error),
    /// A folder, a pipe.
    #[error("is not a file: the path of a GGUF model is needed")]
    NotAFile,
    /// A part of a split model is not beside the others.
    #[error("is one of {} parts, and {} is missing", .0, .1.display())]
    Part(usize, PathBuf),
    /// No addresses, or a file system that maps nothing.
    #[error("cannot be mapped into memory: {0}")]
    Map(io::Error),
    /// What is in it is not a model's header.
    #[error(transparent)]
    Gguf(gguf::Error),
    /// It is not what was opened.
    #[error("was {0} while in use")]
    Changed(&'static str),
}

impl Why {
    fn of(self, path: &Path) -> Error {
        Error { path: path.to_owned(), why: self }
    }
}

/// An open file that is not to change.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    file: File,
    stamp: Stamp,
}

/// What tells one file from another, and from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    /// Device and inode, where the system has them.
    id: (u64, u64),
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        #[cfg(unix)]
        let id = {
            use std::os::unix::fs::MetadataExt;
            (data.dev(), data.ino())
        };
        #[cfg(not(unix))]
        let id = (0, 0);
        Stamp { id, len: data.len(), modified: data.modified().ok() }
    }
}

impl Watched {
    /// Opens a file.
    ///
    /// # Errors
    /// There is none, or what is there is no file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let cannot = |error| Why::Open(error).of(path);
        let mut options = File::options();
        #[cfg(unix)]
        // A pipe of that name would wait for someone to write.
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let file = options.read(true).open(path).map_err(cannot)?;
        let data = file.metadata().map_err(cannot)?;
        match data.is_file() {
            true => Ok(Watched { path: path.to_owned(), file, stamp: Stamp::of(&data) }),
            false => Err(Why::NotAFile.of(path)),
        }
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes in it, when it was opened.
    pub fn size(&self) -> u64 {
        self.stamp.len
    }

    /// Whether it is what was opened: neither written to since, nor replaced by another file of its name. (One that was deleted is still
    /// there for us.)
    ///
    /// # Errors
    /// [`Why::Changed`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        let changed = |how| Err(Why::Changed(how).of(&self.path));
        match self.file.metadata() {
            Ok(data) if Stamp::of(&data) == self.stamp => {}
            Ok(data) if data.len() < self.stamp.len => return changed("cut short"),
            _ => return changed("changed"),
        }
        match std::fs::metadata(&self.path) {
            Ok(data) if Stamp::of(&data).id != self.stamp.id => changed("replaced"),
            _ => Ok(()),
        }
    }

    /// Maps the whole file, for this process. Nothing is read yet; the pages stay in the page cache and count as nobody's own memory.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn map(&self) -> Result<Mapping, Error> {
        Mapping::new(self).map_err(|error| Why::Map(error).of(&self.path))
    }
}
