//! A feed-forward part, of all tokens or of those that chose one expert.

use super::ops::{Compute, Flag, operands};
use crate::kernels::{Activations, quantize_column};
use crate::model::Mlp;
use crate::team::for_parts;
use crate::weights::WeightsError;

/// Room for what [`apply`] computes on its way.
pub(super) struct Room<'a> {
    /// (columns, feed_forward) each
    pub(super) gate: &'a mut [f32],
    pub(super) up: &'a mut [f32],
}

/// out = down(f(gate) * up) of `n` columns of `x`, or down(f(up)). `x` comes quantised, and is overwritten. False if a value is not
/// finite.
pub(super) fn apply(
    compute: Compute<'_>,
    Room { gate, up }: Room<'_>,
    mlp: &Mlp,
    n: usize,
    x: &mut Activations,
    out: &mut [f32],
) -> Result<bool, WeightsError> {
    let (wide, narrow, f) = (mlp.up.rows, mlp.up.cols, compute.model.config.arch.activation);
    let (gate, up) = (&mut gate[..n * wide], &mut up[..n * wide]);
    match &mlp.gate {
        Some(w) => compute.matmul(x.columns(n, narrow), [(w, &mut *gate), (&mlp.up, &mut *up)])?,
        None => compute.matmul(x.columns(n, narrow), [(&mlp.up, &mut *up)])?,
    }
    let (finite, operands, activate) = (Flag::new(), operands([&mlp.down]), compute.backend.kernels().activate);
    for_parts(compute.team, x.parts(n, wide), |i, column| {
        let (gate, up) = (&gate[i * wide..][..wide], &up[i * wide..][..wide]);
        match &mlp.gate {
            Some(_) => activate(f, gate, Some(up), column.0),
            None => activate(f, up, None, column.0),
        }
        finite.and(quantize_column(compute.backend, operands, column));
    });
    compute.matmul(x.columns(n, wide), [(&mlp.down, &mut out[..n * narrow])])?;
    Ok(finite.get())
}
