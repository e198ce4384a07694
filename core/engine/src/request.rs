//! What is asked of an engine: plain data, with its defaults, and its form in JSON, which is OpenAI's with a few names more. Ranges of
//! numbers are those of [`Params`], and are checked when an answer begins.

use crate::fields::Fields;
use crate::tools::ToolChoice;
use crate::{Error, MAX_DRAFT, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use picolm_core::sampler::{MAX_WINDOW, Params};
use picolm_core::text::Json;

/// A prompt, and what to make of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What an earlier session has in common with it is not computed again.
    pub prompt: Prompt,
    /// Whether it is answered.
    pub task: Task,
    /// How tokens are drawn.
    pub sampling: Params,
    /// Texts that end the answer, in front of them.
    pub stops: Vec<String>,
    /// Most tokens of the answer; 0 is as many as the context has room for.
    pub max_tokens: usize,
    /// Tokens of the answer before which the model cannot end it. (A stop string can.)
    pub min_tokens: usize,
    /// `Some(n)`: each token comes with its log-probability, and with those of the `n` most likely (at most [`MAX_LOGPROBS`]).
    pub logprobs: Option<usize>,
    /// Longest draft of prompt lookup, at most [`MAX_DRAFT`]; 0 is none. It changes no answer.
    pub lookup: usize,
    /// Whether what an earlier session has in common with the prompt is used. It changes no answer.
    pub cache_prompt: bool,
    /// The form of the answer.
    pub format: Format,
}

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// A JSON object (RFC 8259) that is whole within `max_tokens`. The model should be told to write one: it is only kept from anything else.
    JsonObject,
    /// A JSON value that fits this schema.
    JsonSchema(String),
    /// A text that this regular expression matches as a whole.
    Regex(String),
    /// A text of this grammar: llama.cpp's GBNF or, where it begins with `%llguidance`, llguidance's Lark.
    Grammar(String),
}

/// Most tokens that stand beside one with their log-probabilities.
pub const MAX_LOGPROBS: usize = 20;

/// What to make of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// An answer.
    Answer,
    /// A vector that says what the text is about (embedding): the mean of the last hidden states, normed, of its tokens, of length 1.
    Embed,
}

/// A prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Text that is continued as it is; control tokens written out in it count as such. It begins as the model's file asks for (BOS).
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// A conversation, in the form of the model's chat template.
    Chat(Chat),
}

/// A conversation in OpenAI's shape. JSON stays text here: it is parsed where the template runs, inside the sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Chat {
    /// A JSON list of messages: `[{"role": "user", "content": "…"}]`; other fields are the template's business.
    pub messages: String,
    /// A JSON list of tools.
    pub tools: Option<String>,
    /// Whether the model may call them, or has to,
    pub tool_choice: ToolChoice,
    /// and more than one of them in an answer.
    pub parallel_tool_calls: bool,
    /// Whether what the model thinks is told apart from its answer; otherwise it is text, as the model writes it.
    pub reasoning_apart: bool,
    /// A JSON object of further variables of the template, such as `enable_thinking`.
    pub variables: Option<String>,
    /// End with the beginning of an answer. Unless it is said: yes, if the last message is not continued.
    pub add_generation_prompt: Option<bool>,
    /// End where the content of the last message, an assistant's, ends, for the model to continue it. Unless it is said: if there is such a
    /// message and `add_generation_prompt` is not asked for.
    pub continue_final_message: Option<bool>,
    /// Take control tokens written out in messages, tools and variables for such; otherwise they are text, so that nobody who is quoted there can
    /// end a turn or begin one.
    pub parse_special: bool,
    /// Seconds since 1970, for templates that write the date.
    pub now: Option<i64>,
}

/// What a request need not say, since its host knows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ambient {
    /// The seed of a request without one.
    pub seed: u64,
    /// Seconds since 1970.
    pub now: Option<i64>,
}

impl Default for Request {
    /// An answer to nothing, with the sampler's defaults, as long as there is room.
    fn default() -> Self {
        Request {
            prompt: Prompt::Text(String::new()),
            task: Task::Answer,
            sampling: Params::default(),
            stops: Vec::new(),
            max_tokens: 0,
            min_tokens: 0,
            logprobs: None,
            lookup: 0,
            cache_prompt: true,
            format: Format::Text,
        }
    }
}

/// Fields of OpenAI's that change nothing here: about accounts, billing, other people's caches.
const IGNORED: &[&str] = &[
    "metadata",
    "model",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
];

impl Request {
    /// PicoLM's defaults on the command line.
    pub fn picolm() -> Self {
        Request { sampling: Params::PICOLM, max_tokens: 256, ..Request::default() }
    }

    /// Reads a request: an answer to `messages` or to a `prompt` (a text, or tokens), or the embedding of an `input`.
    ///
    /// # Errors
    /// A text that is none; a field that has another type than it should, or is not known.
    pub fn from_json(text: &str, ambient: &Ambient) -> Result<Self> {
        let mut fields = Fields::parse(text)?;
        let (task, mut prompts) = Prompt::take(&mut fields, ambient)?;
        let request = Request { task, ..Self::options(&mut fields, ambient)? };
        fields.finish()?;
        match prompts.len() {
            1 => Ok(Request { prompt: prompts.remove(0), ..request }),
            n => Err(Error::request(format!("a request with {n} prompts has to be made {n} requests"))),
        }
    }

    /// Whether it needs what knows grammars ([`Grammars`](crate::Grammars)): for a form of its answer, or for calls of its tools.
    pub fn needs_grammars(&self) -> bool {
        match (&self.prompt, &self.format) {
            (_, Format::JsonSchema(_) | Format::Regex(_) | Format::Grammar(_)) => true,
            (Prompt::Chat(chat), _) => {
                chat.tool_choice != ToolChoice::None && chat.tools.as_ref().is_some_and(|tools| tools != "[]")
            }
            (_, Format::Text) => false,
            (Prompt::Text(prompt), Format::JsonObject) => shows_calls(prompt),
            // What they say is not known before the model is.
            (Prompt::Tokens(_), Format::JsonObject) => true,
        }
    }

    /// Takes everything but the prompt.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn options(fields: &mut Fields, ambient: &Ambient) -> Result<Self> {
        let (default, least) = (Request::default(), i64::from(u32::MAX));
        let sampling = Params {
            temperature: fields.number(&["temperature"])?.unwrap_or(default.sampling.temperature),
            // -1, as llama.cpp has it: all.
            top_k: fields.integer(&["top_k"], -1..=least)?.map_or(default.sampling.top_k, |n| n.max(0) as u32),
            top_p: fields.number(&["top_p"])?.unwrap_or(default.sampling.top_p),
            min_p: fields.number(&["min_p"])?.unwrap_or(default.sampling.min_p),
            repetition_penalty: fields
                .number(&["repetition_penalty", "repeat_penalty"])?
                .unwrap_or(default.sampling.repetition_penalty),
            frequency_penalty: fields.number(&["frequency_penalty"])?.unwrap_or(default.sampling.frequency_penalty),
            presence_penalty: fields.number(&["presence_penalty"])?.unwrap_or(default.sampling.presence_penalty),
            penalty_last_n: fields
                .integer(&["penalty_last_n", "repeat_last_n"], -1..=least)?
                .map_or(default.sampling.penalty_last_n, |n| usize::try_from(n).unwrap_or(MAX_WINDOW)),
            logit_bias: biases(fields)?,
            // Any 64 bits are a seed, also negative ones.
            seed: fields.integer(&["seed"], i64::MIN..=i64::MAX)?.map_or(ambient.seed, |seed| seed as u64),
        };
        let max_tokens = fields.limit(&["max_completion_tokens", "max_tokens"], least)?;
        let request = Request {
            sampling,
            stops: fields.texts("stop")?,
            max_tokens: max_tokens.map_or(default.max_tokens, |n| n as usize),
            min_tokens: fields.integer(&["min_tokens"], 0..=least)?.map_or(default.min_tokens, |n| n as usize),
            logprobs: logprobs(fields)?,
            lookup: fields.integer(&["lookup"], 0..=MAX_DRAFT as i64)?.map_or(default.lookup, |n| n as usize),
            cache_prompt: fields.boolean("cache_prompt")?.unwrap_or(default.cache_prompt),
            format: Format::take(fields)?,
            ..default
        };
        fields.ignore(IGNORED);
        Ok(request)
    }

    /// The request as [`from_json`](Self::from_json) reads it.
    pub fn to_json(&self) -> String {
        let mut pairs = Vec::new();
        let mut put = |name: &str, value: Json| pairs.push((name.to_string(), value));
        let float = |x: f32| Json::Float(x.into());
        let int = |n: usize| Json::Int(n as i64);
        match (&self.prompt, self.task) {
            (Prompt::Chat(chat), _) => chat.put(&mut put),
            (prompt, Task::Answer) => put("prompt", prompt.to_value()),
            (_, Task::Embed) => {}
        }
        if self.task == Task::Embed {
            // Beside messages it is refused.
            put("input", self.prompt.to_value());
        }
        let s = &self.sampling;
        put("temperature", float(s.temperature));
        put("top_k", int(s.top_k as usize));
        put("top_p", float(s.top_p));
        put("min_p", float(s.min_p));
        put("repetition_penalty", float(s.repetition_penalty));
        put("frequency_penalty", float(s.frequency_penalty));
        put("presence_penalty", float(s.presence_penalty));
        put("penalty_last_n", int(s.penalty_last_n));
        let or_ban = |bias: f32| if bias == f32::NEG_INFINITY { BAN } else { bias };
        let bias = |(token, bias): &(u32, f32)| (token.to_string(), float(or_ban(*bias)));
        put("logit_bias", Json::Object(s.logit_bias.iter().map(bias).collect()));
        put("seed", Json::Int(s.seed as i64));
        put("stop", Json::List(self.stops.iter().map(|stop| Json::Text(stop.clone())).collect()));
        if self.max_tokens > 0 {
            put("max_tokens", int(self.max_tokens.min(u32::MAX as usize)));
        }
        put("min_tokens", int(self.min_tokens.min(u32::MAX as usize)));
        put("logprobs", self.logprobs.map_or(Json::Null, int));
        put("lookup", int(self.lookup.min(MAX_DRAFT)));
        put("cache_prompt", Json::Bool(self.cache_prompt));
        put("response_format", self.format.to_value());
        Json::Object(pairs).to_string()
    }
}

impl Format {
    /// Takes `response_format`, or llama.cpp's `json_schema` and `grammar`, or `regex`.
    ///
    /// # Errors
    /// More than one of them, one that is no such thing.
    fn take(fields: &mut Fields) -> Result<Self> {
        let names = ["response_format", "json_schema", "grammar", "regex"];
        let mut asked = names.into_iter().filter(|name| fields.has(name));
        if let (Some(name), Some(other)) = (asked.next(), asked.next()) {
            return Err(Error::field(other, format!("cannot be beside {name}")));
        }
        if let Some(schema) = fields.take("json_schema") {
            return Ok(Format::JsonSchema(is_schema("json_schema", schema)?));
        }
        if let Some(text) = fields.text("regex")? {
            return Ok(Format::Regex(text));
        }
        // llama.cpp's clients write an empty one for none.
        if let Some(text) = fields.text("grammar")?.filter(|text| !text.is_empty()) {
            return Ok(Format::Grammar(text));
        }
        let Some(mut format) = fields.object("response_format")? else { return Ok(Format::Text) };
        let kind = format.text("type")?.unwrap_or_default();
        let missing = |format: &Fields, name: &str| Error::field(format.name(name), "is missing");
        let found = match kind.as_str() {
            "text" => Format::Text,
            // llama.cpp's clients put a schema there, too.
            "json_object" => match format.take("schema") {
                Some(schema) => Format::JsonSchema(is_schema(&format.name("schema"), schema)?),
                None => Format::JsonObject,
            },
            "json_schema" => {
                let mut inner = format.object("json_schema")?.ok_or_else(|| missing(&format, "json_schema"))?;
                let schema = inner.take("schema").ok_or_else(|| missing(&inner, "schema"))?;
                let schema = is_schema(&inner.name("schema"), schema)?;
                // It is enforced either way.
                inner.boolean("strict")?;
                inner.ignore(&["name", "description"]);
                inner.finish()?;
                Format::JsonSchema(schema)
            }
            "regex" => Format::Regex(format.text("pattern")?.ok_or_else(|| missing(&format, "pattern"))?),
            "grammar" => Format::Grammar(format.text("grammar")?.ok_or_else(|| missing(&format, "grammar"))?),
            _ => {
                let why = "is none of text, json_object, json_schema, regex, grammar";
                return Err(Error::field(format.name("type"), why));
            }
        };
        format.finish()?;
        Ok(found)
    }

    fn to_value(&self) -> Json {
        let object = |pairs: Vec<(&str, Json)>| {
            Json::Object(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
        };
        let of = |kind: &str, more: Option<(&str, Json)>| {
            let kind = ("type", Json::Text(kind.to_string()));
            object([kind].into_iter().chain(more).collect())
        };
        match self {
            Format::Text => of("text", None),
            Format::JsonObject => of("json_object", None),
            Format::JsonSchema(schema) => {
                // What is no JSON, or nests too deep, is refused by whoever reads the schema.
                let schema = Json::parse(schema).unwrap_or_else(|_| Json::Text(schema.clone()));
                of("json_schema", Some(("json_schema", object(Vec::from([("schema", schema)])))))
            }
            Format::Regex(pattern) => of("regex", Some(("pattern", Json::Text(pattern.clone())))),
            Format::Grammar(grammar) => of("grammar", Some(("grammar", Json::Text(grammar.clone())))),
        }
    }

    /// The field that an error in it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Format::Text | Format::JsonObject => "response_format",
            Format::JsonSchema(_) => "json_schema",
            Format::Regex(_) => "regex",
            Format::Grammar(_) => "grammar",
        }
    }
}

/// Whether a raw prompt shows how calls of tools are written in JSON.
pub(crate) fn shows_calls(prompt: &str) -> bool {
    prompt.contains("{\"tool_calls\":[{")
}

/// A schema as text: an object, true or false, or the text of one.
fn is_schema(name: &str, schema: Json) -> Result<String> {
    match schema {
        Json::Object(_) | Json::Bool(_) => Ok(schema.to_string()),
        Json::Text(text) => Ok(text),
        _ => Err(Error::field(name, "has to be a JSON schema: an object, true or false")),
    }
}

impl Prompt {
    /// Takes the prompt of a request, or several: `messages`, or `prompt` or `input`, which are a text, a list of tokens, or a list of
    /// these.
    ///
    /// # Errors
    /// There is none, more than one kind of them, or one that is something else.
    pub fn take(fields: &mut Fields, ambient: &Ambient) -> Result<(Task, Vec<Prompt>)> {
        let found = ["messages", "prompt", "input"].map(|name| Some((name, fields.take(name)?)));
        let mut found = found.into_iter().flatten();
        let (name, value) = found.next().ok_or_else(|| Error::request("a request needs messages, or a prompt"))?;
        if let Some((other, _)) = found.next() {
            return Err(Error::field(other, format!("cannot be beside {name}")));
        }
        if name == "messages" {
            return Ok((Task::Answer, Vec::from([Prompt::Chat(Chat::take(value, fields, ambient)?)])));
        }
        let task = if name == "input" { Task::Embed } else { Task::Answer };
        let wrong = || Error::field(name, "has to be a text, a list of tokens, or a list of these");
        let part = |value: Json| match value {
            Json::Text(text) => Some(Prompt::Text(text)),
            Json::List(list) => Some(Prompt::Tokens(list.iter().map(token).collect::<Option<_>>()?)),
            _ => None,
        };
        let prompts = match value {
            Json::List(list) if list.is_empty() => return Err(Error::field(name, "is empty")),
            Json::List(list) if !matches!(list[0], Json::Int(_) | Json::Digits(_) | Json::Float(_)) => {
                list.into_iter().map(part).collect::<Option<_>>()
            }
            one => part(one).map(|prompt| Vec::from([prompt])),
        };
        Ok((task, prompts.ok_or_else(wrong)?))
    }

    fn to_value(&self) -> Json {
        match self {
            Prompt::Text(text) => Json::Text(text.clone()),
            // Within a list, so that an empty one is a prompt without tokens and not a list without prompts.
            Prompt::Tokens(tokens) => {
                Json::List(Vec::from([Json::List(tokens.iter().map(|&token| Json::Int(token.into())).collect())]))
            }
            Prompt::Chat(chat) => Json::Text(chat.messages.clone()),
        }
    }
}

impl Chat {
    /// A conversation that awaits an answer, or the rest of one.
    pub fn new(messages: impl Into<String>) -> Self {
        Chat {
            messages: messages.into(),
            tools: None,
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: true,
            reasoning_apart: true,
            variables: None,
            add_generation_prompt: None,
            continue_final_message: None,
            parse_special: false,
            now: None,
        }
    }

    fn take(messages: Json, fields: &mut Fields, ambient: &Ambient) -> Result<Self> {
        let messages = match messages {
            Json::List(list) if list.is_empty() => return Err(Error::field("messages", "is empty")),
            list @ Json::List(_) => list.to_string(),
            _ => return Err(Error::field("messages", "has to be a list")),
        };
        Ok(Chat {
            messages,
            tools: fields.list("tools")?.map(|tools| Json::List(tools).to_string()),
            tool_choice: ToolChoice::take(fields)?,
            parallel_tool_calls: fields.boolean("parallel_tool_calls")?.unwrap_or(true),
            reasoning_apart: reasoning_apart(fields)?,
            variables: variables(fields)?,
            add_generation_prompt: fields.boolean("add_generation_prompt")?,
            continue_final_message: fields.boolean("continue_final_message")?,
            parse_special: fields.boolean("parse_special")?.unwrap_or(false),
            now: fields.integer(&["now"], i64::MIN..=i64::MAX)?.or(ambient.now),
        })
    }

    /// What is no JSON becomes a text, and is refused where the list is read.
    fn put(&self, put: &mut impl FnMut(&str, Json)) {
        let json = |text: &String| Json::parse(text).unwrap_or_else(|_| Json::Text(text.clone()));
        put("messages", json(&self.messages));
        put("tools", self.tools.as_ref().map_or(Json::Null, json));
        put("tool_choice", self.tool_choice.to_value());
        put("parallel_tool_calls", Json::Bool(self.parallel_tool_calls));
        put("reasoning_format", if self.reasoning_apart { AUTO } else { NONE }.into());
        put("chat_template_kwargs", self.variables.as_ref().map_or(Json::Null, json));
        put("add_generation_prompt", self.add_generation_prompt.map_or(Json::Null, Json::Bool));
        put("continue_final_message", self.continue_final_message.map_or(Json::Null, Json::Bool));
        put("parse_special", Json::Bool(self.parse_special));
        put("now", self.now.map_or(Json::Null, Json::Int));
    }
}

/// What `reasoning_format` may be: told apart (under llama.cpp's names for it), or not.
const AUTO: &str = "auto";
const DEEPSEEK: &str = "deepseek";
const NONE: &str = "none";

fn reasoning_apart(fields: &mut Fields) -> Result<bool> {
    let name = "reasoning_format";
    match fields.text(name)?.as_deref() {
        None | Some(AUTO | DEEPSEEK) => Ok(true),
        Some(NONE) => Ok(false),
        Some(_) => Err(Error::field(name, format!("is none of {AUTO}, {DEEPSEEK}, {NONE}"))),
    }
}

/// Variables of templates that clients write beside the messages.
const VARIABLES: [&str; 2] = ["enable_thinking", "reasoning_effort"];

/// `chat_template_kwargs`, and what else is one of them.
fn variables(fields: &mut Fields) -> Result<Option<String>> {
    let kwargs = "chat_template_kwargs";
    let beside = VARIABLES.into_iter().any(|name| fields.has(name));
    if !beside && !fields.has(kwargs) {
        return Ok(None);
    }
    let mut all = fields.object_or_empty(kwargs)?;
    for name in VARIABLES {
        let Some(value) = fields.take(name) else { continue };
        if !matches!(value, Json::Text(_) | Json::Bool(_)) {
            return Err(Error::field(name, "is neither a text nor true or false"));
        }
        if !all.put(name, value) {
            return Err(fields.differs(name, &all.name(name)));
        }
    }
    Ok(Some(Json::Object(all.into_pairs()).to_string()))
}

fn token(value: &Json) -> Option<u32> {
    match *value {
        Json::Int(token) => token.try_into().ok(),
        _ => None,
    }
}

/// OpenAI's way to ban a token.
const BAN: f32 = -100.0;

/// `{"1234": -100}`
fn biases(fields: &mut Fields) -> Result<Vec<(u32, f32)>> {
    let Some(biases) = fields.object("logit_bias")? else { return Ok(Vec::new()) };
    let bias = |(token, bias): (String, Json)| {
        let name = || format!("logit_bias.{}", token.chars().take(20).collect::<String>());
        let id = token.parse::<u32>().map_err(|_| Error::field(name(), "is no number of a token"))?;
        let bias = match bias {
            Json::Int(bias) => bias as f32,
            Json::Float(bias) => bias as f32,
            _ => return Err(Error::field(name(), "has to be a number")),
        };
        Ok((id, if bias == BAN { f32::NEG_INFINITY } else { bias }))
    };
    biases.into_pairs().into_iter().map(bias).collect()
}

/// A number of likely tokens beside each, as completions have it; or yes or no, and `top_logprobs`, as chats do.
fn logprobs(fields: &mut Fields) -> Result<Option<usize>> {
    let most = MAX_LOGPROBS as i64;
    let top = fields.integer(&["top_logprobs"], 0..=most)?;
    let wanted = match fields.take("logprobs") {
        Some(Json::Bool(wanted)) => wanted.then(|| top.unwrap_or(0)),
        Some(Json::Int(n)) if top.is_none() && (0..=most).contains(&n) => Some(n),
        None => None,
        Some(_) => {
            return Err(Error::field("logprobs", format!("has to be true or false, or a number from 0 to {most}")));
        }
    };
    match (top, wanted) {
        (Some(_), None) => Err(Error::field("top_logprobs", "is of no use without logprobs: true")),
        _ => Ok(wanted.map(|n| n as usize)),
    }
}
