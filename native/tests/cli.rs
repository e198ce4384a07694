//! The binary on small models: results, and that it says what is wrong.

mod common;
#[path = "../../core/tests/common/split.rs"]
mod parts;

use common::*;
use picolm_core::gguf::{GgmlType, Gguf, Writer};
use serde_json::Value;

#[test]
fn digests_are_the_witness() {
    let witness = json_file("witness/digests.json");
    for kv in ["f16", "q8_0"] {
        for (name, digest) in witness[kv].as_object().expect("digests") {
            for pack in ["off", "memory"] {
                let text = succeeds(&["digest", &golden(name), "--kv", kv, "--pack", pack]);
                assert_eq!(text.split_whitespace().next(), digest.as_str(), "{name} {kv} {pack}");
            }
        }
    }
}

#[test]
fn backends_threads_and_batches_give_one_digest() {
    let digest = &json_file("witness/digests.json")["f16"][MODEL];
    let backends = succeeds(&["backends"]);
    assert_eq!(backends.lines().last(), Some("reference"));
    for backend in backends.lines() {
        for (threads, batch, pack) in
            [("1", "64", "off"), ("2", "64", "memory"), ("3", "5", "off"), ("1", "1", "off"), ("2", "5", "memory")]
        {
            let args =
                ["digest", &golden(MODEL), "--backend", backend, "-j", threads, "--batch", batch, "--pack", pack];
            let found = json_of(&args, b"");
            assert_eq!(found["digest"], *digest, "{args:?}");
            assert_eq!(found["backend"], backend);
            assert_eq!(found["threads"].to_string(), threads);
        }
    }
    let listed = json_of(&["backends"], b"");
    assert_eq!(listed, serde_json::json!(backends.lines().collect::<Vec<_>>()));
}

#[test]
fn texts_get_the_published_ids() {
    for name in ["gpt-2", "llama-bpe", "llama-spm", "qwen2"] {
        let file = fixture(&format!("tokenizers/ggml-vocab-{name}.gguf"));
        let texts = std::fs::read_to_string(format!("{file}.inp")).expect("texts");
        let ids = std::fs::read_to_string(format!("{file}.out")).expect("ids");
        let pairs: Vec<(&str, &str)> = texts.split("\n__ggml_vocab_test__\n").zip(ids.lines()).collect();
        assert!(pairs.len() >= 46);
        for (text, ids) in pairs.into_iter().step_by(9) {
            let found = json_of(&["tokenize", &file, "--no-bos"], text.as_bytes());
            assert_eq!(list(&found["ids"]), ids.split_whitespace().collect::<Vec<_>>().join(","), "{name} {text:?}");
        }
    }
}

#[test]
fn tokenize_adds_bos_where_the_model_wants_it() {
    let ids = |vocabulary: &str, args: &[&str], text: &str| {
        let file = fixture(&format!("tokenizers/ggml-vocab-{vocabulary}.gguf"));
        list(&json_of(&[&["tokenize", &file], args].concat(), text.as_bytes())["ids"])
    };
    // Llama 2: BOS is 1, and " Hello" is 15043. GPT-2 adds none.
    assert_eq!(ids("llama-spm", &[], "Hello"), "1,15043");
    assert_eq!(ids("llama-spm", &["--no-bos"], "Hello"), "15043");
    assert_eq!(ids("llama-spm", &["--special", "--no-bos"], "</s>"), "2");
    assert_ne!(ids("llama-spm", &["--no-bos"], "</s>"), "2");
    assert_eq!(ids("gpt-2", &[], "Hello"), ids("gpt-2", &["--no-bos"], "Hello"));
    assert_eq!(ids("llama-spm", &["--no-bos"], ""), "");
}

#[test]
fn logits_agree_with_llama_cpp() {
    let index = json_file("golden/index.json");
    let entry = index.as_array().expect("entries").iter().find(|e| e["file"] == MODEL).expect("the model");
    let (ids, at) = (list(&entry["tokens"]), list(&entry["positions"]));
    let found = json_of(&["logits", &golden(MODEL), "--ids", &ids, "--at", &at], b"");
    let (found, expected) = (&found["logits"], entry["logits"].as_array().expect("logits"));
    assert_eq!(found.as_array().map(Vec::len), Some(expected.len()));
    for (row, expected) in found.as_array().expect("rows").iter().zip(expected) {
        let (row, expected) = (floats(row), floats(expected));
        assert_eq!(row.len(), expected.len());
        // The bound of core/tests/golden.rs for quantised weights.
        assert!(row.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 0.25));
    }
}

#[test]
fn logits_of_chosen_positions_are_those_of_all() {
    let model = golden(MODEL);
    let all = &json_of(&["logits", &model, "--ids", "1,5,7"], b"")["logits"];
    assert_eq!(all.as_array().map(Vec::len), Some(3));
    let some = &json_of(&["logits", &model, "--ids", "1,5,7", "--at", "2,0,2"], b"")["logits"];
    assert_eq!(some.as_array().map(Vec::len), Some(3));
    assert_eq!([&some[0], &some[1], &some[2]], [&all[2], &all[0], &all[2]]);
    assert_eq!(json_of(&["logits", &model, "--ids", "1"], b"")["logits"][0], all[0]);
}

/// Perplexity by its definition, from the logits that `logits` prints.
#[test]
fn perplexity_is_what_the_logits_say() {
    let (model, text) = (golden(MODEL), "Two words, and a few more.");
    let ids = json_of(&["tokenize", &model], text.as_bytes());
    let found = json_of(&["perplexity", &model, &scratch("text.txt", text.as_bytes())], b"");
    let ids = floats(&ids["ids"]);
    assert_eq!(found["tokens"], ids.len());
    let given = ids.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    let logits = &json_of(&["logits", &model, "--ids", &given], b"")["logits"];
    let losses = ids[1..].iter().enumerate().map(|(i, &next)| {
        let row = floats(&logits[i]);
        libm::log(row.iter().map(|&x| libm::exp(x)).sum()) - row[next as usize]
    });
    let mean = losses.sum::<f64>() / (ids.len() - 1) as f64;
    assert!((found["mean_nll"].as_f64().expect("a number") - mean).abs() < 1e-9, "{found} {mean}");
}

#[test]
fn bench_measures_what_it_is_told_to() {
    let found = json_of(&["bench", &golden(MODEL), "-p", "9", "-n", "3", "-j", "1,3", "--runs", "2"], b"");
    let threads: Vec<&Value> = found.as_array().expect("an array").iter().map(|m| &m["threads"]).collect();
    assert_eq!(threads, [1, 3]);
    for measured in found.as_array().expect("an array") {
        assert!(measured["prefill"].as_f64() > Some(0.0) && measured["decode"].as_f64() > Some(0.0), "{measured}");
    }
}

#[test]
fn bench_on_demand_answers_each_line_with_a_run() {
    let model = golden(MODEL);
    let args = ["bench", &model, "-p", "9", "-n", "3", "-j", "2", "--backend", "reference", "--on-demand"];
    let answers: Vec<Value> =
        succeeds_with(&args, b"\n\n").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [about, runs @ ..] = &answers[..] else { panic!("it says nothing") };
    // A token reads every matrix but the embedding, and the keys and values of 10, 11 and 12 positions in turn (the test below).
    let tensors = json_of(&["inspect", &model], b"")["tensors"].take();
    let matrices =
        tensors.as_array().expect("tensors").iter().filter(|t| t["shape"].as_array().expect("dims").len() == 2);
    let weights: u64 = matrices.filter(|t| t["name"] != "token_embd.weight").filter_map(|t| t["bytes"].as_u64()).sum();
    let expected = serde_json::json!({ "backend": "reference", "bytes_per_token": weights + 11 * 2 * 2 * 128 * 2 });
    assert_eq!(*about, expected);
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert!(run["prefill"].as_f64() > Some(0.0) && run["decode"].as_f64() > Some(0.0), "{run}");
        assert_eq!(run["own_memory"].as_u64() > Some(100_000), cfg!(target_os = "linux"), "{run}");
    }
    fails(&["bench", &model, "-j", "1,2", "--on-demand"], "-j");
}

#[test]
fn inspect_tells_metadata_tensors_and_memory() {
    let found = json_of(&["inspect", &golden(MODEL)], b"");
    assert_eq!(found["metadata"]["general.architecture"], "llama");
    assert_eq!(found["metadata"]["llama.context_length"], 256);
    assert_eq!(found["metadata"]["tokenizer.ggml.tokens"]["len"], 320);
    let tensors = found["tensors"].as_array().expect("tensors");
    let embedding = tensors.iter().find(|t| t["name"] == "token_embd.weight").expect("the embedding");
    assert_eq!((&embedding["type"], &embedding["shape"]), (&"Q8_0".into(), &serde_json::json!([256, 320])));
    assert_eq!(embedding["bytes"], 320 * 256 / 32 * 34);
    // 1024 positions x 2 layers x 2 heads x (64 + 64) values of 2 bytes, or blocks of 32 in 34.
    assert_eq!(found["memory"]["kv_f16_per_1k"], 1024 * 2 * 2 * 128 * 2);
    assert_eq!(found["memory"]["kv_q8_0_per_1k"], 1024 * 2 * 2 * 128 / 32 * 34);
    assert_eq!((&found["runs"], &found["reason"]), (&true.into(), &Value::Null));
    let about = &found["model"];
    assert_eq!((&about["family"], &about["context"], &about["format"]), (&"Llama".into(), &256.into(), &"Q8_0".into()));
    // Embedding and output; two layers of q, k, v, o, gate, up, down and two norms; a norm.
    let layer = 256 * (256 + 128 + 128 + 256 + 3 * 256) + 2 * 256;
    assert_eq!(about["parameters"], 2 * 320 * 256 + 2 * layer + 256);
    let text = succeeds(&["inspect", &golden(MODEL)]);
    assert!(
        text.contains("golden llama: Llama, 951.6 K parameters, mostly Q8_0, 1.0 MB, context of 256 tokens"),
        "{text}"
    );
}

#[test]
fn inspect_says_what_does_not_run_and_why() {
    for (file, reason) in [
        (
            scratch("bert.gguf", &Writer::new().with("general.architecture", "bert").finish()),
            "\"bert\" is not supported (supported: llama,",
        ),
        (scratch("split.gguf", &parts::split(&std::fs::read(golden(MODEL)).expect("a model"), &[3])[0]), "part 1 of 2"),
        (fixture("tokenizers/ggml-vocab-llama-spm.gguf"), "missing"),
    ] {
        let found = json_of(&["inspect", &file], b"");
        assert_eq!(found["runs"], false, "{file}");
        assert!(found["reason"].as_str().expect("a reason").contains(reason), "{}", found["reason"]);
        assert!(succeeds(&["inspect", &file]).lines().any(|l| l.starts_with("It does not run") && l.contains(reason)));
    }
}

#[test]
fn a_split_model_runs_from_any_of_its_parts() {
    let parts = parts::split(&std::fs::read(golden(MODEL)).expect("a model"), &[2, 9]);
    let name = |i: usize| format!("whole-0000{i}-of-00003.gguf");
    let paths: Vec<String> = parts.iter().enumerate().map(|(i, part)| scratch(&name(i + 1), part)).collect();
    let digest = |path: &str| json_of(&["digest", path], b"")["digest"].take();
    for path in &paths {
        assert_eq!(digest(path), digest(&golden(MODEL)));
    }
    let packed = json_of(&["digest", &paths[1], "--pack", "memory"], b"")["digest"].take();
    assert_eq!(packed, digest(&golden(MODEL)));
    std::fs::remove_file(&paths[1]).expect("a file");
    fails(&["digest", &paths[2]], &format!("one of 3 parts, and {} is missing", paths[1]));
}

/// The model with one matrix in a format that is known but has no kernels.
fn in_iq3() -> Vec<u8> {
    let file = std::fs::read(golden(MODEL)).expect("a model");
    let gguf = Gguf::parse(&file).expect("a GGUF file");
    let writer = gguf.metadata().fold(Writer::new(), |to, (key, value)| to.value(key, value));
    let all = gguf.tensors().iter().fold(writer, |to, t| match t.name {
        "blk.0.ffn_up.weight" => {
            let iq3 = GgmlType::from_name("IQ3_S").expect("a ggml type");
            to.tensor(t.name, iq3, &t.dims[..2], vec![0; (t.dims[0] / iq3.block * iq3.bytes * t.dims[1]) as usize])
        }
        name => to.tensor(name, t.ty, &t.dims[..t.n_dims], &file[t.offset as usize..][..t.len as usize]),
    });
    all.finish()
}

/// A run of the model with 40 greedy tokens.
fn greedy(more: &[&str]) -> String {
    succeeds(&[&[&*golden(MODEL), "-p", "Once upon", "-t", "0", "-n", "40"], more].concat())
}

#[test]
fn answers_depend_on_seed_and_text_alone() {
    let model = golden(MODEL);
    let run = |more: &[&str]| succeeds(&[&[&*model, "-p", "Once upon", "-n", "30"], more].concat());
    let first = run(&[]);
    assert!(first.ends_with('\n') && first.len() > 1);
    assert_eq!(run(&["-s", "42", "-t", "0.8", "-k", "0.9", "-j", "2"]), first);
    assert_eq!(run(&["--seed", "42", "--temperature", "0.8", "--top-p", "0.9", "--threads", "1"]), first);
    assert_eq!(run(&["--backend", "reference", "-c", "100"]), first);
    assert_eq!(succeeds_with(&[&model, "-n", "30"], b"Once upon"), first);
    assert_ne!(run(&["-s", "43"]), first);
    assert_eq!(run(&["-t", "0"]), run(&["-t", "0", "-s", "7"]));
    assert_ne!(greedy(&["--repeat-penalty", "10"]), greedy(&[]));
    assert_eq!(greedy(&["-k", "0"]), run(&["-k", "0", "-n", "40"]));
    assert_eq!(greedy(&[]), run(&["--top-k", "1", "-n", "40"]));
    assert_eq!(greedy(&[]), run(&["--min-p", "1", "-n", "40"]));
}

#[test]
fn an_answer_ends_in_front_of_a_stop_string() {
    let whole = greedy(&[]);
    let stop: String = whole.chars().skip(5).take(3).collect();
    let at = whole.find(&stop).expect("it is in there");
    assert_eq!(greedy(&["--stop", "not in there", "--stop", &stop]), format!("{}\n", &whole[..at]));
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let tokens = json_of(&["tokenize", &golden(MODEL)], b"Once upon")["ids"].as_array().map_or(0, Vec::len);
    let context = (tokens + 4).to_string();
    let args = [&*golden(MODEL), "-p", "Once upon", "-t", "0", "-c", &context];
    let output = picolm(&args);
    assert!(output.status.success());
    assert!(stderr(&output).contains(&format!("the context of {context} tokens is full")), "{}", stderr(&output));
    // 4 tokens are fed, and a fifth is known without that.
    assert_eq!(String::from_utf8_lossy(&output.stdout), greedy(&["-n", "5"]));
}

/// Drawn to what it has said before, even a model that knows nothing says the same again and again: drafts come true.
const CIRCLING: [&str; 4] = ["-t", "0", "--frequency-penalty", "-10"];
/// A coin decides between the two tokens said most: there are always drafts, and about half of each comes true.
const FLIPPING: [&str; 8] = ["-t", "100", "-k", "1", "--top-k", "2", "--frequency-penalty", "-1"];

/// Each way an answer can end, with drafts whose tokens lie on both sides of that end.
#[test]
fn lookup_gives_the_same_answers() {
    let model = golden(MODEL);
    let run = |more: &[&str]| {
        let output = picolm(&[&[&*model, "-p", "Once upon"], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    };
    let reason = |notes: &str| notes.lines().find(|line| line.contains("stopped")).map(str::to_owned);
    for pull in [&CIRCLING[..], &FLIPPING] {
        let whole = run(&[pull, &["-n", "60"]].concat()).0;
        for n in (1..20).step_by(2) {
            let stop: String = whole.chars().skip(n).take(2).collect();
            let (n, context) = (n.to_string(), (n + 10).to_string());
            let limits: [&[&str]; 4] =
                [&["-n", &n], &["-c", &context], &["-n", "60", "--stop", &stop], &["-s", &n, "--kv", "q8_0"]];
            for limit in limits {
                let args = [pull, limit].concat();
                let (plain, ending) = run(&args);
                for lookup in ["--lookup", "--lookup=2", "--lookup=63"] {
                    let (answer, notes) = run(&[&args[..], &[lookup]].concat());
                    assert_eq!(answer, plain, "{args:?} {lookup}");
                    assert_eq!(reason(&notes), reason(&ending), "{args:?} {lookup}");
                }
            }
        }
        let (_, notes) = run(&[pull, &["--lookup"]].concat());
        assert!(accepted(&notes) > 10, "{notes}");
    }
    assert!(!run(&["-n", "9"]).1.contains("lookup"), "not asked for, not told");
}

#[test]
fn stderr_tells_speed_and_memory() {
    let output = picolm(&[&golden(MODEL), "-p", "Once", "-n", "3"]);
    for part in ["tokens/s", "KV cache", "buffers", "tokenizer", "model", "loaded in"] {
        assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
    }
}

#[test]
fn files_that_are_no_models() {
    let whole = std::fs::read(golden(MODEL)).expect("a model");
    let cut = scratch("cut.gguf", &whole[..1000]);
    let short = scratch("short.gguf", &whole[..whole.len() - 1]);
    let empty = scratch("empty.gguf", b"");
    let text = scratch("text.gguf", b"This is not a model, it is a text of a few words.");
    let vocabulary = fixture("tokenizers/ggml-vocab-llama-spm.gguf");
    let bert = scratch("no-bert.gguf", &Writer::new().with("general.architecture", "bert").finish());
    let iq3 = scratch("iq3.gguf", &in_iq3());
    for (file, says) in [
        ("there/is/no.gguf", "there/is/no.gguf"),
        (env!("CARGO_TARGET_TMPDIR"), "is not a file"),
        (&empty, "empty.gguf"),
        (&text, "not a GGUF file"),
        (&cut, "cannot fit in the file"),
        (&short, "ends past the file"),
        (&vocabulary, "missing"),
        (&bert, "\"bert\" is not supported (supported: llama"),
        (&iq3, "\"blk.0.ffn_up.weight\" is in format IQ3_S, which is not supported (supported: F32"),
    ] {
        fails(&[file, "-p", "Hello"], says);
        fails(&["logits", file, "--ids", "1"], says);
        fails(&["bench", file], says);
        fails(&["perplexity", file, &text], says);
    }
    fails(&["inspect", &text], "not a GGUF file");
    fails(&["tokenize", &cut], "cannot fit in the file");
}

#[test]
fn prompts_that_cannot_be() {
    let model = golden(MODEL);
    let long = "many words ".repeat(200);
    fails(&[&model, "-p", &long], "the context is 256");
    fails_with(&[&model], long.as_bytes(), "the context is 256");
    fails(&[&model, "-p", "many words", "-c", "3"], "allow more with -c (this model: up to 256)");
    fails_with(&[&model], b"caf\xe9", "standard input is not UTF-8 text, from byte 3 on");
    fails_with(&["tokenize", &model], b"caf\xe9", "standard input is not UTF-8 text, from byte 3 on");
    fails(&["perplexity", &model, &scratch("latin1.txt", b"\xe9")], "latin1.txt is not UTF-8");
    fails(&["perplexity", &model, &scratch("long.txt", long.as_bytes())], "this model reads 256");
    fails(&["perplexity", &model, &scratch("nothing.txt", b"")], "2 or more are needed");
    fails(&["perplexity", &model, "there/is/no.txt"], "there/is/no.txt");
}

#[test]
fn options_out_of_range() {
    let model = golden(MODEL);
    let usable = succeeds(&["backends"]).trim().replace('\n', ", ");
    let generate = |more: &[&str], says: &str| fails(&[&[&*model, "-p", "Hello"], more].concat(), says);
    generate(&["-c", "257"], "257");
    generate(&["-c", "0"], "1 to 256");
    generate(&["-n", "0"], "-n");
    generate(&["-t", "-1"], "temperature is -1");
    generate(&["-t", "NaN"], "temperature is NaN");
    generate(&["-k", "1.5"], "top_p is 1.5");
    generate(&["--min-p", "-0.1"], "min_p is -0.1");
    generate(&["--repeat-penalty", "0"], "repetition_penalty is 0");
    generate(&["--presence-penalty", "inf"], "presence_penalty is inf");
    generate(&["--stop", ""], "--stop");
    generate(&["--backend", "abacus"], &format!("\"abacus\" on this machine; usable: {usable}"));
    generate(&["--cache", env!("CARGO_TARGET_TMPDIR")], "is not a file");
    fails(&["digest", &model, "--backend", "abacus"], &format!("usable: {usable}"));
    fails(&["logits", &model, "--ids", "1,320"], "token 320 is not in the vocabulary of 320");
    fails(&["logits", &model, "--ids", "1,2", "--at", "2"], "the positions are 0 to 1");
    fails(&["logits", &model, "--ids", &["1"; 257].join(",")], "256");
    fails(&["bench", &model, "-p", "250", "-n", "7"], "257");
    fails(&["bench", &model, "-p", "0"], "-p");
}

#[test]
fn options_that_are_none_get_the_usage() {
    let model = golden(MODEL);
    for args in [
        &[][..],
        &[&model, "-x"],
        &[&model, "--max-token", "3"],
        &[&model, "-n", "many"],
        &[&model, "-n", "-3"],
        &[&model, "-j", "0"],
        &[&model, "-j", "100000"],
        &[&model, "--kv", "f64"],
        &[&model, "--lookup=1"],
        &[&model, "--lookup=64"],
        &[&model, "-p"],
        &[&model, "--system", "without --chat"],
        &[&model, &model],
        &["-p", "no model"],
        &["logits", &model],
        &["logits", &model, "--ids", "1,x"],
        &["logits", &model, "--ids", "-1"],
        &["logits", &model, "--ids", ""],
        &["digest"],
        &["digest", &model, "--batch", "0"],
        &["bench", &model, "--runs", "0"],
        &["bench", &model, "-j", "1,0"],
        &["backends", "--quick"],
    ] {
        let output = picolm(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(text.contains("Usage: picolm") || text.contains("try '--help'"), "{args:?}: {text}");
    }
    assert!(picolm(&[&model, "-x"]).stderr.windows(13).any(|w| w == b"Usage: picolm"));
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(succeeds(&["--help"]).contains("Usage: picolm"));
    assert!(succeeds(&["bench", "--help"]).contains("--runs"));
    assert_eq!(succeeds(&["--version"]).trim(), concat!("picolm ", env!("CARGO_PKG_VERSION")));
}

/// The model is mapped and waits for its prompt while the file is cut.
#[cfg(target_os = "linux")]
#[test]
fn a_model_cut_short_while_in_use_is_explained() {
    let file = scratch("shrinks.gguf", &std::fs::read(golden(MODEL)).expect("a model"));
    let mut child = spawn(&[&file]);
    let maps = format!("/proc/{}/maps", child.id());
    while !std::fs::read_to_string(&maps).expect("the process lives").contains("shrinks.gguf") {
        std::thread::yield_now();
    }
    std::fs::File::options().write(true).open(&file).and_then(|f| f.set_len(4096)).expect("cut");
    // It may end without reading, if it was still loading.
    let _ = std::io::Write::write_all(&mut child.stdin.take().expect("standard input"), b"Hello");
    let output = child.wait_with_output().expect("the binary");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && stderr(&output).contains("cut short"), "{}", stderr(&output));
}

#[test]
fn a_reader_who_leaves_is_no_error_and_a_full_disk_is_one() {
    let mut child = spawn(&[&golden(MODEL), "-p", "Once upon", "-n", "200"]);
    drop(child.stdout.take());
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("the binary");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));

    if cfg!(target_os = "linux") {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_picolm"));
        let output = command.args(["backends"]).stdout(full).output().expect("the binary");
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));
    }
}

/// The model with a logit of 0 for its end tokens, `</s>` and `<|endoftext|>`, which are then never the best.
fn without_end(file: &[u8]) -> Vec<u8> {
    let gguf = Gguf::parse(file).expect("GGUF");
    let output = gguf.require_tensor("output.weight").expect("a tensor");
    let row = (output.len / output.dims[1]) as usize;
    let mut bent = file.to_vec();
    for end in [2, 259] {
        bent[output.offset as usize..][end * row..(end + 1) * row].fill(0);
    }
    bent
}

#[test]
fn a_question_is_put_through_the_chat_template() {
    let model = chat_model("question.gguf");
    let run = |more: &[&str]| succeeds(&[&[&*model, "-t", "0", "-n", "12"], more].concat());
    assert_eq!(run(&["--chat", "-p", "Hi you"]), run(&["-p", "[user] Hi you</s>[assistant]"]));
    let system = run(&["--chat", "--system", "Be kind", "-p", "Hi you"]);
    assert_eq!(system, run(&["-p", "[system] Be kind</s>[user] Hi you</s>[assistant]"]));
    assert_ne!(run(&["--chat", "-p", "Hi you"]), system);
}

#[test]
fn a_conversation_goes_on_until_reset_and_quit() {
    let model = chat_model("conversation.gguf");
    let talk = |lines: &str, more: &[&str]| {
        let output = picolm_with(&[&[&*model, "--chat", "-t", "0", "-n", "9"], more].concat(), lines.as_bytes());
        assert!(output.status.success(), "{}", stderr(&output));
        (String::from_utf8(output.stdout.clone()).expect("UTF-8"), stderr(&output))
    };
    let (first, _) = talk("Hi you\n", &[]);
    let (both, _) = talk("Hi you\nHi you\n", &[]);
    let second = both.strip_prefix(&first).expect("it begins in the same way");
    assert!(second.ends_with('\n') && second != first, "the past changes the answer");
    assert_eq!(talk("Hi you\n/reset\n\nHi you", &[]).0, first.repeat(2));
    assert_eq!(talk("Hi you\n/quit\nHi you\n", &[]).0, first);
    assert_eq!(talk("", &[]).0, "");

    // What does not fit is not asked; after a reset there is room again.
    let needed = json_of(&["tokenize", &model, "--special"], b"[user] Hi you</s>[assistant]")["ids"].clone();
    let context = (needed.as_array().expect("ids").len() + 10).to_string();
    let (answers, notes) = talk("Hi you\nHi you\n/reset\nHi you\n", &["-c", &context]);
    assert_eq!(answers, first.repeat(2));
    assert!(notes.contains(&format!("the context is {context}")) && notes.contains("/reset"), "{notes}");
}

/// The cache holds the same tokens at the end of each answer: the next one would differ else.
#[test]
fn a_conversation_with_lookup_is_the_same() {
    let model = chat_model("lookup.gguf");
    let limits = [&["-n", "9"][..], &["-n", "30"], &["-n", "40", "--stop", "e"], &["-n", "25", "-s", "7"]];
    for (limits, pull) in limits.into_iter().flat_map(|l| [(l, &CIRCLING[..]), (l, &FLIPPING)]) {
        let talk = |lookup: &[&str]| {
            let args = [&[&*model, "--chat"], pull, limits, lookup].concat();
            let output = picolm_with(&args, b"Hi you\nHi you\nAnd you?\nHi you\n");
            assert!(output.status.success(), "{}", stderr(&output));
            (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
        };
        let (plain, lookup) = (talk(&[]), talk(&["--lookup"]));
        assert_eq!(lookup.0, plain.0, "{limits:?} {pull:?}");
        let fed =
            |notes: &str| notes.split("prompt ").nth(1).and_then(|rest| Some(rest.split_once(' ')?.0.to_string()));
        assert!(fed(&lookup.1).is_some() && fed(&lookup.1) == fed(&plain.1), "{} {}", lookup.1, plain.1);
        assert!(accepted(&lookup.1) > 0, "{limits:?} {pull:?} {}", lookup.1);
    }
}

/// The first question is in the file, and what came after it is not in the way.
#[test]
fn a_conversation_with_a_cache_is_the_same() {
    let (model, cache) = (chat_model("cached.gguf"), scratch("chat.cache", b""));
    std::fs::remove_file(&cache).expect("a scratch file");
    let talk = |more: &[&str]| {
        let args = [&[&*model, "--chat", "-n", "9", "--repeat-penalty", "1.5"], more].concat();
        let output = picolm_with(&args, b"Hi you\nAnd you?\n");
        let fed =
            stderr(&output).split("; prompt ").nth(1).and_then(|rest| rest.split_once(' ')?.0.parse::<usize>().ok());
        (String::from_utf8_lossy(&output.stdout).into_owned(), fed.expect("the statistics"))
    };
    let (plain, first, again) = (talk(&[]), talk(&["--cache", &cache]), talk(&["--cache", &cache]));
    assert_eq!((&first, &again.0), (&plain, &plain.0));
    assert!(again.1 + 10 < plain.1, "{} of {} tokens were fed", again.1, plain.1);
}

#[test]
fn conversations_that_cannot_be() {
    fails(&[&golden(MODEL), "--chat", "-p", "Hi"], "no chat template");
    let model = chat_model("cannot.gguf");
    fails(&[&model, "--chat", "-c", "5", "-p", "a question of more than five tokens"], "the context is 5");
    let output = picolm_with(&[&model, "--chat", "-n", "2"], b"caf\xe9\n");
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(stderr(&output).contains("this line is not UTF-8"), "{}", stderr(&output));
}

/// Ctrl-C ends an answer that would go on for very long, and the next question is answered.
#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_answer_and_not_the_program() {
    use std::io::{BufRead, BufReader, Read, Write};
    let model = scratch("interrupt.gguf", &without_end(&std::fs::read(chat_model("endless.gguf")).expect("a model")));
    let mut child = spawn(&[&model, "--chat", "-t", "0", "-n", "90000"]);
    let mut input = child.stdin.take().expect("standard input");
    let mut notes = BufReader::new(child.stderr.take().expect("stderr"));
    // Another thread keeps the pipe from filling up, and tells of each piece.
    let mut answer = child.stdout.take().expect("stdout");
    let (tell, pieces) = std::sync::mpsc::channel();
    #[allow(clippy::disallowed_methods, reason = "a test may panic")]
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while answer.read(&mut buffer).is_ok_and(|n| n > 0) {
            let _ = tell.send(());
        }
    });
    for _ in 0..2 {
        input.write_all(b"Hi you\n").expect("a question");
        // A piece may be the end of the answer before: then the signal finds nobody answering, which is told, and is sent once more.
        loop {
            pieces.recv().expect("an answer begins");
            let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            assert!(kill.expect("kill").success());
            let mut note = String::new();
            while note.trim().is_empty() {
                assert!(notes.read_line(&mut note).expect("a note") > 0, "the end of stderr");
            }
            if note.contains("stopped by Ctrl-C") {
                break;
            }
            assert!(note.contains("/quit"), "{note}");
        }
    }
    drop(input);
    assert!(child.wait().expect("the binary").success());
    reader.join().expect("all read");
}

#[test]
fn an_answer_is_json_where_that_is_asked_for() {
    for (seed, budget) in (0..20).flat_map(|seed| [(seed, "2"), (seed, "60")]) {
        let args = [&golden(MODEL), "-p", "a", "--json", "-n", budget, "-t", "1.5", "-s", &seed.to_string()];
        let text = succeeds(&args);
        assert!(serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object()), "{args:?}: {text}");
    }
    let output = picolm(&[&golden(MODEL), "-p", "a", "--json", "-n", "1", "--stop", "x"]);
    assert!(!output.status.success() && stderr(&output).contains("max_tokens is 1"), "{}", stderr(&output));
}
