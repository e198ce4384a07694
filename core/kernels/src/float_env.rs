//! The float control register: a C or JavaScript host may run with flush-to-zero, which would change bits.

/// While it lives, floats round to nearest even and keep denormals on this thread; dropping it restores what the host had.
#[derive(Debug)]
pub struct FloatEnv {
    saved: register::Value,
}

impl FloatEnv {
    /// Saves the register and sets its default.
    pub fn enter() -> Self {
        let saved = register::read();
        register::write(register::DEFAULT);
        FloatEnv { saved }
    }
}

impl Drop for FloatEnv {
    fn drop(&mut self) {
        register::write(self.saved);
    }
}

/// MXCSR.
#[cfg(target_arch = "x86_64")]
mod register {
    pub(super) type Value = u32;

    /// All exceptions masked, round to nearest, no flush-to-zero: the value at program start.
    pub(super) const DEFAULT: Value = 0x1f80;

    pub(super) fn read() -> Value {
        let mut value = 0;
        // SAFETY: stmxcsr writes four bytes to the given place.
        unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack)) };
        value
    }

    pub(super) fn write(value: Value) {
        // SAFETY: ldmxcsr reads four bytes; the value is the default or one that was in the register.
        unsafe { core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, readonly)) };
    }
}

/// FPCR, readable and writable at every exception level.
#[cfg(target_arch = "aarch64")]
mod register {
    pub(super) type Value = u64;

    /// The architectural default.
    pub(super) const DEFAULT: Value = 0;

    pub(super) fn read() -> Value {
        let value;
        // SAFETY: reads a register.
        unsafe { core::arch::asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack)) };
        value
    }

    pub(super) fn write(value: Value) {
        // SAFETY: the value is the default or one that was in the register.
        unsafe { core::arch::asm!("msr fpcr, {}", in(reg) value, options(nomem, nostack)) };
    }
}

/// The user-level rounding mode, frm. RISC-V never flushes denormals.
#[cfg(all(any(target_arch = "riscv64", target_arch = "riscv32"), target_feature = "f"))]
mod register {
    pub(super) type Value = usize;

    /// Nearest even.
    pub(super) const DEFAULT: Value = 0;

    pub(super) fn read() -> Value {
        let value;
        // SAFETY: reads a register.
        unsafe { core::arch::asm!("frrm {}", out(reg) value, options(nomem, nostack)) };
        value
    }

    pub(super) fn write(value: Value) {
        // SAFETY: the value is the default or one that was in the register.
        unsafe { core::arch::asm!("fsrm {}", in(reg) value, options(nomem, nostack)) };
    }
}

/// WebAssembly and soft floats have no such register: always to nearest even, always with denormals.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(any(target_arch = "riscv64", target_arch = "riscv32"), target_feature = "f")
)))]
mod register {
    pub(super) type Value = u8;

    pub(super) const DEFAULT: Value = 0;

    pub(super) fn read() -> Value {
        DEFAULT
    }

    pub(super) fn write(_: Value) {}
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use core::hint::black_box;

    #[test]
    fn denormals_survive_a_host_that_flushes_them() {
        let halved = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        let _host = FloatEnv::enter();
        register::write(register::DEFAULT | 0x8040); // flush to zero, denormals are zero
        assert_eq!(halved(), 0.0, "the host flushes");
        let guard = FloatEnv::enter();
        assert_ne!(halved(), 0.0);
        drop(guard);
        assert_eq!(halved(), 0.0, "the host's register is back");
    }
}
