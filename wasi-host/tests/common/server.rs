//! A server of its own for a test, and a client of few words for it.
#![allow(dead_code, reason = "each test file uses some of it")]

use picolm_core::gguf::{Gguf, Writer};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `picolm-host serve`, killed when it is dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
}

/// An empty folder of this test run.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

/// A folder with one small model, `tiny`: it has a chat template, room for 100,000 tokens, and never ends by itself.
pub fn models(name: &str) -> PathBuf {
    let folder = folder(name);
    std::fs::write(folder.join("tiny.gguf"), endless_model()).expect("a model");
    folder
}

fn endless_model() -> Vec<u8> {
    const CONTEXT: &str = "llama.context_length";
    let mut bytes = std::fs::read(super::golden("llama-Q8_0.gguf")).expect("a model");
    let whole = bytes.clone();
    let gguf = Gguf::parse(&whole).expect("GGUF");
    // A logit of 0 for its end tokens, `</s>` and `<|endoftext|>`: never the best.
    let output = gguf.require_tensor("output.weight").expect("a tensor");
    let row = (output.len / output.dims[1]) as usize;
    for end in [2, 259] {
        bytes[output.offset as usize..][end * row..(end + 1) * row].fill(0);
    }
    let template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}</s>{% endfor %}{{ tools[0].function.name if tools }}[assistant]";
    let mut writer = Writer::new().with("tokenizer.chat_template", template).with(CONTEXT, 100_000_u32);
    for (key, value) in gguf.metadata().filter(|(key, _)| *key != CONTEXT) {
        writer = writer.value(key, value);
    }
    for t in gguf.tensors() {
        writer = writer.tensor(t.name, t.ty, &t.dims[..t.n_dims], &bytes[t.offset as usize..][..t.len as usize]);
    }
    writer.finish()
}

impl Server {
    /// Starts one for the models in a folder.
    pub fn start(models: &Path, more: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_picolm-host"));
        command.arg("serve").arg("--models").arg(models).args(["--listen", "127.0.0.1:0"]);
        if !more.contains(&"--engine") {
            command.args(["--engine", "native"]);
        }
        if !more.contains(&"--state") {
            command.args(["--state", "none"]);
        }
        let mut child = command.args(more).stderr(Stdio::piped()).spawn().expect("the binary");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = loop {
            let line = log.next().expect("it listens").expect("its log");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a line of log: {line}"));
            if line["what"] == "listening" {
                break line["address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
            }
        };
        // Nobody reads the rest, but somebody has to take it.
        #[allow(clippy::disallowed_methods, reason = "a test may panic")]
        std::thread::spawn(move || log.for_each(drop));
        Server { child, address }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.open(method, path, headers, body);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an answer");
        Answer::parse(&all)
    }

    /// What is answered to bytes, all of which are taken.
    pub fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request).expect("a connection");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an answer");
        Answer::parse(&all)
    }

    /// A connection with a request on it.
    pub fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).expect("a connection");
        // A server that has seen enough may hang up.
        let _ = stream.write_all(body);
        stream
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        stream
    }

    /// A counter of `/metrics`.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("picolm_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    /// Waits until a counter is as it should be.
    pub fn wait_for(&self, name: &str, wanted: i64) {
        let start = Instant::now();
        while self.metric(name) != wanted {
            assert!(start.elapsed() < Duration::from_secs(120), "{name} is {}, not {wanted}", self.metric(name));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    /// Ends it as systemd does; whether it ended well.
    pub fn end(mut self) -> bool {
        self.signal("-TERM");
        self.child.wait().expect("a status").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// in lower case
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let mut body = bytes[end + 4..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = unchunk(&body);
        }
        Answer { status, head, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The JSON of all events, and whether the stream came to its end.
    pub fn events(&self) -> (Vec<Value>, bool) {
        let text = self.text();
        let mut events: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
        let whole = events.last() == Some(&"[DONE]");
        events.retain(|event| *event != "[DONE]");
        (events.into_iter().map(|event| serde_json::from_str(event).expect("JSON")).collect(), whole)
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let len = std::str::from_utf8(&bytes[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some(part) = len.and_then(|len| bytes.get(end + 2..end + 2 + len)) else { break };
        all.extend_from_slice(part);
        bytes = bytes.get(end + 4 + part.len()..).unwrap_or_default();
    }
    all
}
