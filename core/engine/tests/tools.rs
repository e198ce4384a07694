//! Calls of tools: what templates write is read back, however it is cut.

mod common;
mod families;

use common::{MODEL, Setup, VOCABULARY, answer_with, constrained, emulated};
use families::FAMILIES;
use picolm_core::gguf::Gguf;
use picolm_core::sampler::Params;
use picolm_core::text::{ChatTemplate, DateTime, Json, Message, RenderOptions, Tokenizer};
use picolm_engine::tools::{Form, Reader, Tools};
use picolm_engine::{Answer, Chat, Constraint, Error, Format, Kind, Piece, Prompt, Reason, Request, ToolChoice};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// What stands behind an answer, and is no text: tokens that end it, or that begin another turn.
const ENDS: &[&str] = &[
    "<|im_end|>",
    "</s>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<turn|>",
    "<|call|>",
    "<|END_OF_TURN_TOKEN|>",
    "<seed:eos>",
    "<｜end▁of▁sentence｜>",
    "<|tool_response>",
    "<|assistant_end|>",
    "<sep>",
    "<|endoftext|>",
    "<|message_sep|>",
    "<|user|>",
    "<|eos|>",
    "<|eot|>",
    "[e~[",
    "<|user_start|>",
];

const TOOLS: &str = r#"[
    {"type": "function", "function": {"name": "get_weather", "description": "The \"weather\"", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Where"}, "days": {"type": "integer", "description": "d"},
        "nested": {"type": "object", "description": "n"}, "note": {"type": "string", "description": "t"}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}, "required": []}}}
]"#;

/// Calls that are written and read: names and arguments.
const CALLS: &[&[(&str, &str)]] = &[
    &[("get_weather", r#"{"city":"Rome","days":2}"#)],
    &[("now", "{}")],
    &[
        (
            "get_weather",
            r#"{"city":"Zürich \"Süd\" 🦙","nested":{"list":[1.5,"x, y",null,{"k":true}],"empty":{}},"note":"a\nb\\c <b> & 'q' {[("}"#,
        ),
        ("now", "{}"),
    ],
    &[("now", "{}"), ("get_weather", r#"{"city":"}]) 你好","days":-1}"#)],
];

#[test]
fn calls_of_published_templates_are_read_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template/tests/published");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "jinja")).collect();
    assert!(files.len() >= 14);
    // The others show no calls.
    let read = files.iter().filter(|path| is_read_back(&name(path), &source(path))).count();
    assert_eq!(read, 10);
}

#[test]
fn calls_of_all_families_are_read_back() {
    for family in FAMILIES {
        assert!(is_read_back(family.name, &family.template()), "{} shows no calls", family.name);
    }
}

/// What templates do not show: the form is known by what they say.
#[test]
fn forms_that_are_known_by_name() {
    let call = r#"{"name": "now", "arguments": {}}"#;
    for (said, answer) in [
        ("<|tool_call|>", format!("<|tool_call|>[{call}, {call}]")),
        ("<tool_call></tool_call>", format!("<tool_call>\n{call}\n</tool_call>\n<tool_call>{call}")),
        ("<|tool|>", format!("<|tool_call|>[{call},{call}]<|/tool_call|>")),
        ("List of tools: ", "<|tool_call_start|>[now(), now()]<|tool_call_end|>".into()),
        ("<start_of_turn>", "```tool_code\nnow()\nnow()\n```".into()),
        ("[TOOL_CALLS]", format!("[TOOL_CALLS] [{call}, {call}]")),
        ("functools[", format!("functools[{call}, {call}]")),
        ("<|tool_calls_section_begin|>", {
            let call = |i| format!("<|tool_call_begin|>functions.now:{i}<|tool_call_argument_begin|>{{}}<|tool_call_end|>");
            format!("<|tool_calls_section_begin|>{}{}<|tool_calls_section_end|>", call(0), call(1))
        }),
        ("", format!("{call}, {call}")),
        ("", format!("```json\n{call}\n```\n```json\n{call}\n```")),
        ("", r#"{"type": "function", "function": {"name": "now", "parameters": null}}{"name": "now", "arguments": "{}"}"#.into()),
        ("<|channel|><|message|>", {
            let head = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant";
            format!("{head}<|channel|>commentary to=functions.now <|constrain|>json<|message|>{{}}<|call|> to=functions.now<|channel|>commentary json<|message|> {{}}")
        }),
    ] {
        let found = read(&format(said), &answer, false, 3);
        let calls: Vec<_> = found.calls.iter().map(|call| (call.index, call.name.as_str(), call.arguments.as_str())).collect();
        assert_eq!(calls, [(0, "now", "{}"), (1, "now", "{}")], "{said}: {answer}");
        assert_eq!(found.text, "", "{said}");
    }
}

/// What only looks like a call, or is not whole, is told as it is.
#[test]
fn no_text_is_lost() {
    for text in [
        "",
        "  \n",
        "Just text.  \n",
        "a < b <tool and <tool_call",
        "<tool_call>",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {",
        "<tool_call>{\"name\": \"nobody\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": [1]}</tool_call> behind",
        "<tool_call>{\"name\": 5}</tool_call>",
        "<tool_call>{'name': 'now'}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": {,}}</tool_call>",
        "In front \n <tool_call>now()</tool_call> <tool_call><tool_call>{}",
    ] {
        for cut in [1, 2, 5, usize::MAX] {
            let found = read(&format("<tool_call>"), text, false, cut);
            assert_eq!((found.text.as_str(), found.calls.len()), (text, 0));
        }
    }
    for text in [
        "{",
        "{}",
        "{\"answer\": 42}",
        "{\"name\": \"Ada\"}",
        "{\"name\": \"now\", \"arguments\"",
        "x {\"name\": \"now\"}",
        "```json\n[1]\n```",
    ] {
        for cut in [1, usize::MAX] {
            let found = read(&format(""), text, false, cut);
            assert_eq!((found.text.as_str(), found.calls.len()), (text, 0));
        }
    }
}

#[test]
fn text_around_calls_and_thoughts_is_told() {
    let call = "<tool_call>{\"name\": \"now\"}</tool_call>";
    let thinks = format("<tool_call></think>");
    for (text, inside, wanted) in [
        (format!("Let me see.\n\n{call}\n"), false, ("Let me see.", "", 1)),
        (format!("{call} Done. {call}{call} \n"), false, ("Done.", "", 3)),
        (format!("<think>\nHm.\n</think>\n\nSo:\n{call}"), false, ("So:", "Hm.", 1)),
        (format!("Hm.\n\n</think>{call}"), true, ("", "Hm.", 1)),
        ("Hm.\n</thi".to_string(), true, ("", "Hm.\n</thi", 0)),
        ("<think></think>\n 5 <think>".to_string(), false, ("5 <think>", "", 0)),
        (" <thin".to_string(), false, (" <thin", "", 0)),
        (format!("{call}</tool_"), false, ("", "", 1)),
        (format!("{call}<tool_call>{{\"name\""), false, ("<tool_call>{\"name\"", "", 1)),
    ] {
        for cut in [1, 2, 5, usize::MAX] {
            let found = read(&thinks, &text, inside, cut);
            assert_eq!((found.text.as_str(), found.reasoning.as_str(), found.calls.len()), wanted, "{text} by {cut}");
        }
    }
}

#[test]
fn no_more_calls_than_may_be() {
    let call = "<tool_call>{\"name\": \"now\"}</tool_call>";
    let mut reader = Reader::new(format("<tool_call>"), tools(), false, 5).at_most(1);
    let mut piece = Piece::default();
    reader.push(&format!("One: {call}{call}"), &mut piece);
    assert!(reader.is_over());
    reader.push("more", &mut piece);
    reader.finish(&mut piece);
    assert_eq!((piece.text.as_str(), piece.calls.len(), reader.calls()), ("One:", 1, 1));
}

/// Ids are another for each call of a conversation, and the same each time.
#[test]
fn ids() {
    let id = |said: &str, place| {
        let mut reader = Reader::new(format(said), tools(), false, place);
        let mut piece = Piece::default();
        reader.push("[TOOL_CALLS][{\"name\": \"now\"}, {\"name\": \"now\"}]", &mut piece);
        piece.calls.iter().map(|call| call.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(id("[TOOL_CALLS]", 300), ["000012c00", "000012c01"]);
    assert_eq!(id("[TOOL_CALLS]", usize::MAX), ["fffffff00", "fffffff01"]);
    let found = read(&format("<tool_call>"), "<tool_call>{\"name\": \"now\"}", false, 1);
    assert_eq!(found.calls[0].id, "call_000000500");
}

/// Work is linear in the text: 8 MB of what is nearly a call are read in the blink of an eye.
#[test]
fn hostile_answers_are_read_in_time() {
    for (said, text) in [
        ("<tool_call>", "<tool_call>".repeat(1 << 16)),
        ("<tool_call>", "<tool_call>{\"name\":\"".repeat(1 << 16)),
        ("<tool_call>", format!("<tool_call>{{\"name\":{}", "[".repeat(1 << 20))),
        ("<tool_call>", format!("<tool_call>{{\"name\":\"now\",\"arguments\":{}", "{\"a\":".repeat(1 << 18))),
        ("<tool_call>", " ".repeat(1 << 20)),
        ("<tool_call>", format!("<tool_call>{}", " ".repeat(1 << 20))),
        ("<start_of_turn>", format!("```tool_code now({}", "a=[".repeat(1 << 18))),
        ("<|channel|><|message|>", "<|channel|>".repeat(1 << 16)),
        ("<|channel|><|message|>", format!("<|channel|>x to=now<|message|>{}", "<|en".repeat(1 << 16))),
        ("</think>", format!("<think>{}", "</thin".repeat(1 << 18))),
        ("", "{ ".repeat(1 << 20)),
    ] {
        for cut in [5, usize::MAX] {
            read(&format(said), &text, false, cut);
        }
    }
}

#[test]
fn tools_that_are_none_are_named() {
    for (list, field) in [
        ("[5]", "tools[0]"),
        (r#"[{"type":"function"}]"#, "tools[0].function"),
        (r#"[{"type":"custom","custom":{}}]"#, "tools[0].type"),
        (r#"[{"type":"function","function":{}}]"#, "tools[0].function.name"),
        (r#"[{"type":"function","function":{"name":""}}]"#, "tools[0].function.name"),
        (r#"[{"type":"function","function":{"name":"a"}},{"function":{"name":"a b"}}]"#, "tools[1].function.name"),
        (r#"[{"type":"function","function":{"name":"a"}},{"function":{"name":"a"}}]"#, "tools[1].function.name"),
        (r#"[{"type":"function","function":{"name":"a","parameters":[]}}]"#, "tools[0].function.parameters"),
    ] {
        let Json::List(list) = json(list) else { panic!("a list") };
        let error = Tools::read(&list).expect_err(field);
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
    }
    let long = "x".repeat(64);
    let Json::List(list) = json(&format!(r#"[{{"function":{{"name":"{long}"}}}}]"#)) else { panic!("a list") };
    assert!(Tools::read(&list).expect("a tool").has(&long));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Cutting an answer changes nothing, whatever it is.
    #[test]
    fn pieces_do_not_matter(
        said in prop::sample::select(SAID.to_vec()),
        parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..12),
        cut in 1_usize..9,
        inside in any::<bool>(),
    ) {
        let (format, text, inside) = (format(said), parts.concat(), inside && said.contains("think"));
        let whole = read(&format, &text, inside, usize::MAX);
        prop_assert_eq!(&read(&format, &text, inside, cut), &whole, "{:?}", text);
        if whole.calls.is_empty() && !said.contains("think") && !said.contains("channel") {
            prop_assert_eq!(whole.text, text);
        }
    }
}

/// What templates say,
const SAID: &[&str] = &[
    "<tool_call>",
    "<tool_call></think>",
    "",
    "<start_of_turn>",
    "[TOOL_CALLS]",
    "<|tool_calls_section_begin|>",
    "<|channel|><|message|>",
];
/// and what answers are made of.
const PARTS: &[&str] = &[
    "<tool_call>",
    "</tool_call>",
    "{\"name\": \"now\"}",
    "{\"name\":",
    " \"now\"",
    "}",
    "{",
    ",",
    "\n",
    "  ",
    "text",
    "é",
    "<think>",
    "</think>",
    "```tool_code",
    "```json",
    "```",
    "now()",
    "now(",
    "a=1)",
    "[TOOL_CALLS]",
    "[",
    "]",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>functions.",
    "now",
    ":0<|tool_call_argument_begin|>",
    "{}",
    "<|tool_call_end|>",
    "<|channel|>",
    "analysis",
    "commentary to=functions.now",
    "<|message|>",
    "<|end|>",
    "<|call|>",
    "<|start|>assistant",
    "\"",
    "<",
];

/// An answer that is this text.
struct Says(Vec<u32>);

impl Constraint for Says {
    fn mask(&mut self, answer: &[u32], _: usize, _: &Tokenizer, logits: &mut [f32]) -> Result<(), Error> {
        if let Some(next) = self.forced(answer) {
            let bans = logits.iter_mut().enumerate().filter(|(token, _)| *token != next as usize);
            bans.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
        }
        Ok(())
    }

    fn forced(&mut self, answer: &[u32]) -> Option<u32> {
        self.0.get(answer.len()).copied()
    }
}

/// What a batch makes of an answer to a conversation.
fn said(template: &str, change: impl FnOnce(&mut Chat), text: &str, max_tokens: usize) -> Answer {
    let bare = Setup::new(MODEL).batch();
    let template = ChatTemplate::new(template, bare.tokenizer()).expect("a template");
    // A byte is a token here, and what is said of tools in words is long.
    let mut batch = Setup::new(MODEL).with_context(4096).batch_with(template);
    let mut chat = Chat::new(r#"[{"role":"user","content":"a"}]"#);
    let function = r#"[{"type":"function","function":{"name":"f"}}]"#;
    chat.tools = Some(function.into());
    change(&mut chat);
    let tokens = said_tokens(batch.tokenizer(), text);
    let end = (0..VOCABULARY as u32).find(|&id| batch.tokenizer().is_end_of_generation(id)).expect("an end");
    let request = Request { prompt: Prompt::Chat(chat), max_tokens, ..Request::default() };
    answer_with(&mut batch, &request, constrained(Says([tokens, vec![end]].concat()))).expect("an answer")
}

#[test]
fn a_batch_tells_calls_and_thoughts_apart() {
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools | tojson if tools }}{{ '<tool_call></think>' if false }}";
    let (call, thought) = (r#"<tool_call>{"name":"f"}</tool_call>"#, "<think>Hm.</think>");
    let text = format!("{thought} So: {call}{call}");
    let found = said(template, |_| {}, &text, 0);
    assert_eq!((found.text.as_str(), found.reasoning.as_str(), found.reason), ("So:", "Hm.", Some(Reason::Calls)));
    let calls: Vec<_> =
        found.calls.iter().map(|call| (call.index, call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [(0, "f", "{}"), (1, "f", "{}")]);
    let one = said(template, |chat| chat.parallel_tool_calls = false, &text, 0);
    assert_eq!((one.calls.len(), one.reason), (1, Some(Reason::Calls)));
    assert!(one.tokens.len() < found.tokens.len());
    let cut = said(template, |_| {}, &text, thought.len() + 15);
    assert_eq!((cut.text.as_str(), cut.calls.len(), cut.reason), ("So: <tool_call", 0, Some(Reason::Length)));
    let inline = said(template, |chat| chat.reasoning_apart = false, &text, 0);
    assert_eq!((inline.text.as_str(), inline.calls.len()), ("<think>Hm.</think> So:", 2));
    let none = said(template, |chat| chat.tool_choice = ToolChoice::None, &text, 0);
    let plain = format!("So: {call}{call}");
    assert_eq!((none.text, none.reasoning.as_str(), none.reason), (plain, "Hm.", Some(Reason::Token)));
    assert!(found.usage.prompt > none.usage.prompt);
    let begun = said(&format!("{template}<think>\n"), |_| {}, "Hm.</think>5", 0);
    assert_eq!((begun.text.as_str(), begun.reasoning.as_str(), begun.reason), ("5", "Hm.", Some(Reason::Token)));
}

/// Tools with arguments of few tokens, however they are chosen.
const SHORT: &str = r#"[
    {"type": "function", "function": {"name": "get_weather", "description": "w", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "enum": ["Rome", "Z\u00fcrich"]}, "days": {"type": "integer", "minimum": 0, "maximum": 9},
        "loud": {"type": "boolean"}}, "required": ["city", "days"], "additionalProperties": false}}},
    {"type": "function", "function": {"name": "now", "description": "n", "parameters": {"type": "object", "properties": {}, "additionalProperties": false}}}
]"#;

/// What a model that knows nothing says in a conversation with these tools, behind the beginning that it is given.
fn answers(source: &str, choice: &ToolChoice, seed: u64, begin: &str) -> Result<Answer, Error> {
    in_form(source, choice, seed, begin, Format::Text)
}

/// The same, where the answer has a form.
fn in_form(source: &str, choice: &ToolChoice, seed: u64, begin: &str, format: Format) -> Result<Answer, Error> {
    let setup = Setup::new(MODEL).with_context(16_384);
    let template = ChatTemplate::new(source, setup.batch().tokenizer()).expect("a template");
    let mut batch = setup.batch_with(template);
    let mut chat = Chat::new(r#"[{"role":"user","content":"a"}]"#);
    (chat.tools, chat.tool_choice, chat.now) = (Some(SHORT.into()), choice.clone(), Some(1_700_000_000));
    chat.parallel_tool_calls = seed.is_multiple_of(2);
    let sampling = Params { temperature: 1.0, seed, top_k: 0, top_p: 1.0, ..Params::default() };
    let request = Request { prompt: Prompt::Chat(chat), sampling, max_tokens: 800, format, ..Request::default() };
    let tokens = said_tokens(batch.tokenizer(), begin);
    answer_with(&mut batch, &request, constrained(Says(tokens)))
}

/// A text in the bytes of the golden models' vocabulary, and in its one token of structure.
fn said_tokens(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let bos = tokenizer.bos().expect("a beginning");
    let bytes = |text: &str| text.bytes().map(|byte| u32::from(byte) + 3).collect::<Vec<_>>();
    text.split("<s>").map(bytes).collect::<Vec<_>>().join(&bos)
}

/// Whether an answer is calls of the tools above and nothing else.
#[track_caller]
fn are_calls(answer: &Answer, context: &str) {
    // A model that likes calls may write them to its last token: the rest of one is text then.
    let cut = answer.reason == Some(Reason::Length) && answer.calls.len() > 1;
    assert!(cut || (answer.text.trim().is_empty() && answer.reason == Some(Reason::Calls)), "{context}: {answer:?}");
    for call in &answer.calls {
        let arguments: serde_json::Map<_, _> = serde_json::from_str(&call.arguments).expect("an object");
        let fits = match call.name.as_str() {
            "now" => arguments.is_empty(),
            "get_weather" => {
                arguments.iter().all(|(name, value)| match name.as_str() {
                    "city" => ["Rome", "Z\u{fc}rich"].contains(&value.as_str().unwrap_or_default()),
                    "days" => value.as_u64().is_some_and(|days| days <= 9),
                    "loud" => value.is_boolean(),
                    _ => false,
                }) && ["city", "days"].iter().all(|name| arguments.contains_key(*name))
            }
            _ => false,
        };
        assert!(fits, "{context}: {call:?}");
    }
}

/// Every family, and every published template: what a model without any knowledge writes is a call that is read back.
#[test]
fn whoever_has_to_call_calls() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template/tests/published");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "jinja"));
    let published = files.map(|path| (name(&path), source(&path)));
    let families = FAMILIES.iter().map(|family| (family.name.to_string(), family.template()));
    let mut kept = 0;
    for (name, source) in published.chain(families) {
        for seed in 0..if emulated() { 1 } else { 2 } {
            let answer = answers(&source, &ToolChoice::Required, seed, "").expect(&name);
            if answer.calls.is_empty() && !answer.reasoning.is_empty() {
                // Nothing makes it stop thinking.
                assert_eq!(answer.reason, Some(Reason::Length), "{name}");
            } else {
                are_calls(&answer, &name);
                kept += usize::from(seed == 0);
            }
        }
    }
    assert!(kept >= 40, "{kept}");
}

/// What has no grammar is read, and nothing can be made of it by force.
#[test]
fn forms_without_a_grammar() {
    let gemma = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<|tool_call>call:{{ c.function.name + '{' }}\
        {% for k, v in c.function.arguments | items %}{{ k }}:{% if v is string %}<|\"|>{{ v }}<|\"|>{% else %}{{ v }}{% endif %}{{ ',' if not loop.last }}{% endfor %}{{ '}' }}<tool_call|>{% endfor %}{% endfor %}";
    let error = answers(gemma, &ToolChoice::Required, 0, "").expect_err("no grammar");
    assert_eq!((error.kind, error.field.as_deref()), (Kind::Unsupported, Some("tool_choice")));
    let answer =
        answers(gemma, &ToolChoice::Auto, 0, r#"<|tool_call>call:get_weather{city:<|"|>x<|"|>,days:1}<tool_call|>"#);
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.calls[0].name.as_str(), answer.calls[0].arguments.as_str()),
        ("get_weather", r#"{"city":"x","days":1}"#)
    );
}

#[test]
fn one_tool_by_its_name() {
    let choice = ToolChoice::Named("now".into());
    for family in &FAMILIES[..3] {
        let answer = answers(&family.template(), &choice, 2, "").expect("an answer");
        are_calls(&answer, family.name);
        assert_eq!(answer.calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["now"]);
    }
    let error = answers(&FAMILIES[0].template(), &ToolChoice::Named("none".into()), 0, "").expect_err("no such tool");
    assert_eq!(error.field.as_deref(), Some("tool_choice.function.name"));
}

/// From the mark on; where there is none, from where a tool is named.
#[test]
fn what_begins_as_a_call_becomes_one() {
    let hermes = FAMILIES[0].template();
    let structure = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<s>{{ {'name': c.function.name, 'arguments': \
                     c.function.arguments} | tojson }}{% endfor %}{% endfor %}";
    let bare = "{% for m in messages %}{{ m.content }}{% endfor %}";
    for (template, begin, text) in [
        (hermes.as_str(), "So: <tool_call>", "So:"),
        (hermes.as_str(), "<tool_call>\n{\"name\":", ""),
        (structure, "So:<s>", "So:"),
        (bare, r#"{"name": "now""#, ""),
        (bare, r#"{"name": "get_weather", "arg"#, ""),
    ] {
        for seed in 0..4 {
            let answer = answers(template, &ToolChoice::Auto, seed, begin).expect("an answer");
            assert!(answer.text.starts_with(text), "{begin}: {}", answer.text);
            are_calls(&Answer { text: answer.text[text.len()..].to_string(), ..answer }, begin);
        }
    }
    for (template, begin) in
        [(hermes.as_str(), "So: <tool"), (bare, r#"{"name": "no"#), (bare, r#"{"answer": "now"#), (bare, "now")]
    {
        let tokens = begin.len();
        // It goes on as it likes, and neither mark nor name come by chance.
        let answer = answers(template, &ToolChoice::Auto, 1, begin).expect("an answer");
        assert!(answer.calls.is_empty() && answer.text.starts_with(begin), "{begin}: {}", answer.text);
        assert!(answer.tokens.len() > tokens, "{begin}");
    }
}

/// What is no call keeps to the form of the answer; where there have to be calls, they are the answer.
#[test]
fn an_answer_in_a_form_or_calls() {
    let hermes = FAMILIES[0].template();
    let bare = "{% for m in messages %}{{ m.content }}{% endfor %}";
    let schema =
        Format::JsonSchema(r#"{"type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"]}"#.into());
    for (template, begin) in [(hermes.as_str(), "<tool_call>"), (bare, "<tool_call>")] {
        for seed in 0..2 {
            let called = in_form(template, &ToolChoice::Auto, seed, begin, schema.clone()).expect("an answer");
            are_calls(&called, begin);
            let said = in_form(template, &ToolChoice::Auto, seed, r#"{"x""#, schema.clone()).expect("an answer");
            let value: serde_json::Value = serde_json::from_str(&said.text).expect("JSON");
            assert!(said.calls.is_empty() && (value["x"] == 1 || value["x"] == 2), "{said:?}");
            let must = in_form(template, &ToolChoice::Required, seed, "", schema.clone()).expect("an answer");
            are_calls(&must, "required");
            let none = in_form(template, &ToolChoice::None, seed, "", schema.clone()).expect("an answer");
            assert!(none.calls.is_empty() && serde_json::from_str::<serde_json::Value>(&none.text).is_ok(), "{none:?}");
        }
    }
    let regex = Format::Regex("a|b".into());
    let error = in_form(&hermes, &ToolChoice::Auto, 0, "", regex.clone()).expect_err("calls beside an expression");
    assert_eq!((error.kind, error.field.as_deref()), (Kind::Unsupported, Some("regex")));
    are_calls(&in_form(&hermes, &ToolChoice::Required, 0, "", regex).expect("an answer"), "regex");
}

/// Tokens of structure are no text, but for those that mark calls where there are tools.
#[test]
fn marks_that_are_tokens_of_structure_are_read() {
    let template = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<s>{{ {'name': c.function.name, 'arguments': \
                    c.function.arguments} | tojson }}{% endfor %}{% endfor %}";
    let call = r#"<s>{"name":"f"}"#;
    let found = said(template, |_| {}, &format!("So:{call}{call}"), 0);
    assert_eq!((found.text.as_str(), found.calls.len(), found.reason), ("So:", 2, Some(Reason::Calls)));
    let none = said(template, |_| {}, "So:<s>{}<s>", 0);
    assert_eq!((none.text.as_str(), none.calls.len()), ("So:<s>{}<s>", 0));
    let without = said(template, |chat| chat.tools = None, &format!("So:{call}"), 0);
    assert_eq!((without.text.as_str(), without.calls.len()), (r#"So:{"name":"f"}"#, 0));
}

/// Writes calls by a template and reads them. Whether the template writes any.
fn is_read_back(name: &str, source: &str) -> bool {
    let template = ChatTemplate::new(source, &TOKENIZER).expect(name);
    let format = Arc::new(Form::of(&template));
    let mut shown = 0;
    for calls in CALLS {
        // Some refuse two calls.
        let Some((prompt, written)) = [false, true].into_iter().find_map(|as_text| written(&template, calls, as_text))
        else {
            continue;
        };
        shown += 1;
        let inside = format.thinks_after(&prompt);
        let (open, close) = thinking(source);
        let answer = close.and_then(|close| Some(&written[written.rfind(close)? + close.len()..])).unwrap_or(&written);
        let mut texts = vec![(written.clone(), false, "")];
        if let (Some(open), Some(close)) = (open, close) {
            let open = if inside { "" } else { open };
            texts = vec![(format!("{open}\nHm, \"so\".\n{close}\n\n{answer}"), inside, "Hm, \"so\".")];
            texts.extend((!inside).then(|| (answer.to_string(), false, "")));
        }
        for (text, inside, thought) in texts {
            for cut in [1, 3, 7, usize::MAX] {
                let found = read(&format, &text, inside, cut);
                let context = format!("{name}, {cut}: {text:?} as {format:?}");
                assert_eq!((found.text.trim(), found.reasoning.as_str()), ("", thought), "{context}");
                // Maps: a template may sort keys.
                let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
                let found: Vec<_> =
                    found.calls.iter().map(|call| (call.name.as_str(), value(&call.arguments))).collect();
                let wanted: Vec<_> = calls.iter().map(|(name, arguments)| (*name, value(arguments))).collect();
                assert_eq!(found, wanted, "{context}");
            }
        }
    }
    shown > 0
}

/// The prompt that asks for calls, and what the assistant writes then; `None` if the template has no calls.
fn written(template: &ChatTemplate, calls: &[(&str, &str)], as_text: bool) -> Option<(String, String)> {
    let call = |(i, (name, arguments)): (usize, &(&str, &str))| {
        let arguments = if as_text { Json::from(*arguments) } else { json(arguments) };
        json(&format!(
            r#"{{"id":"abcdefgh{i}","type":"function","function":{{"name":"{name}","arguments":{arguments}}}}}"#
        ))
    };
    let user = Message::new("user", "What is it like?");
    for content in [None, Some(Json::Null)] {
        let mut answer = Message::new("assistant", "");
        answer.fields.extend(content.map(|content| ("content".to_string(), content)));
        answer.fields.push(("tool_calls".into(), Json::List(calls.iter().enumerate().map(call).collect())));
        let render = |messages: &[Message], add_generation_prompt| {
            let options = RenderOptions {
                add_generation_prompt,
                now: Some(DateTime::from_unix(1_700_000_000)),
                tools: Some(json(TOOLS)),
                ..RenderOptions::default()
            };
            template.render_as_given(messages, &options).ok()
        };
        let (prompt, whole) = (render(std::slice::from_ref(&user), true)?, render(&[user.clone(), answer], false)?);
        let mut start: usize =
            prompt.chars().zip(whole.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum();
        if start < prompt.len() && whole[..start].rfind('<') > whole[..start].rfind('>') {
            start = whole[..start].rfind('<')?;
        }
        let rest = &whole[start..];
        let shows = |(name, arguments): &(&str, &str)| {
            let as_json = Json::from(*arguments).to_string();
            rest.contains(name) && (*arguments == "{}" || !rest.contains(&as_json))
        };
        if calls.iter().all(shows) {
            return Some((prompt, without_end(rest).to_string()));
        }
    }
    None
}

/// An answer without the marks of its end, and without what comes behind them.
fn without_end(answer: &str) -> &str {
    let strip = |text: &'_ str| ENDS.iter().find_map(|end| Some(text.trim_end().strip_suffix(end)?.len()));
    match strip(answer) {
        Some(end) => without_end(&answer[..end]),
        None => {
            &answer
                [..ENDS.iter().filter_map(|end| answer.rfind(end)).filter(|&end| end > 0).min().unwrap_or(answer.len())]
        }
    }
}

fn read(format: &Arc<Form>, text: &str, inside: bool, cut: usize) -> Piece {
    let mut reader = Reader::new(format.clone(), tools(), inside, 5);
    let mut piece = Piece::default();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (cut.min(rest.len())..=rest.len()).find(|&end| rest.is_char_boundary(end)).expect("an end");
        reader.push(&rest[..end], &mut piece);
        rest = &rest[end..];
    }
    reader.finish(&mut piece);
    piece
}

fn tools() -> Tools {
    let Json::List(list) = json(TOOLS) else { panic!("a list") };
    Tools::read(&list).expect("tools")
}

/// The form of a template that says this, and shows no calls.
fn format(said: &str) -> Arc<Form> {
    let source = format!(
        "{{{{ tools | tojson if tools }}}}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{{{{ '{said}' if false }}}}"
    );
    Arc::new(Form::of(&ChatTemplate::new(&source, &TOKENIZER).expect("a template")))
}

/// The marks of thoughts that a template knows.
fn thinking(source: &str) -> (Option<&'static str>, Option<&'static str>) {
    let pairs = [
        ("<think>", "</think>"),
        ("<seed:think>", "</seed:think>"),
        ("<thinking>", "</thinking>"),
        ("[THINK]", "[/THINK]"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
    ];
    let found = pairs.into_iter().find(|(_, close)| source.contains(close));
    (found.map(|pair| pair.0), found.map(|pair| pair.1))
}

fn name(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

fn source(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a template")
}

fn json(text: &str) -> Json {
    Json::parse(text).expect("JSON")
}

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tokenizers/ggml-vocab-qwen2.gguf");
    let file = std::fs::read(path).expect("a vocabulary");
    Tokenizer::from_gguf(&Gguf::parse(&file).expect("GGUF")).expect("a vocabulary")
});
