//! Arithmetic by the host's kernels.

use super::wit::kernels;
use picolm_core::model::{Config, Plan};
use picolm_engine::{Arithmetic, Error, Feed, Kind, Read, Result, Want, Write, append};

/// What is read of a state at once.
const READ: usize = 64 << 10;

/// The model that the host has loaded by our plan.
pub(super) struct Imported {
    backend: String,
    weight_bytes: u64,
    vocabulary: usize,
    embedding: usize,
}

impl Imported {
    /// Hands the plan over, whose numbers are `config`.
    pub(super) fn load(plan: &Plan<'_>, config: &Config) -> Result<Self> {
        let tensors = plan.tensors.tensors().iter().map(|tensor| kernels::Tensor {
            name: tensor.name.to_string(),
            type_: tensor.ty.id,
            dims: tensor.dims[..tensor.n_dims].to_vec(),
            offset: tensor.offset,
        });
        let (backend, weight_bytes) = kernels::load(&kernels::Plan {
            architecture: plan.raw.architecture().to_string(),
            metadata: plan.raw.entries().map(|(key, value)| (key.to_string(), value.clone().into())).collect(),
            tensors: tensors.collect(),
            header_hash: plan.header_hash,
        })?;
        Ok(Imported { backend, weight_bytes, vocabulary: config.vocab, embedding: config.embedding })
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

    fn rewind(&mut self, session: usize, len: usize) -> Result<usize> {
        Ok(kernels::rewind(session as u32, len as u32)? as usize)
    }

    fn forward(&mut self, feeds: &[Feed], rows: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let all: Vec<kernels::Feed> = feeds
            .iter()
            .map(|feed| kernels::Feed {
                session: feed.session as u32,
                tokens: feed.tokens.clone(),
                want: feed.want.into(),
            })
            .collect();
        let all = kernels::forward(&all)?;
        let mut rest = &all[..];
        for (i, feed) in feeds.iter().enumerate() {
            let width = if feed.want == Want::Hidden { self.embedding } else { self.vocabulary };
            for _ in 0..feed.want.rows(feed.tokens.len()) {
                let (row, behind) = rest
                    .split_at_checked(width)
                    .ok_or_else(|| Error::new(Kind::Stopped, "the host's rows end early"))?;
                rows(i, row);
                rest = behind;
            }
        }
        Ok(())
    }

    fn save(&mut self, session: usize, write: Write<'_>) -> Result<()> {
        write(&kernels::save(session as u32)?)
    }

    fn load(&mut self, session: usize, read: Read<'_>) -> Result<Vec<u32>> {
        let (mut state, mut part) = (Vec::new(), vec![0; READ]);
        loop {
            match read(&mut part)? {
                0 => return Ok(kernels::restore(session as u32, &state)?),
                n => append(&mut state, &part[..n])?,
            }
        }
    }

    fn session_bytes(&self, tokens: usize) -> u64 {
        kernels::session_bytes(tokens as u32)
    }
}
