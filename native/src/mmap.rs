//! Maps model files, and says what happened if one is cut short while it is mapped.

use anyhow::{Context, Result, ensure};
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;

/// Maps a file read-only. Nothing is read yet; the pages stay in the page cache and count as nobody's own memory.
///
/// # Errors
/// A file that cannot be opened or mapped, or is none (a folder, a pipe).
pub(crate) fn map(path: &Path) -> Result<Mmap> {
    let cannot = || format!("cannot open {} (the path of a GGUF model is needed)", path.display());
    let file = File::open(path).with_context(cannot)?;
    let kind = file.metadata().with_context(cannot)?;
    ensure!(kind.is_file(), "{} is not a file: the path of a GGUF model is needed", path.display());
    // SAFETY: the bytes are only read, and as plain bytes, so no content can break a promise of the type system. The one hazard is
    // that another process changes the file meanwhile: wrong answers, or SIGBUS if it is cut short (`explain_bus_errors`). That is
    // the price of not copying the weights.
    let map = unsafe { Mmap::map(&file) };
    map.with_context(|| format!("cannot map {} into memory", path.display()))
}

/// From now on a SIGBUS, which comes of reading past the new end of a mapped file, ends the process with a line that says so.
#[cfg(unix)]
pub(crate) fn explain_bus_errors() {
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

/// Elsewhere the system has its own words.
#[cfg(not(unix))]
pub(crate) fn explain_bus_errors() {}
