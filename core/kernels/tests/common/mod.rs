//! The machine that tests run on: its backends, and whether it is one. The core's tests have this, too.
#![allow(dead_code, missing_docs, reason = "each test uses some of it")]

use picolm_kernels::Backend;

/// The backends of this machine, the reference last.
pub fn backends() -> Vec<Backend> {
    picolm_machine::cpu::backends()
}

/// Whether the processor is emulated: some ten times slower, and threads are dear. `cargo xtask test` says so where it names the emulator.
pub fn emulated() -> bool {
    std::env::var_os("PICOLM_EMULATED").is_some()
}
