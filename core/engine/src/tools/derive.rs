//! How a chat template writes calls: seen in what it renders.
//!
//! ```text
//!   a text    <|assistant|>Zq plain text<|end|>
//!   one call  <|assistant|><call>zqfirst<sep>{"zqone": "zqtext", "zqtwo": 40917}</call><|end|>
//!   two calls <|assistant|><call>zqfirst<sep>{…}</call><call>zqsecond<sep>{"zqthree": "zqmore"}</call><|end|>
//!             └ as in a text┘     └─────── the shape, found by the names and values in it ┘            └ as in a text ┘
//! ```
//!
//! What stands around the first call, between both and behind the second has in common what belongs to each call.

use super::literal::{self, Notation};
use super::marks::{common_end, common_start, common_tags_at_end, common_tags_at_start};
use super::scan::Scan;
use super::{Calls, Fields, Form, Marked, Shape, known};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use picolm_core::text::{ChatTemplate, DateTime, Json, Message, RenderOptions};

/// A call whose parts are found again.
struct Sample {
    name: &'static str,
    arguments: &'static str,
    id: &'static str,
}

const FIRST: Sample = Sample { name: "zqfirst", arguments: r#"{"zqone":"zqtext","zqtwo":40917}"#, id: "zqid00001" };
const SECOND: Sample = Sample { name: "zqsecond", arguments: r#"{"zqthree":"zqmore"}"#, id: "zqid00002" };
/// The keys and values of the first, in order.
const PARTS: [&str; 4] = ["zqone", "zqtext", "zqtwo", "40917"];
const PLAIN: &str = "Zq plain text";
const THOUGHT: &str = "zqthought";

impl Form {
    /// How the model of this template writes calls and thoughts.
    pub fn of(template: &ChatTemplate) -> Self {
        let source = template.source();
        let thinking = known::thinking(source).or_else(|| thinking(template));
        let calls = match known::before(source) {
            Some(calls) => calls,
            None if template.calls_in_words() => Calls::Marked(Box::new(known::in_words())),
            None => match marked(template, thinking.as_ref().map_or("", |thinking| &thinking.close)) {
                Some(marked) => Calls::Marked(Box::new(known::beside(source, marked))),
                None => Calls::Marked(Box::new(known::without(source))),
            },
        };
        Form { calls, thinking, short_ids: source.contains("[TOOL_CALLS]") }
    }
}

/// The marks that a template shows: with arguments as an object or as a text, whichever it writes as JSON, beside an empty text or none.
fn marked(template: &ChatTemplate, thought: &str) -> Option<Marked> {
    let plain = render(template, Vec::new(), Json::from(PLAIN))?;
    for as_text in [false, true] {
        for content in [Json::from(""), Json::Null] {
            let calls = |samples: &[Sample]| {
                let calls = samples.iter().map(|sample| sample.to_json(as_text)).collect();
                render(template, [("tool_calls".into(), Json::List(calls))].into(), content.clone())
            };
            let Some(one) = calls(&[FIRST]) else { continue };
            if let Some(marked) = compare(&plain, &one, calls(&[FIRST, SECOND]).as_deref(), thought) {
                return Some(marked);
            }
        }
    }
    None
}

/// An answer to a question, with these fields.
fn render(template: &ChatTemplate, mut fields: Vec<(String, Json)>, content: Json) -> Option<String> {
    let text = if let Json::Text(text) = &content { text.clone() } else { String::new() };
    if content == Json::Null {
        fields.push(("content".into(), Json::Null));
    }
    let answer = Message { role: "assistant".into(), content: text, fields };
    let tools = [FIRST, SECOND].map(|sample| sample.tool());
    // Any time will do.
    let now = Some(DateTime::from_unix(0));
    let options = RenderOptions { tools: Some(Json::List(tools.into())), now, ..RenderOptions::default() };
    template.render_as_given(&[Message::new("user", "Zq question"), answer], &options).ok()
}

impl Sample {
    fn to_json(&self, as_text: bool) -> Json {
        let arguments = match Json::parse(self.arguments) {
            Ok(arguments) if !as_text => arguments,
            _ => Json::from(self.arguments),
        };
        let function = object([("name", self.name.into()), ("arguments", arguments)]);
        object([("id", self.id.into()), ("type", "function".into()), ("function", function)])
    }

    fn tool(&self) -> Json {
        let parameters = object([("type", "object".into()), ("properties", Json::Object(Vec::new()))]);
        let function = [("name", self.name.into()), ("description", "zq".into()), ("parameters", parameters)];
        object([("type", "function".into()), ("function", object(function))])
    }

    /// Whether a value is its arguments, as an object or as a text of JSON.
    fn are_arguments(&self, value: &Json) -> bool {
        let wanted = Json::parse(self.arguments).ok();
        match value {
            Json::Text(text) => Json::parse(text).ok() == wanted,
            value => Some(value) == wanted.as_ref(),
        }
    }
}

fn object<const N: usize>(pairs: [(&str, Json); N]) -> Json {
    Json::Object(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

/// The marks, by an answer that is a text, one that is a call, and perhaps one of two calls.
fn compare(plain: &str, one: &str, two: Option<&str>, thought: &str) -> Option<Marked> {
    let one = answer(plain, one, thought)?;
    let (first, shape) = find(one, &FIRST)?;
    let both = two.and_then(|two| {
        let two = answer(plain, two, thought)?;
        let (first, shape) = find(two, &FIRST)?;
        let (second, other) = find(&two[first.end..], &SECOND)?;
        let end = if let Shape::Fields(fields) = &shape { fields.end.len() } else { 0 };
        let second = first.end + second.start..first.end + second.end + end;
        (second.end <= two.len()).then_some((two, first, second, other))
    });
    let Some((two, first, second, other)) = both else {
        // One call at a time: several would follow each other.
        let (head, tail) = (one[..first.start].trim().to_string(), one[first.end..].trim().to_string());
        let bare = head.is_empty();
        return Some(Marked { head, tail, shape, bare, ..Marked::default() });
    };
    let (before, amid, after) = (&two[..first.start], &two[first.end..second.start], &two[second.end..]);
    let tail = common_tags_at_start(amid, after);
    let head = common_tags_at_end(&amid[tail.len()..], before);
    let between = &amid[tail.len()..amid.len() - head.len()];
    let (open, close) = (&before[..before.len() - head.len()], &after[tail.len()..]);
    let [open, head, tail, between, close] = [open, head, tail, between, close].map(|mark| mark.trim().to_string());
    let bare = !format!("{open}{head}").contains(char::is_alphabetic);
    Some(Marked { open, bare, head, shape: shape.both(other), tail, between, close })
}

/// What of a rendering the assistant wrote: what is not in the rendering of a text, without a thought in front.
fn answer<'a>(plain: &str, rendered: &'a str, thought: &str) -> Option<&'a str> {
    let (before, after) = plain.split_once(PLAIN)?;
    let rest = &rendered[common_tags_at_start(rendered, before).len()..];
    let rest = &rest[..rest.len() - common_tags_at_end(rest, after).len()];
    Some(rest.rfind(thought).filter(|_| !thought.is_empty()).map_or(rest, |at| &rest[at + thought.len()..]))
}

/// Where the name and arguments of a call stand, and in which shape.
fn find(text: &str, sample: &Sample) -> Option<(Range<usize>, Shape)> {
    let at = text.find(sample.name)?;
    let in_object = text[..at].rmatch_indices('{').find_map(|(start, _)| {
        let end = value_end(text, start, Notation::Json)?;
        let Json::Object(pairs) = Json::parse(&text[start..end]).ok()? else { return None };
        Some((start..end, of_object(&pairs, sample)?))
    });
    let behind = at + sample.name.len();
    in_object.or_else(|| {
        let (length, shape) = behind_name(&text[behind..], sample)?;
        Some((at..behind + length, shape))
    })
}

/// An object with the name and the arguments.
fn of_object(pairs: &[(String, Json)], sample: &Sample) -> Option<Shape> {
    let arguments = pairs.iter().find(|(_, value)| sample.are_arguments(value))?;
    if arguments.0 == sample.name {
        return Some(Shape::Keyed);
    }
    let name = pairs.iter().find(|(_, value)| *value == Json::from(sample.name))?;
    Some(Shape::Object { name: name.0.clone(), arguments: arguments.0.clone() })
}

/// What comes behind the name: how many bytes are arguments, and how they are written.
fn behind_name(text: &str, sample: &Sample) -> Option<(usize, Shape)> {
    if text.starts_with('(')
        && let Some(end) = value_end(text, 0, Notation::Python)
        && literal::arguments(&text[1..end - 1]).is_some_and(|found| sample.are_arguments(&found))
    {
        return Some((end, Shape::Python));
    }
    for notation in [Notation::Json, Notation::Gemma] {
        let found = text.match_indices('{').find_map(|(start, _)| {
            let end = value_end(text, start, notation)?;
            notation.read(&text[start..end]).filter(|found| sample.are_arguments(found)).map(|_| start..end)
        });
        if let Some(Range { start, end }) = found {
            let between = match text[..start].split_once(sample.id) {
                Some((before, after)) => [before, after].map(|mark| mark.trim().to_string()).to_vec(),
                None => [text[..start].trim().to_string()].to_vec(),
            };
            return Some((end, Shape::Named { between, notation }));
        }
    }
    fields(text, sample)
}

/// Arguments one by one.
fn fields(text: &str, sample: &Sample) -> Option<(usize, Shape)> {
    if sample.name != FIRST.name {
        // It has one argument, and the marks are known by the first call.
        let value = text.find("zqmore").filter(|_| text.contains("zqthree"))?;
        return Some((value + "zqmore".len(), Shape::default()));
    }
    let mut places = [0; 4];
    let mut at = 0;
    for (place, part) in places.iter_mut().zip(PARTS) {
        *place = at + text[at..].find(part)?;
        at = *place + part.len();
    }
    let gap = |i: usize| &text[places[i] + PARTS[i].len()..places[i + 1]];
    let (behind, last) = (&text[..places[0]], &text[at..]);
    let end = common_tags_at_start(gap(1), last);
    let key = common_tags_at_end(behind, &gap(1)[end.len()..]);
    let value = match (gap(0), gap(2)) {
        (texts, others) if texts == others => [texts.to_string()].to_vec(),
        (texts, others) => {
            let start = common_start(texts, others);
            let start = texts[..start].rfind(['"', '=', '>']).map_or(0, |quote| quote + 1);
            let stop = common_end(&texts[start..], &others[start..]);
            let stop = texts[texts.len() - stop..].find(['"', '<']).map_or(0, |quote| stop - quote);
            let said = |gap: &str| gap[start..gap.len() - stop].trim().to_string();
            if (said(texts).as_str(), said(others).as_str()) != ("true", "false") {
                return None;
            }
            [texts[..start].to_string(), texts[texts.len() - stop..].to_string()].to_vec()
        }
    };
    let marks = [key, end].into_iter().chain(value.iter().map(String::as_str));
    if marks.into_iter().any(|mark| mark.trim().is_empty()) {
        return None;
    }
    let fields = Fields {
        after: behind[..behind.len() - key.len()].trim().to_string(),
        key: key.trim().to_string(),
        value,
        end: end.to_string(),
    };
    Some((at + fields.end.len(), Shape::Fields(fields)))
}

impl Shape {
    /// What two calls have in common: what differs between the marks behind their names is no mark.
    fn both(self, other: Shape) -> Shape {
        match (self, other) {
            (Shape::Named { between: a, notation }, Shape::Named { between: b, .. }) if a.len() == 1 && a != b => {
                let (a, b) = (&a[0], b.first().map_or("", String::as_str));
                let start = common_start(a, b);
                let end = common_end(&a[start..], &b[start..]);
                let between = [&a[..start], &a[a.len() - end..]].map(|mark| mark.trim().to_string()).to_vec();
                Shape::Named { between, notation }
            }
            (shape, _) => shape,
        }
    }
}

/// The end of the value that starts there.
fn value_end(text: &str, start: usize, notation: Notation) -> Option<usize> {
    let mut at = start;
    Scan::default().go_on(text, &mut at, notation).then_some(at)
}

/// The marks around a thought, if the template writes one.
fn thinking(template: &ChatTemplate) -> Option<super::Thinking> {
    let rendered = render(template, [("reasoning_content".into(), THOUGHT.into())].into(), Json::from(PLAIN))?;
    let (before, after) = rendered.split_once(THOUGHT)?;
    let (close, _) = after.split_once(PLAIN)?;
    let (before, close) = (before.trim(), close.trim());
    let open = &before[before.rfind(['<', '['])?..];
    let is_tag = |mark: &str| mark.len() > 2 && mark.len() < 64 && mark.ends_with(['>', ']']);
    let thinking = super::Thinking { open: open.to_string(), close: close.to_string() };
    (is_tag(open) && is_tag(close)).then_some(thinking)
}
