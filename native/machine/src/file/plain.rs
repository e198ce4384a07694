//! Files in memory on any system. One that is cut short while it is mapped ends the process: with a line that says so where signals are
//! Unix's, with the system's own words elsewhere.

use super::Watched;
use memmap2::{Mmap, MmapMut};
use std::io;
use std::ops::Range;

/// A whole file in this process's memory, to be read.
#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    pub(super) fn new(file: &Watched) -> io::Result<Self> {
        #[cfg(unix)]
        explain_bus_errors();
        // SAFETY: the bytes are only read, and as plain bytes, so no content can break a promise of the type system. The one hazard is
        // that another process changes the file meanwhile: wrong answers, which `Watched::check` notices, or SIGBUS if it is cut short.
        // That is the price of not copying the weights.
        Ok(Mapping(unsafe { Mmap::map(file.file())? }))
    }
}

impl Mapping {
    /// Not known how.
    pub(super) fn give_back(&self, _: &Watched, _: Range<usize>) {}
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Memory that is nobody's file, zeros at first.
#[derive(Debug)]
pub struct Anonymous(MmapMut);

impl Anonymous {
    /// `len` bytes, which begin with a page.
    ///
    /// # Errors
    /// The system has not as many.
    pub fn new(len: usize) -> io::Result<Self> {
        Ok(Anonymous(MmapMut::map_anon(len.max(1))?))
    }
}

impl AsRef<[u8]> for Anonymous {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Anonymous {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// From now on a SIGBUS, which comes of reading past the new end of a mapped file, ends the process with a line that says so.
#[cfg(unix)]
fn explain_bus_errors() {
    const MESSAGE: &[u8] =
        b"picolm: the model file was cut short or its disk failed while it was in use: fetch it again\n";

    extern "C" fn explain(_signal: libc::c_int) {
        // SAFETY: both may be called in a signal handler; the bytes are static, and nothing of this process is touched.
        unsafe {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(1);
        }
    }

    let handler: extern "C" fn(libc::c_int) = explain;
    // SAFETY: the handler has the signature that signal(2) wants, and does only what a handler may. If it cannot be installed, the
    // process dies of the signal as it would have.
    unsafe { libc::signal(libc::SIGBUS, handler as libc::sighandler_t) };
}
