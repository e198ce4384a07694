//! The model file: mapped for this process, read for a guest, and watched.

pub(crate) mod faults;

use crate::{Error, ErrorKind, Result};
use faults::{Fault, Region};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
#[cfg(feature = "sandbox")]
use std::os::unix::fs::FileExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr;

/// An open model file.
#[derive(Debug)]
pub(crate) struct ModelFile {
    path: PathBuf,
    file: File,
    stamp: Stamp,
}

/// What tells one file from another, and from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        let modified = (data.mtime(), data.mtime_nsec());
        Stamp { device: data.dev(), inode: data.ino(), len: data.len(), modified }
    }
}

impl ModelFile {
    /// Opens a file.
    ///
    /// # Errors
    /// There is none, or what is there is no file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let cannot =
            |error: io::Error| Error::new(ErrorKind::Model, format!("cannot open {}: {error}", path.display()));
        // Not blocking: a pipe of that name would wait for someone to write.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(cannot)?;
        let data = file.metadata().map_err(cannot)?;
        if !data.is_file() {
            return Err(Error::new(ErrorKind::Model, format!("{} is not a file", path.display())));
        }
        Ok(ModelFile { path: path.to_owned(), file, stamp: Stamp::of(&data) })
    }

    /// Bytes in it, when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.stamp.len
    }

    /// Whether it is what was opened: neither written to since, nor replaced by another file of its name. (One that was deleted is still
    /// there for us.)
    ///
    /// # Errors
    /// [`Stopped`](ErrorKind::Stopped) if it is not.
    pub(crate) fn check(&self) -> Result<()> {
        let changed = |how| Error::new(ErrorKind::Stopped, format!("{} was {how} while in use", self.path.display()));
        match self.file.metadata() {
            Ok(data) if Stamp::of(&data) == self.stamp => {}
            Ok(data) if data.len() < self.stamp.len => return Err(changed("cut short")),
            _ => return Err(changed("changed")),
        }
        match std::fs::metadata(&self.path) {
            Ok(data) if (data.dev(), data.ino()) != (self.stamp.device, self.stamp.inode) => Err(changed("replaced")),
            _ => Ok(()),
        }
    }

    /// Copies bytes.
    ///
    /// # Errors
    /// They are not in the file.
    #[cfg(feature = "sandbox")]
    pub(crate) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Maps `len` bytes from `offset` on over the addresses at `at`, to be read, and to be written by copy: neither the file nor other
    /// processes see what is written.
    ///
    /// # Safety
    /// The pages at `at` belong to the caller, who has no reference into them. `at` and `offset` are multiples of the size of a page.
    ///
    /// # Errors
    /// The system's.
    pub(crate) unsafe fn map_over(&self, at: *mut u8, offset: u64, len: usize) -> io::Result<()> {
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the caller's.
        let mapped =
            unsafe { libc::mmap(at.cast(), len, libc::PROT_READ, flags, self.file.as_raw_fd(), offset as libc::off_t) };
        if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Maps the whole file, for this process.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub(crate) fn map(&self) -> Result<Mapping> {
        Mapping::new(self)
            .map_err(|error| Error::new(ErrorKind::Memory, format!("cannot map {}: {error}", self.path.display())))
    }
}

/// A whole file in this process's memory, to be read. If the file is cut short, zeros are read and [`Mapping::fault`] says so.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *const u8,
    len: usize,
    region: Region,
}

// SAFETY: it is memory that nobody writes; the region is atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: &ModelFile) -> io::Result<Self> {
        let len = usize::try_from(file.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        // An empty file is mapped as one byte of nothing, which nobody reads.
        let (protection, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: new memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), len.max(1), protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let region = Region::new(start.addr(), 0);
        let region = region.inspect_err(|_| {
            // SAFETY: what was just mapped, and nobody has seen.
            _ = unsafe { libc::munmap(start, len.max(1)) };
        })?;
        let mapping = Mapping { start: start.cast(), len, region };
        if len > 0 {
            // SAFETY: the addresses were just reserved for this.
            unsafe { file.map_over(start.cast(), 0, len)? };
        }
        mapping.region.set_range(0, start.addr(), start.addr() + len);
        mapping.region.set_end(start.addr() + len);
        Ok(mapping)
    }

    /// What happened to the file.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.region.fault()
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the addresses are mapped, readable (past the end of a file that was cut short the handler of `faults` maps zeros) and
        // plain bytes. Another process may change the file meanwhile, and so what is read; `ModelFile::check` notices, and what
        // was computed is discarded. That is the price of not copying the weights.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.region.set_end(0);
        // SAFETY: it was mapped so, and no reference outlives the mapping.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.len.max(1)) };
    }
}
