//! `picolm-host serve`, from outside.
#![cfg(feature = "serve")]

mod common;

use common::server::{Server, folder, models};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn ask(seed: u64, tokens: usize) -> Value {
    json!({ "model": "tiny", "prompt": format!("{seed} bottles"), "max_tokens": tokens, "seed": seed, "temperature": 1.5 })
}

fn text_of(answer: &Value) -> String {
    answer["choices"][0]["text"].as_str().expect("a text").to_string()
}

#[test]
fn a_conversation_and_its_stream() {
    let server = Server::start(&models("chat"), &[]);
    let messages = json!([{ "role": "system", "content": "Be kind" }, { "role": "user", "content": "Hi" }]);
    let mut asked = json!({ "model": "tiny", "messages": messages, "max_tokens": 12, "seed": 4 });
    let whole = server.post(CHAT, &asked).json();
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 12);
    // What the template makes of it.
    let prompt = "[system] Be kind</s>[user] Hi</s>[assistant]";
    let same = server.post(TEXT, &json!({ "prompt": prompt, "max_tokens": 12, "seed": 4 })).json();
    assert_eq!(whole["choices"][0]["message"]["content"], same["choices"][0]["text"]);
    (asked["stream"], asked["stream_options"]) = (true.into(), json!({ "include_usage": true }));
    let (events, complete) = server.post(CHAT, &asked).events();
    assert!(complete);
    let text: String = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(whole["choices"][0]["message"]["content"], *text);
    assert_eq!(events.last().expect("events")["usage"]["completion_tokens"], 12);
}

/// Requests join and leave, and each gets what it gets alone.
#[test]
fn company_changes_no_answer() {
    let server = Server::start(&models("company"), &["--sessions", "8"]);
    let alone: Vec<String> =
        (0..12).map(|i| text_of(&server.post(TEXT, &ask(i, 20 + 7 * i as usize)).json())).collect();
    std::thread::scope(|scope| {
        let server = &server;
        let all: Vec<_> = (0..12_u64)
            .map(|i| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(3 * i));
                    text_of(&server.post(TEXT, &ask(i, 20 + 7 * i as usize)).json())
                })
            })
            .collect();
        for (thread, alone) in all.into_iter().zip(&alone) {
            assert_eq!(thread.join().expect("an answer"), *alone);
        }
    });
}

#[test]
fn a_full_queue_says_when_to_come_back_and_leavers_make_room() {
    let server = Server::start(&models("queue"), &["--sessions", "1", "--queue", "1", "--context", "50000"]);
    let long = json!({ "prompt": "a", "max_tokens": 40_000, "stream": true }).to_string();
    let mut first = server.open("POST", TEXT, &[], long.as_bytes());
    first.read_exact(&mut [0; 200]).expect("the beginning of an answer");
    let second = server.open("POST", TEXT, &[], long.as_bytes());
    server.wait_for("answers_waiting", 1);
    let third = server.post(TEXT, &ask(1, 4));
    assert_eq!(third.status, 429);
    assert!(third.head.contains("\r\nretry-after: "), "{}", third.head);
    assert_eq!(third.json()["error"]["type"], "rate_limit_error");
    assert_eq!(server.metric("refused_total"), 1);
    drop(first);
    server.wait_for("answers_waiting", 0);
    drop(second);
    server.wait_for("cancelled_total", 2);
    assert_eq!(server.post(TEXT, &ask(1, 4)).status, 200);
    server.wait_for("answers_running", 0);
}

#[test]
fn models_come_when_asked_for_and_go_when_idle() {
    let folder = models("idle");
    std::fs::copy(folder.join("tiny.gguf"), folder.join("kept.gguf")).expect("a copy");
    std::fs::write(folder.join("broken.gguf"), b"GGUF").expect("a file");
    let server = Server::start(&folder, &["--idle", "1s", "--pin", "kept"]);
    assert_eq!((server.metric("model_loads_total"), server.metric("model_unloads_total")), (1, 0));
    let names: Vec<Value> = server.get("/v1/models").json()["data"].as_array().expect("a list").clone();
    let names: Vec<&str> = names.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(names, ["broken", "kept", "tiny"]);
    let before = text_of(&server.post(TEXT, &ask(1, 9)).json());
    server.wait_for("model_unloads_total", 1);
    assert_eq!(text_of(&server.post(TEXT, &ask(1, 9)).json()), before);
    assert_eq!(server.metric("model_loads_total"), 3);
    let broken = server.post(TEXT, &json!({ "model": "broken", "prompt": "a" }));
    assert_eq!((broken.status, &broken.json()["error"]["param"]), (500, &json!("model")));
    // One more than may be loaded: the idle one makes room, the pinned one stays.
    std::fs::copy(folder.join("tiny.gguf"), folder.join("third.gguf")).expect("a copy");
    assert_eq!(server.post(TEXT, &json!({ "model": "third", "prompt": "a" })).status, 200);
    assert!(server.get("/metrics").text().contains("picolm_model_loaded{model=\"kept\"} 1"));
}

/// Ollama's `keep_alive`: a model goes at once, or stays although others would have gone.
#[test]
fn a_request_says_how_long_its_model_stays() {
    let server = Server::start(&models("keep-alive"), &["--idle", "1s"]);
    let ask = |keep: Value| {
        let options = json!({ "num_predict": 2 });
        server.post(
            "/api/generate",
            &json!({ "model": "tiny", "prompt": "a", "stream": false, "keep_alive": keep, "options": options }),
        )
    };
    assert_eq!(ask(json!(-1)).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!((server.metric("model_loads_total"), server.metric("model_unloads_total")), (1, 0));
    assert_eq!(ask(json!("0s")).status, 200);
    server.wait_for("model_unloads_total", 1);
    let wrong = ask(json!("soon"));
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("keep_alive"), "{}", wrong.text());
}

/// What was computed for a prompt is there after a restart, and after a kill; damage costs time only.
#[test]
fn prefixes_survive() {
    let (models, state) = (models("prefix"), folder("prefix-state"));
    let state = state.to_str().expect("a name");
    let start = || Server::start(&models, &["--state", state]);
    let prompt: String = (0..400).map(|i| format!("{i} ")).collect();
    let asked = |more: &str| json!({ "prompt": format!("{prompt}{more}"), "max_tokens": 8, "seed": 1 });
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a number");
    let server = start();
    let first = server.post(TEXT, &asked("and so")).json();
    assert_eq!(cached(&first), 0);
    let other = server.post(TEXT, &asked("but then")).json();
    let shared = cached(&other);
    assert!(shared > 1000, "{shared}");
    assert!(server.end());
    for kill in [false, true, true] {
        let server = start();
        let again = server.post(TEXT, &asked("but then")).json();
        assert_eq!(text_of(&again), text_of(&other));
        assert!(cached(&again) >= shared, "{again}");
        if kill {
            // At once: perhaps while a state is written.
            server.open("POST", TEXT, &[], asked(&"more ".repeat(60)).to_string().as_bytes());
            server.signal("-KILL");
        } else {
            assert!(server.end());
        }
    }
    for damage in ["cut", "bent", "foreign"] {
        for file in states(state) {
            let mut bytes = std::fs::read(&file).expect("a state");
            match damage {
                "cut" => bytes.truncate(bytes.len() - 9),
                "bent" => *bytes.last_mut().expect("a byte") ^= 1,
                _ => bytes = b"picolm prefix 1\n\xff\xff\xff\xff".to_vec(),
            }
            std::fs::write(&file, bytes).expect("a file");
        }
        let again = start().post(TEXT, &asked("but then")).json();
        assert_eq!((text_of(&again), cached(&again)), (text_of(&other), 0), "{damage}");
    }
}

fn states(folder: &str) -> Vec<std::path::PathBuf> {
    let models = std::fs::read_dir(folder).expect("a folder").flatten();
    let files = models.filter_map(|model| std::fs::read_dir(model.path()).ok()).flatten().flatten();
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "state")).collect()
}

#[test]
fn who_is_told_to_end_finishes_what_it_began() {
    let server = Server::start(&models("end"), &[]);
    let asked = json!({ "prompt": "a", "max_tokens": 3000, "stream": true }).to_string();
    let mut stream = server.open("POST", TEXT, &[], asked.as_bytes());
    stream.read_exact(&mut [0; 200]).expect("the beginning of an answer");
    server.signal("-TERM");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the rest");
    assert!(rest.contains("\"finish_reason\":\"length\"") && rest.contains("data: [DONE]"));
    assert!(server.end_of().success());
}

#[test]
fn who_does_not_come_to_an_end_is_told_so() {
    let server = Server::start(&models("grace"), &["--grace", "1s", "--context", "90000"]);
    let asked = json!({ "prompt": "a", "max_tokens": 80_000, "stream": true }).to_string();
    let mut stream = server.open("POST", TEXT, &[], asked.as_bytes());
    stream.read_exact(&mut [0; 200]).expect("the beginning of an answer");
    server.signal("-TERM");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the rest");
    assert!(rest.contains("shutting_down"), "{}", &rest[rest.len().saturating_sub(500)..]);
    assert!(server.end_of().success());
}

#[test]
fn keys_open_and_nothing_else_does() {
    let file = folder("keys").join("keys");
    std::fs::write(&file, "first-key\nsecond-key\n").expect("a file");
    let server = Server::start(&models("keys-models"), &["--api-key-file", file.to_str().expect("a name")]);
    let with = |value: &str| server.send("GET", "/v1/models", &[("Authorization", value)], b"").status;
    assert_eq!((with("Bearer first-key"), with("bearer second-key")), (200, 200));
    for wrong in ["Bearer first-ke", "Bearer first-keyy", "Bearer ", "Basic first-key", "first-key", ""] {
        assert_eq!(with(wrong), 401, "{wrong}");
    }
    let none = server.get("/v1/models");
    assert_eq!((none.status, &none.json()["error"]["code"]), (401, &json!("missing_api_key")));
    for path in ["/metrics", "/openapi.json", "/api/tags"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    assert_eq!(server.get("/health").status, 200);
    let form = |key: &str| server.send("POST", "/form", &[], format!("key={key}&prompt=Hi").as_bytes()).status;
    assert_eq!((form("first-key"), form("no-key")), (200, 401));
}

#[test]
fn the_form_needs_no_script() {
    let server = Server::start(&models("form"), &[]);
    assert_eq!(server.get("/").status, 303);
    let page = server.get("/form");
    assert!(page.head.contains("default-src 'none'") && page.text().contains("<option>tiny</option>"));
    let answer = server.send("POST", "/form", &[], b"model=tiny&prompt=%3Cb%3EHi%3C%2Fb%3E+there").text();
    assert!(answer.contains("<h2>Answer</h2>") && answer.contains("&lt;b&gt;Hi&lt;/b&gt; there"), "{answer}");
    assert!(!answer.contains("<b>") && !answer.contains("<script"));
    let empty = server.send("POST", "/form", &[], b"model=tiny&prompt=");
    assert!(empty.status == 400 && empty.text().contains("prompt is empty"));
}

#[test]
fn the_pages_folder_is_served_and_nothing_beside_it() {
    let page = folder("page").join("www");
    std::fs::create_dir_all(&page).expect("a folder");
    std::fs::write(page.join("index.html"), "<title>chat</title>").expect("a file");
    std::fs::write(page.join("../secret.txt"), "secret").expect("a file");
    std::fs::write(page.join(".hidden.txt"), "secret").expect("a file");
    let server = Server::start(&models("page-models"), &["--page", page.to_str().expect("a name")]);
    assert!(server.get("/").text().contains("<title>chat</title>"));
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/.hidden.txt",
        "//etc/passwd",
        "/..%2fsecret.txt",
        "/x/../../secret.txt",
    ] {
        let answer = server.get(path);
        assert!(matches!(answer.status, 400 | 404) && !answer.text().contains("secret\""), "{path}: {answer:?}");
    }
}

/// The description names what is there, and what it names is there.
#[test]
fn the_description_is_true_of_every_path() {
    let server = Server::start(&models("openapi"), &[]);
    let described = server.get("/openapi.json").json();
    let paths = described["paths"].as_object().expect("paths");
    assert!(paths.len() >= 15);
    for (path, methods) in paths {
        let path = path.replace("{model}", "tiny");
        for (method, about) in methods.as_object().expect("methods") {
            let answer = server.send(&method.to_uppercase(), &path, &[], b"{}");
            assert!(answer.status == 200 || answer.status == 400, "{path}: {}", answer.status);
            assert!(!about["responses"][answer.status.to_string()].is_null(), "{path}");
        }
        assert_eq!(server.send("DELETE", &path, &[], b"").status, 405, "{path}");
    }
}

/// A prompt that is read does not keep others waiting for its whole length, and its first token comes soon after it was read.
#[test]
fn a_newcomer_does_not_wait_for_the_others_to_end() {
    let server = Server::start(&models("newcomer"), &["--context", "60000"]);
    let long = json!({ "prompt": "a", "max_tokens": 50_000, "stream": true }).to_string();
    let mut others: Vec<_> = (0..4).map(|_| server.open("POST", TEXT, &[], long.as_bytes())).collect();
    others.iter_mut().for_each(|other| other.read_exact(&mut [0; 200]).expect("the beginning of an answer"));
    assert_eq!(server.post(TEXT, &ask(1, 5)).status, 200);
    server.wait_for("answers_running", 4);
}

#[test]
fn a_configuration_is_checked() {
    let folder = models("check");
    let file = folder.join("picolm.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_picolm-host"));
        let output = command.args(["check-config", "--config"]).arg(&file).output().expect("the binary");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let models = format!("models = [{:?}]\n", folder.display().to_string());
    let (good, text) = check(&format!("{models}api-key = [\"s3cret\"]\nlisten = \"0.0.0.0:80\"\n"));
    assert!(
        good && text.contains("0.0.0.0:80") && text.contains("with API keys") && !text.contains("s3cret"),
        "{text}"
    );
    let (good, text) = check(&format!("{models}listen = \"localhost:8080\"\nidle = \"1h30m\"\n"));
    assert!(good && text.contains(":8080"), "{text}");
    for (line, word) in
        [("idle = \"soon\"", "idle"), ("ports = 1", "ports"), ("sessions = 0", "sessions"), ("x", "expected")]
    {
        let (good, text) = check(&format!("{models}{line}\n"));
        assert!(!good && text.contains(word), "{line}: {text}");
    }
}

impl Server {
    /// Its status, once it has ended by itself.
    fn end_of(mut self) -> std::process::ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
