//! Damaged files and what they do to a host: every engine refuses them with the same kind of error, or runs them with the same results,
//! and the next model runs.

mod common;

use common::{answer, golden};
use picolm_core::sampler::Params;
use picolm_host::engine::{Kind, Options, open};
use picolm_host::{Chat, ErrorKind, Prompt, Request, Result};
use std::path::{Path, PathBuf};

const MODEL: &str = "llama-Q4_0.gguf";

fn options() -> Options {
    Options { threads: 1, ..Options::default() }
}

/// The error with which a file is refused, or what is answered to a prompt by its model.
fn outcome(kind: Kind, path: &Path) -> Result<Vec<u32>> {
    let mut engine = open(kind, path, &options())?;
    let request = Request {
        prompt: Prompt::Tokens(vec![1, 2, 3]),
        max_tokens: 2,
        sampling: Params::greedy(),
        ..Request::default()
    };
    let id = engine.begin(&request)?;
    let answer = common::run(&mut *engine, &[id]).remove(0);
    match answer.error {
        Some(message) => Err(picolm_host::Error::new(ErrorKind::Model, message)),
        None => Ok(answer.tokens),
    }
}

/// All engines say the same of it.
fn compare(name: &str, bytes: &[u8]) -> Result<Vec<u32>> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("damaged-{}.gguf", name.replace(' ', "-")));
    std::fs::write(&path, bytes).expect("room on the disk");
    let outcomes: Vec<_> = Kind::ALL.iter().map(|kind| (kind.name(), outcome(*kind, &path))).collect();
    let _ = std::fs::remove_file(&path);
    let (_, native) = outcomes.last().expect("an engine").clone();
    for (engine, found) in outcomes {
        assert_eq!(found, native, "{name} in {engine}");
    }
    native
}

/// The header of the file, up to the first tensor's bytes.
fn header_len(bytes: &[u8]) -> usize {
    picolm_core::gguf::Gguf::parse(bytes).expect("a golden model").header_len() as usize
}

#[test]
fn files_that_are_cut_short() {
    let bytes = std::fs::read(golden(MODEL)).expect("a golden model");
    let header = header_len(&bytes);
    let lengths = [0, 1, 4, 43].into_iter().chain((5..header).step_by(173)).chain([header, bytes.len() - 1]);
    for len in lengths {
        let error = compare(&format!("cut at {len}"), &bytes[..len]).expect_err("a file that is cut short");
        assert_eq!(error.kind, ErrorKind::Model, "{len}: {error}");
    }
    assert!(compare("whole", &bytes).is_ok());
}

/// Counts and lengths of 2^62, types and ids that do not exist: eight bytes of all ones, a high bit or zeros wherever they fall.
#[test]
fn headers_with_wrong_numbers() {
    let bytes = std::fs::read(golden(MODEL)).expect("a golden model");
    let header = header_len(&bytes);
    let (mut refused, mut ran) = (0, 0);
    for (i, at) in (0..64).chain((64..header - 8).step_by(197)).enumerate() {
        let mut bad = bytes.clone();
        let value = [u64::MAX, 1 << 62, 1 << 63, 0][i % 4];
        bad[at..at + 8].copy_from_slice(&value.to_le_bytes());
        match compare(&format!("number at {at}"), &bad) {
            Ok(_) => ran += 1,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Model, "{at}: {error}");
                refused += 1;
            }
        }
    }
    // Some only change the text of a token.
    assert!(refused > 60, "{refused} refused, {ran} ran");
}

#[test]
fn weights_that_are_no_numbers_are_the_models_fault() {
    let mut bytes = std::fs::read(golden("llama-F32.gguf")).expect("a golden model");
    let data = header_len(&bytes).next_multiple_of(32);
    bytes[data..].chunks_exact_mut(4).for_each(|x| x.copy_from_slice(&f32::NAN.to_le_bytes()));
    let error = compare("NaN", &bytes).expect_err("weights that are NaN");
    assert_eq!(error.kind, ErrorKind::Model, "{error}");
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for kind in Kind::ALL {
        for path in [folder.clone(), folder.join("nothing-there.gguf"), "/dev/zero".into()] {
            let error = open(*kind, &path, &options()).map(drop).expect_err("no file");
            assert_eq!(error.kind, ErrorKind::Model, "{}: {error}", path.display());
        }
    }
}

/// A chat template is a program from a stranger; so is the JSON of a request.
#[test]
fn conversations_that_cannot_be_are_refused_and_the_next_request_works() {
    let Some(model) = std::env::var_os("PICOLM_MODEL").map(PathBuf::from) else {
        return assert!(std::env::var_os("CI").is_none(), "cargo xtask test host sets PICOLM_MODEL");
    };
    let deep = format!("[{}1{}]", "[".repeat(100_000), "]".repeat(100_000));
    let bad = [
        "".to_string(),
        "{}".into(),
        "[1]".into(),
        "[{}]".into(),
        r#"[{"role": "user"}"#.into(),
        r#"[{"role": 1, "content": "x"}]"#.into(),
        r#"[{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]"#.into(),
        deep,
    ];
    for kind in Kind::ALL {
        let mut engine = open(*kind, &model, &options()).expect("an engine");
        for messages in &bad {
            let prompt = Prompt::Chat(Chat::new(messages.clone()));
            let error = engine.begin(&Request { prompt, ..Request::default() }).expect_err("no conversation");
            assert_eq!(error.kind, ErrorKind::Request, "{}: {error}", kind.name());
        }
        let long = format!(r#"[{{"role": "user", "content": "{}"}}]"#, "long ".repeat(10_000));
        let prompt = Prompt::Chat(Chat::new(long));
        let error = engine.begin(&Request { prompt, ..Request::default() }).expect_err("a long prompt");
        assert_eq!(error.kind, ErrorKind::ContextFull, "{}: {error}", kind.name());
        let prompt = Prompt::Chat(Chat::new(r#"[{"role": "user", "content": "Say yes."}]"#));
        let request = Request { prompt, max_tokens: 3, sampling: Params::greedy(), ..Request::default() };
        let found = answer(&mut *engine, &request);
        assert_eq!((found.tokens.is_empty(), found.error), (false, None), "{}", kind.name());
    }
}
