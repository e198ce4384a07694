//! What a template takes differs, and nothing says so: it is found out once by rendering short conversations with markers in them.
//!
//! | what | as OpenAI has it | for templates that read it otherwise |
//! |---|---|---|
//! | content | a text | a list of one part, `{"type": "text", "text": …}` |
//! | content of an assistant that calls tools and says nothing | null | an empty text |
//! | arguments of a call | JSON in a text | an object |
//! | calls of tools | `tool_calls` | behind the content: `<tool_call>`, a line `{"name": …, "arguments": …}`, `</tool_call>` |
//! | results of tools | a message of the role `tool` | in a message of the user: `<tool_response>`, the content, `</tool_response>`, each on lines of its own |
//! | tools | `tools`, a list | in the message of the system, or of the user where there is none: what they are and, unless calls are read, how to call them |
//!
//! The last three are for templates that know no tools; the form is that of Hermes and Qwen, as most models have seen it. Results that follow each
//! other, and what the user says next, are one message, since such templates often want roles to take turns.

use super::{ChatError, DateTime, Json, Message, RenderOptions, Template};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The form in which a template reads messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    content: Content,
    calls: Calls,
    /// whether messages of tools are read
    results: bool,
    /// whether tools are shown
    tools: bool,
    /// whether a message of the system is read
    system: bool,
}

/// How a template takes `content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Text,
    Parts,
    /// not at all: what is said is lost
    Nowhere,
}

/// How a template takes `tool_calls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// It is not known: as they are.
    AsGiven,
    /// `null`: the content beside them is null if it is empty. `text`: arguments are JSON in a text.
    Read { null: bool, text: bool },
    /// Not at all.
    Unread,
}

/// Texts that templates neither know nor change.
const SAID: &str = "mzqkvxw";
const NAME: &str = "mzqkname";
const KEY: &str = "mzqkkey";
const VALUE: &str = "mzqkvalue";
const RESULT: &str = "mzqkresult";

/// What a model is told of tools,
const TOOLS: &str = "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures \
                     within <tools></tools> XML tags:\n";
/// and of how to call them.
const HOW: &str = "\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n\
                   <tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";

impl Dialect {
    /// Finds out a template's. Where it refuses all that is tried, messages stay as they are, and rendering them says why.
    pub fn of(template: &Template) -> Dialect {
        let as_given =
            Dialect { content: Content::Text, calls: Calls::AsGiven, results: true, tools: true, system: true };
        let shows = |message| Ok::<_, ChatError>(render(template, &[message])?.contains(SAID));
        let said = Message::new("user", SAID);
        let content = match shows(said.clone()) {
            Ok(true) => Content::Text,
            // Whatever is tried next would take as long.
            Err(ChatError::Limit { .. }) => return as_given,
            otherwise => match (shows(in_parts(said)), otherwise) {
                (Ok(true), _) => Content::Parts,
                (_, Ok(_)) => return Dialect { content: Content::Nowhere, ..as_given },
                _ => return as_given,
            },
        };
        let [system, tools] = read_of_both(template, content);
        let dialect = |calls, results| Dialect { content, calls, results, tools, system };
        let conversation = conversation();
        let rendered = |calls| {
            let messages = dialect(calls, true).adapt(&conversation, None).ok()?;
            render(template, &messages).ok()
        };
        for (null, text) in [(true, false), (false, false), (true, true), (false, true)] {
            let calls = Calls::Read { null, text };
            if let Some(text) = rendered(calls).filter(|text| shows_call(text)) {
                return dialect(calls, text.contains(RESULT));
            }
        }
        let results = rendered(Calls::Unread).is_some_and(|text| text.contains(RESULT));
        dialect(Calls::Unread, results)
    }

    /// Whether tools and calls are written in words, since the template knows neither.
    pub fn calls_in_words(&self) -> bool {
        !self.tools && self.calls == Calls::Unread
    }

    /// Messages in the form that the template reads, with what it does not say of tools.
    ///
    /// # Errors
    /// [`ChatError::Unread`]: the template would leave out what they say.
    pub fn adapt<'m>(&self, messages: &'m [Message], tools: Option<&Json>) -> Result<Cow<'m, [Message]>, ChatError> {
        if let Some(Json::List(tools)) = tools.filter(|_| !self.tools)
            && !tools.is_empty()
        {
            let told = self.tell(messages, tools);
            return self.adapt(&told, None).map(|messages| Cow::Owned(messages.into_owned()));
        }
        let plain = |message: &Message| message.fields.is_empty() && !is_result(message);
        match self.content {
            Content::Nowhere if messages.iter().any(|message| !message.content.is_empty()) => Err(ChatError::Unread),
            Content::Nowhere => Ok(Cow::Borrowed(messages)),
            Content::Text if messages.iter().all(plain) => Ok(Cow::Borrowed(messages)),
            Content::Text => Ok(Cow::Owned(self.adapt_tools(messages))),
            Content::Parts => Ok(Cow::Owned(self.adapt_tools(messages).into_iter().map(in_parts).collect())),
        }
    }

    /// The conversation with the tools in it: behind what the system says, or in front of what the user does.
    fn tell(&self, messages: &[Message], tools: &[Json]) -> Vec<Message> {
        let lines: Vec<String> = tools.iter().map(Json::to_string).collect();
        let how = if self.calls == Calls::Unread { HOW } else { "" };
        let words = format!("{TOOLS}<tools>\n{}\n</tools>{how}", lines.join("\n"));
        let mut told = messages.to_vec();
        match told.iter_mut().find(|message| message.role == "user" || is_system(message)) {
            Some(first) if is_system(first) => {
                let system = &mut first.content;
                *system = if system.is_empty() { words } else { format!("{system}\n\n{words}") };
            }
            Some(user) if !self.system => user.content = format!("{words}\n\n{}", user.content),
            _ => told.insert(0, Message::new(if self.system { "system" } else { "user" }, words)),
        }
        told
    }

    fn adapt_tools(&self, messages: &[Message]) -> Vec<Message> {
        let mut all: Vec<Message> = Vec::new();
        // Whether the last one of these has results, so that more can follow in it.
        let mut open = false;
        for message in messages {
            let result = is_result(message) && !self.results;
            let mut message = self.adapt_calls(message.clone());
            if result {
                message = Message::new("user", format!("<tool_response>\n{}\n</tool_response>", message.content));
            }
            match all.last_mut() {
                Some(last) if open && message.role == "user" => {
                    last.content.push('\n');
                    last.content.push_str(&message.content);
                }
                _ => all.push(message),
            }
            open = result;
        }
        all
    }

    fn adapt_calls(&self, mut message: Message) -> Message {
        let Some(at) = message.fields.iter().position(|(name, value)| name == "tool_calls" && *value != Json::Null)
        else {
            return message;
        };
        let silent = message.content.is_empty();
        let Json::List(calls) = &mut message.fields[at].1 else { return message };
        let null = match self.calls {
            Calls::AsGiven => return message,
            _ if calls.is_empty() => false,
            Calls::Read { null, text } => {
                calls.iter_mut().for_each(|call| set_arguments(call, text));
                null && silent
            }
            Calls::Unread => {
                let calls: Vec<String> = calls.iter_mut().map(written).collect();
                message.content.push_str(if silent { "" } else { "\n" });
                message.content.push_str(&calls.join("\n"));
                message.fields.remove(at);
                false
            }
        };
        message.fields.retain(|(name, _)| name != "content");
        if null {
            message.fields.push(("content".to_string(), Json::Null));
        }
        message
    }
}

/// Whether a message of the system is read, and whether tools are shown, beside it or without.
fn read_of_both(template: &Template, content: Content) -> [bool; 2] {
    let message = |role, text| match content {
        Content::Parts => in_parts(Message::new(role, text)),
        _ => Message::new(role, text),
    };
    let (system, user) = (message("system", RESULT), message("user", SAID));
    let parameters = object(Vec::from([("type", "object".into()), ("properties", Json::Object(Vec::new()))]));
    let function = Vec::from([("name", NAME.into()), ("description", VALUE.into()), ("parameters", parameters)]);
    let tool = object(Vec::from([("type", "function".into()), ("function", object(function))]));
    let shows = |messages: &[Message], tools: Option<&Json>, what| {
        render_with(template, messages, tools.cloned()).map(|text| text.contains(what))
    };
    let tools = Json::List(Vec::from([tool]));
    let reads_system = shows(&[system.clone(), user.clone()], None, RESULT).unwrap_or(false);
    let with_system = shows(&[system, user.clone()], Some(&tools), NAME);
    let alone = shows(&[user], Some(&tools), NAME);
    // One that fails for tools says why when they come.
    [reads_system, with_system.unwrap_or(true) && reads_system || alone.unwrap_or(true)]
}

fn object(pairs: Vec<(&str, Json)>) -> Json {
    Json::Object(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

/// A call of a tool, and its result, with all that templates may want of them.
fn conversation() -> [Message; 3] {
    // Mistral's templates want ids of nine letters.
    let id = || Json::from("mzqkvxwid");
    let function = object(Vec::from([("name", NAME.into()), ("arguments", object(Vec::from([(KEY, VALUE.into())])))]));
    let call = object(Vec::from([("id", id()), ("type", "function".into()), ("function", function)]));
    let mut calls = Message::new("assistant", "");
    calls.fields.push(("tool_calls".to_string(), Json::List(Vec::from([call]))));
    let mut result = Message::new("tool", RESULT);
    result.fields = Vec::from([("name".to_string(), NAME.into()), ("tool_call_id".to_string(), id())]);
    [Message::new("user", SAID), calls, result]
}

fn render(template: &Template, messages: &[Message]) -> Result<String, ChatError> {
    render_with(template, messages, None)
}

fn render_with(template: &Template, messages: &[Message], tools: Option<Json>) -> Result<String, ChatError> {
    let now = Some(DateTime::from_unix(0));
    template.render(messages, &RenderOptions { add_generation_prompt: true, now, tools, ..RenderOptions::default() })
}

/// Whether a call is written well: as an object that is no text within JSON, and no dictionary as Python writes it; and nothing is `None`.
fn shows_call(text: &str) -> bool {
    let [escaped, python] = [format!("\\\"{KEY}"), format!("'{KEY}'")];
    [NAME, KEY, VALUE].iter().all(|wanted| text.contains(wanted))
        && ![&*escaped, &*python, "None"].iter().any(|wrong| text.contains(wrong))
}

fn is_system(message: &Message) -> bool {
    matches!(message.role.as_str(), "system" | "developer")
}

fn is_result(message: &Message) -> bool {
    matches!(message.role.as_str(), "tool" | "function" | "ipython")
}

/// The fields of the function that is called.
fn function(call: &mut Json) -> Option<&mut Vec<(String, Json)>> {
    let Json::Object(fields) = call else { return None };
    match fields.iter().position(|(name, value)| name == "function" && matches!(value, Json::Object(_))) {
        Some(at) => function(&mut fields[at].1),
        None => Some(fields),
    }
}

/// Makes the arguments of a call a text, or what the text says.
fn set_arguments(call: &mut Json, text: bool) {
    let arguments = function(call).and_then(|fields| fields.iter_mut().find(|(name, _)| name == "arguments"));
    let Some((_, arguments)) = arguments else { return };
    let changed = match &*arguments {
        Json::Text(_) if text => return,
        Json::Text(json) => match Json::parse(json) {
            Ok(value @ Json::Object(_)) => value,
            _ => return,
        },
        value if text => Json::Text(value.to_string()),
        _ => return,
    };
    *arguments = changed;
}

/// A call as text.
fn written(call: &mut Json) -> String {
    set_arguments(call, false);
    let field = |wanted: &str, fields: &[(String, Json)]| {
        fields.iter().find(|(name, _)| name == wanted).map_or(Json::Null, |(_, value)| value.clone())
    };
    let fields = function(call).map(core::mem::take).unwrap_or_default();
    let (name, arguments) = (field("name", &fields), field("arguments", &fields));
    format!("<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>")
}

/// The message with its text as a list of one part; one without a text (null) stays as it is.
fn in_parts(mut message: Message) -> Message {
    if !message.fields.iter().any(|(name, _)| name == "content") {
        let text = core::mem::take(&mut message.content);
        let part = Vec::from([("type".to_string(), "text".into()), ("text".to_string(), Json::Text(text))]);
        message.fields.push(("content".to_string(), Json::List(Vec::from([Json::Object(part)]))));
    }
    message
}
