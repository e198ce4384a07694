//! Requests that broke other servers. After each the server answers the next one.
#![cfg(feature = "serve")]

mod common;

use common::server::{Answer, Server, models};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

/// Refused, with OpenAI's shape, the field's name and a reason.
#[track_caller]
fn refused(answer: &Answer, status: u16, param: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = &answer.json()["error"];
    let message = error["message"].as_str().expect("a message");
    assert!(error["type"].is_string() && error["code"].is_string(), "{error}");
    assert_eq!(error["param"].as_str(), param, "{error}");
    assert!(message.starts_with(param.unwrap_or_default()) && message.len() > 10 && message.len() < 400, "{message}");
}

#[track_caller]
fn still_works(server: &Server) {
    let answer = server.post(TEXT, &json!({ "prompt": "a", "max_tokens": 3 }));
    assert_eq!((answer.status, &answer.json()["usage"]["completion_tokens"]), (200, &json!(3)));
}

#[test]
fn bodies_that_are_too_long_or_too_deep() {
    let server = Server::start(&models("bodies"), &[]);
    // 100 MB: refused by their announcement, before they are read.
    let mut stream = server.connect();
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: {}\r\nContent-Length: 104857600\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).expect("a connection");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 413");
    // Without one: refused where the limit is.
    let mut stream = server.connect();
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).expect("a connection");
    let megabyte = [&b"100000\r\n"[..], &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..100 {
        if stream.write_all(&megabyte).is_err() {
            break;
        }
    }
    let _ = stream.read_exact(&mut start);
    assert_eq!(&start, b"HTTP/1.1 413");
    for nested in
        ["[".repeat(100_000), "{\"messages\":".repeat(100_000), format!("{{\"messages\":{}", "[".repeat(100_000))]
    {
        refused(&server.send("POST", CHAT, &[], nested.as_bytes()), 400, None);
    }
    for body in [&b""[..], b"{", b"[]", b"null", b"{\"prompt\": \"\xff\xfe\"}", b"{\"prompt\": \"\\ud800\"}", b"\0"] {
        refused(&server.send("POST", TEXT, &[], body), 400, None);
    }
    assert!(server.metric("connections") < 10);
    still_works(&server);
}

#[test]
fn numbers_that_cannot_be() {
    let server = Server::start(&models("numbers"), &[]);
    let fields = [
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "max_tokens",
        "n",
    ];
    for field in fields {
        for value in [
            json!(-1e30),
            json!(1e30),
            json!("1"),
            json!([]),
            json!({}),
            json!(true),
            json!(-9_223_372_036_854_775_808_i64),
        ] {
            let mut body = json!({ "prompt": "a", "max_tokens": 3 });
            body[field] = value;
            refused(&server.post(TEXT, &body), 400, Some(field));
        }
        for text in ["NaN", "Infinity", "-Infinity", "1e999", "0x10", "1_000"] {
            let body = format!("{{\"prompt\": \"a\", \"{field}\": {text}}}");
            refused(&server.send("POST", TEXT, &[], body.as_bytes()), 400, None);
        }
    }
    for (field, value) in [
        ("max_tokens", json!(0)),
        ("n", json!(0)),
        ("n", json!(1_000_000)),
        ("seed", json!(1.5)),
        ("logprobs", json!(21)),
        ("lookup", json!(64)),
        ("cache_prompt", json!(1)),
    ] {
        let mut body = json!({ "prompt": "a" });
        body[field] = value;
        refused(&server.post(TEXT, &body), 400, Some(field));
    }
    for (bias, param) in [
        (json!({ "5": 101 }), "logit_bias.5"),
        (json!({ "x": 1 }), "logit_bias.x"),
        (json!({ "4294967296": 1 }), "logit_bias.4294967296"),
        (json!({ "4294967295": 1 }), "logit_bias.4294967295"),
        (json!({ "5": "1" }), "logit_bias.5"),
        (json!([1]), "logit_bias"),
    ] {
        refused(&server.post(TEXT, &json!({ "prompt": "a", "logit_bias": bias })), 400, Some(param));
    }
    let stops: Vec<String> = (0..257).map(|i| i.to_string()).collect();
    for stop in [json!(""), json!([""]), json!([1]), json!(stops)] {
        refused(&server.post(TEXT, &json!({ "prompt": "a", "stop": stop })), 400, Some("stop"));
    }
    for prompt in
        [json!(5), json!([]), json!([[-1]]), json!([1.5]), json!([4_294_967_296_u64]), json!({}), json!(["a", 1])]
    {
        refused(&server.post(TEXT, &json!({ "prompt": prompt })), 400, Some("prompt"));
    }
    // In 32 bits, but no token of the vocabulary; and nothing at all.
    for prompt in [json!([4_294_967_295_u32]), json!([[]])] {
        refused(&server.post(TEXT, &json!({ "prompt": prompt })), 400, None);
    }
    still_works(&server);
}

#[test]
fn conversations_that_are_none() {
    let server = Server::start(&models("conversations"), &[]);
    let user = |content: Value| json!([{ "role": "user", "content": content }]);
    let image = json!([{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }]);
    for (messages, param) in [
        (json!([]), "messages"),
        (json!("Hi"), "messages"),
        (json!([5]), "messages[0]"),
        (json!([{ "content": "Hi" }]), "messages[0].role"),
        (json!([{ "role": "wizard", "content": "Hi" }]), "messages[0].role"),
        (json!([{ "role": 5, "content": "Hi" }]), "messages[0].role"),
        (json!([{ "role": "user" }]), "messages[0].content"),
        (user(json!(5)), "messages[0].content"),
        (user(image), "messages[0].content[0]"),
        (user(json!([{ "type": "input_audio" }])), "messages[0].content[0]"),
        (user(json!([{ "type": "text", "text": 5 }])), "messages[0].content[0].text"),
    ] {
        refused(&server.post(CHAT, &json!({ "messages": messages })), 400, Some(param));
    }
    for (field, value) in [
        ("tools", json!({})),
        ("tool_choice", json!("required")),
        ("functions", json!([{}])),
        ("modalities", json!(["audio"])),
        ("no_such_field", json!(1)),
    ] {
        let mut body = json!({ "messages": user(json!("Hi")), "max_tokens": 3 });
        body[field] = value;
        refused(&server.post(CHAT, &body), 400, Some(field));
    }
    for (tools, param) in [
        (json!([5]), "tools[0]"),
        (json!([{ "type": "function" }]), "tools[0].function"),
        (json!([{ "type": "function", "function": { "name": "a b" } }]), "tools[0].function.name"),
    ] {
        let body = json!({ "messages": user(json!("Hi")), "max_tokens": 3, "tools": tools });
        refused(&server.post(CHAT, &body), 400, Some(param));
    }
    let names = ["no-such-model", "../tiny", "/etc/passwd", "tiny\0", ""];
    for name in names {
        refused(&server.post(CHAT, &json!({ "model": name, "messages": user(json!("Hi")) })), 404, Some("model"));
    }
    still_works(&server);
}

#[test]
fn a_prompt_that_is_longer_than_the_context() {
    let server = Server::start(&models("long"), &["--context", "300"]);
    for stream in [false, true] {
        let answer = server.post(TEXT, &json!({ "prompt": "word ".repeat(1000), "stream": stream }));
        refused(&answer, 400, None);
        assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
    }
    let answer = server.post("/v1/embeddings", &json!({ "input": "word ".repeat(1000) }));
    refused(&Answer { body: answer.text().replace("\"input\"", "null").into_bytes(), ..answer }, 400, None);
    // Up to its end, and no further.
    let full = server.post(TEXT, &json!({ "prompt": "a", "max_tokens": 100_000 })).json();
    assert_eq!((&full["choices"][0]["finish_reason"], &full["usage"]["total_tokens"]), (&json!("length"), &json!(301)));
    still_works(&server);
}

#[test]
fn names_and_origins_that_are_not_ours() {
    let more = ["--allow-host", "box.lan,*.home.lan", "--allow-origin", "https://chat.example"];
    let server = Server::start(&models("names"), &more);
    let with = |headers: &[(&str, &str)]| server.send("GET", "/v1/models", headers, b"");
    for host in
        ["evil.example", "evil.example:80", "127.0.0.1.nip.io", "localhost.evil.example", "box.lan.evil.example", ""]
    {
        assert_eq!(with(&[("Host", host)]).status, 421, "{host}");
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    for host in
        ["localhost", "LOCALHOST:1", "[::1]:8080", "box.lan", "a.home.lan:80", "pi.local", own.trim(), "192.168.0.9"]
    {
        assert_eq!(with(&[("Host", host)]).status, 200, "{host}");
    }
    assert_eq!(with(&[("Host", "localhost"), ("Host", "evil.example")]).status, 421);
    for origin in
        ["https://evil.example", "null", "http://localhost.evil.example", "https://chat.example.evil", "file://"]
    {
        let answer = with(&[("Origin", origin)]);
        assert_eq!((answer.status, answer.head.contains("access-control-allow-origin")), (403, false), "{origin}");
        let asked = server.send("OPTIONS", CHAT, &[("Origin", origin), ("Access-Control-Request-Method", "POST")], b"");
        assert_eq!((asked.status, asked.head.contains("access-control-allow")), (403, false), "{origin}");
    }
    let asked = |origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Headers", "x-stainless-os, authorization")];
        server.send("OPTIONS", CHAT, &headers, b"")
    };
    let listed = asked("https://chat.example");
    assert_eq!(listed.status, 204);
    assert!(listed.head.contains("access-control-allow-headers: x-stainless-os, authorization"), "{}", listed.head);
    assert!(!asked(&format!("http://{}", server.address)).head.contains("x-stainless"));
    let allowed = with(&[("Origin", "https://chat.example")]);
    assert!(allowed.status == 200 && allowed.head.contains("access-control-allow-origin: https://chat.example"));
    assert!(!allowed.head.contains("access-control-allow-credentials"));
    let own = format!("http://{}", server.address);
    assert_eq!(with(&[("Origin", &own)]).status, 200);
    let behind_a_proxy = Server::start(&models("any-name"), &["--allow-host", "any"]);
    assert_eq!(behind_a_proxy.send("GET", "/v1/models", &[("Host", "chat.example")], b"").status, 200);
}

#[test]
fn clients_that_read_slowly_or_leave_hold_nobody() {
    let server = Server::start(&models("slow"), &["--timeout", "2s", "--context", "20000"]);
    let long = json!({ "prompt": "a", "max_tokens": 15_000, "stream": true, "logprobs": 20 }).to_string();
    // More than the kernel holds for one who never reads: hung up on, and the answer is cancelled or done.
    let stuck: Vec<_> = (0..3).map(|_| server.open("POST", TEXT, &[], long.as_bytes())).collect();
    let mut slow = server.open("POST", TEXT, &[], long.as_bytes());
    slow.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    for _ in 0..20 {
        slow.read_exact(&mut [0; 1]).expect("a byte");
        still_works(&server);
    }
    for _ in 0..5 {
        let mut leaver = server.open("POST", TEXT, &[], long.as_bytes());
        leaver.read_exact(&mut [0; 100]).expect("a beginning");
    }
    drop(slow);
    server.wait_for("answers_running", 0);
    // All but the one that asks.
    server.wait_for("connections", 1);
    drop(stuck);
    still_works(&server);
}

#[test]
fn requests_that_never_arrive_are_given_up() {
    let server = Server::start(&models("never"), &["--timeout", "1s", "--connections", "3"]);
    let head = format!("POST {TEXT} HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\n{{", server.address);
    for beginning in ["", "POST /v1", &head] {
        let mut all: Vec<_> = (0..3).map(|_| server.connect()).collect();
        all.iter_mut().for_each(|stream| stream.write_all(beginning.as_bytes()).expect("a connection"));
        // No place is left until they are given up.
        still_works(&server);
    }
    let mut late = server.connect();
    late.write_all(head.as_bytes()).expect("a connection");
    let mut start = [0; 12];
    late.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 408");
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
    let mut stream = server.connect();
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    still_works(&server);
}
