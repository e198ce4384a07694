//! wasmtime, and the component as machine code.

use super::memory::Creator;
use crate::{Error, ErrorKind, Result};
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

/// How often a running guest looks at the clock, so to speak.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Addresses of a guest's memory, and those behind it that no code may touch.
const RESERVED: u64 = 4 << 30;
const GUARD: u64 = 32 << 20;

/// Bytes of a guest's stack.
const STACK: usize = 1 << 20;

/// The engine of this process, and the clock of its guests.
pub(crate) fn engine() -> Result<Engine> {
    static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);
    let mut known = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = &*known {
        return Ok(engine.clone());
    }
    // What the system refuses now it may give the next time.
    let failed = |error: &dyn Display| Error::new(ErrorKind::Memory, format!("the sandbox cannot be made: {error}"));
    let engine = Engine::new(&config()).map_err(|error| failed(&format!("{error:#}")))?;
    picolm_machine::file::faults::watch_guests().map_err(|error| failed(&error))?;
    let weak = engine.weak();
    let clock = thread::Builder::new().name("picolm-clock".into());
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    clock.spawn(tick).map_err(|error| failed(&error))?;
    Ok(known.insert(engine).clone())
}

fn config() -> Config {
    let mut config = Config::new();
    config.with_host_memory(Arc::new(Creator)).memory_init_cow(false);
    config.memory_reservation(RESERVED).memory_guard_size(GUARD).memory_may_move(false);
    config.epoch_interruption(true).max_wasm_stack(STACK);
    // The kernels use relaxed instructions only where they are exact (`docs/numerics.md`).
    config.wasm_relaxed_simd(true).relaxed_simd_deterministic(false);
    #[cfg(feature = "compiler")]
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    config
}

/// The component: machine code that was made for this machine, or what is compiled now, once.
///
/// # Errors
/// There is none at `path`, or none beside the program and in `PICOLM_COMPONENT`, or it does not suit this machine.
pub(crate) fn component(path: Option<&Path>) -> Result<Component> {
    let path = path.map_or_else(find, |path| Ok(path.to_owned()))?;
    let engine = engine()?;
    let failed = |error: &dyn Display| Error::new(ErrorKind::Stopped, format!("{}: {error:#}", path.display()));
    let mut magic = [0; 4];
    let read = File::open(&path).and_then(|mut file| file.read(&mut magic));
    read.map_err(|error| failed(&error))?;
    match &magic {
        b"\0asm" => compiled(&engine, &path),
        // SAFETY: the file is machine code that runs as this program does, and is trusted as it is: it lies where the program lies, in
        // the user's own cache, or where whoever starts the program says. (docs/security.md says so too.)
        _ => unsafe { Component::deserialize_file(&engine, &path) }.map_err(|error| failed(&error)),
    }
}

/// `PICOLM_COMPONENT`, or the file beside this program; machine code first.
fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PICOLM_COMPONENT") {
        return Ok(path.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let found = ["picolm.cwasm", "picolm.wasm"].into_iter().map(|name| program.with_file_name(name));
    found.into_iter().find(|path| path.exists()).ok_or_else(|| {
        let message =
            "the component of the sandbox is missing: picolm.wasm beside this program, or where PICOLM_COMPONENT says";
        Error::new(ErrorKind::Stopped, message)
    })
}

/// Machine code of the component for this machine, to be loaded where there is no compiler, or sooner.
///
/// # Errors
/// It is no component, or cannot be read.
#[cfg(feature = "compiler")]
pub fn compile(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: String| Error::new(ErrorKind::Stopped, format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    engine()?.precompile_component(&bytes).map_err(|error| failed(format!("{error:#}")))
}

/// Compiled once: what was made is kept in the user's cache.
#[cfg(feature = "compiler")]
fn compiled(engine: &Engine, path: &Path) -> Result<Component> {
    let failed = |error: String| Error::new(ErrorKind::Stopped, format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let kept = kept(engine, &bytes);
    if let Some(kept) = kept.as_ref().filter(|kept| kept.exists()) {
        // SAFETY: we have written it (or somebody who may write to this user's cache).
        if let Ok(component) = unsafe { Component::deserialize_file(engine, kept) } {
            return Ok(component);
        }
    }
    let component = Component::from_binary(engine, &bytes).map_err(|error| failed(format!("{error:#}")))?;
    if let (Some(kept), Ok(code)) = (kept, component.serialize()) {
        // Whole or not at all; who cannot write there compiles again the next time.
        let part = kept.with_extension(format!("{}.part", std::process::id()));
        let written = std::fs::write(&part, code).and_then(|()| std::fs::rename(&part, &kept));
        if written.is_err() {
            let _ = std::fs::remove_file(part);
        }
    }
    Ok(component)
}

/// Where the machine code of a component is kept: a name that changes with it, with wasmtime and with the CPU.
#[cfg(feature = "compiler")]
fn kept(engine: &Engine, component: &[u8]) -> Option<PathBuf> {
    use sha2::{Digest, Sha256};
    use std::hash::{DefaultHasher, Hash, Hasher};
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home)?;
    let cache = cache.join("picolm");
    std::fs::create_dir_all(&cache).ok()?;
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest: String = Sha256::digest(component).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Some(cache.join(format!("component-{digest}-{:016x}.cwasm", hasher.finish())))
}

#[cfg(not(feature = "compiler"))]
fn compiled(_: &Engine, path: &Path) -> Result<Component> {
    let message = "is not compiled, and this program has no compiler: make a .cwasm of it on another machine (picolm-host install)";
    Err(Error::new(ErrorKind::Stopped, format!("{} {message}", path.display())))
}
