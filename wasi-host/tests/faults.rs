//! A system that fails, and an engine: calls of the C library by which the server gets threads, descriptors and room on the disk are made to
//! fail in turn, while requests are answered. The process lives, no answer is wrong, and once the system works again so does the server.
#![cfg(all(feature = "serve", feature = "sandbox", target_os = "linux"))]

mod common;

use common::server::{folder, models};
use picolm_host::engine::{self, Engine, Kind, Options};
use picolm_host::{Event, ModelInfo, Prompt, Request, Result, SessionId, Want};
use picolm_server::{Config, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// What a call may fail with.
const ERRORS: &[(&str, &[i32])] = &[
    ("accept4", &[libc::EMFILE]),
    ("fsync", &[libc::EIO]),
    ("ftruncate64", &[libc::ENOSPC]),
    ("memfd_create", &[libc::EMFILE, libc::ENOMEM]),
    ("mkdir", &[libc::ENOSPC]),
    ("pthread_create", &[libc::EAGAIN]),
    ("rename", &[libc::ENOSPC]),
    ("write", &[libc::ENOSPC, libc::EIO]),
];

/// Of each name, calls that are tried in the fast run: the first, and some of those that come later.
const FAST: u64 = 3;

const PROMPTS: [&str; 2] = ["Once upon a time there was a server whose system failed, and it lived.", "Another."];

struct Setting {
    models: PathBuf,
    shim: PathBuf,
    /// what each prompt is answered with where nothing fails
    answers: [Value; 2],
}

/// A server that has come up, or how it has ended.
enum Started {
    Listens(Child, SocketAddr),
    Ended(ExitStatus, String),
}

/// Builds the library that fails.
fn shim() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c");
    let cc = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&path).args([source, "-ldl"]).status();
    assert!(cc.expect("a C compiler").success());
    path
}

fn start(setting: &Setting, state: &Path, engine: &str, variable: &str, value: &str) -> Started {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picolm-host"));
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    command.arg("serve").arg("--models").arg(&setting.models).args(["--engine", engine]);
    command.arg("--listen").arg(address.to_string());
    command.args(["--threads", "2", "--context", "256", "--state"]).arg(state);
    command.env("LD_PRELOAD", &setting.shim).env(variable, value).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    let mut log = child.stderr.take().expect("piped");
    let said = std::thread::Builder::new().spawn(move || {
        let mut said = String::new();
        log.read_to_string(&mut said).expect("its log");
        said
    });
    // That it listens is not read from its log, which may fail, too.
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            return Started::Ended(status, said.expect("a thread").join().expect("its log"));
        }
        if TcpStream::connect(address).is_ok() {
            return Started::Listens(child, address);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The answer, unless there is none or an error.
fn ask(address: SocketAddr, prompt: &str) -> Option<Value> {
    let body = json!({ "prompt": prompt, "max_tokens": 6, "temperature": 0 }).to_string();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let len = body.len();
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {len}\r\n\r\n{body}").ok()?;
    let mut all = String::new();
    stream.read_to_string(&mut all).ok()?;
    let (head, body) = all.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).ok()?;
    match head.starts_with("HTTP/1.1 200 ") {
        true => Some(body["choices"][0]["text"].clone()),
        false => {
            assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{all}");
            None
        }
    }
}

/// Both prompts at once.
fn ask_both(address: SocketAddr) -> [Option<Value>; 2] {
    let answer = |prompt| move || ask(address, prompt);
    std::thread::scope(|scope| {
        PROMPTS.map(|prompt| scope.spawn(answer(prompt))).map(|thread| thread.join().expect("a client"))
    })
}

/// Ends it as systemd does.
fn end(child: &mut Child) -> ExitStatus {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
    child.wait().expect("a status")
}

/// One run in which a call fails.
fn run(setting: &Setting, state: &Path, engine: &str, plan: &str) {
    match start(setting, state, engine, "PICOLM_FAIL", plan) {
        Started::Ended(status, said) => {
            assert!(status.code().is_some_and(|code| code < 100), "{engine}, {plan}: {status}: {said}");
            assert!(!said.trim().is_empty(), "{engine}, {plan}: it ends without a word");
        }
        Started::Listens(mut child, address) => {
            for (answer, wanted) in ask_both(address).into_iter().zip(&setting.answers) {
                assert!(answer.is_none_or(|answer| answer == *wanted), "{engine}, {plan}: another answer");
            }
            let alive = |child: &mut Child| assert!(child.try_wait().expect("a status").is_none(), "{engine}, {plan}");
            alive(&mut child);
            let again = (0..20).find_map(|_| ask(address, PROMPTS[0]));
            assert_eq!(again.as_ref(), Some(&setting.answers[0]), "{engine}, {plan}: it does not recover");
            alive(&mut child);
            let status = end(&mut child);
            assert!(status.success(), "{engine}, {plan}: {status}");
        }
    }
}

#[test]
fn every_call_may_fail() {
    let all = std::env::var_os("PICOLM_ALL_RUNS").is_some();
    let none = [Value::Null, Value::Null];
    let mut setting = Setting { models: models("faults-models"), shim: shim(), answers: none };
    let engines: &[&str] = if all { &["native", "sandbox", "sandbox-native"] } else { &["sandbox-native"] };
    for engine in engines {
        let counts = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults-counts");
        let path = counts.to_str().expect("UTF-8");
        let Started::Listens(mut child, address) =
            start(&setting, &folder("faults-state"), engine, "PICOLM_FAIL_COUNTS", path)
        else {
            panic!("it does not listen")
        };
        let answers = ask_both(address).map(|answer| answer.expect("an answer"));
        assert!(setting.answers[0].is_null() || setting.answers == answers, "the engines differ");
        setting.answers = answers;
        ask(address, PROMPTS[0]).expect("an answer");
        assert!(end(&mut child).success());

        let counts = std::fs::read_to_string(counts).expect("counts");
        let counts: BTreeMap<&str, u64> = counts
            .lines()
            .filter_map(|line| line.split_once(' ').and_then(|(name, n)| Some((name, n.parse().ok()?))))
            .collect();
        let mut plans = Vec::new();
        for (name, errors) in ERRORS {
            let count = counts[name];
            // Spread out, from the first to the last.
            let tried = if all { count } else { count.min(FAST) };
            for (i, error) in (0..tried).flat_map(|i| errors.iter().map(move |error| (i, error))) {
                let call = 1 + if tried > 1 { i * (count - 1) / (tried - 1) } else { 0 };
                plans.push(format!("{name} {call} 1 {error}"));
            }
        }
        assert!(plans.len() > 12, "{plans:?}: calls are not counted");
        let (plans, setting) = (Mutex::new(plans), &setting);
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let plans = &plans;
                scope.spawn(move || {
                    loop {
                        let Some(plan) = plans.lock().expect("no panic before").pop() else { return };
                        run(setting, &folder(&format!("faults-state-{worker}")), engine, &plan);
                    }
                });
            }
        });
    }
}

/// An engine with mistakes of the worst kind.
struct Mistaken(ModelInfo);

impl Engine for Mistaken {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn begin(&mut self, _: &Request) -> Result<SessionId> {
        panic!("a mistake")
    }

    fn step(&mut self) -> Result<Vec<Event>> {
        panic!("a mistake")
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn close(&mut self, _: SessionId) -> Result<()> {
        panic!("a mistake")
    }

    fn save(&mut self, _: SessionId) -> Result<Vec<u8>> {
        panic!("a mistake")
    }

    fn restore(&mut self, _: &[u8]) -> Result<usize> {
        panic!("a mistake")
    }

    fn tokenize(&mut self, _: &Prompt) -> Result<Vec<u32>> {
        panic!("a mistake")
    }

    fn detokenize(&mut self, _: &[u32]) -> Result<String> {
        panic!("a mistake")
    }

    fn feed(&mut self, _: &[u32], _: Want, _: &mut dyn FnMut(&[f32])) -> Result<()> {
        panic!("a mistake")
    }

    fn rewind(&mut self) -> Result<()> {
        panic!("a mistake")
    }
}

/// Who asks is told, and the next request finds the model loaded anew.
#[test]
fn a_panic_ends_one_model() {
    let file = folder("faults-panic").join("server.toml");
    std::fs::write(&file, format!("models = [{:?}]\nlisten = \"127.0.0.1:0\"\n", models("faults-panic-models")))
        .expect("a file");
    let settings = Settings::from_file(&file).expect("settings");
    let config = Config::new(settings, &["native"]).expect("a configuration");
    let opened = AtomicUsize::new(0);
    let open = move |path: &Path, _: &Config| -> Result<Box<dyn Engine>> {
        match opened.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a mistake while it is loaded"),
            1 => Ok(Box::new(Mistaken(ModelInfo::default()))),
            _ => engine::open(Kind::Native, path, &Options::default()),
        }
    };
    let (tell, address) = mpsc::channel();
    #[allow(clippy::disallowed_methods, reason = "a test may panic")]
    std::thread::spawn(move || {
        picolm_server::serve(
            config,
            Arc::new(open),
            |address| tell.send(address).expect("a test"),
            std::future::pending(),
        )
    });
    let address = address.recv().expect("it listens");
    let answers = [(); 3].map(|()| ask(address, PROMPTS[0]).is_some());
    assert_eq!(answers, [false, false, true]);
}
