//! x86-64: AVX2, with or without AVX-VNNI, and AVX-512.

mod avx2;
mod avx512;
mod avx_vnni;

pub use avx_vnni::AvxVnni;
pub use avx2::Avx2;
pub use avx512::Avx512Vnni;
