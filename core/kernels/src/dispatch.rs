//! The list of backends.

use super::activations::{ColumnMut, Columns};
use super::{Activation, ChunkF16, ChunkQ8, Format, Gathered, Queries, reference};
use crate::team::Tile;
use core::fmt;
use core::ops::Range;

/// A table of kernels. All tables compute the same bits; `reference.rs` says what.
#[allow(clippy::type_complexity, reason = "the names of the arguments are worth it")]
pub struct Kernels {
    /// Name for people.
    pub name: &'static str,
    /// `out[c][r] = weights[r] · x[c]`; `weights` holds the rows of `out`, of `x.len` weights each.
    pub matmul: fn(format: Format, weights: &[u8], x: Columns<'_>, out: &mut Tile<'_>),
    /// Quantises a column in blocks of 32 or 256; false if a value is not finite.
    pub quantize: fn(x: &[f32], block: usize, out: ColumnMut<'_>) -> bool,
    /// `out = x * (1 / sqrt(mean(x²) + eps)) * weight`
    pub rms_norm: fn(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]),
    /// `out = (x - mean) * (1 / sqrt(variance + eps)) * weight + bias`
    pub layer_norm: fn(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]),
    /// `out = f(x)`, or `f(x) * up`
    pub activate: fn(f: Activation, x: &[f32], up: Option<&[f32]>, out: &mut [f32]),
    /// `x = cap * tanh(x / cap)`
    pub soft_cap: fn(x: &mut [f32], cap: f32),
    /// f16 bits, to nearest even
    pub to_f16: fn(x: &[f32], out: &mut [u16]),
    /// One chunk of attention, merged into `state`. `visible` has the positions that each token sees, at least one; neither end of
    /// these moves back from one token to the next.
    pub attend_f16: fn(q: &Queries<'_>, chunk: &ChunkF16<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>),
    /// The same over a q8_0 chunk.
    pub attend_q8: fn(q: &Queries<'_>, chunk: &ChunkQ8<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>),
}

/// A set of kernels this machine can run.
#[derive(Clone, Copy)]
pub struct Backend(&'static Kernels);

impl Backend {
    /// The portable backend: the specification itself.
    pub const REFERENCE: Backend = Backend(&reference::KERNELS);

    pub(super) const fn new(kernels: &'static Kernels) -> Self {
        Backend(kernels)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Its functions.
    pub fn kernels(self) -> &'static Kernels {
        self.0
    }

    /// The backends this machine can run, best first. The host asks its CPU and passes what it found.
    pub fn all(cpu: Cpu) -> impl Iterator<Item = Backend> {
        #[cfg(target_arch = "x86_64")]
        let found = [
            cpu.avx512_vnni.map(super::Avx512Vnni::backend),
            cpu.avx_vnni.map(super::AvxVnni::backend),
            cpu.avx2.map(super::Avx2::backend),
        ];
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let found = [cpu.simd128.map(super::Simd128::backend)];
        #[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
        let found: [Option<Backend>; 0] = {
            let Cpu {} = cpu;
            []
        };
        found.into_iter().flatten().chain([Backend::REFERENCE])
    }
}

/// What the host found its CPU to have: one token per instruction set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// AVX2 and F16C.
    #[cfg(target_arch = "x86_64")]
    pub avx2: Option<super::Avx2>,
    /// AVX2, F16C and AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    pub avx_vnni: Option<super::AvxVnni>,
    /// AVX-512 F, BW, DQ, VL and VNNI, and F16C.
    #[cfg(target_arch = "x86_64")]
    pub avx512_vnni: Option<super::Avx512Vnni>,
    /// WebAssembly's `simd128`, with `relaxed-simd` if the module is compiled for it.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    pub simd128: Option<super::Simd128>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name())
    }
}
