//! The list of backends.

use crate::backend::Backend;
use crate::reference;

/// The instruction sets of an architecture, best first: what the host may find its CPU to have.
macro_rules! instruction_sets {
    ($($(#[$doc:meta])* $field:ident: $token:ident),*) => {
        /// What the host found its CPU to have: one token per instruction set.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Cpu {
            $($(#[$doc])* pub $field: Option<crate::isa::$token>,)*
        }

        impl Cpu {
            fn backends(self) -> impl Iterator<Item = Backend> {
                [$(self.$field.map(crate::isa::$token::backend),)* Some(Backend::REFERENCE)].into_iter().flatten()
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
instruction_sets! {
    /// AVX-512 F, BW, DQ, VL and VNNI, and F16C.
    avx512_vnni: Avx512Vnni,
    /// AVX2, F16C and AVX-VNNI.
    avx_vnni: AvxVnni,
    /// AVX2 and F16C.
    avx2: Avx2
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
instruction_sets! {
    /// WebAssembly's `simd128`, with `relaxed-simd` if the module is compiled for it.
    simd128: Simd128
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
instruction_sets! {}

impl Backend {
    /// The portable backend: the specification itself.
    pub const REFERENCE: Backend = Backend::new(&reference::KERNELS);

    /// The backends this machine can run, best first. The host asks its CPU and passes what it found.
    pub fn all(cpu: Cpu) -> impl Iterator<Item = Backend> {
        cpu.backends()
    }
}
