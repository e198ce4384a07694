//! What an engine tells, as values and as the JSON that OpenAI documents.

mod common;

use common::*;
use picolm_engine::{Answer, Call, Error, Event, Kind, Piece, Prompt, Reason, Request, Task, TokenLogprob, Usage};
use serde_json::{Value, json};

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn event(event: &Event) -> Value {
    parse(&event.to_json().expect("no failure"))
}

fn entry(token: u32, bytes: &[u8], logprob: f32) -> TokenLogprob {
    TokenLogprob { token, bytes: bytes.to_vec(), logprob }
}

const USAGE: Usage = Usage { prompt: 50, reused: 40, answer: 9, drafted: 8, accepted: 5 };

/// OpenAI's `usage`, with what its details say of caches and of predicted tokens.
fn usage() -> Value {
    json!({
        "prompt_tokens": 50,
        "completion_tokens": 9,
        "total_tokens": 59,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"accepted_prediction_tokens": 5, "rejected_prediction_tokens": 3},
    })
}

/// An entry of `logprobs.content`: half of a character has bytes, and no text of its own.
fn logprob() -> (TokenLogprob, Vec<TokenLogprob>, Value) {
    let chosen = entry(7, &[0xc3], -1.5);
    let top = vec![entry(8, "\"é\n".as_bytes(), -0.25), chosen.clone()];
    let json = json!({
        "token": "\u{fffd}",
        "id": 7,
        "logprob": -1.5,
        "bytes": [0xc3],
        "top_logprobs": [
            {"token": "\"é\n", "id": 8, "logprob": -0.25, "bytes": [0x22, 0xc3, 0xa9, 0x0a]},
            {"token": "\u{fffd}", "id": 7, "logprob": -1.5, "bytes": [0xc3]},
        ],
    });
    (chosen, top, json)
}

#[test]
fn events_as_json() {
    assert_eq!(event(&Event::Prompt { id: 1, done: 3, of: 50 }), json!({"prompt": {"done": 3, "of": 50}}));
    let text = "\"\\\u{0}\u{1f}\u{7f}é\u{2028}🦙\n".to_string();
    let piece = Piece { token: Some(5), text: text.clone(), ..Piece::default() };
    assert_eq!(event(&Event::Piece { id: 1, piece }), json!({"text": text, "token": 5, "logprobs": null}));
    let rest = Piece { text: "x".into(), ..Piece::default() };
    assert_eq!(event(&Event::Piece { id: 1, piece: rest }), json!({"text": "x", "token": null, "logprobs": null}));
    let (chosen, top, wanted) = logprob();
    let piece = Piece { token: Some(7), logprob: Some(chosen), top, ..Piece::default() };
    assert_eq!(event(&Event::Piece { id: 1, piece }), json!({"text": "", "token": 7, "logprobs": wanted}));
    let call = Call { index: 2, id: "call_1".into(), name: "f".into(), arguments: "{\"a\":1}".into() };
    let function = json!({"name": "f", "arguments": "{\"a\":1}"});
    let calls = json!([{"index": 2, "id": "call_1", "type": "function", "function": function}]);
    let piece = Piece { token: Some(7), reasoning: "Hm.".into(), calls: vec![call.clone()], ..Piece::default() };
    let wanted = json!({"text": "", "token": 7, "logprobs": null, "reasoning_content": "Hm.", "tool_calls": calls});
    assert_eq!(event(&Event::Piece { id: 1, piece: piece.clone() }), wanted);
    let mut answer = Answer::default();
    assert_eq!(answer.take(Event::Piece { id: 1, piece }), Ok(false));
    let answer = parse(&answer.to_json());
    assert_eq!((&answer["reasoning_content"], &answer["tool_calls"]), (&json!("Hm."), &calls));
    let reasons = [
        (Reason::Token, "stop"),
        (Reason::Stop, "stop"),
        (Reason::Length, "length"),
        (Reason::Context, "length"),
        (Reason::Calls, "tool_calls"),
    ];
    for (reason, word) in reasons {
        let found = event(&Event::Finished { id: 1, reason, usage: USAGE });
        assert_eq!(found, json!({"finish_reason": word, "usage": usage()}));
    }
    let embedded = Event::Embedded { id: 1, embedding: vec![0.5, -0.25, 1e-30], usage: USAGE };
    let found = event(&embedded);
    assert_eq!(found["usage"], usage());
    let floats: Vec<f32> = serde_json::from_value(found["embedding"].clone()).expect("numbers");
    assert_eq!(floats, [0.5, -0.25, 1e-30]);
    let error = Error::field("stop", "is bad");
    assert_eq!(Event::Failed { id: 1, error: error.clone() }.to_json(), Err(error));
}

#[test]
fn answers_as_json() {
    let (chosen, top, logprob) = logprob();
    let answer = Answer {
        text: "a\"b".into(),
        tokens: vec![7, 8],
        logprobs: vec![(chosen, top)],
        reason: Some(Reason::Length),
        usage: USAGE,
        ..Answer::default()
    };
    let wanted = json!({
        "text": "a\"b", "tokens": [7, 8], "logprobs": [logprob], "finish_reason": "length", "usage": usage(),
    });
    assert_eq!(parse(&answer.to_json()), wanted);
    let begun = parse(&Answer::default().to_json());
    assert_eq!((&begun["finish_reason"], &begun["text"], &begun["tokens"]), (&json!(null), &json!(""), &json!([])));
    let embedding = Answer { embedding: vec![0.5, -0.25], usage: USAGE, ..Answer::default() };
    assert_eq!(parse(&embedding.to_json()), json!({"embedding": [0.5, -0.25], "usage": usage()}));
}

/// They may come from a guest that counts as it likes.
#[test]
fn counts_that_cannot_be_are_no_panic() {
    let usage = Usage { prompt: usize::MAX, reused: 1, answer: usize::MAX, drafted: 3, accepted: 5 };
    let found = event(&Event::Finished { id: 1, reason: Reason::Stop, usage });
    assert_eq!(found["usage"]["completion_tokens_details"]["rejected_prediction_tokens"], 0);
}

#[test]
fn an_answer_takes_what_is_said_of_it() {
    let mut answer = Answer::default();
    let (chosen, top, _) = logprob();
    assert_eq!(answer.take(Event::Prompt { id: 1, done: 3, of: 50 }), Ok(false));
    assert_eq!(answer, Answer::default());
    let piece = |token, text: &str| Piece { token, text: text.into(), ..Piece::default() };
    assert_eq!(answer.take(Event::Piece { id: 1, piece: piece(Some(5), "") }), Ok(false));
    let likely = Piece { logprob: Some(chosen.clone()), top: top.clone(), ..piece(Some(7), "é") };
    assert_eq!(answer.take(Event::Piece { id: 1, piece: likely }), Ok(false));
    assert_eq!(answer.take(Event::Piece { id: 1, piece: piece(None, "!") }), Ok(false));
    let failed = Error::new(Kind::Memory, "there is none");
    let before = answer.clone();
    assert_eq!(answer.take(Event::Failed { id: 1, error: failed.clone() }), Err(failed));
    assert_eq!(answer, before);
    assert_eq!(answer.take(Event::Finished { id: 1, reason: Reason::Stop, usage: USAGE }), Ok(true));
    let wanted = Answer {
        text: "é!".into(),
        tokens: vec![5, 7],
        logprobs: vec![(chosen, top)],
        reason: Some(Reason::Stop),
        usage: USAGE,
        ..Answer::default()
    };
    assert_eq!(answer, wanted);
    let mut embedding = Answer::default();
    assert_eq!(embedding.take(Event::Embedded { id: 1, embedding: vec![1.0], usage: USAGE }), Ok(true));
    assert_eq!((embedding.embedding, embedding.usage, embedding.reason), (vec![1.0], USAGE, None));
}

#[test]
fn ids_and_ends() {
    let usage = USAGE;
    let events = [
        (Event::Prompt { id: 9, done: 1, of: 2 }, false),
        (Event::Piece { id: 9, piece: Piece::default() }, false),
        (Event::Finished { id: 9, reason: Reason::Stop, usage }, true),
        (Event::Embedded { id: 9, embedding: Vec::new(), usage }, true),
        (Event::Failed { id: 9, error: Error::request("no") }, true),
    ];
    for (event, last) in events {
        assert_eq!((event.id(), event.is_last()), (9, last));
    }
}

/// From a request in JSON to an answer in JSON, of a batch: the pieces of the stream make the whole.
#[test]
fn a_stream_comes_to_the_answer() {
    let mut batch = batch();
    let tokens = serde_json::to_string(&prompt(50)).expect("JSON");
    let text =
        format!(r#"{{"prompt":{tokens},"max_tokens":12,"temperature":1.5,"logprobs":true,"top_logprobs":2,"seed":3}}"#);
    let request = Request::from_json(&text, &Default::default()).expect("a request");
    let id = batch.open(&request).expect("a free session");
    let (mut whole, mut lines) = (Answer::default(), Vec::new());
    while !batch.is_idle() {
        for said in batch.step() {
            lines.push(event(&said));
            whole.take(said).expect("no failure");
        }
    }
    batch.close(id).expect("it is open");
    let answer = parse(&whole.to_json());
    let pieces: Vec<&Value> = lines.iter().filter(|line| line.get("text").is_some()).collect();
    let text: String = pieces.iter().map(|piece| piece["text"].as_str().expect("a text")).collect();
    assert_eq!(answer["text"], text);
    let of = |name: &str| pieces.iter().map(|piece| piece[name].clone()).filter(|v| !v.is_null()).collect::<Value>();
    assert_eq!((&answer["tokens"], &answer["logprobs"]), (&of("token"), &of("logprobs")));
    assert_eq!(answer["tokens"].as_array().map(Vec::len), Some(12));
    let last = lines.last().expect("an end");
    assert_eq!((&answer["finish_reason"], &answer["usage"]), (&last["finish_reason"], &last["usage"]));
    assert_eq!(answer["usage"]["total_tokens"], 62);
    for (token, likely) in whole.tokens.iter().zip(answer["logprobs"].as_array().expect("a list")) {
        assert_eq!(likely["id"], *token);
        assert_eq!(likely["top_logprobs"].as_array().map(Vec::len), Some(2));
        let bytes: Vec<u8> = serde_json::from_value(likely["bytes"].clone()).expect("bytes");
        assert_eq!(bytes, batch.tokenizer().token_bytes(*token));
        assert_eq!(likely["token"], *String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn an_embedding_keeps_its_bits_in_json() {
    let request = Request { prompt: Prompt::Tokens(prompt(30)), task: Task::Embed, ..Request::default() };
    let found = answer(&mut batch(), &request);
    let json = parse(&found.to_json());
    let floats: Vec<f32> = serde_json::from_value(json["embedding"].clone()).expect("numbers");
    assert_eq!(floats, found.embedding);
    assert_eq!((&json["usage"]["prompt_tokens"], &json["usage"]["total_tokens"]), (&json!(30), &json!(30)));
    assert!(json.get("text").is_none() && json.get("finish_reason").is_none());
}
