//! What clients send: every field of the table, and the ways of Ollama's clients.
#![cfg(feature = "serve")]

mod common;

use common::server::{Answer, Server, models};
use picolm_server::{Api, Rule, TABLE};
use serde_json::{Value, json};

const APIS: [(Api, &str); 9] = [
    (Api::Chat, "/v1/chat/completions"),
    (Api::Completions, "/v1/completions"),
    (Api::Embeddings, "/v1/embeddings"),
    (Api::OllamaChat, "/api/chat"),
    (Api::OllamaGenerate, "/api/generate"),
    (Api::OllamaOptions, "/api/chat"),
    (Api::OllamaEmbed, "/api/embed"),
    (Api::OllamaEmbeddings, "/api/embeddings"),
    (Api::OllamaShow, "/api/show"),
];

/// A request with a field, and without another.
fn body(api: Api, name: &str, value: Value, without: &str) -> Value {
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    let mut body = json!({ "model": "tiny" });
    match api {
        Api::Chat => (body["messages"], body["seed"]) = (messages, json!(1)),
        Api::Completions => (body["prompt"], body["seed"]) = (json!("Hi"), json!(1)),
        Api::Embeddings | Api::OllamaEmbed => body["input"] = json!("Hi"),
        Api::OllamaChat | Api::OllamaOptions => {
            (body["messages"], body["stream"], body["options"]) = (messages, json!(false), json!({ "seed": 1 }));
        }
        Api::OllamaGenerate => {
            (body["prompt"], body["stream"], body["options"]) = (json!("Hi"), json!(false), json!({ "seed": 1 }));
        }
        Api::OllamaEmbeddings => body["prompt"] = json!("Hi"),
        Api::OllamaShow => {}
    }
    match (name, api) {
        ("top_logprobs", Api::Chat | Api::Completions) => body["logprobs"] = json!(true),
        ("top_logprobs", _) => body["options"] = json!({ "logprobs": true }),
        // It would be said twice.
        ("seed", Api::OllamaChat | Api::OllamaGenerate) => body["options"] = json!({}),
        _ => {}
    }
    let inner = if api == Api::OllamaOptions { &mut body["options"] } else { &mut body };
    inner.as_object_mut().expect("an object").remove(without);
    inner[name] = value;
    body
}

/// A value that means something.
fn sample(api: Api, name: &str, dimensions: usize) -> Value {
    match name {
        "add_generation_prompt" | "cache_prompt" | "echo" | "parse_special" | "raw" => json!(true),
        "chat_template_kwargs" | "options" => json!({}),
        "dimensions" => json!(dimensions),
        "continue_final_message" | "enable_thinking" | "stream" | "think" => json!(false),
        "encoding_format" => json!("float"),
        "format" => json!("json"),
        "response_format" => json!({ "type": "json_object" }),
        "json_schema" => json!({ "type": "boolean" }),
        "grammar" => json!("root ::= \"a\""),
        "regex" => json!("a"),
        "input" | "prompt" | "system" => json!("a"),
        "keep_alive" => json!("1h30m"),
        "logit_bias" => json!({ "5": 1 }),
        "logprobs" if api == Api::Completions => json!(2),
        "logprobs" => json!(true),
        "messages" => json!([{ "role": "user", "content": "a" }]),
        "model" | "name" => json!("tiny"),
        "min_p" | "top_p" | "temperature" | "frequency_penalty" | "presence_penalty" => json!(0.5),
        "reasoning_effort" => json!("low"),
        "parallel_tool_calls" => json!(true),
        "reasoning_format" | "tool_choice" => json!("none"),
        "tools" => json!([{ "type": "function", "function": { "name": "f" } }]),
        "repeat_penalty" | "repetition_penalty" => json!(1.5),
        "stop" | "stop_sequences" => json!(["a", "b"]),
        "stream_options" => json!({ "include_usage": true }),
        "best_of" | "n" => json!(1),
        _ => json!(3),
    }
}

/// Names the field, in the shape of the path's API.
#[track_caller]
fn refused(answer: &Answer, path: &str, name: &str, what: &str) {
    assert_eq!(answer.status, 400, "{path} {what}: {}", answer.text());
    let error = &answer.json()["error"];
    let message = if path.starts_with("/api/") { error } else { &error["message"] };
    let message = message.as_str().expect("a message");
    assert!(message.starts_with(name) && message.len() < 300, "{path} {what}: {message}");
    if !path.starts_with("/api/") {
        let param = error["param"].as_str().expect("a field");
        assert!(
            message.starts_with(param) && (param.starts_with(name) || name.starts_with(param)),
            "{path} {what}: {error}"
        );
    }
}

/// What is written, without what is new each time.
fn said(answer: &Answer) -> Value {
    let all = answer.json();
    json!([
        all["choices"],
        all["message"],
        all["response"],
        all["data"],
        all["embeddings"],
        all["embedding"],
        all["details"]
    ])
}

#[test]
fn every_field_does_what_the_table_says() {
    let server = Server::start(&models("fields"), &["--context", "40"]);
    let embedded = server.post("/api/embeddings", &json!({ "model": "tiny", "prompt": "Hi" })).json();
    let dimensions = embedded["embedding"].as_array().expect("an embedding").len();
    let nonsense = json!({ "nonsense": [1] });
    for (api, path) in APIS {
        let ask =
            |name: &str, value: &Value, without: &str| server.post(path, &body(api, name, value.clone(), without));
        let fields = TABLE.iter().filter(|(apis, _)| apis.contains(&api)).flat_map(|(_, fields)| *fields);
        for (name, rule) in fields {
            let shown = if api == Api::OllamaOptions { format!("options.{name}") } else { (*name).to_string() };
            let dropped = |answer: &Answer| {
                let line = answer.head.lines().find_map(|line| line.strip_prefix("picolm-dropped: "));
                line.is_some_and(|names| names.split(", ").any(|name| name == shown))
            };
            let taken = |value: &Value, without: &str| {
                let answer = ask(name, value, without);
                assert_eq!(answer.status, 200, "{path} {name} {value}: {}", answer.text());
                assert_eq!(dropped(&answer), *rule == Rule::Dropped, "{path} {name}: {}", answer.head);
                said(&answer)
            };
            match rule {
                Rule::Dropped => {
                    let without = said(&ask(name, &Value::Null, ""));
                    for value in [json!(true), json!(7), json!("x"), nonsense.clone()] {
                        assert_eq!(taken(&value, ""), without, "{path} {name}");
                    }
                }
                Rule::Only(values, why) => {
                    let same: Vec<Value> =
                        values.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
                    same.iter().for_each(|value| drop(taken(value, "")));
                    let others = [json!(true), json!(false), json!(0.123), json!("x"), nonsense.clone()];
                    for other in others.iter().filter(|other| !same.contains(other)) {
                        let answer = ask(name, other, "");
                        refused(&answer, path, &shown, &format!("{name} {other}"));
                        assert!(answer.text().contains(why), "{}", answer.text());
                    }
                }
                Rule::Honoured | Rule::As(_) | Rule::Option => {
                    let value = sample(api, name, dimensions);
                    let ours = if let Rule::As(ours) = rule { ours } else { "" };
                    let answer = taken(&value, ours);
                    if !ours.is_empty() {
                        assert_eq!(answer, said(&ask(ours, &value, "")), "{path} {name} is not {ours}");
                    }
                    // An object may be a schema.
                    let nonsense = if value.is_object() || *name == "format" { &json!("nonsense") } else { &nonsense };
                    refused(&ask(name, nonsense, ours), path, &shown, name);
                }
            }
        }
        refused(&ask("temprature", &json!(1), ""), path, "", "temprature");
        assert_eq!(ask("temprature", &Value::Null, "").status, 200, "{path}: what is null says nothing");
    }
}

#[test]
fn what_is_dropped_and_what_else_is_said_twice() {
    let server = Server::start(&models("twice"), &["--context", "40"]);
    let chat = |more: Value| {
        let mut body = json!({ "model": "tiny", "messages": [{ "role": "user", "content": "Hi" }], "stream": false });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        server.post("/api/chat", &body)
    };
    let dropped = chat(json!({ "options": { "num_gpu": 9, "use_mlock": true }, "truncate": true }));
    assert!(
        dropped.head.contains("\r\npicolm-dropped: truncate, options.num_gpu, options.use_mlock"),
        "{}",
        dropped.head
    );
    assert!(!chat(json!({})).head.contains("picolm-dropped"));
    // As Vercel's provider sends it.
    let limited = chat(json!({ "max_output_tokens": 3, "think": false, "options": {} })).json();
    assert_eq!((&limited["eval_count"], &limited["done_reason"]), (&json!(3), &json!("length")));
    for (more, name) in [
        (json!({ "temperature": 1, "options": { "temperature": 2 } }), "temperature"),
        (json!({ "options": { "num_predict": 3, "max_tokens": 4 } }), "options.num_predict"),
        (json!({ "options": { "repeat_penalty": 0 } }), "options.repeat_penalty"),
        (json!({ "repeat_penalty": 0 }), "repeat_penalty"),
        (json!({ "options": { "num_ctx": 41 } }), "options.num_ctx is 41, and this server runs the model with 40"),
        (json!({ "num_ctx": 100_000 }), "num_ctx is 100000, and"),
        (json!({ "options": { "num_ctx": -1 } }), "options.num_ctx is -1, which is not from 0"),
    ] {
        refused(&chat(more.clone()), "/api/chat", name, &more.to_string());
    }
    let openai = json!({ "prompt": "a", "max_tokens": 3, "n_predict": 4 });
    refused(&server.post("/v1/completions", &openai), "/v1/completions", "n_predict", "two limits");
    let messages = |more: Value| {
        let mut message = json!({ "role": "user", "content": "Hi", "images": [], "tool_calls": null });
        message.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        chat(json!({ "messages": [message] }))
    };
    assert_eq!(messages(json!({ "thinking": "so", "tool_name": "x" })).status, 200);
    refused(&messages(json!({ "images": ["AAAA"] })), "/api/chat", "messages[0].images", "images");
    let all = json!({ "prompt": "a", "max_tokens": -1, "top_k": -1, "repeat_last_n": -1, "repeat_penalty": 1.1 });
    assert_eq!(server.post("/v1/completions", &all).status, 200);
}

/// The table in docs/server.md is this one.
#[test]
fn the_documented_table_is_the_one_that_counts() {
    let mut table = "| in | honoured | taken at this value | dropped |\n|---|---|---|---|\n".to_string();
    for (apis, fields) in TABLE {
        let paths: Vec<String> = apis
            .iter()
            .map(|api| match api {
                Api::OllamaOptions => "`options` of Ollama".into(),
                _ => APIS.iter().find(|(of, _)| of == api).map(|(_, path)| format!("`{path}`")).expect("a path"),
            })
            .collect();
        let mut cells = [Vec::new(), Vec::new(), Vec::new()];
        for (name, rule) in *fields {
            let (cell, text) = match rule {
                Rule::Honoured => (0, format!("`{name}`")),
                Rule::As(ours) => (0, format!("`{name}` (`{ours}`)")),
                Rule::Option => (0, format!("`{name}` (an option)")),
                Rule::Only([], _) => (1, format!("`{name}` (none)")),
                Rule::Only(values, _) => (1, format!("`{name}` {}", values.join(" or "))),
                Rule::Dropped => (2, format!("`{name}`")),
            };
            cells[cell].push(text);
        }
        table += &format!("| {} | {} |\n", paths.join(", "), cells.map(|cell| cell.join(", ")).join(" | "));
    }
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/server.md")).expect("the docs");
    assert!(docs.contains(&table), "docs/server.md has to have this table:\n{table}");
}

#[test]
fn digests_tell_models_apart_and_stay() {
    let folder = models("digests");
    std::fs::copy(folder.join("tiny.gguf"), folder.join("other.gguf")).expect("a copy");
    std::fs::write(folder.join("broken.gguf"), b"GGUF").expect("a file");
    let tags = || {
        let server = Server::start(&folder, &[]);
        let ps = json!({ "model": "tiny" });
        let shown = server.post("/api/show", &ps).json();
        let loaded = server.get("/api/ps").json()["models"].clone();
        (server.get("/api/tags").json()["models"].clone(), shown, loaded)
    };
    let (models, shown, loaded) = tags();
    let models = models.as_array().expect("a list");
    let digests: Vec<&str> = models.iter().filter_map(|model| model["digest"].as_str()).collect();
    assert!(digests.iter().all(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())));
    assert!(digests.len() == 3 && digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
    let tiny = &models[2];
    assert_eq!((&tiny["name"], &tiny["details"]["family"]), (&json!("tiny"), &json!("llama")));
    assert_eq!(tiny["details"]["quantization_level"], "Q8_0");
    assert!(tiny["details"]["parameter_size"].as_str().is_some_and(|size| size.ends_with(['K', 'M'])), "{tiny}");
    assert_eq!((&models[0]["details"]["family"], &models[0]["size"]), (&json!(""), &json!(4)));
    assert_eq!((&shown["details"], &loaded[0]["digest"]), (&tiny["details"], &tiny["digest"]));
    assert_eq!(shown["capabilities"], json!(["completion", "embedding", "tools"]));
    assert_eq!(*models, *tags().0.as_array().expect("a list"));
    // Another file of that name.
    std::fs::write(folder.join("broken.gguf"), b"GGUF2").expect("a file");
    assert_ne!(models[0]["digest"], tags().0[0]["digest"]);
}

#[test]
fn times_as_go_writes_them() {
    let server = Server::start(&models("times"), &[]);
    let ask = |keep: Value| server.post("/api/generate", &json!({ "model": "tiny", "keep_alive": keep })).json();
    for (keep, reason) in [
        (json!("1h30m"), "load"),
        (json!("1.5h"), "load"),
        (json!("500ms"), "load"),
        (json!("-1m"), "load"),
        (json!(-1), "load"),
        (json!(0.5), "load"),
        (json!("0h0m"), "unload"),
        (json!(0), "unload"),
    ] {
        assert_eq!(ask(keep.clone())["done_reason"], reason, "{keep}");
    }
    for keep in [json!("soon"), json!("5 m"), json!("1d"), json!(true), json!({})] {
        assert!(ask(keep.clone())["error"].as_str().is_some_and(|error| error.starts_with("keep_alive ")), "{keep}");
    }
}

/// Errors below `/api` have Ollama's shape, wherever they come from; all others OpenAI's.
#[test]
fn errors_have_the_shape_of_their_api() {
    let server = Server::start(&models("shapes"), &["--max-body", "64"]);
    let shape = |answer: &Answer, path: &str, status: u16| {
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let error = &answer.json()["error"];
        match path.starts_with("/api/") {
            true => assert!(error.is_string(), "{path}: {error}"),
            false => assert!(error["message"].is_string() && error["code"].is_string(), "{path}: {error}"),
        }
    };
    // Longer than what the kernel holds. Many clients read no answer if they cannot send all of it.
    let long = vec![b' '; 20 << 20];
    let send = |path: &str, kind: &str, body: &[u8]| {
        let head = format!("POST {path} HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n{kind}\r\n\r\n");
        server.raw(&[head.as_bytes(), body].concat())
    };
    let (announced, chunked) = (format!("Content-Length: {}", long.len()), "Transfer-Encoding: chunked");
    let chunks = [format!("{:x}\r\n", long.len()).as_bytes(), &long, b"\r\n0\r\n\r\n"].concat();
    let posts = server.get("/openapi.json").json()["paths"].as_object().expect("paths").clone();
    for (path, _) in posts.iter().filter(|(_, methods)| !methods["post"].is_null()) {
        shape(&send(path, &announced, &long), path, 413);
        shape(&send(path, chunked, &chunks), path, 413);
        let deep = "[".repeat(100_000);
        for body in [
            &b""[..],
            b"{",
            b"[]",
            b"null",
            b"{\"model\": \"\xff\"}",
            b"{\"model\": \"\\ud800\"}",
            b"\0",
            deep.as_bytes(),
        ] {
            shape(&server.send("POST", path, &[], body), path, if body.len() > 65536 { 413 } else { 400 });
        }
        shape(&server.send("POST", path, &[], b"{\"model\": \"none\", \"x\": 1}"), path, 400);
        shape(&server.send("PUT", path, &[], b""), path, 405);
        shape(&server.send("POST", path, &[("Host", "evil.example")], b"{}"), path, 421);
        shape(&server.send("POST", path, &[("Origin", "https://evil.example")], b"{}"), path, 403);
    }
    let form = send("/form", &announced, &long);
    assert!(form.status == 413 && form.text().contains("<h2>That did not work</h2>"));
    for path in ["/api/pull", "/api/nothing", "/v1/nothing"] {
        shape(&server.send("POST", path, &[], b"{}"), path, 404);
    }
    let lost = json!({ "model": "no-such-model", "messages": [{ "role": "user", "content": "Hi" }] });
    shape(&server.post("/api/chat", &lost), "/api/chat", 404);
}

#[test]
fn the_older_embeddings_and_many_texts() {
    let server = Server::start(&models("embeddings"), &[]);
    let one = server.post("/api/embeddings", &json!({ "model": "tiny", "prompt": "Hi", "keep_alive": "5m" })).json();
    let texts: Vec<String> = (0..2048).map(|i| if i == 2047 { "Hi".into() } else { format!("{i}") }).collect();
    let many = server.post("/v1/embeddings", &json!({ "model": "tiny", "input": texts })).json();
    let data = many["data"].as_array().expect("a list");
    assert_eq!((data.len(), &data[2047]["embedding"], &data[2047]["index"]), (2048, &one["embedding"], &json!(2047)));
    let more: Vec<&str> = vec!["a"; 2049];
    for path in ["/v1/embeddings", "/api/embed"] {
        let answer = server.post(path, &json!({ "model": "tiny", "input": more }));
        refused(&answer, path, "input has 2049 texts, and at most 2048", "too many");
    }
    let wrong = server.post("/api/embed", &json!({ "model": "tiny", "input": "a", "dimensions": 5 }));
    refused(&wrong, "/api/embed", "dimensions is 5, and this model has ", "dimensions");
}

#[test]
fn versions_that_clients_accept_and_log_probabilities() {
    let server = Server::start(&models("version"), &[]);
    let version = server.get("/api/version").json()["version"].as_str().expect("a version").to_string();
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
    // The youngest that a client is known to ask for is 0.6.4.
    assert!(numbers.len() == 3 && numbers >= vec![0, 6, 4], "{version}");
    let mut ask = json!({
        "model": "tiny", "prompt": "Hi", "stream": false, "logprobs": true, "top_logprobs": 2,
        "options": { "num_predict": 3, "seed": 1 },
    });
    let whole = server.post("/api/generate", &ask).json();
    let all = whole["logprobs"].as_array().expect("a list").clone();
    assert!(all.len() == 3 && all.iter().all(|entry| entry["top_logprobs"].as_array().expect("a list").len() == 2));
    ask["stream"] = json!(true);
    let lines = server.post("/api/generate", &ask).text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let streamed: Vec<&Value> = lines.iter().filter_map(|line| line["logprobs"].as_array()).flatten().collect();
    assert_eq!(streamed, all.iter().collect::<Vec<_>>());
}

#[test]
fn answers_name_no_folders() {
    let folder = models("folders");
    std::fs::copy(folder.join("tiny.gguf"), folder.join("split-00001-of-00002.gguf")).expect("a copy");
    std::fs::write(folder.join("broken.gguf"), b"GGUF").expect("a file");
    std::os::unix::fs::symlink("no-such-file", folder.join("lost.gguf")).expect("a link");
    let server = Server::start(&folder, &[]);
    for name in ["split", "broken", "lost", "../tiny", "/etc/passwd"] {
        for path in ["/v1/completions", "/api/generate"] {
            let answer = server.post(path, &json!({ "model": name, "prompt": "Hi" }));
            assert!(answer.status >= 400, "{name}");
            let folder = folder.to_str().expect("a name");
            assert!(!answer.text().contains(folder) && !answer.text().contains("/target/"), "{}", answer.text());
        }
    }
}

#[test]
fn alive_and_ready_are_two_questions() {
    let folder = models("ready");
    let server = Server::start(&folder, &["--api-key", "secret"]);
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
        // As load balancers ask: HTTP/1.0, nothing else.
        assert_eq!(server.raw(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).status, 200, "{path}");
        assert_eq!(server.send("GET", path, &[("Host", "evil.example")], b"").status, 421, "{path}");
    }
    assert_eq!(server.raw(b"GET /v1/models HTTP/1.0\r\n\r\n").status, 421);
    std::fs::remove_file(folder.join("tiny.gguf")).expect("a file");
    let unready = server.get("/ready");
    assert_eq!((unready.status, &unready.json()["error"]["code"]), (503, &json!("not_ready")));
    assert!(unready.head.contains("\r\nretry-after: "));
    assert_eq!(server.get("/health").status, 200);
}
