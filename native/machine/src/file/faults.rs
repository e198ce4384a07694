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
//! Scratch is a piece of memory that stands in any number of places at once, so that it costs its 1 MiB once.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::{fmt, io};

/// What a guest's writes are counted in.
pub const CHUNK: usize = 64 << 10;

/// Bytes of scratch memory.
const SCRATCH: usize = 1 << 20;

/// Regions at a time.
const REGIONS: usize = 256;

/// Most ranges of files mapped in a region.
pub const RANGES: usize = 16;

/// What has happened in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The file has fewer bytes than when it was mapped, or its disk failed.
    Truncated = 1,
    /// The guest wrote over more of the mapped file than it has memory for.
    Memory = 2,
    /// The guest touched room where nothing is mapped.
    Room = 3,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Truncated => "the model file was cut short, or its disk failed",
            Fault::Memory => "it wrote over more of its model than it has memory for",
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
    /// Bytes of memory that the guest may still take.
    left: AtomicUsize,
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
            left: AtomicUsize::new(0),
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
        entry.ranges.iter().for_each(|(_, end)| end.store(0, Ordering::Relaxed));
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
        let range = &self.entry().ranges[slot];
        range.1.store(0, Ordering::Release);
        range.0.store(start, Ordering::Release);
        range.1.store(end, Ordering::Release);
    }
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
    match unsafe { libc::ftruncate(fd.as_raw_fd(), SCRATCH as libc::off_t) } {
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
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    DONE.get_or_init(|| install(libc::SIGSEGV)).map_err(io::Error::from_raw_os_error)
}

/// From now on files may be cut short.
fn watch_files() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    DONE.get_or_init(|| install(libc::SIGBUS)).map_err(io::Error::from_raw_os_error)
}

/// Puts our handler in front of the one that is there. The error is a number of the system's.
fn install(signal: libc::c_int) -> Result<(), i32> {
    let failed = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
    // SAFETY: a `sigaction` of zeros is one (the default action).
    let (mut old, mut action): (libc::sigaction, libc::sigaction) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: asks only.
    if unsafe { libc::sigaction(signal, ptr::null(), &mut old) } != 0 {
        return Err(failed());
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
        _ => Err(failed()),
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
    let range = entry.ranges.iter().map(|(start, end)| (start.load(Ordering::Acquire), end.load(Ordering::Acquire)));
    let range = range.into_iter().find(|&(start, end)| (start..end).contains(&address));
    let (protection, scratch) = (libc::PROT_READ | libc::PROT_WRITE, entry.scratch.load(Ordering::Acquire) - 1);
    // The piece of that size around the address. From the start on, so that none leaves what is ours or mixes what differs: in a guest all
    // that differs does so by pages of 64 KiB.
    let piece = |start: usize, end: usize, size: usize| {
        let from = start + (address - start) / size * size;
        (from, (from + size).min(end) - from)
    };
    match (signal, range) {
        (libc::SIGBUS, Some((_, end))) => {
            // SAFETY: sysconf may be called in a handler.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            entry.fault.store(Fault::Truncated as u8, Ordering::Release);
            let from = address & !(page - 1);
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: the addresses are of a mapped range of ours, and are mapped anew.
            unsafe { libc::mmap(from as *mut _, end - from, libc::PROT_READ, flags, -1, 0) != libc::MAP_FAILED }
        }
        // Who writes to a file of ours, and is no guest, is wrong.
        (libc::SIGSEGV, _) if scratch < 0 => false,
        (libc::SIGSEGV, Some((start, end))) if take(&entry.left, CHUNK) => {
            let (from, len) = piece(start, end, CHUNK);
            // SAFETY: the addresses are of a mapped range of ours; the mapping is private, so that writes stay here.
            unsafe { libc::mprotect(from as *mut _, len, protection) == 0 }
        }
        (libc::SIGSEGV, range) => {
            let fault = if range.is_some() { Fault::Memory } else { Fault::Room };
            let _ = entry.fault.compare_exchange(0, fault as u8, Ordering::AcqRel, Ordering::Acquire);
            let (from, len) = match range {
                Some((start, end)) => piece(start, end, SCRATCH),
                None => piece(entry.start.load(Ordering::Acquire), entry.end.load(Ordering::Acquire), CHUNK),
            };
            let flags = libc::MAP_FIXED | libc::MAP_SHARED;
            // SAFETY: the addresses are of a range, or of a chunk of room, of ours; scratch is as long as any such piece.
            unsafe { libc::mmap(from as *mut _, len, protection, flags, scratch, 0) != libc::MAP_FAILED }
        }
        _ => false,
    }
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
