//! Arithmetic by the host's kernels.

use super::wit::kernels;
use picolm_core::model::Plan;
use picolm_engine::{Arithmetic, Feed, Result, Want};

/// The model that the host has loaded by our plan.
pub(super) struct Imported {
    backend: String,
    weight_bytes: u64,
    vocabulary: usize,
}

impl Imported {
    /// Hands the plan over.
    pub(super) fn load(plan: &Plan<'_>) -> Result<Self> {
        let tensors = plan.tensors.tensors().iter().map(|tensor| kernels::Tensor {
            name: tensor.name.to_string(),
            type_: tensor.ty.id,
            dims: tensor.dims[..tensor.n_dims].to_vec(),
            offset: tensor.offset,
        });
        let (backend, weight_bytes) = kernels::load(&kernels::Plan {
            config: (&plan.config).into(),
            tensors: tensors.collect(),
            header_hash: plan.header_hash,
        })?;
        Ok(Imported { backend, weight_bytes, vocabulary: plan.config.vocab })
    }

    /// The kernels' name, and the bytes of the weights that are read for each token.
    pub(super) fn about(&self) -> (String, u64) {
        (self.backend.clone(), self.weight_bytes)
    }
}

impl Arithmetic for Imported {
    fn open(&mut self) -> Result<usize> {
        Ok(kernels::open()? as usize)
    }

    fn close(&mut self, session: usize) {
        // It fails only where there is nothing to close.
        let _ = kernels::close(session as u32);
    }

    fn truncate(&mut self, session: usize, len: usize) -> Result<()> {
        Ok(kernels::truncate(session as u32, len as u32)?)
    }

    fn forward(&mut self, feeds: &[Feed], logits: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let all: Vec<kernels::Feed> = feeds
            .iter()
            .map(|feed| kernels::Feed {
                session: feed.session as u32,
                tokens: feed.tokens.clone(),
                want: feed.want.into(),
            })
            .collect();
        let rows = kernels::forward(&all)?;
        let rows_of = |feed: &Feed| match feed.want {
            Want::Nothing => 0,
            Want::Last => feed.tokens.len().min(1),
            Want::All => feed.tokens.len(),
        };
        let owners = feeds.iter().enumerate().flat_map(|(i, feed)| std::iter::repeat_n(i, rows_of(feed)));
        owners.zip(rows.chunks_exact(self.vocabulary)).for_each(|(feed, row)| logits(feed, row));
        Ok(())
    }

    fn embed(&mut self, session: usize, tokens: &[u32]) -> Result<Vec<f32>> {
        Ok(kernels::embed(session as u32, tokens)?)
    }

    fn save(&mut self, session: usize) -> Result<Vec<u8>> {
        Ok(kernels::save(session as u32)?)
    }

    fn load(&mut self, session: usize, state: &[u8]) -> Result<Vec<u32>> {
        Ok(kernels::restore(session as u32, state)?)
    }

    fn session_bytes(&self, tokens: usize) -> u64 {
        kernels::session_bytes(tokens as u32)
    }
}
