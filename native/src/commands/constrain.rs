//! `picolm constrain`: whether a text keeps to a form, and what its masks take over a vocabulary.

use crate::cli::Print;
use crate::engine;
use anyhow::{Context, Result};
use picolm_core::text::{Encode, Tokenizer};
use picolm_engine::{Constraint, JsonAnswer, JsonAutomaton, JsonVocabulary};
use picolm_machine::ModelFile;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(super) fn run(vocabulary: Option<&Path>, print: Print) -> Result<()> {
    let tokenizer = vocabulary.map(|path| engine::tokenizer(&ModelFile::open(path)?)).transpose()?;
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
    let (accepted, at) = accepted(&text);
    let begins = String::from_utf8_lossy(&text[..at]);
    let mask_us = tokenizer.map(|tokenizer| mask_times(&tokenizer, &begins)).transpose()?;
    let found = json!({ "accepted": accepted, "at": at, "mask_us": mask_us });
    print.output().print(&found, || people(&found, text.len()))
}

/// Whether bytes are JSON, and the byte up to which it could be.
fn accepted(text: &[u8]) -> (bool, usize) {
    let (mut json, mut at) = (JsonAutomaton::text(), 0);
    for &byte in text {
        let Some(next) = json.step(byte) else { return (false, at) };
        (json, at) = (next, at + 1);
    }
    (json.is_whole(), at)
}

/// How long the masks in front of a text's tokens take, in microseconds, as far as an answer could be so.
fn mask_times(tokenizer: &Tokenizer, text: &str) -> Result<Value> {
    let mut answer = JsonAnswer::new(Arc::new(JsonVocabulary::new(tokenizer)?));
    let (mut logits, mut times) = (vec![0.0; tokenizer.n_vocab()], Vec::new());
    let ids = tokenizer.encode(text, Encode::TEXT);
    for at in 0..ids.len() {
        logits.fill(0.0);
        let start = Instant::now();
        answer.mask(&ids[..at], ids.len() + text.len(), tokenizer, &mut logits);
        times.push(start.elapsed().as_secs_f64() * 1e6);
        if logits[ids[at] as usize] == f32::NEG_INFINITY {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let part = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
    Ok(json!({ "mean": mean, "p50": part(0.5), "p99": part(0.99), "masks": times.len() }))
}

/// The same of a text of so many bytes, in words.
fn people(found: &Value, len: usize) -> String {
    let at = &found["at"];
    let said = match found["accepted"] == true {
        true => "accepted".to_string(),
        false if *at == len => format!("not whole: more has to follow byte {at}"),
        false => format!("refused at byte {at}"),
    };
    match &found["mask_us"] {
        Value::Null => said,
        mask => format!(
            "{said}\nmasks in µs: mean {:.1}, median {:.1}, 99 % up to {:.1}",
            number(&mask["mean"]),
            number(&mask["p50"]),
            number(&mask["p99"])
        ),
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
