//! `--cache`: it can save time, and change nothing.

mod common;

use common::*;
use std::path::Path;

const PROMPT: &str = "Once upon a time there was";

/// What a run says: its answer, and its notes.
struct Said {
    answer: String,
    notes: String,
}

impl Said {
    fn of(args: &[&str]) -> Said {
        let output = picolm(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        Said { answer: String::from_utf8(output.stdout.clone()).expect("UTF-8"), notes: stderr(&output) }
    }

    /// Tokens of the prompt that were fed.
    fn fed(&self) -> usize {
        let rest = self.notes.split("; prompt ").nth(1).and_then(|rest| rest.split_once(' '));
        rest.expect("the statistics").0.parse().expect("a number")
    }

    fn warns(&self, of: &str) -> bool {
        self.notes.lines().any(|line| line.contains("the cache ") && line.contains(of))
    }
}

/// The name of a cache of which there is nothing yet.
fn no_file(name: &str) -> String {
    let path = scratch(name, b"");
    std::fs::remove_file(&path).expect("a scratch file");
    path
}

/// Runs the model with a prompt and other arguments, with the cache and without; the answers are the same.
#[track_caller]
fn with_and_without(model: &str, cache: &str, args: &[&str]) -> (Said, usize) {
    let plain = Said::of(&[&[&*golden(model), "-n", "20"], args].concat());
    let cached = Said::of(&[&[&*golden(model), "-n", "20", "--cache", cache], args].concat());
    assert_eq!(cached.answer, plain.answer, "{args:?}: {}", cached.notes);
    (cached, plain.fed())
}

/// With nothing to warn of.
#[track_caller]
fn quiet(model: &str, cache: &str, args: &[&str]) -> (usize, usize) {
    let (said, all) = with_and_without(model, cache, args);
    assert!(!said.warns(""), "{}", said.notes);
    (said.fed(), all)
}

fn nothing_is_left_beside(cache: &str) {
    let (folder, name) = (Path::new(cache).parent().expect("a folder"), Path::new(cache).file_name().expect("a name"));
    let names = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let begins = |other: &std::ffi::OsStr| other.to_string_lossy().starts_with(&*name.to_string_lossy());
    assert_eq!(names.filter(|other| begins(other)).count(), 1, "temporary files are left beside {cache}");
}

#[test]
fn a_prompt_that_begins_as_the_last_one_did_is_fed_from_there() {
    for kv in ["f16", "q8_0"] {
        let cache = no_file(&format!("prefix-{kv}.cache"));
        let run = |prompt: &str, more: &[&str]| quiet(MODEL, &cache, &[&["-p", prompt, "--kv", kv], more].concat());
        let (fed, all) = run(PROMPT, &[]);
        assert_eq!(fed, all, "there was no file");
        assert!(all > 5);
        assert_eq!(run(PROMPT, &[]), (1, all), "its last token gives the logits");
        // Sampling is another matter than what was computed; penalties see the tokens that were not fed.
        assert_eq!(run(PROMPT, &["-s", "7", "-j", "2", "--batch", "3"]), (1, all));
        assert_eq!(run(PROMPT, &["-t", "0", "--repeat-penalty", "3", "--presence-penalty", "2"]), (1, all));
        assert_eq!(run(PROMPT, &["--lookup", "--backend", "reference", "-c", "100"]), (1, all));
        let (fed, longer) = run(&format!("{PROMPT} a king"), &["-t", "0"]);
        assert!(longer > all && fed <= longer - all + 1, "{fed} of {longer}, of which {all} were there");
        // This vocabulary has a token for each letter, so a shorter prompt is in the file with all its tokens.
        assert_eq!(run("Once upon a", &[]).0, 1);
        // Of this one two are there: BOS, and the space that stands before every text.
        let (fed, other) = run("Quite another text", &[]);
        assert_eq!(fed, other - 2);
        assert_eq!(run(PROMPT, &[]), (all - 2, all), "it has taken the place of the first");
        nothing_is_left_beside(&cache);
    }
}

#[test]
fn the_answer_is_kept_too() {
    let cache = no_file("answer.cache");
    let greedy = |prompt: &str| with_and_without(MODEL, &cache, &["-p", prompt, "-t", "0"]);
    let (first, prompt) = greedy(PROMPT);
    let ids = |text: &str| json_of(&["tokenize", &golden(MODEL), "--special"], text.as_bytes())["ids"].take();
    let whole = format!("{PROMPT}{}", first.answer.trim_end_matches('\n'));
    let (second, all) = greedy(&whole);
    // As far as the answer, read again, gives the tokens that it was made of: its first is then known, at least.
    assert!(ids(&whole).as_array().map(Vec::len) == Some(all) && all > prompt + 1);
    assert!(second.fed() < all - prompt, "{} of {all} were fed, {prompt} are the first prompt", second.fed());
}

#[test]
fn what_it_holds_already_is_not_written_again() {
    let cache = no_file("unchanged.cache");
    quiet(MODEL, &cache, &["-p", PROMPT, "-t", "0"]);
    let written = || std::fs::metadata(&cache).and_then(|m| m.modified()).expect("a file");
    let before = written();
    quiet(MODEL, &cache, &["-p", PROMPT, "-t", "0"]);
    assert_eq!(written(), before);
    quiet(MODEL, &cache, &["-p", "Another", "-t", "0"]);
    assert!(written() > before);
}

#[test]
fn a_file_that_cannot_be_used_is_a_warning_and_a_fresh_start() {
    let cache = no_file("damaged.cache");
    quiet(MODEL, &cache, &["-p", PROMPT]);
    let good = std::fs::read(&cache).expect("a cache");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let other = no_file("other.cache");
    quiet("qwen3-Q8_0.gguf", &other, &["-p", PROMPT]);
    for (bytes, says) in [
        (good[..good.len() / 2].to_vec(), "it is cut short"),
        (good[..10].to_vec(), "it is cut short"),
        (Vec::new(), "it is cut short"),
        (flipped(0), "it is not a saved session"),
        (flipped(20), "its header is damaged"),
        (flipped(good.len() / 2), "it is damaged"),
        (std::fs::read(golden(MODEL)).expect("a model"), "it is not a saved session"),
        (std::fs::read(&other).expect("a cache"), "it was saved with another model"),
    ] {
        std::fs::write(&cache, bytes).expect("a file");
        let (said, all) = with_and_without(MODEL, &cache, &["-p", PROMPT]);
        assert!(said.warns(says) && said.warns("damaged.cache is not used"), "{}", said.notes);
        assert_eq!(said.fed(), all);
        assert!(std::fs::read(&cache).expect("a cache") == good, "the new one is as the first: {says}");
    }
    let said = with_and_without(MODEL, &cache, &["-p", PROMPT, "--kv", "q8_0"]).0;
    assert!(said.warns("of type 0 (0: f16, 1: q8_0)"), "{}", said.notes);
    let said = with_and_without(MODEL, &cache, &["-p", "One", "-c", "12", "--kv", "q8_0"]).0;
    assert!(said.warns("the context is 12"), "{}", said.notes);
    nothing_is_left_beside(&cache);
}

#[test]
fn a_place_where_nothing_can_be_written_is_a_warning() {
    let (said, _) = with_and_without(MODEL, "there/is/no/folder.cache", &["-p", PROMPT]);
    assert!(said.warns("there/is/no/folder.cache is not written"), "{}", said.notes);
    if cfg!(target_os = "linux") && Path::new("/dev/full").exists() {
        let args = [&*golden(MODEL), "-p", PROMPT, "--cache", "/dev/full"];
        let output = picolm(&args);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("/dev/full is not a file"), "{}", stderr(&output));
    }
}
