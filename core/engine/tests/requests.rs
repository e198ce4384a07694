//! Requests as JSON: read, written, refused.

mod common;

use common::VOCABULARY;
use picolm_core::sampler::{MAX_WINDOW, Params};
use picolm_core::text::Json;
use picolm_engine::{
    Ambient, Chat, Error, Fields, Format, Kind, MAX_DRAFT, MAX_LOGPROBS, Prompt, Request, Task, ToolChoice,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const AMBIENT: Ambient = Ambient { seed: 77, now: Some(1234) };

fn read(text: &str) -> Result<Request, Error> {
    Request::from_json(text, &AMBIENT)
}

/// A request with some fields beside a prompt.
fn with(fields: &str) -> Result<Request, Error> {
    read(&format!(r#"{{"prompt":"a",{fields}}}"#))
}

fn good(fields: &str) -> Request {
    with(fields).unwrap_or_else(|error| panic!("{fields}: {error}"))
}

/// What a request is if nothing is said but its prompt.
fn plain() -> Request {
    let sampling = Params { seed: 77, ..Params::default() };
    Request { prompt: Prompt::Text("a".into()), sampling, ..Request::default() }
}

fn sampled(change: impl FnOnce(&mut Params)) -> Request {
    let mut request = plain();
    change(&mut request.sampling);
    request
}

#[test]
fn what_is_not_said_is_as_always() {
    assert_eq!(read(r#"{"prompt":"a"}"#), Ok(plain()));
    let nothing = r#""temperature":null,"top_k":null,"seed":null,"stop":null,"logprobs":null,"logit_bias":null,"max_tokens":null"#;
    assert_eq!(good(nothing), plain());
    // What changes nothing here: accounts, billing, other people's caches.
    let ignored = r#""model":"x","user":3,"metadata":{"a":[1]},"store":true,"service_tier":"auto",
        "prompt_cache_key":"k","prompt_cache_retention":"1h","safety_identifier":"s""#;
    assert_eq!(good(ignored), plain());
}

#[test]
fn every_field_under_all_of_its_names() {
    let cases = [
        (r#""temperature":1.5"#, sampled(|p| p.temperature = 1.5)),
        (r#""temperature":0"#, sampled(|p| p.temperature = 0.0)),
        (r#""top_k":7"#, sampled(|p| p.top_k = 7)),
        (r#""top_k":7.0"#, sampled(|p| p.top_k = 7)),
        (r#""top_k":-1"#, sampled(|p| p.top_k = 0)),
        (r#""top_k":4294967295"#, sampled(|p| p.top_k = u32::MAX)),
        (r#""top_p":0.25"#, sampled(|p| p.top_p = 0.25)),
        (r#""min_p":0.125"#, sampled(|p| p.min_p = 0.125)),
        (r#""repetition_penalty":1.25"#, sampled(|p| p.repetition_penalty = 1.25)),
        (r#""repeat_penalty":1.25"#, sampled(|p| p.repetition_penalty = 1.25)),
        (r#""frequency_penalty":-2"#, sampled(|p| p.frequency_penalty = -2.0)),
        (r#""presence_penalty":2e0"#, sampled(|p| p.presence_penalty = 2.0)),
        (r#""penalty_last_n":0"#, sampled(|p| p.penalty_last_n = 0)),
        (r#""repeat_last_n":99"#, sampled(|p| p.penalty_last_n = 99)),
        (r#""repeat_last_n":-1"#, sampled(|p| p.penalty_last_n = MAX_WINDOW)),
        (r#""seed":-1"#, sampled(|p| p.seed = u64::MAX)),
        (r#""seed":0"#, sampled(|p| p.seed = 0)),
        (r#""logit_bias":{"5":1.5,"6":-100,"7":-100.0,"8":3}"#, {
            let biases = [(5, 1.5), (6, f32::NEG_INFINITY), (7, f32::NEG_INFINITY), (8, 3.0)];
            sampled(|p| p.logit_bias = biases.to_vec())
        }),
        (r#""stop":"x""#, Request { stops: vec!["x".into()], ..plain() }),
        (r#""stop":["x","é\n"]"#, Request { stops: vec!["x".into(), "é\n".into()], ..plain() }),
        (r#""stop":[]"#, plain()),
        (r#""max_tokens":9"#, Request { max_tokens: 9, ..plain() }),
        (r#""max_completion_tokens":9"#, Request { max_tokens: 9, ..plain() }),
        (r#""max_tokens":-1"#, plain()),
        (r#""max_tokens":3,"max_completion_tokens":9"#, Request { max_tokens: 9, ..plain() }),
        (r#""min_tokens":5"#, Request { min_tokens: 5, ..plain() }),
        (r#""logprobs":0"#, Request { logprobs: Some(0), ..plain() }),
        (r#""logprobs":20"#, Request { logprobs: Some(20), ..plain() }),
        (r#""logprobs":true"#, Request { logprobs: Some(0), ..plain() }),
        (r#""logprobs":true,"top_logprobs":5"#, Request { logprobs: Some(5), ..plain() }),
        (r#""logprobs":false"#, plain()),
        (r#""lookup":7"#, Request { lookup: 7, ..plain() }),
        (r#""cache_prompt":false"#, Request { cache_prompt: false, ..plain() }),
        // Of two of one name the later counts.
        (r#""top_k":1,"top_k":2"#, sampled(|p| p.top_k = 2)),
    ];
    for (fields, wanted) in cases {
        assert_eq!(good(fields), wanted, "{fields}");
    }
}

#[test]
fn prompts_are_texts_tokens_or_conversations() {
    let prompt = |text: &str| read(text).map(|request| (request.task, request.prompt));
    let tokens = |tokens: &[u32]| Prompt::Tokens(tokens.to_vec());
    assert_eq!(prompt(r#"{"prompt":"é\u0000\ud83e\udd99"}"#), Ok((Task::Answer, Prompt::Text("é\0🦙".into()))));
    assert_eq!(prompt(r#"{"prompt":""}"#), Ok((Task::Answer, Prompt::Text(String::new()))));
    assert_eq!(prompt(r#"{"prompt":[1,2,4294967295]}"#), Ok((Task::Answer, tokens(&[1, 2, u32::MAX]))));
    assert_eq!(prompt(r#"{"prompt":[[1,2]]}"#), Ok((Task::Answer, tokens(&[1, 2]))));
    assert_eq!(prompt(r#"{"prompt":[[]]}"#), Ok((Task::Answer, tokens(&[]))));
    assert_eq!(prompt(r#"{"prompt":["a"]}"#), Ok((Task::Answer, Prompt::Text("a".into()))));
    assert_eq!(prompt(r#"{"input":"a"}"#), Ok((Task::Embed, Prompt::Text("a".into()))));
    assert_eq!(prompt(r#"{"input":[3]}"#), Ok((Task::Embed, tokens(&[3]))));

    let messages = r#"[{"role":"user","content":"a"}]"#;
    let chat = Chat { now: Some(1234), ..Chat::new(messages) };
    let text = format!(r#"{{"messages":{messages}}}"#);
    assert_eq!(prompt(&text), Ok((Task::Answer, Prompt::Chat(chat.clone()))));
    let whole = Chat {
        tools: Some(r#"[{"type":"function"}]"#.into()),
        variables: Some(r#"{"enable_thinking":false,"x":[1,2.5,null]}"#.into()),
        add_generation_prompt: Some(false),
        continue_final_message: Some(true),
        parse_special: true,
        now: Some(-5),
        ..chat
    };
    let (tools, variables) = (whole.tools.clone().expect("tools"), whole.variables.clone().expect("variables"));
    let text = format!(
        r#"{{"messages":{messages},"tools":{tools},"chat_template_kwargs":{variables},"add_generation_prompt":false,
            "continue_final_message":true,"parse_special":true,"now":-5}}"#
    );
    assert_eq!(prompt(&text), Ok((Task::Answer, Prompt::Chat(whole.clone()))));
    let beside = format!(
        r#"{{"messages":{messages},"tools":{tools},"chat_template_kwargs":{{"x":[1,2.5,null],"enable_thinking":false}},
            "enable_thinking":false,"reasoning_effort":"low","add_generation_prompt":false,"continue_final_message":true,"parse_special":true,"now":-5}}"#
    );
    let variables = Some(r#"{"x":[1,2.5,null],"enable_thinking":false,"reasoning_effort":"low"}"#.into());
    assert_eq!(prompt(&beside), Ok((Task::Answer, Prompt::Chat(Chat { variables, ..whole }))));
}

#[test]
fn how_tools_are_called() {
    let chat = |fields: &str| {
        let text = format!(r#"{{"messages":[{{"role":"user","content":"a"}}]{fields}}}"#);
        read(&text).map(|request| match request.prompt {
            Prompt::Chat(chat) => (chat.tool_choice, chat.parallel_tool_calls, chat.reasoning_apart),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(chat(""), Ok((ToolChoice::Auto, true, true)));
    assert_eq!(chat(r#","tool_choice":"auto","reasoning_format":"auto""#), Ok((ToolChoice::Auto, true, true)));
    let none = r#","tool_choice":"none","parallel_tool_calls":false,"reasoning_format":"none""#;
    assert_eq!(chat(none), Ok((ToolChoice::None, false, false)));
    for (choice, wanted) in [
        (r#""required""#, ToolChoice::Required),
        (r#""any""#, ToolChoice::Required),
        (r#"{"type":"function","function":{"name":"f"}}"#, ToolChoice::Named("f".into())),
    ] {
        let text = format!(r#"{{"messages":[{{"role":"user","content":"a"}}],"tool_choice":{choice}}}"#);
        let request = read(&text).expect(choice);
        let Prompt::Chat(chat) = &request.prompt else { panic!("{choice}") };
        assert_eq!(chat.tool_choice, wanted);
        assert_eq!(Request::from_json(&request.to_json(), &AMBIENT).expect(choice), request);
    }
}

/// Several are the business of who makes several requests of them.
#[test]
fn several_prompts() {
    let take = |text: &str| {
        let mut fields = Fields::parse(text).expect("an object");
        let taken = Prompt::take(&mut fields, &AMBIENT);
        fields.finish().expect("nothing is left");
        taken
    };
    let [a, b] = ["a", "b"].map(|text| Prompt::Text(text.into()));
    assert_eq!(take(r#"{"prompt":["a","b"]}"#), Ok((Task::Answer, vec![a.clone(), b])));
    assert_eq!(
        take(r#"{"input":["a",[1],[]]}"#),
        Ok((Task::Embed, vec![a, Prompt::Tokens(vec![1]), Prompt::Tokens(vec![])]))
    );
    let error = read(r#"{"prompt":["a","b"]}"#).expect_err("two");
    assert_eq!(error.message, "a request with 2 prompts has to be made 2 requests");
}

#[test]
fn errors_name_their_field() {
    let beside = |name: &str, value: &str| (format!(r#""{name}":{value}"#), name.to_string());
    let mut cases = Vec::new();
    let numbers = [
        "temperature",
        "top_p",
        "min_p",
        "repetition_penalty",
        "repeat_penalty",
        "frequency_penalty",
        "presence_penalty",
    ];
    let integers = [
        "top_k",
        "penalty_last_n",
        "repeat_last_n",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "lookup",
        "top_logprobs",
    ];
    for name in numbers.iter().chain(&integers) {
        cases.extend([r#""1""#, "true", "[]", "[1]", "{}"].map(|value| beside(name, value)));
    }
    for name in integers {
        cases.extend(["1.5", "1e300", "-1e300", "99999999999999999999"].map(|value| beside(name, value)));
    }
    for name in ["top_k", "penalty_last_n", "lookup", "top_logprobs", "max_tokens"] {
        cases.extend(["-2", "4294967296"].map(|value| beside(name, value)));
    }
    cases.extend([
        beside("lookup", "-1"),
        beside("top_logprobs", "-1"),
        beside("max_tokens", "0"),
        beside("lookup", &(MAX_DRAFT + 1).to_string()),
        beside("top_logprobs", &(MAX_LOGPROBS + 1).to_string()),
        beside("top_logprobs", "3"),
        beside("logprobs", &(MAX_LOGPROBS + 1).to_string()),
        beside("logit_bias", "3"),
        beside("logit_bias", "[]"),
    ]);
    cases.extend(["-1", "1.5", r#""1""#, "[]", "{}"].map(|value| beside("logprobs", value)));
    cases.extend(["3", "true", "{}", "[1]", r#"["a",null]"#].map(|value| beside("stop", value)));
    cases.extend(["3", r#""true""#, "[]"].map(|value| beside("cache_prompt", value)));
    cases.push((r#""logprobs":3,"top_logprobs":3"#.into(), "logprobs".into()));
    cases.push((r#""logprobs":false,"top_logprobs":3"#.into(), "top_logprobs".into()));
    for key in ["-1", "x", "4294967296", "1.0", ""] {
        cases.push((format!(r#""logit_bias":{{"{key}":1}}"#), format!("logit_bias.{key}")));
    }
    cases.extend(
        [r#""1""#, "true", "null", "[]"]
            .map(|value| (format!(r#""logit_bias":{{"5":{value}}}"#), "logit_bias.5".into())),
    );
    for (fields, name) in cases {
        let error = with(&fields).expect_err(&fields);
        assert_eq!((error.kind, error.field.as_deref()), (Kind::Request, Some(&name[..])), "{fields}: {error}");
        assert!(error.message.starts_with(&name) && error.message.len() < 250, "{error}");
    }
}

#[test]
fn errors_of_prompts_name_their_field() {
    let messages = r#""messages":[{"role":"user","content":"a"}]"#;
    let mut cases = Vec::new();
    for name in ["prompt", "input"] {
        for value in [
            "3",
            "true",
            "{}",
            "[]",
            "[1.5]",
            "[-1]",
            "[4294967296]",
            r#"[1,"a"]"#,
            r#"["a",1]"#,
            "[[1,[2]]]",
            "[null]",
        ] {
            cases.push((format!(r#"{{"{name}":{value}}}"#), name));
        }
    }
    for value in ["3", "{}", "[]", r#""a""#, "true"] {
        cases.push((format!(r#"{{"messages":{value}}}"#), "messages"));
    }
    for (name, value) in [
        ("tools", "3"),
        ("tools", "{}"),
        ("chat_template_kwargs", "[]"),
        ("chat_template_kwargs", r#""a""#),
        ("add_generation_prompt", "1"),
        ("continue_final_message", "1"),
        ("parse_special", "1"),
        ("parallel_tool_calls", "1"),
        ("reasoning_format", "1"),
        ("reasoning_format", r#""apart""#),
        ("tool_choice", "1"),
        ("tool_choice", r#""some""#),
        ("enable_thinking", "1"),
        ("reasoning_effort", "{}"),
        ("now", r#""1970""#),
        ("now", "1e30"),
        ("now", "0.5"),
        ("prompt", r#""a""#),
        ("input", r#""a""#),
    ] {
        cases.push((format!(r#"{{{messages},"{name}":{value}}}"#), name));
    }
    cases.push((format!(r#"{{{messages},"tool_choice":{{"function":{{}}}}}}"#), "tool_choice.function.name"));
    cases.push((r#"{"prompt":"a","input":"a"}"#.into(), "input"));
    let twice =
        format!(r#"{{{messages},"reasoning_effort":"low","chat_template_kwargs":{{"reasoning_effort":"high"}}}}"#);
    cases.push((twice, "reasoning_effort"));
    for (text, name) in cases {
        let error = read(&text).expect_err(&text);
        assert_eq!((error.kind, error.field.as_deref()), (Kind::Request, Some(name)), "{text}: {error}");
    }
    for text in ["{}", r#"{"prompt":null}"#, r#"{"temperature":1}"#] {
        assert_eq!(read(text).expect_err(text).message, "a request needs messages, or a prompt");
    }
}

/// A misspelt name would change nothing, silently; what makes several answers of one request is not known here.
#[test]
fn unknown_fields_are_refused() {
    for name in [
        "temprature",
        "Temperature",
        "n",
        "stream",
        "stream_options",
        "best_of",
        "echo",
        "suffix",
        "tool_choice",
        "tools",
        "now",
        "add_generation_prompt",
        "continue_final_message",
        "parse_special",
        "encoding_format",
        "dimensions",
        "",
        "é",
    ] {
        let error = with(&format!(r#""{name}":1"#)).expect_err(name);
        assert_eq!((error.kind, error.field.as_deref()), (Kind::Unsupported, Some(name)), "{error}");
    }
    let long = "x".repeat(1_000_000);
    let error = with(&format!(r#""{long}":1"#)).expect_err("unknown");
    assert!(error.message.len() < 250 && error.field.expect("its name").len() < 250);
}

#[test]
fn hostile_json_is_an_error() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let mut cases = vec![
        deep("[", "]"),
        deep("[", ""),
        format!(r#"{{"prompt":{}}}"#, deep("[", "]")),
        format!(r#"{{"messages":[{}]}}"#, deep(r#"{"a":"#, "}")),
        format!(r#"{{"prompt":"a","metadata":{}}}"#, deep("[", "]")),
        format!(r#"{{"prompt":"a","logit_bias":{}}}"#, deep(r#"{"1":"#, "")),
        format!(r#"{{"prompt":"a","temperature":1{}}}"#, "0".repeat(400)),
        format!(r#"{{"prompt":"a","seed":{}}}"#, "9".repeat(100_000)),
        format!(r#"{{"prompt":"a","stop":"{}"#, "x".repeat(100_000)),
    ];
    let texts = [
        "",
        " ",
        "null",
        "[]",
        "3",
        r#""a""#,
        "{",
        "}",
        r#"{"prompt"}"#,
        r#"{"prompt":}"#,
        r#"{"prompt":"a",}"#,
        r#"{"prompt":"a"}x"#,
        r#"{"prompt":"a"}{}"#,
        r#"{prompt:"a"}"#,
        r#"{'prompt':'a'}"#,
        "{\"prompt\":\"a\n\"}",
        "{\"prompt\":\"a\0\"}",
        r#"{"prompt":"\x"}"#,
        r#"{"prompt":"\u12"}"#,
        "\u{feff}{\"prompt\":\"a\"}",
        r#"{"prompt":"a" /* */}"#,
        r#"{"prompt":"\ud800"}"#,
        r#"{"prompt":"\udc00"}"#,
        r#"{"prompt":"\ud800\ud800"}"#,
        r#"{"\ud800":1,"prompt":"a"}"#,
        r#"{"prompt":"a","temperature":NaN}"#,
        r#"{"prompt":"a","temperature":nan}"#,
        r#"{"prompt":"a","temperature":Infinity}"#,
        r#"{"prompt":"a","temperature":-Infinity}"#,
        r#"{"prompt":"a","temperature":1e999}"#,
        r#"{"prompt":"a","temperature":.5}"#,
        r#"{"prompt":"a","temperature":5.}"#,
        r#"{"prompt":"a","temperature":+1}"#,
        r#"{"prompt":"a","temperature":01}"#,
        r#"{"prompt":"a","temperature":0x1}"#,
        r#"{"prompt":"a","temperature":1e}"#,
        r#"{"prompt":"a","seed":1e19}"#,
        r#"{"prompt":"a","seed":9223372036854775808}"#,
        r#"{"prompt":"a","seed":--1}"#,
        r#"{"prompt":[1e0]}"#,
    ];
    cases.extend(texts.map(str::to_string));
    for text in cases {
        let start: String = text.chars().take(80).collect();
        let error = read(&text).expect_err(&start);
        assert_eq!(error.kind, Kind::Request, "{start}: {error}");
        assert!(error.message.len() < 250, "{start}: {}", error.message.len());
    }
    // A hundred deep is what there can be.
    let nested = |n: usize| read(&format!(r#"{{"prompt":"a","metadata":{}{}}}"#, "[".repeat(n), "]".repeat(n)));
    assert!(nested(99).is_ok() && nested(101).is_err());
    // Many fields of one name, or of none, take no longer than they are.
    let many = r#""top_k":1,"#.repeat(100_000);
    assert_eq!(read(&format!(r#"{{{many}"prompt":"a"}}"#)), Ok(sampled(|p| p.top_k = 1)));
    let biases: Vec<String> = (0..100_000).map(|token| format!(r#""{token}":1"#)).collect();
    assert_eq!(good(&format!(r#""logit_bias":{{{}}}"#, biases.join(","))).sampling.logit_bias.len(), 100_000);
}

#[test]
fn what_the_host_knows_stands_in() {
    let seed = |text: &str, ambient| Request::from_json(text, &ambient).expect("a request").sampling.seed;
    let now = |text: &str, ambient| match Request::from_json(text, &ambient).expect("a request").prompt {
        Prompt::Chat(chat) => chat.now,
        _ => panic!("a conversation"),
    };
    assert_eq!(seed(r#"{"prompt":"a"}"#, AMBIENT), 77);
    assert_eq!(seed(r#"{"prompt":"a","seed":5}"#, AMBIENT), 5);
    assert_eq!(seed(r#"{"prompt":"a"}"#, Ambient::default()), 0);
    assert_eq!(seed(r#"{"prompt":"a"}"#, Ambient { seed: u64::MAX, now: None }), u64::MAX);
    let chat = |rest: &str| format!(r#"{{"messages":[{{"role":"user","content":"a"}}]{rest}}}"#);
    assert_eq!(now(&chat(""), AMBIENT), Some(1234));
    assert_eq!(now(&chat(r#","now":0"#), AMBIENT), Some(0));
    assert_eq!(now(&chat(""), Ambient::default()), None);
}

#[test]
fn presets() {
    let picolm = Request::picolm();
    assert_eq!((picolm.sampling, picolm.max_tokens, picolm.lookup), (Params::PICOLM, 256, 0));
    let request = Request { prompt: Prompt::Text("a".into()), ..Request::picolm() };
    assert_eq!(Request::from_json(&request.to_json(), &AMBIENT), Ok(request));
}

/// JSON as it is written: what was read and written once is the same ever after.
fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Int),
        (-1e300..1e300).prop_map(Json::Float),
        any::<String>().prop_map(Json::Text),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::List),
            vec((any::<String>(), inner), 0..4).prop_map(Json::Object),
        ]
    })
}

fn chats() -> impl Strategy<Value = Chat> {
    let messages = vec(json(), 1..4).prop_map(|list| Json::List(list).to_string());
    let tools = option::of(vec(json(), 0..3).prop_map(|list| Json::List(list).to_string()));
    let variables = option::of(vec((any::<String>(), json()), 0..3).prop_map(|all| Json::Object(all).to_string()));
    let ends = (option::of(any::<bool>()), option::of(any::<bool>()), any::<bool>());
    let choice = prop_oneof![Just(ToolChoice::Auto), Just(ToolChoice::None)];
    let flags = (choice, any::<[bool; 2]>(), ends);
    (messages, tools, variables, flags, option::of(any::<i64>())).prop_map(
        |(messages, tools, variables, (tool_choice, [parallel_tool_calls, reasoning_apart], ends), now)| {
            let (add_generation_prompt, continue_final_message, parse_special) = ends;
            Chat {
                messages,
                tools,
                tool_choice,
                parallel_tool_calls,
                reasoning_apart,
                variables,
                add_generation_prompt,
                continue_final_message,
                parse_special,
                now,
            }
        },
    )
}

fn prompts() -> impl Strategy<Value = (Task, Prompt)> {
    let plain = prop_oneof![any::<String>().prop_map(Prompt::Text), vec(any::<u32>(), 0..9).prop_map(Prompt::Tokens)];
    let task = prop_oneof![Just(Task::Answer), Just(Task::Embed)];
    prop_oneof![2 => (task, plain), 1 => chats().prop_map(|chat| (Task::Answer, Prompt::Chat(chat)))]
}

fn params() -> impl Strategy<Value = Params> {
    // -100 is OpenAI's way to write -infinity.
    let bias = prop_oneof![(-99.9f32..=100.0), Just(f32::NEG_INFINITY)];
    let penalties = (any::<f32>(), any::<f32>(), any::<f32>(), 0..=u32::MAX);
    let chances = (any::<f32>(), any::<u32>(), any::<f32>(), any::<f32>());
    let biases = vec((0..VOCABULARY as u32, bias), 0..5);
    (chances, penalties, biases, any::<u64>()).prop_map(|(chances, penalties, logit_bias, seed)| Params {
        temperature: chances.0,
        top_k: chances.1,
        top_p: chances.2,
        min_p: chances.3,
        repetition_penalty: penalties.0,
        frequency_penalty: penalties.1,
        presence_penalty: penalties.2,
        penalty_last_n: penalties.3 as usize,
        logit_bias,
        seed,
    })
}

fn requests() -> impl Strategy<Value = Request> {
    let lengths = (0..=u32::MAX, 0..=u32::MAX);
    let formats = prop_oneof![Just(Format::Text), Just(Format::JsonObject)];
    let limits = (lengths, option::of(0..=MAX_LOGPROBS), 0..=MAX_DRAFT, any::<bool>(), formats);
    (prompts(), params(), vec(any::<String>(), 0..3), limits).prop_map(
        |((task, prompt), sampling, stops, ((max_tokens, min_tokens), logprobs, lookup, cache_prompt, format))| {
            Request {
                prompt,
                task,
                sampling,
                stops,
                max_tokens: max_tokens as usize,
                min_tokens: min_tokens as usize,
                logprobs,
                lookup,
                cache_prompt,
                format,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in requests()) {
        let text = request.to_json();
        // `now` comes from the request alone if the host knows none.
        prop_assert_eq!(Request::from_json(&text, &Ambient { seed: 1, now: None }), Ok(request));
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn no_text_is_too_strange(text in any::<String>(), json in json(), name in "[a-z_]{1,12}") {
        let _ = read(&text);
        let _ = read(&json.to_string());
        let _ = with(&format!(r#""{name}":{json}"#));
        for name in ["messages", "prompt", "input", "logit_bias", "stop", "logprobs", "temperature", "seed", "tools"] {
            let _ = read(&format!(r#"{{"{name}":{json}}}"#));
            let _ = with(&format!(r#""{name}":{json}"#));
        }
    }

    #[test]
    fn numbers_are_read_to_the_nearest(x in any::<f64>().prop_filter("JSON has no other", |x| x.is_finite())) {
        let found = good(&format!(r#""temperature":{x:?}"#)).sampling.temperature;
        prop_assert_eq!(found.to_bits(), (x as f32).to_bits());
    }
}

#[test]
fn the_form_of_an_answer() {
    let format = |value: &str| with(&format!(r#""response_format":{value}"#));
    let schema = || Format::JsonSchema(r#"{"type":"null"}"#.into());
    for (value, wanted) in [
        ("null", Format::Text),
        (r#"{"type":"text"}"#, Format::Text),
        (r#"{"type":"json_object"}"#, Format::JsonObject),
        // As llama.cpp's clients write it.
        (r#"{"type":"json_object","schema":{"type":"null"}}"#, schema()),
        (r#"{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"null"}}}"#, schema()),
        (r#"{"type":"regex","pattern":"a|b"}"#, Format::Regex("a|b".into())),
        (r#"{"type":"grammar","grammar":"root ::= \"a\""}"#, Format::Grammar(r#"root ::= "a""#.into())),
    ] {
        let request = format(value).expect(value);
        assert_eq!(request.format, wanted);
        assert_eq!(Request::from_json(&request.to_json(), &Ambient::default()).expect(value).format, wanted);
    }
    for (fields, wanted) in [
        (r#""json_schema":{"type":"null"}"#, schema()),
        (r#""json_schema":{"type":"null"},"grammar":null"#, schema()),
        (r#""json_schema":"{\"type\":\"null\"}""#, schema()),
        (r#""regex":"a|b""#, Format::Regex("a|b".into())),
        (r#""grammar":"root ::= \"a\"""#, Format::Grammar(r#"root ::= "a""#.into())),
        (r#""grammar":"""#, Format::Text),
    ] {
        assert_eq!(with(fields).expect(fields).format, wanted);
    }
    for (fields, field) in [
        (r#""json_schema":["a"]"#, "json_schema"),
        (r#""regex":["a"]"#, "regex"),
        (r#""regex":"a","grammar":"root ::= \"a\"""#, "regex"),
        (r#""response_format":{"type":"text"},"regex":"a""#, "regex"),
    ] {
        assert_eq!(with(fields).expect_err(fields).field.as_deref(), Some(field), "{fields}");
    }
    for (value, field) in [
        (r#""json""#, "response_format"),
        ("{}", "response_format.type"),
        (r#"{"type":"xml"}"#, "response_format.type"),
        (r#"{"type":"json_schema"}"#, "response_format.json_schema"),
        (r#"{"type":"json_schema","json_schema":{"name":"a"}}"#, "response_format.json_schema.schema"),
        (r#"{"type":"json_schema","json_schema":{"schema":[]}}"#, "response_format.json_schema.schema"),
        (r#"{"type":"json_schema","json_schema":{"schema":{},"loose":true}}"#, "response_format.json_schema.loose"),
        (r#"{"type":"regex"}"#, "response_format.pattern"),
        (r#"{"type":"json_object","shape":{}}"#, "response_format.shape"),
    ] {
        assert_eq!(format(value).expect_err(value).field.as_deref(), Some(field), "{value}");
    }
}
