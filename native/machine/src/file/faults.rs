//! Faults in mapped memory: a model file that is cut short, and a guest that writes where it should not.
//!
//! Both are signals, and both may come in the middle of host code (a kernel reads the file, `memory.fill` runs for the guest), where a
//! trap of WebAssembly is no way out. So the handler makes the address usable, the instruction goes on, and a mark stays for whoever asks
//! [`Region::fault`] afterwards: what was computed is thrown away.
//!
//! ```text
//!   SIGBUS   a page of the file that is no longer there     ► zeros to the end of the range       ► Fault::Truncated
//!   SIGSEGV  a guest writes to mapped weights (read-only)   ► 64 KiB become its own, and count    ► nothing, while it has memory left
//!                                                             … when it has none left: scratch    ► Fault::Memory
//!            a guest touches room where nothing is mapped   ► scratch                             ► Fault::Room
//!   any other: whose handler was there before us (wasmtime's, which makes traps of what happens in WebAssembly)
//! ```
//! A process has only so many mappings (65,530 where nobody has changed it), and whoever has none left dies of the next fault in host code.
//! So a guest has a bounded number, whatever it touches in whatever order. After a fault that is not its right the whole room becomes one
//! mapping of nothing, and what is touched in it is shown scratch: 64 KiB that stand in the last few places at once and cost memory once.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{fmt, io};

/// What a guest's writes are counted in.
pub const CHUNK: usize = 64 << 10;

/// Regions at a time.
const REGIONS: usize = 256;

/// Most ranges of files mapped in a region.
pub const RANGES: usize = 16;

/// Most rooms in a guest's memory.
pub const ROOMS: usize = 16;

/// Most chunks of mapped files that a guest may write to: each can split a mapping in three.
const WRITTEN: usize = 1024;

/// Places where scratch stands at once: more than one instruction touches.
const WINDOWS: usize = 64;

/// What has happened in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The file has fewer bytes than when it was mapped, or its disk failed.
    Truncated = 1,
    /// The guest wrote over more of the mapped file than it has memory for, or in too many places.
    Memory = 2,
    /// The guest touched room where nothing is mapped.
    Room = 3,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Truncated => "the model file was cut short, or its disk failed",
            Fault::Memory => "it wrote over more of its model than it may",
            Fault::Room => "it touched room where nothing is mapped",
        })
    }
}

/// Addresses that we answer for. Everything in it is an atomic, for the handler to read: a signal may come at any time on any thread.
struct Entry {
    start: AtomicUsize,
    /// End of what may be touched; behind it lies nothing, or what wasmtime answers for.
    end: AtomicUsize,
    /// Mapped pieces of the file: start, end.
    ranges: [(AtomicUsize, AtomicUsize); RANGES],
    /// Where files may be mapped in a guest's memory: start, end.
    rooms: [(AtomicUsize, AtomicUsize); ROOMS],
    /// The rooms, as bits, that have become one mapping of nothing.
    emptied: AtomicUsize,
    /// Where scratch stands, and the one that is next to give way.
    windows: [AtomicUsize; WINDOWS],
    next: AtomicUsize,
    /// Bytes of memory that the guest may still take.
    left: AtomicUsize,
    /// Chunks of mapped files that it may still write to.
    chunks: AtomicUsize,
    /// The descriptor of the guest's scratch memory plus one; 0 if this is no guest's.
    scratch: AtomicI32,
    fault: AtomicU8,
}

impl Entry {
    const fn free() -> Self {
        Entry {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            ranges: [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RANGES],
            rooms: [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; ROOMS],
            emptied: AtomicUsize::new(0),
            windows: [const { AtomicUsize::new(0) }; WINDOWS],
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            chunks: AtomicUsize::new(0),
            scratch: AtomicI32::new(0),
            fault: AtomicU8::new(0),
        }
    }
}

static ENTRIES: [Entry; REGIONS] = [const { Entry::free() }; REGIONS];

/// An entry that is in use, by its place.
#[derive(Debug)]
pub struct Region {
    index: usize,
    _scratch: Option<OwnedFd>,
}

impl Region {
    /// Answers for the addresses from `start` on, of which none may be touched yet: for files that are mapped there and, if this is a
    /// guest's memory, for what the guest does. `memory` are the bytes that it may take.
    ///
    /// # Errors
    /// There are too many, or no file descriptor is to be had.
    ///
    /// # Safety
    /// The addresses up to the end that is set, and the ranges that are set, are the caller's as long as the region lives: what is touched
    /// in them and not there is mapped anew.
    pub unsafe fn new(start: usize, memory: Option<usize>) -> io::Result<Self> {
        watch_files()?;
        let scratch = memory.map(|_| scratch()).transpose()?;
        let claim = |entry: &Entry| entry.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let index = ENTRIES.iter().position(claim).ok_or_else(|| io::Error::other("too many models are loaded"))?;
        let entry = &ENTRIES[index];
        entry.left.store(memory.unwrap_or(0), Ordering::Relaxed);
        entry.fault.store(0, Ordering::Relaxed);
        entry.scratch.store(scratch.as_ref().map_or(0, |fd| fd.as_raw_fd() + 1), Ordering::Relaxed);
        entry.chunks.store(WRITTEN, Ordering::Relaxed);
        entry.ranges.iter().chain(&entry.rooms).for_each(|(_, end)| end.store(0, Ordering::Relaxed));
        entry.windows.iter().chain([&entry.emptied, &entry.next]).for_each(|place| place.store(0, Ordering::Relaxed));
        entry.end.store(start, Ordering::Release);
        Ok(Region { index, _scratch: scratch })
    }

    fn entry(&self) -> &'static Entry {
        &ENTRIES[self.index]
    }

    /// What happened since it was made.
    pub fn fault(&self) -> Option<Fault> {
        [Fault::Truncated, Fault::Memory, Fault::Room]
            .into_iter()
            .find(|fault| *fault as u8 == self.entry().fault.load(Ordering::Acquire))
    }

    /// The addresses from its start to `end` may be touched.
    pub fn set_end(&self, end: usize) {
        self.entry().end.store(end, Ordering::Release);
    }

    /// Takes memory for the guest; false if it has not as much left.
    pub fn take(&self, bytes: usize) -> bool {
        take(&self.entry().left, bytes)
    }

    /// A file is mapped in these addresses. `slot` (below [`RANGES`]) may have been another range's.
    pub fn set_range(&self, slot: usize, start: usize, end: usize) {
        set(&self.entry().ranges[slot], start, end);
    }

    /// Files may be mapped in these addresses of a guest. `slot` (below [`ROOMS`]) has been no other room's.
    pub fn set_room(&self, slot: usize, start: usize, end: usize) {
        set(&self.entry().rooms[slot], start, end);
    }
}

/// Whoever looks meanwhile finds nothing.
fn set(place: &(AtomicUsize, AtomicUsize), start: usize, end: usize) {
    place.1.store(0, Ordering::Release);
    place.0.store(start, Ordering::Release);
    place.1.store(end, Ordering::Release);
}

/// Which of the places has the address, and its start and end.
fn find(places: &[(AtomicUsize, AtomicUsize)], address: usize) -> Option<(usize, usize, usize)> {
    let places = places.iter().map(|(start, end)| (start.load(Ordering::Acquire), end.load(Ordering::Acquire)));
    places
        .enumerate()
        .map(|(i, (start, end))| (i, start, end))
        .find(|(_, start, end)| (*start..*end).contains(&address))
}

impl Drop for Region {
    fn drop(&mut self) {
        let entry = self.entry();
        entry.end.store(0, Ordering::Release);
        entry.start.store(0, Ordering::Release);
    }
}

fn take(left: &AtomicUsize, bytes: usize) -> bool {
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok()
}

/// Memory without a place yet.
fn scratch() -> io::Result<OwnedFd> {
    // SAFETY: a file descriptor that is returned is new and ours; the name is a C string.
    let fd = unsafe {
        let fd = libc::memfd_create(c"picolm-scratch".as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: the descriptor is open.
    match unsafe { libc::ftruncate(fd.as_raw_fd(), CHUNK as libc::off_t) } {
        0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whose signals they were.
static SEGV_BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static BUS_BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn before(signal: libc::c_int) -> &'static OnceLock<libc::sigaction> {
    if signal == libc::SIGBUS { &BUS_BEFORE } else { &SEGV_BEFORE }
}

/// From now on guests' writes over their model are counted. wasmtime's handler has to be there already: ours comes before it.
///
/// # Errors
/// The system's.
pub fn watch_guests() -> io::Result<()> {
    static DONE: Mutex<bool> = Mutex::new(false);
    install_once(libc::SIGSEGV, &DONE)
}

/// From now on files may be cut short.
fn watch_files() -> io::Result<()> {
    static DONE: Mutex<bool> = Mutex::new(false);
    install_once(libc::SIGBUS, &DONE)
}

/// What failed is tried again by the next who asks.
fn install_once(signal: libc::c_int, done: &Mutex<bool>) -> io::Result<()> {
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    if !*done {
        install(signal)?;
        *done = true;
    }
    Ok(())
}

/// Puts our handler in front of the one that is there.
fn install(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: a `sigaction` of zeros is one (the default action).
    let (mut old, mut action): (libc::sigaction, libc::sigaction) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: asks only.
    if unsafe { libc::sigaction(signal, ptr::null(), &mut old) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The handler may run as soon as it is there, and then wants this.
    before(signal).get_or_init(|| old);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and does only what a handler may; as wasmtime's it runs on the
    // alternate stack where there is one, and again while it runs. The mask is a field of our own.
    match unsafe { libc::sigemptyset(&mut action.sa_mask) | libc::sigaction(signal, &action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid `info` to a handler with SA_SIGINFO; both signals have an address.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: errno is the interrupted code's, and is given back as it was.
    let errno = unsafe { *libc::__errno_location() };
    let answered = ENTRIES.iter().any(|entry| {
        let within = (entry.start.load(Ordering::Acquire)..entry.end.load(Ordering::Acquire)).contains(&address);
        within && answer(entry, signal, address)
    });
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    if !answered {
        pass_on(signal, info, context);
    }
}

/// Makes the address usable; false if that cannot be done.
fn answer(entry: &Entry, signal: libc::c_int, address: usize) -> bool {
    let range = find(&entry.ranges, address);
    let scratch = entry.scratch.load(Ordering::Acquire) - 1;
    match (signal, range) {
        (libc::SIGBUS, Some((_, _, end))) => {
            // SAFETY: sysconf may be called in a handler.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            entry.fault.store(Fault::Truncated as u8, Ordering::Release);
            let from = address & !(page - 1);
            // SAFETY: the addresses are of a mapped range of ours.
            unsafe { map_nothing(from, end - from, libc::PROT_READ) }
        }
        // Who writes to a file of ours, and is no guest, is wrong.
        (libc::SIGSEGV, _) if scratch < 0 => false,
        (libc::SIGSEGV, range) => {
            if let Some((_, start, end)) = range
                && may_write(entry)
                && make_writable(start, end, address)
            {
                return true;
            }
            let fault = if range.is_some() { Fault::Memory } else { Fault::Room };
            let _ = entry.fault.compare_exchange(0, fault as u8, Ordering::AcqRel, Ordering::Acquire);
            show_scratch(entry, address, scratch)
        }
        _ => false,
    }
}

/// Whether a chunk of a file may become the guest's own, which then counts. It may not after any fault.
fn may_write(entry: &Entry) -> bool {
    entry.fault.load(Ordering::Acquire) == 0 && take(&entry.chunks, 1) && take(&entry.left, CHUNK)
}

/// Makes a chunk of a file the guest's own.
fn make_writable(start: usize, end: usize, address: usize) -> bool {
    let (from, len) = chunk(start, end, address);
    // SAFETY: the addresses are of a mapped range of ours; the mapping is private, so that writes stay here.
    unsafe { libc::mprotect(from as *mut _, len, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

/// Makes scratch of the chunk around an address in a room; false if it is in none.
fn show_scratch(entry: &Entry, address: usize, scratch: libc::c_int) -> bool {
    let Some((room, start, end)) = find(&entry.rooms, address) else { return false };
    if entry.emptied.fetch_or(1 << room, Ordering::AcqRel) & (1 << room) == 0 {
        // SAFETY: the room is the guest's, whose results nobody believes from now on.
        if !unsafe { map_nothing(start, end - start, libc::PROT_NONE) } {
            return false;
        }
    }
    let window = &entry.windows[entry.next.fetch_add(1, Ordering::Relaxed) % WINDOWS];
    let before = window.swap(0, Ordering::AcqRel);
    // SAFETY: scratch stands there, in a room of this guest.
    if before != 0 && !unsafe { map_nothing(before, CHUNK, libc::PROT_NONE) } {
        return false;
    }
    let (from, len) = chunk(start, end, address);
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED | libc::MAP_SHARED);
    // SAFETY: the addresses are of the room; scratch is as long as a chunk.
    let shown = unsafe { libc::mmap(from as *mut _, len, protection, flags, scratch, 0) != libc::MAP_FAILED };
    window.store(if shown { from } else { 0 }, Ordering::Release);
    shown
}

/// The chunk around the address, its start and length. From the start on, so that none leaves what is ours or mixes what differs: in a guest
/// all that differs does so by pages of 64 KiB.
fn chunk(start: usize, end: usize, address: usize) -> (usize, usize) {
    let from = start + (address - start) / CHUNK * CHUNK;
    (from, CHUNK.min(end - from))
}

/// Zeros that cost nothing, in place of what was there; false if that cannot be done.
///
/// # Safety
/// The addresses are the caller's, and what was there is of no use any more.
unsafe fn map_nothing(from: usize, len: usize, protection: libc::c_int) -> bool {
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the caller's.
    unsafe { libc::mmap(from as *mut _, len, protection, flags, -1, 0) != libc::MAP_FAILED }
}

/// Does what would have been done without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(before) = before(signal).get() else { return };
    // SAFETY: `before` is what sigaction(2) returned for this signal: a function of the kind its flags say, or one of the two constants.
    // With the default action in place again, the instruction faults once more and the process ends as it should.
    unsafe {
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => _ = libc::sigaction(signal, before, ptr::null_mut()),
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler = std::mem::transmute::<
                    usize,
                    extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void),
                >(handler);
                handler(signal, info, context);
            }
            handler => std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal),
        }
    }
}
