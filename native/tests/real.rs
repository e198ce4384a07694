//! A published model against llama.cpp's figures for it. `cargo xtask test` fetches the model and tells where it is.

mod common;

use common::*;
use picolm::ModelFile;
use picolm::pool::Pool;
use picolm_core::sampler::argmax;
use picolm_core::session::{Engine, Feed, KvType, Session, Want};
use picolm_core::text::{Encode, Tokenizer};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// What llama.cpp says about the model.
fn figures() -> Value {
    json_file("golden/real.json")[0].take()
}

/// The model: `$PICOLM_MODEL`, or where xtask puts it.
fn model() -> String {
    let cache = || {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).expect("a home folder");
        cache.join("picolm").join(figures()["file"].as_str().expect("a name"))
    };
    let path = std::env::var_os("PICOLM_MODEL").map_or_else(cache, PathBuf::from);
    assert!(path.is_file(), "{} is missing: run `cargo xtask test`, which fetches it", path.display());
    path.display().to_string()
}

fn text() -> String {
    figures()["text"].as_str().expect("a text").to_string()
}

#[test]
fn the_text_has_llama_cpps_tokens() {
    let file = ModelFile::open(model().as_ref()).expect("a file");
    let tokenizer = Tokenizer::from_gguf(&file.gguf().expect("GGUF")).expect("a tokenizer");
    let ids = tokenizer.encode(&text(), Encode { bos: true, ..Encode::TEXT });
    assert_eq!(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(","), list(&figures()["tokens"]));
}

#[test]
fn best_tokens_agree_with_llama_cpp_where_it_is_sure() {
    let figures = figures();
    let model = ModelFile::open(model().as_ref()).expect("a file").model().expect("a model");
    let team = Arc::new(Pool::new(2).expect("threads"));
    let mut engine = Engine::new(model.clone(), picolm::cpu::backend(None).expect("a backend"), team, 64);
    let mut session = Session::new(&model, 512, KvType::F16).expect("a session");
    let tokens: Vec<u32> = floats(&figures["tokens"]).iter().map(|&t| t as u32).collect();
    let margins = floats(&figures["margin"]);
    let (mut sure, mut same) = (0, 0);
    let feed = Feed { session: &mut session, tokens: &tokens, want: Want::All };
    let compare = &mut |_, position: usize, logits: &[f32]| {
        if margins[position] > 0.3 {
            sure += 1;
            same += usize::from(figures["top3"][position][0] == argmax(logits));
        }
    };
    engine.forward(&mut [feed], compare).expect("finite logits");
    println!("{same} of {sure} agree");
    assert!(sure > 150 && same * 100 >= sure * 98, "{same} of {sure}");
}

#[test]
fn perplexity_agrees_with_llama_cpp() {
    let found = json_of(&["perplexity", &model(), &scratch("alice.txt", text().as_bytes())], b"");
    assert_eq!(found["tokens"], figures()["tokens"].as_array().expect("tokens").len());
    let (ours, theirs) = (found["mean_nll"].as_f64().expect("nll"), figures()["mean_nll"].as_f64().expect("nll"));
    println!("mean NLL {ours:.5}, llama.cpp {theirs}");
    assert!((ours - theirs).abs() < 0.005, "{ours} {theirs}");
}

#[test]
fn the_capital_of_france() {
    let args = [&*model(), "-p", "The capital of France is", "-t", "0", "-n", "4"];
    assert!(succeeds(&args).starts_with(" Paris"));
    assert!(succeeds(&[&args[..], &["--kv", "q8_0"]].concat()).starts_with(" Paris"));
}

#[test]
fn one_digest_for_every_number_of_threads_and_batch() {
    let digest = |args: &[&str]| json_of(&[&["digest", &*model()], args].concat(), b"")["digest"].take();
    assert_eq!(digest(&["-j", "1", "--batch", "50"]), digest(&["-j", "2", "--batch", "64"]));
}

#[test]
fn a_question_is_answered() {
    let args = ["--chat", "-p", "What is the capital of France?", "-t", "0", "-n", "40"];
    let answer = succeeds(&[&[&*model()], &args[..]].concat());
    assert!(answer.contains("Paris") && !answer.contains("<|im_end|>"), "{answer}");
}

/// The second answer of a conversation is the one to the whole text, of which only the new part was fed.
#[test]
fn a_conversation_feeds_only_what_is_new() {
    let model = model();
    let greedy = |more: &[&str], stdin: &str| {
        let output = picolm_with(&[&[&*model, "-t", "0", "-n", "60"], more].concat(), stdin.as_bytes());
        assert!(output.status.success(), "{}", stderr(&output));
        (String::from_utf8(output.stdout.clone()).expect("UTF-8"), stderr(&output))
    };
    let tokens = |text: &str| {
        let ids = json_of(&["tokenize", &model, "--special", "--no-bos"], text.as_bytes());
        ids["ids"].as_array().expect("ids").len()
    };
    let chat = ["--chat", "--system", "Be brief."];
    let (first, _) = greedy(&chat, "What is the capital of France?\n");
    let (both, notes) = greedy(&chat, "What is the capital of France?\nAnd of Italy?\n");
    let second = both.strip_prefix(&first).expect("it begins in the same way");

    let first = first.trim_end();
    let turn = |question| format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n");
    let whole = "<|im_start|>system\nBe brief.<|im_end|>\n".to_string()
        + &turn("What is the capital of France?")
        + &format!("{first}<|im_end|>\n")
        + &turn("And of Italy?");
    assert_eq!(second, greedy(&[], &whole).0);
    let fed = tokens(&whole) - tokens(first);
    assert!(notes.contains(&format!("prompt {fed} tokens")), "{fed}: {notes}");
}
