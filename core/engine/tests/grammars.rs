//! Answers keep to schemas, expressions and grammars; what those leave no choice about comes without the model, and changes no answer.

mod common;

use common::*;
use picolm_core::sampler::Params;
use picolm_core::text::Tokenizer;
use picolm_engine::{Answer, Batch, Constraint, Error, Extras, Format, Kind, Local, Prompt, Reason, Request};
use serde_json::Value;

const PERSON: &str = r#"{
    "type": "object",
    "properties": {
        "kind": {"const": "person"},
        "name": {"type": "string", "maxLength": 4},
        "ages": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 130}, "maxItems": 3},
        "alive": {"type": "boolean"}
    },
    "required": ["kind", "name", "ages", "alive"],
    "additionalProperties": false
}"#;

fn request(format: Format, temperature: f32, seed: u64) -> Request {
    let sampling = Params { temperature, seed, top_k: 0, top_p: 1.0, ..Params::default() };
    Request { sampling, format, ..drawn(prompt(5 + (seed % 7) as u32), 200) }
}

/// The same without white space: as many tokens as the longest of these answers has bytes.
fn dense(batch: &Batch<Local>, mut request: Request) -> Request {
    let is_space = |&id: &u32| batch.tokenizer().token_bytes(id).iter().all(|byte| b" \t\r\n".contains(byte));
    request.sampling.logit_bias = (0..VOCABULARY as u32).filter(is_space).map(|id| (id, f32::NEG_INFINITY)).collect();
    request
}

fn schema() -> Format {
    Format::JsonSchema(PERSON.into())
}

/// Read by hand: whether a text is a person.
#[track_caller]
fn is_person(answer: &Answer) {
    let value: Value = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text));
    let person = value.as_object().expect("an object");
    assert_eq!(person.len(), 4, "{value}");
    assert_eq!(person["kind"], "person");
    assert!(person["name"].as_str().is_some_and(|name| name.chars().count() <= 4), "{value}");
    let ages = person["ages"].as_array().expect("a list");
    assert!(ages.len() <= 3 && ages.iter().all(|age| age.as_u64().is_some_and(|age| age <= 130)), "{value}");
    assert!(person["alive"].is_boolean(), "{value}");
}

#[test]
fn every_answer_fits_its_schema() {
    let mut batch = batch();
    for seed in 0..if emulated() { 2 } else { 20 } {
        for temperature in [0.0, 0.7, 2.0] {
            let request = dense(&batch, request(schema(), temperature, seed));
            let found = answer(&mut batch, &request);
            assert_eq!(found.reason, Some(Reason::Token), "{}", found.text);
            is_person(&found);
        }
    }
}

#[test]
fn drafts_logprobs_and_company_change_nothing() {
    for seed in 0..if emulated() { 1 } else { 6 } {
        let plain = dense(&batch(), request(schema(), 1.0, seed));
        let wanted = answer(&mut batch(), &plain);
        // Where probabilities are told, the model is asked for every token.
        for other in [Request { lookup: 7, ..plain.clone() }, Request { logprobs: Some(1), ..plain.clone() }] {
            let found = answer(&mut batch(), &other);
            assert_eq!((&found.text, &found.tokens), (&wanted.text, &wanted.tokens));
        }
        let mut batch = batch();
        let ids = [&plain, &request(Format::Regex("(ab|c)*d".into()), 1.5, seed), &drawn(prompt(9), 30)]
            .map(|request| batch.open(request).expect("a session"));
        let answers = run(&mut batch, &ids);
        assert_eq!(answers[0].as_ref().expect("an answer").text, wanted.text);
        let text = &answers[1].as_ref().expect("an answer").text;
        assert!(text.trim_end_matches('d').chars().all(|c| "abc".contains(c)), "{text}");
    }
}

#[test]
fn what_is_fixed_is_not_asked_for() {
    let steps = |format: Format| {
        let mut batch = batch();
        let id = batch.open(&request(format, 1.0, 3)).expect("a session");
        let (mut steps, mut found) = (0, Answer::default());
        while !batch.is_idle() {
            batch
                .step()
                .into_iter()
                .filter(|event| event.id() == id)
                .for_each(|event| _ = found.take(event).expect("one"));
            steps += 1;
        }
        (steps, found)
    };
    let (few, found) = steps(Format::Regex("The answer is always the same: (yes|no)".into()));
    assert!(found.text.starts_with("The answer is always the same: "), "{}", found.text);
    assert!(few < found.tokens.len() / 2, "{few} steps for {} tokens", found.tokens.len());
}

#[test]
fn grammars_of_both_kinds() {
    let gbnf = "root ::= greeting \" \" name\ngreeting ::= \"hello\" | \"good \" (\"morning\" | \"night\")\nname ::= [A-Z] [a-z]{1,5}";
    let lark = "%llguidance {}\nstart: GREETING \" \" NAME\nGREETING: \"hello\" | \"good morning\" | \"good night\"\nNAME: /[A-Z][a-z]{1,5}/";
    let mut batch = batch();
    for text in [gbnf, lark] {
        for seed in 0..if emulated() { 1 } else { 5 } {
            let found = answer(&mut batch, &request(Format::Grammar(text.into()), 1.0, seed)).text;
            let rest = ["hello ", "good morning ", "good night "].iter().find_map(|start| found.strip_prefix(start));
            let name = rest.unwrap_or_else(|| panic!("{found}"));
            let (first, others) = name.split_at(1);
            assert!(first.chars().all(|c| c.is_ascii_uppercase()), "{found}");
            assert!((1..=5).contains(&others.len()) && others.chars().all(|c| c.is_ascii_lowercase()), "{found}");
        }
    }
}

#[test]
fn what_cannot_be_kept_to_is_said_before_the_first_token() {
    let looping = "root ::= root \"a\"";
    for (format, field, says) in [
        (Format::JsonSchema("{".into()), "json_schema", "no JSON"),
        (Format::JsonSchema(r#"{"properties":{"a":{"unevaluatedItems":1}}}"#.into()), "json_schema", "/properties/a"),
        (Format::JsonSchema(r#"{"type":"integer","minimum":3,"maximum":2}"#.into()), "json_schema", "nothing fits"),
        (Format::JsonSchema(r##"{"$ref":"https://example.org/a"}"##.into()), "json_schema", "/$ref"),
        (Format::Regex("a(?=b)".into()), "regex", "look-around"),
        (Format::Regex("(".into()), "regex", "regex"),
        (Format::Grammar(looping.into()), "grammar", "no end"),
        (Format::Grammar("root ::= nothing".into()), "grammar", "nothing"),
        (
            Format::JsonSchema(format!("{}true{}", r#"{"items":"#.repeat(100_000), "}".repeat(100_000))),
            "json_schema",
            "",
        ),
    ] {
        let error = batch().open(&request(format.clone(), 1.0, 0)).expect_err("refused");
        assert_eq!((error.kind, error.field.as_deref()), (Kind::Request, Some(field)), "{error}");
        assert!(error.message.contains(says), "{error} for {:.99?}", format);
    }
}

/// A prompt that shows calls in JSON, as PicoClaw's does: whatever the model, what begins as calls are calls, with arguments that are a text of
/// JSON, and the answer is one object, however short.
#[test]
fn calls_that_a_prompt_shows() {
    let mut batch = Setup::new(MODEL).with_context(2048).batch();
    let begin: Vec<u32> = b"{\"tool_calls\"".iter().map(|&byte| u32::from(byte) + 3).collect();
    let ask = |prompt: &str, seed, max_tokens| Request {
        prompt: Prompt::Text(prompt.into()),
        max_tokens,
        ..request(Format::JsonObject, 1.0, seed)
    };
    let shown =
        r#"Call: {"tool_calls":[{"id":"call_xxx","type":"function","function":{"name":"f","arguments":"{...}"}}]}"#;
    let mut whole = 0;
    for seed in 0..20 {
        for max_tokens in [30, 60, 100, 1500] {
            let answer = answer_with(&mut batch, &ask(shown, seed, max_tokens), constrained(Begins(begin.clone())))
                .expect("an answer");
            let value: Value =
                serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text));
            assert!(value.is_object());
            let Some(calls) = value["tool_calls"].as_array() else { continue };
            let is_call = |call: &Value| {
                let arguments = call["function"]["arguments"].as_str().map(serde_json::from_str::<Value>);
                call["function"]["name"].is_string()
                    && arguments.is_some_and(|value| value.is_ok_and(|value| value.is_object()))
            };
            // The last may have had no room.
            let Some((last, others)) = calls.split_last() else { continue };
            assert!(max_tokens < 1500 || others.iter().all(is_call), "{}", answer.text);
            whole += others.len() + usize::from(is_call(last));
        }
        let first = answer_with(&mut batch, &ask(shown, seed, 20), Extras::default()).expect("an answer").text;
        assert!(!first[1..].starts_with(char::is_whitespace), "{first}");
    }
    assert!(whole > 10, "{whole}");
    // Others are free.
    let free = (0..20).any(|seed| {
        let answer =
            answer_with(&mut batch, &ask("Call:", seed, 100), constrained(Begins(begin.clone()))).expect("an answer");
        let value: Value = serde_json::from_str(&answer.text).expect("JSON");
        value["tool_calls"].as_array().is_none_or(|calls| calls.iter().any(|call| !call.is_object()))
    });
    assert!(free);
}

/// An answer that begins with these tokens.
struct Begins(Vec<u32>);

impl Constraint for Begins {
    fn mask(&mut self, answer: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<(), Error> {
        if let Some(&next) = self.0.get(answer.len()) {
            let bans = logits.iter_mut().enumerate().filter(|(token, _)| *token != next as usize);
            bans.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
        }
        Ok(())
    }
}
