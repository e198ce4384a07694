//! A guest's memory, which is ours: pieces of the model file appear in it.
//!
//! ```text
//!   0                                                        size                       4 GiB
//!   ├── the guest's own: data, stack, heap ──┬── room ───────┤ (nothing; grows) ─────────┼─ guard ─┤
//!                                            └ the file, mapped here and there in it
//! ```
//! What the guest takes for itself is counted when its memory grows, and where it writes over the file (`faults`); announced room is not,
//! since nothing can be in it but the file.

use picolm_machine::file::Watched;
use picolm_machine::file::faults::{Fault, RANGES, ROOMS, Region};
use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// WebAssembly's page.
pub(crate) const PAGE: u64 = 64 << 10;

thread_local! {
    /// The space that the next memory of an instance made on this thread is.
    static NEXT: RefCell<Option<Arc<Space>>> = const { RefCell::new(None) };
}

/// Where a guest's memory will be, and what may be done with it.
#[derive(Debug)]
pub(crate) struct Space {
    /// Most bytes that the guest may take.
    limit: usize,
    memory: OnceLock<Reserved>,
    layout: Mutex<Layout>,
}

/// Addresses: all that WebAssembly code can reach.
#[derive(Debug)]
struct Reserved {
    base: usize,
    /// with the guard behind it
    len: usize,
    region: Region,
}

#[derive(Debug, Default)]
struct Layout {
    /// bytes that `memory.grow` has given
    size: u64,
    /// announced for the next growth
    announced: u64,
    rooms: Vec<Range<u64>>,
    /// mapped, in whole pages
    ranges: Vec<Range<u64>>,
}

impl Space {
    /// For a guest that may take `limit` bytes of memory.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Space { limit, memory: OnceLock::new(), layout: Mutex::default() })
    }

    /// Makes an instance whose memory is this space.
    pub(crate) fn instantiate<T>(self: &Arc<Self>, make: impl FnOnce() -> T) -> T {
        NEXT.set(Some(self.clone()));
        let made = make();
        NEXT.set(None);
        made
    }

    /// What happened that makes the guest's results worthless.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.memory.get().and_then(|memory| memory.region.fault())
    }

    /// Announces room for so many bytes.
    pub(crate) fn announce(&self, len: u64) -> Result<(), String> {
        let pages = len.checked_next_multiple_of(PAGE).filter(|&len| len > 0 && len <= 1 << 32);
        self.layout().announced = pages.ok_or("room for that many bytes cannot be")?;
        Ok(())
    }

    /// Maps a part of the file into announced room.
    pub(crate) fn map(&self, file: &Watched, at: u64, offset: u64, len: u64) -> Result<(), String> {
        let memory = self.memory.get().ok_or("there is no memory")?;
        if let Some(fault) = memory.region.fault() {
            return Err(fault.to_string());
        }
        let mut layout = self.layout();
        let slot = layout.check(file.size(), at, offset, len)?;
        let (start, whole) = (memory.base + at as usize, len.next_multiple_of(PAGE) as usize);
        // In place of what was there, which may have been longer, and behind the end of the file: nothing but zeros.
        let before = layout.ranges.get(slot).map_or(0..0, Clone::clone);
        let empty = whole.max((before.end - before.start) as usize);
        let failed = |error: io::Error| format!("the file cannot be mapped: {error}");
        // SAFETY: `check` has seen to it that the addresses are room of this guest, which is not running: it waits for our answer.
        unsafe {
            protect_anew(start, empty, libc::PROT_READ).map_err(failed)?;
            file.map_over(ptr::with_exposed_provenance_mut(start), offset, len as usize).map_err(failed)?;
        }
        memory.region.set_range(slot, start, start + empty);
        let range = at..at + empty as u64;
        match layout.ranges.get_mut(slot) {
            Some(known) => *known = range,
            None => layout.ranges.push(range),
        }
        Ok(())
    }

    fn layout(&self) -> MutexGuard<'_, Layout> {
        self.layout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the addresses. There is one memory for an instance.
    fn reserve(&self, len: usize) -> Result<(), String> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: new memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(format!("no addresses for a guest: {}", io::Error::last_os_error()));
        }
        let base = base.expose_provenance();
        // SAFETY: the addresses are the guest's until `Reserved`, which has the region, is dropped; ranges are in its rooms.
        let region = unsafe { Region::new(base, Some(self.limit)) }.map_err(|error| {
            // SAFETY: what was just mapped.
            unsafe { unmap(base, len) };
            error.to_string()
        })?;
        self.memory.set(Reserved { base, len, region }).map_err(|_| "a guest has one memory".to_string())
    }
}

impl Layout {
    /// Whether a part of a file may be mapped there, and in which slot.
    fn check(&self, file_len: u64, at: u64, offset: u64, len: u64) -> Result<usize, String> {
        let refused = |why: &str| Err(format!("map-range({at}, {offset}, {len}): {why}"));
        if !at.is_multiple_of(PAGE) || !offset.is_multiple_of(PAGE) {
            return refused("the address and the offset must be multiples of 64 KiB");
        }
        let Some(end) = offset.checked_add(len).filter(|&end| len > 0 && end <= file_len) else {
            return refused("the range is not in the file");
        };
        if end != file_len && !len.is_multiple_of(PAGE) {
            return refused("its length must be a multiple of 64 KiB, but at the end of the file");
        }
        // No overflow: `len` is at most a file's.
        let Some(to) = at.checked_add(len.next_multiple_of(PAGE)) else { return refused("the address overflows") };
        if !self.rooms.iter().any(|room| room.start <= at && to <= room.end) {
            return refused("the address is not in announced room");
        }
        let overlaps = |range: &Range<u64>| range.start < to && at < range.end;
        let mut others = self.ranges.iter().enumerate().filter(|(_, range)| overlaps(range));
        match (others.next(), others.next()) {
            (None, _) if self.ranges.len() == RANGES => refused("too many ranges are mapped"),
            (None, _) => Ok(self.ranges.len()),
            (Some((slot, range)), None) if range.start == at => Ok(slot),
            _ => refused("it overlaps another range"),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.region.set_end(0);
        // SAFETY: it was mapped so; the instance, whose memory this was, is gone: it held the space.
        unsafe { unmap(self.base, self.len) };
    }
}

/// What wasmtime makes memories with.
pub(crate) struct Creator;

// SAFETY: each memory is reserved whole, with its guard, never moves, and is touched by wasmtime, and by us on behalf of the guest while
// that waits for a call to return.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let space = NEXT.take().ok_or("a guest has one memory")?;
        if ty.is_64() || ty.is_shared() {
            return Err("a guest's memory has 32 bits and belongs to it alone".to_string());
        }
        let reserved = reserved.ok_or("a guest's memory never moves")?;
        space.reserve(reserved + guard)?;
        let mut memory = Memory { space, reserved };
        memory.grow_to(minimum).map_err(|error| error.to_string())?;
        Ok(Box::new(memory))
    }
}

struct Memory {
    space: Arc<Space>,
    reserved: usize,
}

impl Memory {
    fn addresses(&self) -> &Reserved {
        self.space.memory.get().unwrap_or_else(|| unreachable!("reserved when the memory was made"))
    }
}

// SAFETY: page-aligned, with a guard, and as large as it says: `grow_to` alone changes that.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.space.layout().size as usize
    }

    fn byte_capacity(&self) -> usize {
        self.reserved
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        let memory = self.addresses();
        let mut layout = self.space.layout();
        let refused = || wasmtime::Error::msg("the guest has no more memory");
        let more = (size as u64).checked_sub(layout.size).filter(|_| size <= self.reserved).ok_or_else(refused)?;
        let announced = std::mem::take(&mut layout.announced);
        if announced == more && more > 0 {
            // Each room, and what lies between two, is a mapping of its own.
            if layout.rooms.len() == ROOMS {
                return Err(wasmtime::Error::msg("the guest has too many rooms"));
            }
            let room = layout.size..layout.size + more;
            memory.region.set_room(
                layout.rooms.len(),
                memory.base + room.start as usize,
                memory.base + room.end as usize,
            );
            layout.rooms.push(room);
        } else {
            if !memory.region.take(more as usize) {
                return Err(refused());
            }
            // SAFETY: the addresses are the memory's, and were not usable before.
            unsafe { protect(memory.base + layout.size as usize, more as usize)? };
        }
        layout.size += more;
        memory.region.set_end(memory.base + size);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.addresses().base)
    }
}

/// Makes reserved addresses usable.
///
/// # Safety
/// They are the caller's.
unsafe fn protect(start: usize, len: usize) -> io::Result<()> {
    let start = ptr::with_exposed_provenance_mut(start);
    // SAFETY: the caller's.
    match len == 0 || unsafe { libc::mprotect(start, len, libc::PROT_READ | libc::PROT_WRITE) } == 0 {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// Zeros that cost nothing, in place of what was there.
///
/// # Safety
/// The addresses are the caller's, and nobody has a reference into them.
unsafe fn protect_anew(start: usize, len: usize, protection: libc::c_int) -> io::Result<()> {
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the caller's.
    let mapped = unsafe { libc::mmap(ptr::with_exposed_provenance_mut(start), len, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives addresses back.
///
/// # Safety
/// They are the caller's, and nobody uses them any more.
unsafe fn unmap(start: usize, len: usize) {
    // SAFETY: the caller's.
    unsafe { libc::munmap(ptr::with_exposed_provenance_mut(start), len) };
}
