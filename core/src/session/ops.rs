//! What every part of a pass uses: products, norms, and whether all was finite.

use crate::kernels::{Backend, Columns, Matrix, Operands};
use crate::model::{Model, Norm, Weight};
use crate::team::{Team, Tiles, for_parts};
use crate::weights::{Lent, WeightsError};
use core::sync::atomic::{AtomicBool, Ordering};

/// What computes, and for which model.
#[derive(Clone, Copy)]
pub(super) struct Compute<'a> {
    pub(super) model: &'a Model,
    /// of the layer, or of what is outside of layers
    pub(super) weights: &'a Lent<'a>,
    pub(super) backend: Backend,
    pub(super) team: &'a dyn Team,
}

impl Compute<'_> {
    /// A matrix as it was lent.
    pub(super) fn matrix(&self, w: &Weight) -> Result<Matrix<'_>, WeightsError> {
        let bytes = self.weights.bytes(w.span)?;
        Ok(Matrix { format: w.format, layout: self.weights.layout(), cols: w.cols, bytes })
    }

    /// Several matrices times the same columns, in one fork: out is (columns, rows) each.
    pub(super) fn matmul<const N: usize>(
        self,
        x: Columns<'_>,
        jobs: [(&Weight, &mut [f32]); N],
    ) -> Result<(), WeightsError> {
        let mut missing = None;
        let matrices = jobs.each_ref().map(|(w, _)| {
            let matrix = self.matrix(w).map_err(|error| missing = Some(error)).ok();
            (matrix, w.bias.as_deref())
        });
        missing.map_or(Ok(()), Err)?;
        // Multiples of 16 rows, the height of a kernel's group; larger where a matrix has many, to take fewer turns.
        let tiles = jobs.map(|(w, out)| Tiles::new(out, x.n, if w.rows < 4096 { 32 } else { 128 }, x.n));
        for_parts(self.team, tiles, |_, (which, (rows, mut tile))| {
            let (matrix, bias): &(Option<Matrix<'_>>, Option<&[f32]>) = &matrices[which];
            let matrix = matrix.expect("none is missing");
            (self.backend.kernels().matmul)(matrix.rows(rows.clone()), x, &mut tile);
            if let Some(bias) = bias {
                for c in 0..x.n {
                    tile.column(c).iter_mut().zip(&bias[rows.clone()]).for_each(|(y, b)| *y += b);
                }
            }
        });
        Ok(())
    }

    /// out = norm(x)
    pub(super) fn norm(self, norm: &Norm, x: &[f32], out: &mut [f32]) {
        let eps = self.model.config.eps;
        match &norm.bias {
            None => (self.backend.kernels().rms_norm)(x, &norm.weight, eps, out),
            Some(bias) => (self.backend.kernels().layer_norm)(x, &norm.weight, bias, eps, out),
        }
    }
}

/// What the columns must be quantised to for these matrices.
pub(super) fn operands<'w>(readers: impl IntoIterator<Item = &'w Weight>) -> Operands {
    readers.into_iter().fold(Operands::default(), |set, w| set.with(w.format.operand()))
}

/// True until a part says false.
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn new() -> Self {
        Flag(AtomicBool::new(true))
    }

    pub(super) fn and(&self, ok: bool) {
        if !ok {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
