//! `picolm perplexity`: how well a model predicts a text.

use crate::cli::{Machine, Output};
use crate::engine::{self, checked};
use crate::input::utf8;
use anyhow::{Context, Result, ensure};
use picolm_core::session::{Feed, Session, Want};
use picolm_core::text::Encode;
use picolm_machine::ModelFile;
use serde_json::json;
use std::path::Path;

pub(super) fn run(path: &Path, text: &Path, machine: &Machine, output: Output) -> Result<()> {
    let file = ModelFile::open(path)?;
    let (model, tokenizer) = (engine::ready(&file, machine.pack, machine.threads())?, engine::tokenizer(&file)?);
    let bytes = std::fs::read(text).with_context(|| format!("cannot read the text {}", text.display()))?;
    let text = utf8(bytes, &text.display().to_string())?;
    let tokens = tokenizer.encode(&text, Encode { bos: true, ..Encode::TEXT });
    ensure!(tokens.len() >= 2, "the text has {} tokens: 2 or more are needed", tokens.len());
    let context = model.config.context;
    ensure!(tokens.len() <= context, "the text has {} tokens, this model reads {context}: shorten it", tokens.len());

    let mut engine = engine::engine(&model, machine.backend.as_deref(), machine.threads(), machine.batch)?;
    let mut session = Session::new(&model, context, machine.kv.into())?;
    let mut sum = 0.0;
    let feed = Feed { session: &mut session, tokens: &tokens, want: Want::All };
    let read = engine.forward(&mut [feed], &mut |_, position, logits| {
        // The last token predicts nothing that is known.
        if let Some(&next) = tokens.get(position + 1) {
            sum += negative_log_likelihood(logits, next);
        }
    });
    checked(&file, read)?;
    let (n, mean) = (tokens.len(), sum / (tokens.len() - 1) as f64);
    let text = || format!("{n} tokens: mean -ln p {mean:.4}, perplexity {:.3}", libm::exp(mean));
    output.print(&json!({ "tokens": n, "mean_nll": mean }), text)
}

/// -ln of the softmax of `logits` at `token`, in f64.
pub(crate) fn negative_log_likelihood(logits: &[f32], token: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| libm::exp(f64::from(x) - f64::from(max))).sum();
    libm::log(sum) - (f64::from(logits[token as usize]) - f64::from(max))
}

#[cfg(test)]
mod tests {
    use super::negative_log_likelihood;

    #[test]
    fn by_hand() {
        // Even odds over four tokens.
        let even = negative_log_likelihood(&[7.0; 4], 2);
        assert!((even - libm::log(4.0)).abs() < 1e-12, "{even}");
        // Odds of 3 to 1, far from zero where e^x alone would overflow.
        let logits = [1000.0 + libm::log(3.0) as f32, 1000.0];
        let (likely, unlikely) = (negative_log_likelihood(&logits, 0), negative_log_likelihood(&logits, 1));
        assert!((likely - libm::log(4.0 / 3.0)).abs() < 1e-4, "{likely}");
        assert!((unlikely - libm::log(4.0)).abs() < 1e-4, "{unlikely}");
    }
}
