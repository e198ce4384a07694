//! What this machine has. The core never asks: it is told.

use anyhow::{Result, bail};
use picolm_core::kernels::{Backend, Cpu};
use std::collections::HashSet;
use std::num::NonZero;

/// The instruction sets of this CPU that the core has kernels for.
pub fn detect() -> Cpu {
    #[allow(unused_mut, reason = "there are CPUs with nothing to find")]
    let mut cpu = Cpu::default();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
        // SAFETY: the CPU has both, and the operating system saves their registers: the macro asks for that, too.
        cpu.avx2 = Some(unsafe { picolm_core::kernels::Avx2::assume() });
        if is_x86_feature_detected!("avxvnni") {
            // SAFETY: as above.
            cpu.avx_vnni = Some(unsafe { picolm_core::kernels::AvxVnni::assume() });
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
        {
            // SAFETY: as above.
            cpu.avx512_vnni = Some(unsafe { picolm_core::kernels::Avx512Vnni::assume() });
        }
    }
    cpu
}

/// The usable backends, best first.
pub fn backends() -> Vec<Backend> {
    Backend::all(detect()).collect()
}

/// The backend of a name, or the best one.
///
/// # Errors
/// A name that is unknown, or known and not usable here; the message lists those that are.
pub fn backend(name: Option<&str>) -> Result<Backend> {
    let all = backends();
    let Some(name) = name else { return Ok(all[0]) };
    match all.iter().find(|backend| backend.name() == name) {
        Some(backend) => Ok(*backend),
        None => {
            let usable: Vec<&str> = all.iter().map(|backend| backend.name()).collect();
            bail!("there is no backend {name:?} on this machine; usable: {}", usable.join(", "))
        }
    }
}

/// Threads to use if nobody says: one for each core this process may run on. Two threads of one core share the units and the path to
/// memory that the kernels keep busy, so they count once.
pub fn default_threads() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, NonZero::get);
    usable.min(cores().unwrap_or(usable))
}

/// Cores as Linux tells them: each is the list of its threads.
fn cores() -> Option<usize> {
    let mut cores = HashSet::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu").ok()?.flatten() {
        cores.extend(std::fs::read_to_string(entry.path().join("topology/thread_siblings_list")).ok());
    }
    Some(cores.len()).filter(|&n| n > 0)
}
