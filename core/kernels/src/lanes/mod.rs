//! Every kernel once, over [`Simd`](crate::simd::Simd).
//!
//! An instruction set supplies the trait (a folder in `isa/`); the algorithms here are `#[inline(always)]`, so that they are compiled
//! inside the instruction set's own functions.

/// Functions that are parts of their callers, as everything here, but in WebAssembly functions of their own: V8 has 16 registers, and
/// allocates them badly in long functions. (A constant of `Simd` cannot say it: an attribute is there before any type is.)
macro_rules! apart {
    ($function:item) => {
        #[cfg_attr(target_family = "wasm", inline(never))]
        #[cfg_attr(not(target_family = "wasm"), inline(always))]
        $function
    };
}

mod access;
mod attention;
mod floats;
pub(super) mod matmul;
mod rows;
mod side_by_side;
mod strips;
#[cfg(not(target_family = "wasm"))]
pub(super) mod tiles;

pub(super) use attention::{attend_f16, attend_q8};
pub(super) use floats::{activate, layer_norm, quantize, rms_norm, soft_cap, to_f16};
pub(super) use matmul::Products;
