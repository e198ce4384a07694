//! x86-64 with AVX2, F16C and AVX-VNNI: the kernels of `avx2` with one instruction for a dot of four.

use super::avx2::Ymm;
use crate::backend::{Backend, Kernels};
use crate::lanes::{self, Products};
use crate::operand::{Activation, ChunkF16, ChunkQ8, ColumnMut, Columns, Gathered, Queries};
use crate::quant::{Float, Layout, Matrix, Narrow, Visitor, Wide};
use crate::team::Tile;
use core::ops::Range;

/// The proof that this CPU has AVX2, F16C and AVX-VNNI.
pub type AvxVnni = Ymm<true>;

impl AvxVnni {
    /// The kernels.
    pub fn backend(self) -> Backend {
        Backend::new(&KERNELS)
    }
}

backend! { AvxVnni, "avx2,f16c,avxvnni", "avx-vnni" }
