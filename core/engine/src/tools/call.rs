//! One call, read as its text comes.

use super::literal::{self, Notation};
use super::marks::{Begins, begins};
use super::scan::Scan;
use super::tool::{Tools, get, is_of_name};
use super::{Fields, Shape};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use picolm_core::text::Json;

/// What is known of a call so far.
#[derive(Debug, PartialEq)]
pub(super) enum Progress {
    /// It may be one.
    Maybe,
    /// It is: of this tool, with these arguments.
    Call(String, Json),
    /// It is none.
    None,
}

/// A call on its way. Every byte is looked at once, but for a few at the end of a piece.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    state: State,
    name: String,
    /// where the value that is being read starts
    start: usize,
    arguments: Vec<(String, Json)>,
}

#[derive(Debug, Clone)]
enum State {
    /// in front of an object with name and arguments, and within its first key
    Object,
    /// within a value
    Value(Scan),
    Name,
    /// in front of a mark behind the name; how much has been skipped since the one before, if that is allowed
    Marks(usize, Option<usize>),
    /// in front of a value behind the name
    Bracket,
    /// in front of fields, and between two of them
    After,
    Between,
    /// within a key
    Key,
    /// within the value of this key: whether it says to be a text
    Field(String, Option<bool>),
}

/// Longest key of an argument, longest name, most bytes between two marks.
const MAX_WORD: usize = 256;

/// Keys that an object with a call may begin with, beside its own.
const FIRST_KEYS: [&str; 4] = ["id", "type", "function", "tool_call_id"];

impl Reading {
    pub(super) fn new(shape: &Shape) -> Self {
        let state = match shape {
            Shape::Object { .. } | Shape::Keyed => State::Object,
            Shape::Named { .. } | Shape::Fields(_) | Shape::Python => State::Name,
        };
        Reading { state, name: String::new(), start: 0, arguments: Vec::new() }
    }

    /// Whether its name has come, where that stands in front of the arguments.
    pub(super) fn has_name(&self) -> bool {
        !self.name.is_empty()
    }

    /// Whether a call of that shape can begin so.
    pub(super) fn can_begin(shape: &Shape, text: &str) -> bool {
        match shape {
            Shape::Object { .. } | Shape::Keyed => text.starts_with('{'),
            Shape::Named { .. } | Shape::Fields(_) | Shape::Python => text.starts_with(is_of_name),
        }
    }

    /// Reads on from `at`, which becomes the place up to which the text is read. `ended`: no more will come.
    pub(super) fn go_on(&mut self, text: &str, at: &mut usize, ended: bool, shape: &Shape, tools: &Tools) -> Progress {
        loop {
            if let Some(progress) = self.step(text, at, ended, shape, tools) {
                return progress;
            }
        }
    }

    /// One step; what is known then, if there is no other to follow.
    fn step(&mut self, text: &str, at: &mut usize, ended: bool, shape: &Shape, tools: &Tools) -> Option<Progress> {
        if !matches!(self.state, State::Value(_) | State::Key | State::Field(..)) {
            *at += text[*at..].len() - text[*at..].trim_start().len();
            if text[*at..].is_empty() {
                return Some(Progress::Maybe);
            }
        }
        let rest = &text[*at..];
        match (&mut self.state, shape) {
            (State::Object, _) => {
                self.start = *at;
                match first_key(rest) {
                    None => Some(Progress::Maybe),
                    Some(Some((key, true))) if is_first_key(shape, tools, key, true) => {
                        self.state = State::Value(Scan::default());
                        None
                    }
                    Some(Some((key, false))) if is_first_key(shape, tools, key, false) => Some(Progress::Maybe),
                    Some(_) => Some(Progress::None),
                }
            }
            (State::Value(scan), _) => {
                let notation = notation(shape);
                if !scan.go_on(text, at, notation) {
                    return Some(Progress::Maybe);
                }
                Some(self.value(&text[self.start..*at], shape, tools))
            }
            (State::Name, _) => {
                let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
                if end > MAX_WORD || (end < rest.len() && !tools.has(&rest[..end])) {
                    return Some(Progress::None);
                }
                if end == rest.len() {
                    return Some(Progress::Maybe);
                }
                (self.name, *at) = (rest[..end].to_string(), *at + end);
                self.state = if matches!(shape, Shape::Fields(_)) { State::After } else { State::Marks(0, None) };
                None
            }
            (State::Marks(next, gap), Shape::Named { between, .. }) => {
                let Some(mark) = between.get(*next) else {
                    self.state = State::Bracket;
                    return None;
                };
                match begins(rest, mark) {
                    Begins::Whole(bytes) => {
                        *at += bytes;
                        self.state = State::Marks(*next + 1, (*next + 1 < between.len()).then_some(0));
                        None
                    }
                    Begins::Part => Some(Progress::Maybe),
                    Begins::No => match gap {
                        Some(skipped) if *skipped < MAX_WORD => {
                            *skipped += 1;
                            *at += rest.chars().next()?.len_utf8();
                            None
                        }
                        // What stands in a gap, an id, may be left out with the mark in front of it.
                        None if between.get(*next + 1).is_some_and(|mark| begins(rest, mark) != Begins::No) => {
                            self.state = State::Marks(*next + 1, None);
                            None
                        }
                        _ => Some(Progress::None),
                    },
                }
            }
            (State::Marks(..), _) if rest.starts_with('(') => {
                self.start = *at;
                self.state = State::Value(Scan::default());
                None
            }
            (State::Bracket, _) if rest.starts_with('{') => {
                self.start = *at;
                self.state = State::Value(Scan::default());
                None
            }
            (_, Shape::Fields(fields)) => self.field(text, at, ended, fields, tools),
            _ => Some(Progress::None),
        }
    }

    /// A value that has come to its end.
    fn value(&self, text: &str, shape: &Shape, tools: &Tools) -> Progress {
        let call = match shape {
            Shape::Object { name, arguments } => {
                Json::parse(text).ok().and_then(|call| of_object(&call, name, arguments))
            }
            Shape::Keyed => Json::parse(text).ok().and_then(|call| match call {
                Json::Object(mut pairs) if pairs.len() == 1 => pairs.pop(),
                _ => None,
            }),
            Shape::Python => text
                .strip_prefix('(')
                .and_then(|text| text.strip_suffix(')'))
                .and_then(literal::arguments)
                .map(|arguments| (self.name.clone(), arguments)),
            _ => notation(shape).read(text).map(|arguments| (self.name.clone(), arguments)),
        };
        match call {
            Some((name, arguments @ Json::Object(_))) if tools.has(&name) => Progress::Call(name, arguments),
            _ => Progress::None,
        }
    }

    /// Arguments one by one.
    fn field(&mut self, text: &str, at: &mut usize, ended: bool, fields: &Fields, tools: &Tools) -> Option<Progress> {
        let rest = &text[*at..];
        match &mut self.state {
            State::After => match begins(rest, &fields.after) {
                Begins::Whole(bytes) => (*at, self.state) = (*at + bytes, State::Between),
                Begins::Part => return Some(Progress::Maybe),
                Begins::No => return Some(Progress::None),
            },
            State::Between => match begins(rest, &fields.key) {
                Begins::Whole(bytes) => (*at, self.state) = (*at + bytes, State::Key),
                Begins::Part if !ended => return Some(Progress::Maybe),
                Begins::Part => return Some(Progress::None),
                // What has to come then is looked at by whoever reads on.
                Begins::No => {
                    let arguments = Json::Object(core::mem::take(&mut self.arguments));
                    return Some(Progress::Call(core::mem::take(&mut self.name), arguments));
                }
            },
            State::Key => {
                let (first, last) = (fields.value.first()?.trim(), fields.value.last()?.trim());
                let Some(end) = rest.find(first) else { return Some(short(rest)) };
                let key = rest[..end].trim().to_string();
                let mut behind = end + first.len();
                let mut is_text = tools.is_text(&self.name, &key);
                if fields.value.len() > 1 {
                    let gap = &rest[behind..];
                    let Some(length) = gap.find(last) else { return Some(short(rest)) };
                    is_text = Some(gap[..length].trim() == "true");
                    behind += length + last.len();
                }
                *at += behind;
                self.start = *at;
                self.state = State::Field(key, is_text);
            }
            State::Field(key, is_text) => {
                let end = fields.end.trim();
                let Some(length) = rest.find(end) else {
                    // Its beginning may be there.
                    *at = text.len() - super::marks::longest_start(rest, end);
                    return Some(Progress::Maybe);
                };
                let mut value = &text[self.start..*at + length];
                if fields.value.last().is_some_and(|mark| mark.ends_with('\n')) {
                    value = value.strip_prefix('\n').unwrap_or(value);
                }
                if fields.end.starts_with('\n') {
                    value = value.strip_suffix('\n').unwrap_or(value);
                }
                let value = match (is_text, value) {
                    (Some(true), text) => Json::from(text),
                    (_, "None") => Json::Null,
                    (_, "True") => Json::Bool(true),
                    (_, "False") => Json::Bool(false),
                    (_, text) => Json::parse(text)
                        .ok()
                        // Some templates write lists and objects as Python does.
                        .or_else(|| Notation::Python.read(text).filter(|_| text.starts_with(['{', '['])))
                        .unwrap_or(Json::from(text)),
                };
                self.arguments.push((core::mem::take(key), value));
                (*at, self.state) = (*at + length + end.len(), State::Between);
            }
            _ => return Some(Progress::None),
        }
        None
    }
}

/// How the value of a shape is written.
fn notation(shape: &Shape) -> Notation {
    match shape {
        Shape::Named { notation, .. } => *notation,
        Shape::Python => Notation::Python,
        _ => Notation::Json,
    }
}

/// While a word is not at its end.
fn short(word: &str) -> Progress {
    if word.len() > MAX_WORD { Progress::None } else { Progress::Maybe }
}

/// The first key of an object so far, and whether it is whole; none within if the text is not the beginning of an object, and none
/// if there is no key yet.
fn first_key(text: &str) -> Option<Option<(&str, bool)>> {
    let Some(inside) = text.strip_prefix('{') else { return Some(None) };
    let key = inside.trim_start();
    if key.is_empty() && inside.len() < MAX_WORD {
        return None;
    }
    let Some(key) = key.strip_prefix('"') else { return Some(None) };
    Some(Some(key.find('"').map_or((key, false), |end| (&key[..end], true))))
}

fn is_first_key(shape: &Shape, tools: &Tools, key: &str, whole: bool) -> bool {
    let is = |wanted: &str| if whole { wanted == key } else { wanted.starts_with(key) };
    match shape {
        Shape::Object { name, arguments } => [name.as_str(), arguments].into_iter().chain(FIRST_KEYS).any(is),
        _ => tools.names().any(is),
    }
}

/// The name and the arguments in an object; models write `arguments` and `parameters` as they like, and sometimes as a text of JSON.
fn of_object(call: &Json, name: &str, arguments: &str) -> Option<(String, Json)> {
    let call = get(call, "function").filter(|function| matches!(function, Json::Object(_))).unwrap_or(call);
    let Json::Text(name) = get(call, name)? else { return None };
    let found = [arguments, "arguments", "parameters"].into_iter().find_map(|field| get(call, field));
    let arguments = match found {
        None | Some(Json::Null) => Json::Object(Vec::new()),
        Some(Json::Text(text)) => Json::parse(text).ok()?,
        Some(value) => value.clone(),
    };
    Some((name.clone(), arguments))
}
