//! The grammar of calls, in Lark: what a model that has begun a call may write.
//!
//! ```text
//!   <tool_call>│ {"name": "f", "arguments": {…}} </tool_call> <tool_call> … </tool_call>
//!      mark    │ call                            tail    between head …
//! ```
//!
//! Marks that the vocabulary has as tokens of structure are those tokens. Arguments are JSON that fits the tool's schema; where a form writes
//! them one by one, each fits its part of it.

use super::harmony;
use super::literal::Notation;
use super::tool::{Tools, get};
use super::{Calls, Fields, Form, Marked, Shape};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use picolm_core::text::{Encode, Json, Tokenizer};

/// What an answer keeps to from where a call begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// a grammar in Lark
    pub(crate) grammar: String,
    /// What calls begin with, and the grammar does not: it is waited for. Empty: the grammar is that of a whole answer,
    pub(crate) mark: String,
    /// and does it hold from the beginning, or only once a tool is named? What begins so may be an answer, too.
    pub(crate) is_sure: bool,
}

impl Form {
    /// The rules of up to `most` calls of these tools, or of the one with the name `only`. `must`: the answer is calls and nothing else;
    /// `otherwise`: calls, or a value that fits this schema. Nothing where there is no grammar of such calls: they are read, and not enforced.
    pub(crate) fn rules(
        &self,
        tools: &Tools,
        only: Option<&str>,
        (most, must): (usize, bool),
        otherwise: Option<&str>,
        tokenizer: &Tokenizer,
    ) -> Option<Rules> {
        let (lark, tools) = (Lark { tokenizer, texts: Vec::new() }, tools.of(only));
        let is_sure = must || otherwise.is_some();
        let (mark, grammar) = match &self.calls {
            Calls::Marked(marked) => {
                let mark = if is_sure || marked.bare { "" } else { marked.trigger() };
                (mark, lark.marked(marked, tools, mark, (most, otherwise))?)
            }
            Calls::Harmony => (if is_sure { "" } else { harmony::TO }, lark.harmony(tools, is_sure, otherwise)),
        };
        Some(Rules { grammar, is_sure: is_sure || !mark.is_empty(), mark: mark.to_owned() })
    }
}

/// A grammar in the making.
struct Lark<'t> {
    tokenizer: &'t Tokenizer,
    /// the rules of texts, without their names
    texts: Vec<String>,
}

impl Lark<'_> {
    /// Calls between marks, of which the first has begun with `mark`.
    fn marked(
        mut self,
        marked: &Marked,
        tools: Vec<(&str, &Json)>,
        mark: &str,
        (most, otherwise): (usize, Option<&str>),
    ) -> Option<String> {
        let Marked { open, bare, head, shape, tail, between, close } = marked;
        let may_lack_tags = marked.may_lack_tags();
        let body = |(name, schema): (&str, &Json)| self.body(shape, name, schema);
        let bodies = tools.into_iter().map(body).collect::<Option<Vec<_>>>()?;
        // What is left of the marks in front of the first call.
        let (open, first) = match open.is_empty() {
            true => ("", head.strip_prefix(mark)?),
            false => (open.strip_prefix(mark)?, head.as_str()),
        };
        let [open, first, head, tail, between, close] =
            [open, first, head, tail, between, close].map(|mark| self.mark(mark));
        // Models leave out marks without which an answer may begin with a call.
        let or_none = |mark: String, may: bool| if may && !mark.is_empty() { format!("({mark})?") } else { mark };
        let (open, close) = (or_none(open, *bare), or_none(close, *bare));
        let [first, head, tail, between] = [first, head, tail, between].map(|mark| or_none(mark, may_lack_tags));
        let more =
            if most == 1 { String::new() } else { format!("({})*", row(&["ws", &between, &head, "body", &tail])) };
        let start = row(&["ws", &open, &first, "body", &tail, &more, &close]);
        let answer = otherwise.map(|schema| format!("%json {schema}"));
        Some(self.grammar(&start, &bodies, answer.as_deref()))
    }

    /// One call as a message to a tool, behind the beginning of its recipient. `must`: all of the answer, which may think before.
    fn harmony(mut self, tools: Vec<(&str, &Json)>, must: bool, otherwise: Option<&str>) -> String {
        let [channel, message, constrain] = ["<|channel|>", "<|message|>", "<|constrain|>"].map(|mark| self.mark(mark));
        // The channel stands in front of the recipient or behind it.
        let channel_behind = format!("({})?", row(&[&channel, "\"commentary\""]));
        let json = format!("({constrain} \"json\" | \" json\")?");
        let body = |(name, schema): (&str, &Json)| {
            let head = row(&[&written(name), &channel_behind, &json, &message]);
            format!("{head} ws %json {}", arguments(schema))
        };
        let bodies: Vec<_> = tools.into_iter().map(body).collect();
        let to = written(&format!(" {}", harmony::TO));
        let start = match must {
            false => "body".to_owned(),
            true => {
                let thought = self.up_to("<|end|>");
                let before = self.mark("<|start|>assistant");
                let thought = format!("({channel} \"analysis\" {message} {thought} {before})?");
                format!("{thought} {channel} \"commentary\" {to} body")
            }
        };
        let answer = otherwise.map(|schema| format!("{channel} \"final\" {message} %json {schema}"));
        self.grammar(&start, &bodies, answer.as_deref())
    }

    /// The grammar of calls, and of what `body` is in them; or of an answer that is none.
    fn grammar(&self, calls: &str, bodies: &[String], answer: Option<&str>) -> String {
        let mut rules = match answer {
            None => format!("%llguidance {{}}\nstart: {calls}\n"),
            Some(answer) => format!("%llguidance {{}}\nstart: calls | answer\ncalls: {calls}\nanswer: {answer}\n"),
        };
        let names: Vec<_> = (0..bodies.len()).map(|i| format!("body_{i}")).collect();
        rules += &format!("body: {}\n", names.join(" | "));
        names.iter().zip(bodies).for_each(|(name, body)| rules += &format!("{name}: {body}\n"));
        self.texts.iter().enumerate().for_each(|(i, text)| rules += &format!("text_{i}{text}\n"));
        rules + "ws: WS?\nWS: /[ \\n]{1,4}/\n"
    }

    /// A call between its marks.
    fn body(&mut self, shape: &Shape, name: &str, schema: &Json) -> Option<String> {
        let quoted = |text: &str| written(&written(text));
        let arguments = arguments(schema);
        Some(match shape {
            Shape::Object { name: key, arguments: field } => format!(
                "\"{{\" ws {} ws \":\" ws {} ws \",\" ws {} ws \":\" ws %json {arguments} ws \"}}\"",
                quoted(key),
                quoted(name),
                quoted(field)
            ),
            Shape::Keyed => format!("\"{{\" ws {} ws \":\" ws %json {arguments} ws \"}}\"", quoted(name)),
            Shape::Named { between, notation: Notation::Json } => {
                let marks = match &between[..] {
                    [mark] => self.mark(mark),
                    [id, mark] if !id.is_empty() => {
                        format!("({} ws /[A-Za-z0-9_\\-]{{1,40}}/ ws)? {}", self.mark(id), self.mark(mark))
                    }
                    _ => return None,
                };
                row(&[&written(name), &marks, &format!("%json {arguments}")])
            }
            Shape::Named { .. } => return None,
            Shape::Fields(fields) => self.fields(fields, name, schema)?,
            Shape::Python => self.python(name, schema)?,
        })
    }

    /// Arguments between marks, one by one.
    fn fields(&mut self, fields: &Fields, name: &str, schema: &Json) -> Option<String> {
        let Fields { after, key, value, end } = fields;
        let (after, key, last) = (self.mark(after), self.mark(key), self.mark(end.trim()));
        // White space within these marks belongs to the value, but for the line breaks that the form has there.
        let line = |has: bool| if has { "\"\\n\"" } else { "" };
        let (begin, stop) = (line(value.last()?.ends_with('\n')), line(end.starts_with('\n')));
        let text_end = if stop.is_empty() { end.trim() } else { end.trim_end() };
        let mut body = row(&[&written(name), &after]);
        for (property, part, required) in properties(schema)? {
            let is_text = get(&part, "type").is_none_or(|kind| *kind == Json::from("string"));
            let said = if is_text { "\"true\"" } else { "\"false\"" };
            let [before, behind] = [value.first()?, value.last()?].map(|mark| self.exactly(mark.trim()));
            let word = if value.len() == 1 { before } else { format!("{before} {said} {behind}") };
            let value = match is_text {
                true => match texts(&part)? {
                    Texts::These(texts) => format!("({}) {stop} {last}", texts.join(" | ")),
                    Texts::Any(length) => self.text(length, text_end),
                },
                false => format!("ws %json {part} ws {last}"),
            };
            let field = format!("ws {} {begin} {value}", row(&[&key, &written(&property), &word]));
            body += &if required { format!(" {field}") } else { format!(" ({field})?") };
        }
        Some(body)
    }

    /// A call in Python: JSON is one of its notations, but for what is true and false.
    fn python(&self, name: &str, schema: &Json) -> Option<String> {
        let list = properties(schema)?;
        let argument = |property: &str, part: &Json| {
            let value = match get(part, "type") {
                Some(kind) if *kind == Json::from("boolean") => "(\"True\" | \"False\")".to_owned(),
                _ => format!("%json {part}"),
            };
            format!("{} ws \"=\" ws {value}", written(property))
        };
        // What may be left out comes behind what may not, so that commas are known.
        let (required, others): (Vec<_>, Vec<_>) = list.into_iter().partition(|(_, _, required)| *required);
        let required: Vec<_> = required.iter().map(|(property, part, _)| argument(property, part)).collect();
        let others: Vec<_> = others.iter().map(|(property, part, _)| argument(property, part)).collect();
        let more =
            |others: &[String]| others.iter().map(|other| format!(" (ws \",\" ws {other})?")).collect::<String>();
        // Any of them may be the first, where none has to come.
        let from = |i: usize| format!("{}{}", others[i], more(&others[i + 1..]));
        let inside = match (required.is_empty(), others.len()) {
            (false, _) => format!("{}{}", required.join(" ws \",\" ws "), more(&others)),
            (true, 0) => String::new(),
            (true, n) => format!("({})?", (0..n).map(from).collect::<Vec<_>>().join(" | ")),
        };
        Some(row(&[&written(name), "\"(\"", &inside, "\")\""]))
    }

    /// Any text up to a mark, which it takes.
    fn up_to(&mut self, mark: &str) -> String {
        match &self.parts(mark, |_| Vec::new())[..] {
            [structure] => format!("/(?s:.*)/ {structure}"),
            _ => self.text("*".to_owned(), mark),
        }
    }

    /// A text of so many characters up to `end`, which it takes.
    fn text(&mut self, length: String, end: &str) -> String {
        let rule = format!("[suffix={}]: /(?s:.{length})/", Json::from(end));
        let at = self.texts.iter().position(|other| *other == rule).unwrap_or_else(|| {
            self.texts.push(rule);
            self.texts.len() - 1
        });
        format!("text_{at}")
    }

    /// A mark, with white space or none between its words.
    fn mark(&self, mark: &str) -> String {
        self.parts(mark, |text| text.split_whitespace().map(written).collect()).join(" ws ")
    }

    /// A mark with the white space that it has.
    fn exactly(&self, mark: &str) -> String {
        self.parts(mark, |text| [written(text)].into_iter().filter(|_| !text.is_empty()).collect()).join(" ")
    }

    /// Tokens of structure by their ids, and what is made of the texts between them.
    fn parts(&self, mark: &str, of_text: impl Fn(&str) -> Vec<String>) -> Vec<String> {
        let (mut parts, mut rest) = (Vec::new(), mark);
        for id in self.tokenizer.encode(mark, Encode { special: true, ..Encode::TEXT }) {
            let name = core::str::from_utf8(self.tokenizer.token_bytes(id)).unwrap_or_default();
            if self.tokenizer.is_special(id)
                && let Some((before, after)) = rest.split_once(name).filter(|_| !name.is_empty())
            {
                parts.extend(of_text(before));
                parts.push(format!("<[{id}]>"));
                rest = after;
            }
        }
        parts.extend(of_text(rest));
        parts
    }
}

/// The schema of arguments.
fn arguments(schema: &Json) -> String {
    match schema {
        Json::Null => "{\"type\": \"object\"}".to_owned(),
        schema => schema.to_string(),
    }
}

/// A text between quotation marks, as Lark and JSON have it.
fn written(text: &str) -> String {
    Json::from(text).to_string()
}

/// Parts one behind the other, with white space or none between; empty ones are left out.
fn row(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ws ")
}

/// What texts may be.
enum Texts {
    These(Vec<String>),
    /// as many characters as a regular expression says: `{2,5}`, `*`
    Any(String),
}

/// The texts that fit a schema; nothing if it says more than how long they are, or which.
fn texts(schema: &Json) -> Option<Texts> {
    let Json::Object(keywords) = schema else { return None };
    let (mut least, mut most, mut these) = (0, None, None);
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("type" | "title" | "description" | "default" | "examples" | "$defs" | "definitions", _) => {}
            ("minLength", Json::Int(n)) => least = *n,
            ("maxLength", Json::Int(n)) => most = Some(*n),
            ("const", text @ Json::Text(_)) => these = Some(Vec::from([text.to_string()])),
            ("enum", Json::List(list)) if !list.is_empty() => {
                let text = |value: &Json| matches!(value, Json::Text(_)).then(|| value.to_string());
                these = Some(list.iter().map(text).collect::<Option<_>>()?);
            }
            _ => return None,
        }
    }
    match (these, least, most) {
        (Some(these), 0, None) => Some(Texts::These(these)),
        (Some(_), ..) => None,
        (None, 0, None) => Some(Texts::Any("*".to_owned())),
        (None, least, most) => {
            Some(Texts::Any(format!("{{{least},{}}}", most.map_or(String::new(), |n| n.to_string()))))
        }
    }
}

/// The keywords of a schema whose properties can be written one by one.
const KEYWORDS: [&str; 10] = [
    "$defs",
    "$schema",
    "additionalProperties",
    "definitions",
    "description",
    "examples",
    "properties",
    "required",
    "title",
    "type",
];

/// The properties of a schema in its order, each with its schema, and whether it has to be there; nothing if it says more than that.
fn properties(schema: &Json) -> Option<Vec<(String, Json, bool)>> {
    let Json::Object(keywords) = schema else { return (*schema == Json::Null).then(Vec::new) };
    if keywords.iter().any(|(keyword, _)| !KEYWORDS.contains(&keyword.as_str())) {
        return None;
    }
    let required = match get(schema, "required") {
        Some(Json::List(list)) => list.as_slice(),
        None => &[],
        Some(_) => return None,
    };
    // References go through the whole schema.
    let places =
        || keywords.iter().filter(|(keyword, _)| ["$defs", "definitions"].contains(&keyword.as_str())).cloned();
    let Some(Json::Object(list)) = get(schema, "properties") else { return required.is_empty().then(Vec::new) };
    let is_listed = |name: &Json| list.iter().any(|(property, _)| Json::from(property.as_str()) == *name);
    if !required.iter().all(is_listed) {
        return None;
    }
    let part = |(property, part): &(String, Json)| {
        let part = match part {
            Json::Object(pairs) => Json::Object(pairs.iter().cloned().chain(places()).collect()),
            Json::Bool(true) => Json::Object(Vec::new()),
            _ => return None,
        };
        Some((property.clone(), part, required.contains(&Json::from(property.as_str()))))
    };
    list.iter().map(part).collect()
}
