//! What this machine has. The core never asks: it is told.

use picolm_core::kernels::{Backend, Cpu};

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
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        cpu.simd128 = Some(picolm_core::kernels::Simd128::new());
    }
    cpu
}

/// The usable backends, best first.
pub fn backends() -> Vec<Backend> {
    Backend::all(detect()).collect()
}

/// Threads to use if nobody says: one for each core this process may run on. Two threads of one core share the units and the path to
/// memory that the kernels keep busy, so they count once.
#[cfg(not(target_family = "wasm"))]
pub fn default_threads() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    usable.min(cores().unwrap_or(usable))
}

/// Cores as Linux tells them: each is the list of its threads.
#[cfg(not(target_family = "wasm"))]
fn cores() -> Option<usize> {
    let mut cores = std::collections::HashSet::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu").ok()?.flatten() {
        cores.extend(std::fs::read_to_string(entry.path().join("topology/thread_siblings_list")).ok());
    }
    Some(cores.len()).filter(|&n| n > 0)
}
