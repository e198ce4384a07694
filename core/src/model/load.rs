//! Finds every tensor by name and checks its shape and format.

use super::{Config, Layer, LoadError, Model, ModelId, Weight};
use crate::gguf::{Gguf, Tensor};
use crate::kernels::{Format, Operand};
use crate::weights::{Span, WeightSource};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

impl Model {
    /// Loads a model whose header is `gguf` and whose bytes `source` hands out.
    ///
    /// # Errors
    /// A missing, misshapen, unsupported or superfluous tensor, or a bad hyperparameter: see [`LoadError`].
    pub fn load(gguf: &Gguf<'_>, source: Arc<dyn WeightSource>) -> Result<Model, LoadError> {
        if source.len() < gguf.file_len() {
            return Err(LoadError::Source { expected: gguf.file_len(), found: source.len() });
        }
        let config = Config::from_gguf(gguf)?;
        let mut tensors = Tensors { gguf, source: &*source, used: BTreeSet::new() };
        let embedding = tensors.matrix("token_embd.weight", config.vocab, config.embedding)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => tensors.matrix("output.weight", config.vocab, config.embedding)?,
            None => embedding,
        };
        let output_norm = tensors.vector("output_norm.weight", config.embedding)?;
        let layers = (0..config.layers).map(|i| layer(&mut tensors, &config, i)).collect::<Result<_, _>>()?;
        let rope_freqs = rope_freqs(&mut tensors, &config)?;
        if let Some(extra) = gguf.tensors().iter().find(|t| !tensors.used.contains(t.name)) {
            return Err(LoadError::UnexpectedTensor(extra.name.to_string()));
        }
        Ok(Model { config, embedding, layers, output_norm, output, rope_freqs, source, id: ModelId::next() })
    }
}

fn layer(tensors: &mut Tensors<'_, '_>, c: &Config, i: usize) -> Result<Layer, LoadError> {
    let name = |part: &str| format!("blk.{i}.{part}.weight");
    let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let qk_norm = if c.arch.qk_norm {
        let q_norm = tensors.vector(&name("attn_q_norm"), c.head_dim)?;
        Some((q_norm, tensors.vector(&name("attn_k_norm"), c.head_dim)?))
    } else {
        None
    };
    Ok(Layer {
        attn_norm: tensors.vector(&name("attn_norm"), c.embedding)?,
        wq: tensors.matrix(&name("attn_q"), q, c.embedding)?,
        wk: tensors.matrix(&name("attn_k"), kv, c.embedding)?,
        wv: tensors.matrix(&name("attn_v"), kv, c.embedding)?,
        wo: tensors.matrix(&name("attn_output"), c.embedding, q)?,
        qk_norm,
        ffn_norm: tensors.vector(&name("ffn_norm"), c.embedding)?,
        gate: tensors.matrix(&name("ffn_gate"), c.feed_forward, c.embedding)?,
        up: tensors.matrix(&name("ffn_up"), c.feed_forward, c.embedding)?,
        down: tensors.matrix(&name("ffn_down"), c.embedding, c.feed_forward)?,
    })
}

/// `base^(-2i / n)` in f64, divided by the linear scale and, where the file has them (Llama 3), by the factors of each pair.
fn rope_freqs(tensors: &mut Tensors<'_, '_>, c: &Config) -> Result<Vec<f64>, LoadError> {
    let (n, pairs) = (c.rope_dims as f64, c.rope_dims / 2);
    let mut freqs: Vec<f64> =
        (0..pairs).map(|i| libm::pow(f64::from(c.rope_base), -2.0 * i as f64 / n) / f64::from(c.rope_scale)).collect();
    let name = "rope_freqs.weight";
    if tensors.gguf.tensor(name).is_some() {
        for (index, (freq, factor)) in freqs.iter_mut().zip(tensors.vector(name, pairs)?).enumerate() {
            if factor <= 0.0 {
                return Err(LoadError::RopeFactor { tensor: name.to_string(), index, value: factor });
            }
            *freq /= f64::from(factor);
        }
    }
    Ok(freqs)
}

/// The directory, and which of its tensors have been asked for.
struct Tensors<'g, 'a> {
    gguf: &'g Gguf<'a>,
    source: &'g dyn WeightSource,
    used: BTreeSet<&'a str>,
}

impl<'a> Tensors<'_, 'a> {
    /// A tensor of exactly these dimensions (inputs first) in a format with kernels.
    fn find(&mut self, name: &str, dims: &[usize]) -> Result<(Tensor<'a>, Format), LoadError> {
        let tensor = *self.gguf.require_tensor(name)?;
        self.used.insert(tensor.name);
        let expected: Vec<u64> = dims.iter().map(|&d| d as u64).collect();
        let found = tensor.dims[..tensor.n_dims].to_vec();
        if found.iter().chain([1, 1, 1, 1].iter()).take(4).ne(expected.iter().chain([1, 1, 1, 1].iter()).take(4)) {
            return Err(LoadError::Shape { tensor: name.to_string(), expected, found });
        }
        let format = Format::from_id(tensor.ty.id).ok_or_else(|| LoadError::Format {
            tensor: name.to_string(),
            format: tensor.ty.name,
            known: Format::ALL.iter().map(|f| f.name()).collect(),
        })?;
        Ok((tensor, format))
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Weight, LoadError> {
        let (tensor, format) = self.find(name, &[cols, rows])?;
        Ok(Weight { format, rows, cols, span: span(&tensor) })
    }

    /// A vector of floats, copied.
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let (tensor, format) = self.find(name, &[len])?;
        if format.operand() != Operand::Float {
            return Err(LoadError::Format {
                tensor: name.to_string(),
                format: format.name(),
                known: vec![Format::F32.name(), Format::F16.name()],
            });
        }
        let mut values = vec![0.0; len];
        format.dequantize(self.source.bytes(span(&tensor)), &mut values);
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(LoadError::NotFinite { tensor: name.to_string(), index }),
            None => Ok(values),
        }
    }
}

fn span(tensor: &Tensor<'_>) -> Span {
    Span { offset: tensor.offset, len: tensor.len as usize }
}
