//! Harmony, the form of gpt-oss: an answer is messages, each with a channel, and with a recipient if it is a call.
//!
//! ```text
//!   <|channel|>analysis<|message|>a thought<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>
//! ```

use super::marks::longest_start;
use super::tool::Tools;
use alloc::string::{String, ToString};
use picolm_core::text::Json;

/// Tokens of structure that have to be read.
pub(super) const MARKS: [&str; 7] =
    ["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"];

const START: &str = "<|start|>assistant";
const MESSAGE: &str = "<|message|>";

/// What a tool is called by, in the head of a message.
pub(super) const TO: &str = "to=functions.";

/// What ends a message.
const ENDS: [&str; 5] = ["<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>"];

/// Longest head of a message.
const MAX_HEAD: usize = 512;

/// Where in an answer a text is.
#[derive(Debug, Clone, Default)]
pub(super) struct Harmony {
    within: Within,
    /// how much of a call's text is looked through
    at: usize,
}

#[derive(Debug, Clone, Default)]
enum Within {
    #[default]
    Head,
    Text,
    Thought,
    Call(String),
}

/// What comes next in a text, and how many bytes it takes.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Text(usize),
    Thought(usize),
    Mark(usize),
    Call(usize, String, Json),
}

impl Harmony {
    /// Whether a text is the head of a message.
    pub(super) fn is_head(&self) -> bool {
        matches!(self.within, Within::Head)
    }

    /// Looks at what comes next; what is found is taken by the caller, but for nothing.
    pub(super) fn go_on(&mut self, text: &str, ended: bool, tools: &Tools) -> Found {
        match &self.within {
            Within::Head => self.head(text, ended, tools),
            Within::Call(name) => {
                let Some(end) = end_from(text, self.at) else {
                    if !ended {
                        self.at = text.len() - held(text);
                        return Found::Nothing;
                    }
                    return call(name, text).unwrap_or(Found::Text(text.len()));
                };
                let found = call(name, &text[..end]).unwrap_or(Found::Text(end));
                (self.within, self.at) = (Within::Head, 0);
                found
            }
            Within::Text | Within::Thought => {
                let thinks = matches!(self.within, Within::Thought);
                let told = |bytes| if thinks { Found::Thought(bytes) } else { Found::Text(bytes) };
                match end_from(text, 0) {
                    Some(0) => {
                        self.within = Within::Head;
                        Found::Mark(0)
                    }
                    Some(end) if thinks && text[..end].trim().is_empty() => {
                        self.within = Within::Head;
                        Found::Mark(end)
                    }
                    Some(end) => told(end),
                    None => match text.len() - held(text) {
                        0 => Found::Nothing,
                        bytes if thinks && text[..bytes].trim().is_empty() => Found::Nothing,
                        bytes => told(bytes),
                    },
                }
            }
        }
    }

    /// The head of a message, or the end of the one before.
    fn head(&mut self, text: &str, ended: bool, tools: &Tools) -> Found {
        let ends = ["<|end|>", "<|call|>", "<|return|>", START, "<|start|>"];
        if !ended && MARKS.iter().chain([&START]).any(|mark| mark.len() > text.len() && mark.starts_with(text)) {
            return Found::Nothing;
        }
        if let Some(mark) = ends.into_iter().find(|mark| text.starts_with(mark)) {
            return Found::Mark(mark.len());
        }
        if !text.starts_with("<|") && !" to=".starts_with(text) && !text.starts_with(" to=") {
            // No head at all: a model that has lost its form.
            self.within = Within::Text;
            return Found::Mark(0);
        }
        let Some(end) = text.find(MESSAGE) else {
            if ended || text.len() > MAX_HEAD {
                self.within = Within::Text;
                return Found::Text(text.chars().take(2).map(char::len_utf8).sum());
            }
            return Found::Nothing;
        };
        let head = &text[..end];
        let word = |from: &str| {
            let rest = &head[head.find(from)? + from.len()..];
            rest.split(|c: char| c.is_whitespace() || c == '<').next()
        };
        let called =
            word("to=").map(|name| name.strip_prefix("functions.").unwrap_or(name)).filter(|name| tools.has(name));
        self.within = match (called, word("<|channel|>")) {
            (Some(name), _) => Within::Call(name.to_string()),
            (None, Some("analysis")) => Within::Thought,
            _ => Within::Text,
        };
        Found::Mark(end + MESSAGE.len())
    }
}

/// A call with that text.
fn call(name: &str, text: &str) -> Option<Found> {
    let arguments = Json::parse(text).ok()?;
    matches!(arguments, Json::Object(_)).then(|| Found::Call(text.len(), name.to_string(), arguments))
}

/// Where a message ends, looked for from `at`.
fn end_from(text: &str, at: usize) -> Option<usize> {
    ENDS.iter().filter_map(|mark| text[at..].find(mark)).min().map(|end| at + end)
}

/// Bytes at the end of a text that may become the end of a message.
fn held(text: &str) -> usize {
    ENDS.iter().map(|mark| longest_start(text, mark)).max().unwrap_or(0)
}
