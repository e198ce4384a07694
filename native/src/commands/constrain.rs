//! `picolm constrain`: whether a text keeps to a form, and what its masks take over a vocabulary.

use crate::cli::{Form, Print};
use crate::engine;
use anyhow::{Context, Result, bail};
use picolm_core::text::{Encode, Tokenizer};
use picolm_engine::{Constraint, Format, JsonAnswer, JsonAutomaton, JsonVocabulary, grammars};
use picolm_grammar::{Grammar, Limits, Token, Vocabulary};
use picolm_machine::ModelFile;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(super) fn run(vocabulary: Option<&Path>, form: &Form, print: Print) -> Result<()> {
    let format = form.format()?;
    let tokenizer = vocabulary.map(|path| engine::tokenizer(&ModelFile::open(path)?)).transpose()?;
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
    let (accepted, at) = match &format {
        Format::Text => bail!("one of --json, --schema, --grammar, --regex says what the text has to be"),
        Format::JsonObject => accepted(&text),
        other => accepted_by(other, &text)?,
    };
    let begins = String::from_utf8_lossy(&text[..at]);
    let mask_us = tokenizer.map(|tokenizer| mask_times(&format, tokenizer, &begins)).transpose()?;
    let found = json!({ "accepted": accepted, "at": at, "mask_us": mask_us });
    let print = if form.has_json_beside() { Print::Json } else { print };
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

/// Whether bytes are a text of a grammar, and the byte up to which they could be: the tokens are the bytes.
fn accepted_by(format: &Format, text: &[u8]) -> Result<(bool, usize)> {
    let bytes: Vec<u8> = (0..=255).collect();
    let vocabulary = Vocabulary::new(bytes.chunks(1).map(Token::Text).chain([Token::End(b"</s>")]), None)?;
    let source = format.source().context("that form has no grammar")?;
    let mut matcher = Grammar::new(source, &vocabulary, &Limits::default())?.matcher();
    // White space around a value is JSON's, and no answer's.
    let is_json = matches!(format, Format::JsonSchema(_));
    let is_space = |byte: &&u8| is_json && b" \t\r\n".contains(byte);
    let before = text.iter().take_while(is_space).count();
    let behind = text[before..].iter().rev().take_while(is_space).count();
    let ids: Vec<u32> = text[before..text.len() - behind].iter().map(|&byte| byte.into()).collect();
    for (at, &id) in ids.iter().enumerate() {
        let mask = matcher.mask(&ids[..at])?;
        if mask[id as usize / 32] >> (id % 32) & 1 == 0 {
            return Ok((false, before + at));
        }
    }
    Ok((matcher.may_end(&ids)?, text.len()))
}

/// How long the masks in front of a text's tokens take, in microseconds, as far as an answer could be so.
fn mask_times(format: &Format, tokenizer: Tokenizer, text: &str) -> Result<Value> {
    let tokenizer = Arc::new(tokenizer);
    let mut answer: Box<dyn Constraint> = match format {
        Format::JsonObject => Box::new(JsonAnswer::new(Arc::new(JsonVocabulary::new(&tokenizer)?))),
        other => grammars().context("this build has no grammars")?.constraint(other, &tokenizer)?,
    };
    let (mut logits, mut times) = (vec![0.0; tokenizer.n_vocab()], Vec::new());
    let ids = tokenizer.encode(text, Encode::TEXT);
    for at in 0..ids.len() {
        logits.fill(0.0);
        let start = Instant::now();
        answer.mask(&ids[..at], ids.len() + text.len(), &tokenizer, &mut logits)?;
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
