//! Files in memory, as Linux has them.

use super::Watched;
use super::faults::{Fault, Region};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

impl Watched {
    /// Maps `len` bytes from `offset` on over the addresses at `at`, to be read, and to be written by copy once they are made writable:
    /// neither the file nor other processes see what is written.
    ///
    /// # Safety
    /// The pages at `at` belong to the caller, who has no reference into them. `at` and `offset` are multiples of the size of a page.
    ///
    /// # Errors
    /// The system's.
    pub unsafe fn map_over(&self, at: *mut u8, offset: u64, len: usize) -> io::Result<()> {
        let (flags, fd) = (libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE, self.file().as_raw_fd());
        // SAFETY: the caller's.
        let mapped = unsafe { libc::mmap(at.cast(), len, libc::PROT_READ, flags, fd, offset as libc::off_t) };
        if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// At least the size of a page, on every processor we know.
const PAGE: usize = 64 << 10;

/// A huge page of most processors: where anonymous memory begins.
const HUGE_PAGE: usize = 2 << 20;

/// A whole file in this process's memory, to be read. If the file is cut short, zeros are read and [`Mapping::fault`] says so.
#[derive(Debug)]
pub struct Mapping {
    start: *const u8,
    len: usize,
    region: Region,
}

// SAFETY: it is memory that nobody writes; the region is atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(file: &Watched) -> io::Result<Self> {
        let len = usize::try_from(file.size()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        // The system chooses the place: it puts a large file where large pages can be used. An empty one is one byte of nothing.
        let (flags, fd) = match len {
            0 => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
            _ => (libc::MAP_PRIVATE | libc::MAP_NORESERVE, file.file().as_raw_fd()),
        };
        // SAFETY: new memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), len.max(1), libc::PROT_READ, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the addresses are ours as long as the mapping lives, and the region is in it. Nobody has read there.
        let region = unsafe { Region::new(start.addr(), None) };
        let region = region.inspect_err(|_| {
            // SAFETY: what was just mapped, and nobody has seen.
            _ = unsafe { libc::munmap(start, len.max(1)) };
        })?;
        let mapping = Mapping { start: start.cast(), len, region };
        mapping.region.set_range(0, start.addr(), start.addr() + len);
        mapping.region.set_end(start.addr() + len);
        Ok(mapping)
    }

    /// Gives whole pages of a range back to the system, which reads them again if they are asked for; also those of the page cache that no
    /// other process has mapped.
    pub(super) fn give_back(&self, file: &Watched, range: Range<usize>) {
        let (start, end) = (range.start.next_multiple_of(PAGE), range.end.min(self.len) / PAGE * PAGE);
        if start >= end {
            return;
        }
        // SAFETY: whole pages of the mapping, which is of a file, private and never written: what is read there afterwards is the same.
        // That it does not work costs memory only.
        unsafe {
            libc::madvise(self.start.add(start).cast_mut().cast(), end - start, libc::MADV_DONTNEED);
            let (offset, len) = (start as libc::off_t, (end - start) as libc::off_t);
            libc::posix_fadvise(file.file().as_raw_fd(), offset, len, libc::POSIX_FADV_DONTNEED);
        }
    }

    /// What happened to the file.
    pub fn fault(&self) -> Option<Fault> {
        self.region.fault()
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the addresses are mapped, readable (past the end of a file that was cut short the handler of `faults` maps zeros) and
        // plain bytes. Another process may change the file meanwhile, and so what is read; `Watched::check` notices, and what was
        // computed is discarded. That is the price of not copying the weights.
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

/// Memory that is nobody's file, zeros at first, in huge pages where the system has them.
#[derive(Debug)]
pub struct Anonymous {
    /// what was mapped: somewhat more
    mapped: (*mut u8, usize),
    start: *mut u8,
    len: usize,
}

// SAFETY: it is memory that only the owner writes.
unsafe impl Send for Anonymous {}
// SAFETY: as above.
unsafe impl Sync for Anonymous {}

impl Anonymous {
    /// `len` bytes, which begin with a page.
    ///
    /// # Errors
    /// The system has not as many.
    pub fn new(len: usize) -> io::Result<Self> {
        let room = len.checked_add(HUGE_PAGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), room, access, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let before = mapped.addr().next_multiple_of(HUGE_PAGE) - mapped.addr();
        // SAFETY: less than a huge page further on, which is how much more was mapped. Where there are no huge pages, small ones serve.
        let start = unsafe {
            let start = mapped.add(before);
            libc::madvise(start, len, libc::MADV_HUGEPAGE);
            start
        };
        Ok(Anonymous { mapped: (mapped.cast(), room), start: start.cast(), len })
    }
}

impl AsRef<[u8]> for Anonymous {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: it is mapped, zeroed and ours, and written only by who has it mutably.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl AsMut<[u8]> for Anonymous {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Anonymous {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and no reference outlives it.
        unsafe { libc::munmap(self.mapped.0.cast(), self.mapped.1) };
    }
}
