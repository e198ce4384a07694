//! WebAssembly: `simd128`, with or without `relaxed-simd`.

mod simd128;

pub use simd128::Simd128;
