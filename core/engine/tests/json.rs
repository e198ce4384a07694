//! Answers that have to be JSON are: whatever the model, the temperature and the room; and the automaton is the standard's.

mod common;

use common::*;
use picolm_core::sampler::Params;
use picolm_core::text::ChatTemplate;
use picolm_engine::{Answer, Batch, Chat, Error, Format, JsonAutomaton, Kind, Local, Prompt, Reason, Request};
use proptest::prelude::*;
use serde_json::Value;

/// What a text is that goes on with these bytes, if it is JSON.
fn after(start: JsonAutomaton, text: &[u8]) -> Option<JsonAutomaton> {
    text.iter().try_fold(start, |json, &byte| json.step(byte))
}

fn accepts(text: &[u8]) -> bool {
    after(JsonAutomaton::text(), text).is_some_and(JsonAutomaton::is_whole)
}

/// A byte takes it one nearer to its end at most, and there is always one that does: so what is said to be left is what is left.
#[track_caller]
fn knows_what_is_left(begun: JsonAutomaton) {
    let next: Vec<usize> = (0..=255).filter_map(|byte| begun.step(byte)).map(JsonAutomaton::to_whole).collect();
    assert!(next.iter().all(|&left| left + 1 >= begun.to_whole()), "{begun:?}");
    assert_eq!(begun.to_whole() == 0, begun.is_whole(), "{begun:?}");
    assert!(begun.is_whole() || next.iter().any(|&left| left + 1 == begun.to_whole()), "{begun:?}");
}

#[test]
fn texts_of_the_standard() {
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    let (at_most, too_deep) = (deep(64), deep(65));
    let digits = "1".repeat(200);
    let accepted = [
        "{}",
        "[]",
        " { } ",
        "\t[\r\n]\n",
        "1",
        "-0",
        "0.5",
        "-1.25e+10",
        "1E9",
        "20e1",
        "0e+1",
        "[1,2]",
        "[[],{}]",
        "\"\"",
        r#"{"a":1,"b":[true,false,null]}"#,
        r#"{"":0}"#,
        r#"{"a":1,"a":2}"#,
        "\"\u{7f}é€😀\"",
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000\uD7FF\uE000\uffff""#,
        r#""\uD83D\uDE00""#,
        r#""\udbff\udfff""#,
        &at_most,
        &digits,
    ];
    for text in accepted {
        assert!(accepts(text.as_bytes()), "{text}");
    }
    let refused = [
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1,]",
        "[,1]",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{a:1}"#,
        "{1:1}",
        "'a'",
        "01",
        "-",
        "-01",
        "+1",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "True",
        "nul",
        "\"",
        "\"\n\"",
        "\"\t\"",
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        "{}{}",
        "1 2",
        "[1 2]",
        "[1}",
        r#"{"a":1]"#,
        "// a\n1",
        "\u{feff}1",
        r#""\uD83D""#,
        r#""\uD83Dx""#,
        r#""\uD83D\n""#,
        r#""\uD83D\u0041""#,
        r#""\uDE00""#,
        r#""\uD83D\uD83D""#,
        &too_deep,
    ];
    for text in refused {
        assert!(!accepts(text.as_bytes()), "{text}");
    }
    for bytes in [
        &b"\"\xff\""[..],
        b"\"\xc0\x80\"",
        b"\"\xe0\x80\x80\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf5\x80\x80\x80\"",
        b"\"\xe2\x82\"",
        b"\"\x80\"",
    ] {
        assert!(!accepts(bytes), "{bytes:?}");
    }
}

/// An answer is an object, and has no more whitespace than indenting takes.
#[test]
fn answers_are_stricter_than_texts() {
    let answers = |text: &str| after(JsonAutomaton::answer(), text.as_bytes());
    for text in ["[", "1", "\"", "{} ", "{}{", &format!("{{{}", " ".repeat(11))] {
        assert_eq!(answers(text), None, "{text}");
    }
    for text in [" {", "\n{", &format!("{{\n{}", " ".repeat(8)), "{\n  \"a\": [\n    1\n  ]\n}"] {
        assert!(answers(text).is_some(), "{text}");
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        ".{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,3}", inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Against another reader: texts, and texts that something was done to. (No exponents: theirs may be longer.)
    #[test]
    fn what_it_accepts_is_json(
        value in json(), pretty in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"{}[]\",:\\ u0D8-+.1atrn\n\x80\xe2"[..]), 0..3), 0..3),
    ) {
        let mut text = if pretty { format!("{value:#}") } else { value.to_string() }.into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(text.len() + 1);
            match how {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                _ => text.truncate(at),
            }
        }
        let wanted = serde_json::from_slice::<Value>(&text).is_ok();
        prop_assert_eq!(accepts(&text), wanted, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn what_is_left_is_known(value in json(), cut in any::<prop::sample::Index>(), answer in any::<bool>()) {
        let value = if answer { serde_json::json!({ "a": value }) } else { value };
        let text = value.to_string().into_bytes();
        let start = if answer { JsonAutomaton::answer() } else { JsonAutomaton::text() };
        knows_what_is_left(after(start, &text[..cut.index(text.len() + 1)]).expect("JSON"));
    }
}

/// What is left in the middle of characters and escapes, which the texts above seldom have.
#[test]
fn what_is_left_is_known_everywhere() {
    for text in [
        &b"\"\xf0\x9f\x98\x80"[..],
        b"\"\xe2\x82\xac",
        b"\"\\uD83D\\uDE00",
        b"\"\\u00e9",
        b"\"\\n",
        b"{\"\\uDBFF\\uDFFF",
        b"-1.5e+10",
        b"{\"a\":[true",
    ] {
        for end in 0..=text.len() {
            knows_what_is_left(after(JsonAutomaton::text(), &text[..end]).expect("JSON"));
        }
    }
}

fn request(max_tokens: usize, temperature: f32, seed: u64) -> Request {
    let sampling = Params { temperature, seed, top_k: 0, top_p: 1.0, ..Params::default() };
    Request { sampling, format: Format::JsonObject, ..drawn(prompt(5 + (seed % 7) as u32), max_tokens) }
}

/// The answer's object.
fn object(answer: &Answer, what: &str) -> serde_json::Map<String, Value> {
    match serde_json::from_str(&answer.text) {
        Ok(Value::Object(object)) => object,
        other => panic!("{what}: {:?} is {other:?}", answer.text),
    }
}

#[test]
fn every_answer_is_an_object() {
    let (mut batch, mut members, mut answers) = (batch(), 0, 0);
    for seed in 0..if emulated() { 4 } else { 60 } {
        for (max_tokens, temperature) in
            [(2, 0.0), (2, 2.0), (3, 1.0), (9, 2.0), (30, 0.0), (30, 1.0), (90, 2.0), (0, 0.7)]
        {
            let what = format!("seed {seed}, {max_tokens} tokens, temperature {temperature}");
            let answer = answer(&mut batch, &request(max_tokens, temperature, seed));
            members += usize::from(!object(&answer, &what).is_empty());
            // A member takes six tokens of a byte.
            answers += usize::from(max_tokens == 0 || max_tokens > 6);
            assert_eq!(answer.reason, Some(Reason::Token), "{what}");
            assert!(max_tokens == 0 || answer.tokens.len() <= max_tokens, "{what}");
        }
    }
    // Objects without members fit every rule, and are of no use.
    assert!(2 * members > answers, "{members} of {answers} have a member");
}

#[test]
fn drafts_logprobs_and_company_change_nothing() {
    for seed in 0..if emulated() { 1 } else { 8 } {
        let plain = request(60, 1.0, seed);
        let wanted = said(&answer(&mut batch(), &plain));
        for other in [Request { lookup: 7, ..plain.clone() }, Request { logprobs: Some(1), ..plain.clone() }] {
            let found = answer(&mut batch(), &other);
            assert_eq!((&found.text, &found.tokens), (&wanted.text, &wanted.tokens));
        }
        let mut batch = batch();
        let ids = [&plain, &request(40, 1.5, seed + 100), &drawn(prompt(9), 30)]
            .map(|request| batch.open(request).expect("a session"));
        let mut answers = [(); 3].map(|()| Answer::default());
        while !batch.is_idle() {
            for event in batch.step() {
                let at = ids.iter().position(|&id| id == event.id()).expect("one of them");
                answers[at].take(event).expect("an answer");
            }
        }
        assert_eq!(answers[0].text, wanted.text);
        object(&answers[1], "beside others");
    }
}

/// Where a template begins the thoughts, what follows would be told as one of them.
#[test]
fn json_is_no_thought() {
    let source = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}<think>\n";
    let template = |batch: &Batch<Local>| ChatTemplate::new(source, batch.tokenizer()).expect("a template");
    let mut batch = Setup::new(MODEL).batch_with(template(&batch()));
    let chat = || Prompt::Chat(Chat::new(r#"[{"role": "user", "content": "Hi"}]"#));
    let text = answer(&mut batch, &Request { prompt: chat(), format: Format::Text, ..request(30, 1.0, 1) });
    assert!(text.text.is_empty() && !text.reasoning.is_empty(), "the template is one that begins thoughts");
    let found = answer(&mut batch, &Request { prompt: chat(), ..request(30, 1.0, 1) });
    object(&found, "behind <think>");
    assert_eq!(found.reasoning, "");
}

#[test]
fn too_little_room_is_said_before_the_first_token() {
    let refused = |request: &Request| batch().open(request).expect_err("too little room");
    let error = refused(&request(1, 0.0, 0));
    assert_eq!((error.kind, error.field.as_deref()), (Kind::Request, Some("max_tokens")), "{error}");
    // The last token of the context need not be fed.
    let full = |tokens: u32| Request { prompt: picolm_engine::Prompt::Tokens(prompt(tokens)), ..request(0, 0.0, 0) };
    let Error { kind, .. } = refused(&full(CONTEXT as u32));
    assert_eq!(kind, Kind::ContextFull);
    assert_eq!(answer(&mut batch(), &full(CONTEXT as u32 - 1)).text, "{}");
}
