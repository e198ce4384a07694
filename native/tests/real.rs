//! Published models against llama.cpp's figures for them. `cargo xtask test` fetches the models and tells where they are.

mod common;

use common::*;
use picolm_core::model::Model;
use picolm_core::sampler::argmax;
use picolm_core::session::{Executor, Feed, KvType, Session, Want};
use picolm_core::text::{Encode, Tokenizer};
use picolm_machine::{ModelFile, Pool, cpu};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// A model and what llama.cpp says about it.
struct Real {
    /// Where the file is: what this variable names, or where xtask puts it.
    variable: &'static str,
    figures: Value,
    /// Largest difference of the mean NLL.
    bound: f64,
}

fn smollm2() -> Real {
    Real { variable: "PICOLM_MODEL", figures: json_file("golden/real.json")[0].take(), bound: 0.005 }
}

fn gemma3() -> Real {
    Real { variable: "PICOLM_TEST_GEMMA", figures: json_file("golden/real.json")[1].take(), bound: 0.01 }
}

impl Real {
    fn path(&self) -> String {
        let cache = || {
            let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).expect("a home folder");
            cache.join("picolm").join(self.figures["file"].as_str().expect("a name"))
        };
        let path = std::env::var_os(self.variable).map_or_else(cache, PathBuf::from);
        assert!(path.is_file(), "{} is missing: run `cargo xtask test`, which fetches it", path.display());
        path.display().to_string()
    }

    fn text(&self) -> &str {
        self.figures["text"].as_str().expect("a text")
    }

    fn ids(&self, key: &Value) -> Vec<u32> {
        floats(key).iter().map(|&t| t as u32).collect()
    }
}

fn model() -> String {
    smollm2().path()
}

#[test]
fn the_text_has_llama_cpps_tokens() {
    for real in [smollm2(), gemma3()] {
        let file = ModelFile::open(real.path().as_ref()).expect("a file");
        let tokenizer = Tokenizer::from_gguf(&file.gguf().expect("GGUF")).expect("a tokenizer");
        let ids = tokenizer.encode(real.text(), Encode { bos: true, ..Encode::TEXT });
        assert_eq!(ids, real.ids(&real.figures["tokens"]), "{}", real.path());
    }
}

#[test]
fn best_tokens_agree_with_llama_cpp_where_it_is_sure() {
    for real in [smollm2(), gemma3()] {
        let file = ModelFile::open(real.path().as_ref()).expect("a file");
        let model = Arc::new(Model::load(&file.gguf().expect("GGUF"), file.source()).expect("a model"));
        let team = Arc::new(Pool::new(2).expect("threads"));
        let mut engine = Executor::new(model.clone(), cpu::backends()[0], team, 64).expect("buffers");
        let mut session = Session::new(&model, 512, KvType::F16).expect("a session");
        let tokens = real.ids(&real.figures["tokens"]);
        let margins = floats(&real.figures["margin"]);
        let (mut sure, mut same) = (0, 0);
        let feed = Feed { session: &mut session, tokens: &tokens, want: Want::All };
        let compare = &mut |_, position: usize, logits: &[f32]| {
            if margins[position] > 0.3 {
                sure += 1;
                same += usize::from(real.figures["top3"][position][0] == argmax(logits));
            }
        };
        engine.forward(&mut [feed], compare).expect("finite logits");
        println!("{}: {same} of {sure} agree", real.path());
        assert!(sure > 150 && same * 100 >= sure * 98, "{}: {same} of {sure}", real.path());
    }
}

#[test]
fn perplexity_agrees_with_llama_cpp() {
    for real in [smollm2(), gemma3()] {
        let text = scratch(&format!("{}.txt", real.variable), real.text().as_bytes());
        let found = json_of(&["perplexity", &real.path(), &text], b"");
        assert_eq!(found["tokens"], real.figures["tokens"].as_array().expect("tokens").len());
        let (ours, theirs) = (&found["mean_nll"], &real.figures["mean_nll"]);
        let (ours, theirs) = (ours.as_f64().expect("nll"), theirs.as_f64().expect("nll"));
        println!("{}: mean NLL {ours:.5}, llama.cpp {theirs}", real.path());
        assert!((ours - theirs).abs() < real.bound, "{}: {ours} {theirs}", real.path());
    }
}

#[test]
fn gemma_goes_on_as_in_llama_cpp() {
    let gemma = gemma3();
    let greedy = &gemma.figures["greedy"];
    let text = succeeds(&[&gemma.path(), "-p", "The capital of France is", "-t", "0", "-n", "8"]);
    let theirs = greedy["text"].as_str().expect("a text");
    assert!(theirs.starts_with(text.trim_end()), "{text:?} {theirs:?}");
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
    let one = digest(&["-j", "1", "--batch", "50"]);
    assert_eq!(digest(&["-j", "2", "--batch", "64"]), one);
    assert_eq!(digest(&["-j", "2", "--batch", "64", "--pack", "memory"]), one);
}

/// A text that is copied word for word, so that drafts come true, and one where few do.
#[test]
fn answers_are_the_same_with_lookup() {
    let list = "The quick brown fox jumps over the lazy dog near the river bank.\n\
                A small boat with seven sailors left the harbour of Lisbon in May.\n\
                Every engineer in the building knew that the old pump would fail.\n";
    let copy = format!("A list, and then the same list, copied word for word.\n\n{list}\n{list}\nThe quick brown");
    let model = model();
    let run = |prompt: &str, more: &[&str]| {
        let output = picolm(&[&[&*model, "-p", prompt, "-n", "60"], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        (output.stdout.clone(), accepted(&stderr(&output)))
    };
    let drawn = |seed| ["-t", "0.8", "--repeat-penalty", "1.02", "-s", seed];
    let ways = [&["-t", "0"][..], &["-t", "0", "--kv", "q8_0"], &drawn("1"), &drawn("2"), &drawn("3")];
    let mut drawn = 0;
    for (way, prompt) in ways.into_iter().flat_map(|way| [(way, &*copy), (way, "Once upon a time")]) {
        let (plain, drafted) = (run(prompt, way), run(prompt, &[way, &["--lookup"]].concat()));
        assert_eq!(drafted.0, plain.0, "{way:?} {prompt}");
        if prompt == copy && way[1] == "0" {
            // Of about 50 words the model copies most.
            assert!(drafted.1 > 20, "{way:?}: {} accepted", drafted.1);
        } else if prompt == copy {
            drawn += drafted.1;
        }
    }
    assert!(drawn > 20, "at a temperature: {drawn} accepted");
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
