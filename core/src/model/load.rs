//! Finds every tensor by name and checks its shape and format.

use super::arch::{Arrangement, Biases, LocalRope, NormKind, NormedTogether};
use super::{
    Arch, Attention, Config, Experts, Ffn, Layer, LoadError, Mixer, Mlp, Model, ModelId, Norm, Norms, QkNorm, Raw,
    Rope, Weight, fingerprint,
};
use crate::gguf::{Directory, Error as GgufError, Gguf, Tensor};
use crate::kernels::{Format, Operand};
use crate::weights::{Span, WeightSource};
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// What a header says of a model. A host may have it read elsewhere, in a sandbox, and take the plan: whatever stands in it, it is checked.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Hyperparameters, as they are written.
    pub raw: Raw,
    /// Where the tensors are.
    pub tensors: Directory<'a>,
    /// Tells saved sessions of one model from those of another, with samples of the weights.
    pub header_hash: u64,
}

impl<'a> Plan<'a> {
    /// Reads the plan of a model.
    ///
    /// # Errors
    /// No architecture, or a part of a model without the others.
    pub fn from_gguf(gguf: &Gguf<'a>) -> Result<Plan<'a>, LoadError> {
        let count = gguf.split_count()?;
        if count != gguf.parts() {
            let part = u64::from(gguf.u32("split.no")?.unwrap_or(0)) + 1;
            return Err(GgufError::Split(format!(
                "this file is part {part} of {count}, and the others are needed too"
            ))
            .into());
        }
        let (raw, tensors) = (Raw::from_gguf(gguf)?, gguf.directory().clone());
        Ok(Plan { raw, tensors, header_hash: fingerprint::of_header(gguf) })
    }

    /// The hyperparameters.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn config(&self) -> Result<Config, LoadError> {
        Config::parse(&self.raw, &self.tensors)
    }
}

impl Model {
    /// Loads a model whose header is `gguf` and whose bytes `source` hands out.
    ///
    /// # Errors
    /// A missing, misshapen, unsupported or superfluous tensor, or a bad hyperparameter: see [`LoadError`].
    pub fn load(gguf: &Gguf<'_>, source: Arc<dyn WeightSource>) -> Result<Model, LoadError> {
        check_source(gguf.file_len(), &*source)?;
        Self::from_plan(&Plan::from_gguf(gguf)?, source)
    }

    /// Loads a model by a plan from anywhere.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_plan(plan: &Plan<'_>, source: Arc<dyn WeightSource>) -> Result<Model, LoadError> {
        let (directory, header_hash) = (&plan.tensors, plan.header_hash);
        check_source(directory.file_len(), &*source)?;
        let (config, used) = (plan.config()?, vec![false; directory.tensors().len()]);
        let mut tensors = Tensors { directory, source: &*source, used, arch: config.arch };
        let embedding = tensors.matrix("token_embd", config.vocab, config.embedding)?;
        let output = match directory.tensor("output.weight") {
            Some(_) => tensors.biased("output", config.vocab, config.embedding)?,
            None => embedding.clone(),
        };
        let output_norm = tensors.norm("output_norm", config.embedding)?;
        let layers = (0..config.layers).map(|i| layer(&mut tensors, &config, i)).collect::<Result<Vec<_>, _>>()?;
        let ropes = ropes(&mut tensors, &config)?;
        if let Some(extra) = tensors.used.iter().position(|used| !used) {
            return Err(LoadError::UnexpectedTensor(directory.tensors()[extra].name.to_string()));
        }
        let fingerprint = fingerprint::of_model(header_hash, [&embedding, &output], &layers, &*source);
        let fingerprint =
            fingerprint.map_err(|cause| LoadError::Weights { what: "samples of matrices".into(), cause })?;
        let id = ModelId::next();
        Ok(Model { config, embedding, layers, output_norm, output, ropes, source, id, fingerprint })
    }
}

fn check_source(expected: u64, source: &dyn WeightSource) -> Result<(), LoadError> {
    match source.len() {
        found if found < expected => Err(LoadError::Source { expected, found }),
        _ => Ok(()),
    }
}

fn layer(tensors: &mut Tensors<'_, '_>, c: &Config, i: usize) -> Result<Layer, LoadError> {
    let mixer = Mixer::Attention(attention(tensors, c, i)?);
    let ffn = match c.experts {
        None => Ffn::Dense(dense(tensors, c, i)?),
        Some(experts) => Ffn::Experts {
            router: tensors.matrix(&format!("blk.{i}.ffn_gate_inp"), experts.count, c.embedding)?,
            all: expert_mlps(tensors, c, experts, i)?,
        },
    };
    let mut norm = |part: &str| tensors.norm(&format!("blk.{i}.{part}"), c.embedding);
    let norms = match c.arch.norms {
        Arrangement::Before => Norms::Before { mixer: norm("attn_norm")?, ffn: norm("ffn_norm")? },
        Arrangement::After => Norms::After { mixer: norm("post_attention_norm")?, ffn: norm("post_ffw_norm")? },
        Arrangement::Around => Norms::Around {
            mixer: [norm("attn_norm")?, norm("post_attention_norm")?],
            ffn: [norm("ffn_norm")?, norm("post_ffw_norm")?],
        },
        Arrangement::Parallel => Norms::Parallel(norm("attn_norm")?),
    };
    Ok(Layer { mixer, ffn, norms })
}

fn attention(tensors: &mut Tensors<'_, '_>, c: &Config, i: usize) -> Result<Attention, LoadError> {
    let name = |part: &str| format!("blk.{i}.{part}");
    let (arch, q, kv) = (c.arch, c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let [wq, wk, wv] = match tensors.directory.tensor(&name("attn_qkv.weight")) {
        Some(_) => {
            let all = tensors.biased(&name("attn_qkv"), q + 2 * kv, c.embedding)?;
            [all.part(0..q), all.part(q..q + kv), all.part(q + kv..q + 2 * kv)]
        }
        None => [
            tensors.biased(&name("attn_q"), q, c.embedding)?,
            tensors.biased(&name("attn_k"), kv, c.embedding)?,
            tensors.biased(&name("attn_v"), kv, c.embedding)?,
        ],
    };
    let wo = tensors.biased(&name("attn_output"), c.embedding, q)?;
    let widths = match arch.qk_norm {
        NormedTogether::Nothing => None,
        NormedTogether::Head => Some((c.head_dim, c.head_dim)),
        NormedTogether::Row => Some((q, kv)),
    };
    let mut norm = |part: &str, width: usize| tensors.norm(&name(part), width);
    let qk_norm = match widths {
        None => None,
        Some((q, k)) => Some(QkNorm { q: norm("attn_q_norm", q)?, k: norm("attn_k_norm", k)? }),
    };
    let window = c.windows[i];
    let local = window.is_some() && arch.local_rope != LocalRope::Same;
    let rope = (!arch.no_rope_every.is_some_and(|n| (i + 1).is_multiple_of(n))).then_some(usize::from(local));
    Ok(Attention { wq, wk, wv, wo, qk_norm, rope, window })
}

/// Gate and up, apart or (without a gate of that name) one below the other in `ffn_up`; down.
fn dense(tensors: &mut Tensors<'_, '_>, c: &Config, i: usize) -> Result<Mlp, LoadError> {
    let name = |part: &str| format!("blk.{i}.{part}");
    let wide = c.feed_forward;
    let twice = |t: &Tensor<'_>| t.dims[1] == 2 * wide as u64;
    let joined = c.arch.gated
        && tensors.directory.tensor(&name("ffn_gate.weight")).is_none()
        && tensors.directory.tensor(&name("ffn_up.weight")).is_some_and(twice);
    let (gate, up) = match (c.arch.gated, joined) {
        (true, true) => {
            let both = tensors.biased(&name("ffn_up"), 2 * wide, c.embedding)?;
            (Some(both.part(0..wide)), both.part(wide..2 * wide))
        }
        (true, false) => {
            let gate = tensors.biased(&name("ffn_gate"), wide, c.embedding)?;
            (Some(gate), tensors.biased(&name("ffn_up"), wide, c.embedding)?)
        }
        (false, _) => (None, tensors.biased(&name("ffn_up"), wide, c.embedding)?),
    };
    Ok(Mlp { gate, up, down: tensors.biased(&name("ffn_down"), c.embedding, wide)? })
}

/// The matrices of all experts, each kind in one tensor.
fn expert_mlps(tensors: &mut Tensors<'_, '_>, c: &Config, experts: Experts, i: usize) -> Result<Mlp, LoadError> {
    let mut all = |part: &str, rows, cols| tensors.stack(&format!("blk.{i}.{part}"), experts.count, rows, cols);
    Ok(Mlp {
        gate: Some(all("ffn_gate_exps", experts.feed_forward, c.embedding)?),
        up: all("ffn_up_exps", experts.feed_forward, c.embedding)?,
        down: all("ffn_down_exps", c.embedding, experts.feed_forward)?,
    })
}

/// The tables, and the factors of each pair where the file has them: one set (Llama 3), or one up to the original context and one
/// beyond it (Phi-3).
fn ropes(tensors: &mut Tensors<'_, '_>, c: &Config) -> Result<Vec<Rope>, LoadError> {
    let mut global = Rope::global(c);
    if tensors.directory.tensor("rope_factors_long.weight").is_some() {
        let original = c
            .rope_scaling
            .original_context
            .ok_or_else(|| GgufError::MissingKey(format!("{}.rope.scaling.original_context_length", c.arch.name)))?;
        let long = tensors.rope_factors("rope_factors_long", &global.freqs)?;
        global.freqs = tensors.rope_factors("rope_factors_short", &global.freqs)?;
        global.long = Some((original, long));
    } else if tensors.directory.tensor("rope_freqs.weight").is_some() {
        global.freqs = tensors.rope_factors("rope_freqs", &global.freqs)?;
    }
    let mut ropes = vec![global];
    if c.arch.local_rope != LocalRope::Same {
        ropes.push(Rope::local(c));
    }
    Ok(ropes)
}

/// The directory, and which of its tensors have been asked for.
struct Tensors<'g, 'a> {
    directory: &'g Directory<'a>,
    source: &'g dyn WeightSource,
    /// (tensors)
    used: Vec<bool>,
    arch: &'static Arch,
}

impl<'a> Tensors<'_, 'a> {
    /// A tensor of exactly these dimensions (inputs first) in a format with kernels.
    fn find(&mut self, name: &str, dims: &[usize]) -> Result<(Tensor<'a>, Format), LoadError> {
        let index = self.directory.index(name).ok_or_else(|| GgufError::MissingTensor(name.to_string()))?;
        self.used[index] = true;
        let tensor = self.directory.tensors()[index];
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
        match usize::try_from(tensor.len) {
            Ok(_) => Ok((tensor, format)),
            Err(_) => Err(LoadError::TooLarge { tensor: name.to_string(), bytes: tensor.len }),
        }
    }

    /// `NAME.weight`, and `NAME.bias` where the file has it or the architecture must.
    fn biased(&mut self, name: &str, rows: usize, cols: usize) -> Result<Weight, LoadError> {
        let qkv = ["attn_q", "attn_k", "attn_v", "attn_qkv"].iter().any(|part| name.ends_with(part));
        let needed = match self.arch.biases {
            Biases::Found => false,
            Biases::Qkv => qkv,
            Biases::All => true,
        };
        let mut weight = self.matrix(name, rows, cols)?;
        let bias = format!("{name}.bias");
        if needed || self.directory.tensor(&bias).is_some() {
            weight.bias = Some(self.vector(&bias, rows)?);
        }
        Ok(weight)
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Weight, LoadError> {
        let (tensor, format) = self.find(&format!("{name}.weight"), &[cols, rows])?;
        Ok(Weight { format, rows, cols, span: span(&tensor), bias: None })
    }

    /// `count` matrices in one tensor, as one matrix of all their rows.
    fn stack(&mut self, name: &str, count: usize, rows: usize, cols: usize) -> Result<Weight, LoadError> {
        let (tensor, format) = self.find(&format!("{name}.weight"), &[cols, rows, count])?;
        Ok(Weight { format, rows: count * rows, cols, span: span(&tensor), bias: None })
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm, LoadError> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        let bias = match self.arch.norm {
            NormKind::Rms => None,
            NormKind::Layer => Some(self.vector(&format!("{name}.bias"), width)?),
        };
        Ok(Norm { weight, bias })
    }

    /// Frequencies divided by the factor of each pair.
    fn rope_factors(&mut self, name: &str, freqs: &[f64]) -> Result<Vec<f64>, LoadError> {
        let name = format!("{name}.weight");
        let factors = self.vector(&name, freqs.len())?;
        if let Some((index, &value)) = factors.iter().enumerate().find(|(_, f)| **f <= 0.0) {
            return Err(LoadError::RopeFactor { tensor: name, index, value });
        }
        Ok(freqs.iter().zip(factors).map(|(freq, factor)| freq / f64::from(factor)).collect())
    }

    /// A vector of floats, copied.
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let (tensor, format) = self.find(name, &[len])?;
        if format.operand() != Operand::Float {
            return Err(LoadError::Format {
                tensor: name.to_string(),
                format: format.name(),
                known: Format::ALL.iter().filter(|f| f.operand() == Operand::Float).map(|f| f.name()).collect(),
            });
        }
        let (mut values, mut bytes) = (vec![0.0; len], vec![0; tensor.len as usize]);
        let read = self.source.read(tensor.offset, &mut bytes);
        read.map_err(|cause| LoadError::Weights { what: format!("tensor {name:?}"), cause })?;
        format.dequantize(&bytes, &mut values);
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(LoadError::NotFinite { tensor: name.to_string(), index }),
            None => Ok(values),
        }
    }
}

fn span(tensor: &Tensor<'_>) -> Span {
    Span { offset: tensor.offset, len: tensor.len as usize }
}
