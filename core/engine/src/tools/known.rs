//! What templates do not show when they render calls: exceptions, each known by what a template says.

use super::literal::Notation;
use super::{Calls, Marked, Shape, Thinking};
use alloc::string::{String, ToString};

/// Marks of thoughts; a template that knows them has the second in it.
const THOUGHTS: [(&str, &str); 8] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    ("Here is my thought process:", "Here is my response:"),
];

pub(super) fn thinking(source: &str) -> Option<Thinking> {
    let (open, close) = THOUGHTS.into_iter().find(|(_, close)| source.contains(close))?;
    Some(Thinking { open: open.to_string(), close: close.to_string() })
}

/// Forms that are no calls between marks.
pub(super) fn before(source: &str) -> Option<Calls> {
    (source.contains("<|channel|>") && source.contains("<|message|>")).then_some(Calls::Harmony)
}

/// What models write beside what their templates show.
pub(super) fn beside(source: &str, mut marked: Marked) -> Marked {
    // Llama 3 begins calls with a token of its own, or with none, and several stand one behind the other.
    let is_object = matches!(marked.shape, Shape::Object { .. });
    if marked.open.is_empty() && marked.bare && is_object && source.contains("<|start_header_id|>") {
        (marked.open, marked.between) = ("<|python_tag|>".into(), ";".into());
    }
    marked
}

/// The calls of a template that shows none.
pub(super) fn without(source: &str) -> Marked {
    let object = Shape::default;
    let known = [
        // Granite 3: a token, and a list.
        ("<|tool_call|>", marks(["<|tool_call|>", "[", ",", "]"], object())),
        // SmolLM3 and others that say how in their prompt only.
        ("<tool_call>", Marked { head: "<tool_call>".into(), tail: "</tool_call>".into(), ..Marked::default() }),
        // Phi-4-mini.
        ("<|tool|>", marks(["<|tool_call|>", "[", ",", "]<|/tool_call|>"], object())),
        // LFM2: a list in Python.
        ("List of tools: ", marks(["<|tool_call_start|>", "[", ",", "]<|tool_call_end|>"], Shape::Python)),
        // DeepSeek's first, whose template fails for calls.
        ("<｜tool▁sep｜>", deepseek()),
        ("<|tool_calls_section_begin|>", kimi()),
        ("functools[", marks(["functools", "[", ",", "]"], object())),
        ("[TOOL_CALLS]", marks(["[TOOL_CALLS]", "[", ",", "]"], object())),
        // Gemma 2 and 3 write code.
        ("<start_of_turn>", marks(["```tool_code", "", "\n", "```"], Shape::Python)),
    ];
    let found = known.into_iter().find(|(said, _)| source.contains(said)).map(|(_, marked)| marked);
    found.unwrap_or_else(in_words)
}

/// The form in which a model is told in words to call tools: Hermes'. Models forget the tags, or fence the object off instead.
pub(super) fn in_words() -> Marked {
    let (head, tail) = ("<tool_call>".into(), "</tool_call>".into());
    Marked { bare: true, head, tail, ..marks(["```json", "", ",", "```"], Shape::default()) }
}

/// Calls between a mark and a list's bracket in front, separators, and marks behind.
fn marks([token, list, between, close]: [&str; 4], shape: Shape) -> Marked {
    Marked {
        open: [token, list].concat(),
        between: between.trim().into(),
        close: close.into(),
        shape,
        ..Marked::default()
    }
}

fn kimi() -> Marked {
    let between = [":", "<|tool_call_argument_begin|>"].map(String::from).to_vec();
    Marked {
        open: "<|tool_calls_section_begin|>".into(),
        head: "<|tool_call_begin|>functions.".into(),
        shape: Shape::Named { between, notation: Notation::Json },
        tail: "<|tool_call_end|>".into(),
        close: "<|tool_calls_section_end|>".into(),
        ..Marked::default()
    }
}

fn deepseek() -> Marked {
    Marked {
        open: "<｜tool▁calls▁begin｜>".into(),
        head: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>".into(),
        shape: Shape::Named { between: [String::from("```json")].into(), notation: Notation::Json },
        tail: "```<｜tool▁call▁end｜>".into(),
        close: "<｜tool▁calls▁end｜>".into(),
        ..Marked::default()
    }
}
