//! The float control register: a C or JavaScript host may run with flush-to-zero, which would change bits.

/// While it lives, floats round to nearest even and keep denormals on this thread; dropping it restores what the host had.
#[derive(Debug)]
pub struct FloatEnv {
    #[cfg(target_arch = "x86_64")]
    saved: u32,
    #[cfg(target_arch = "aarch64")]
    saved: u64,
    #[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
    saved: usize,
}

#[cfg(target_arch = "x86_64")]
impl FloatEnv {
    /// All exceptions masked, round to nearest, no flush-to-zero: the value at program start.
    const DEFAULT: u32 = 0x1f80;

    /// Saves the register and sets its default.
    pub fn enter() -> Self {
        let mut saved = 0u32;
        // SAFETY: stmxcsr writes four bytes to the given place.
        unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &raw mut saved, options(nostack)) };
        set_mxcsr(Self::DEFAULT);
        FloatEnv { saved }
    }
}

#[cfg(target_arch = "x86_64")]
fn set_mxcsr(value: u32) {
    // SAFETY: ldmxcsr reads four bytes; the value is the default or one that was in the register.
    unsafe { core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, readonly)) };
}

#[cfg(target_arch = "x86_64")]
impl Drop for FloatEnv {
    fn drop(&mut self) {
        set_mxcsr(self.saved);
    }
}

#[cfg(target_arch = "aarch64")]
impl FloatEnv {
    /// Saves FPCR and sets its default, zero.
    pub fn enter() -> Self {
        let saved: u64;
        // SAFETY: FPCR is readable and writable at every exception level; zero is its architectural default.
        unsafe { core::arch::asm!("mrs {}, fpcr", "msr fpcr, xzr", out(reg) saved, options(nomem, nostack)) };
        FloatEnv { saved }
    }
}

#[cfg(target_arch = "aarch64")]
impl Drop for FloatEnv {
    fn drop(&mut self) {
        // SAFETY: restores the value read in `enter`.
        unsafe { core::arch::asm!("msr fpcr, {}", in(reg) self.saved, options(nomem, nostack)) };
    }
}

#[cfg(all(any(target_arch = "riscv64", target_arch = "riscv32"), target_feature = "f"))]
impl FloatEnv {
    /// Saves the rounding mode and sets round to nearest even. RISC-V never flushes denormals.
    pub fn enter() -> Self {
        let saved: usize;
        // SAFETY: frm is the user-level rounding mode; 0 is nearest even.
        unsafe { core::arch::asm!("fsrmi {}, 0", out(reg) saved, options(nomem, nostack)) };
        FloatEnv { saved }
    }
}

#[cfg(all(any(target_arch = "riscv64", target_arch = "riscv32"), target_feature = "f"))]
impl Drop for FloatEnv {
    fn drop(&mut self) {
        // SAFETY: restores the mode read in `enter`.
        unsafe { core::arch::asm!("fsrm {}", in(reg) self.saved, options(nomem, nostack)) };
    }
}

#[cfg(all(any(target_arch = "riscv64", target_arch = "riscv32"), not(target_feature = "f")))]
impl FloatEnv {
    /// Soft floats have no control register.
    pub fn enter() -> Self {
        FloatEnv { saved: 0 }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "riscv32")))]
impl FloatEnv {
    /// WebAssembly has no control register: always to nearest even, always with denormals.
    pub fn enter() -> Self {
        FloatEnv {}
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use core::hint::black_box;

    #[test]
    fn denormals_survive_a_host_that_flushes_them() {
        let halved = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        let _host = FloatEnv::enter();
        set_mxcsr(FloatEnv::DEFAULT | 0x8040); // flush to zero, denormals are zero
        assert_eq!(halved(), 0.0, "the host flushes");
        let guard = FloatEnv::enter();
        assert_ne!(halved(), 0.0);
        drop(guard);
        assert_eq!(halved(), 0.0, "the host's register is back");
    }
}
