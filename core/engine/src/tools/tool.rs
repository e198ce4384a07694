//! The tools of a request, read and checked.

use crate::{Error, Fields, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use picolm_core::text::Json;

/// Longest name of a tool.
const MAX_NAME: usize = 64;

/// Whether tools are called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// Never: the model is not told of them.
    None,
    /// At least one, and nothing else is said.
    Required,
    /// The one of this name, once.
    Named(String),
}

impl ToolChoice {
    /// Takes `tool_choice`.
    ///
    /// # Errors
    /// Something else than OpenAI's forms of these.
    pub fn take(fields: &mut Fields) -> Result<Self> {
        match fields.take("tool_choice") {
            None => Ok(ToolChoice::Auto),
            Some(Json::Text(choice)) => match choice.as_str() {
                "auto" => Ok(ToolChoice::Auto),
                "none" => Ok(ToolChoice::None),
                // Mistral's word for it.
                "required" | "any" => Ok(ToolChoice::Required),
                _ => Err(Error::field("tool_choice", "is none of auto, none, required, and no object")),
            },
            Some(choice @ Json::Object(_)) => {
                match get(&choice, "function").and_then(|function| get(function, "name")) {
                    Some(Json::Text(name)) => Ok(ToolChoice::Named(name.clone())),
                    _ => Err(Error::field("tool_choice.function.name", "has to be a text")),
                }
            }
            Some(_) => Err(Error::field("tool_choice", "has to be a text or an object")),
        }
    }

    /// As [`take`](Self::take) takes it.
    pub(crate) fn to_value(&self) -> Json {
        match self {
            ToolChoice::Auto => Json::from("auto"),
            ToolChoice::None => Json::from("none"),
            ToolChoice::Required => Json::from("required"),
            ToolChoice::Named(name) => {
                let name = Json::Object([("name".into(), Json::from(name.as_str()))].into());
                Json::Object([("type".into(), Json::from("function")), ("function".into(), name)].into())
            }
        }
    }

    /// Whether there has to be a call, and of which tool.
    pub(crate) fn must(&self) -> (bool, Option<&str>) {
        match self {
            ToolChoice::Auto | ToolChoice::None => (false, None),
            ToolChoice::Required => (true, None),
            ToolChoice::Named(name) => (true, Some(name)),
        }
    }
}

/// The tools that may be called.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tools(Vec<Tool>);

#[derive(Debug, Clone, PartialEq)]
struct Tool {
    name: String,
    /// a schema, or nothing
    parameters: Json,
}

impl Tools {
    /// Reads tools as OpenAI writes them: `{"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}`.
    ///
    /// # Errors
    /// The first that is none, or that has the name of another.
    pub fn read(list: &[Json]) -> Result<Self> {
        let mut tools: Vec<Tool> = Vec::with_capacity(list.len());
        for (i, entry) in list.iter().enumerate() {
            let tool = tool(&format!("tools[{i}]"), entry)?;
            if tools.iter().any(|other| other.name == tool.name) {
                return Err(Error::field(format!("tools[{i}].function.name"), "is the name of another tool, too"));
            }
            tools.push(tool);
        }
        Ok(Tools(tools))
    }

    /// Whether there is a tool of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|tool| tool.name == name)
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tool| tool.name.as_str())
    }

    /// The names and the schemas of their arguments: of all, or of the one with the name `only`.
    pub(super) fn of(&self, only: Option<&str>) -> Vec<(&str, &Json)> {
        let wanted = self.0.iter().filter(|tool| only.is_none_or(|only| tool.name == only));
        wanted.map(|tool| (tool.name.as_str(), &tool.parameters)).collect()
    }

    /// The schemas of their arguments, in their order; those that say something.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (usize, &Json)> {
        self.0.iter().map(|tool| &tool.parameters).enumerate().filter(|(_, schema)| **schema != Json::Null)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an argument is a text: `None` where the tool does not say.
    pub(super) fn is_text(&self, tool: &str, argument: &str) -> Option<bool> {
        let tool = self.0.iter().find(|other| other.name == tool)?;
        let kind = get(get(get(&tool.parameters, "properties")?, argument)?, "type")?;
        Some(*kind == Json::from("string"))
    }
}

/// Whether a character may stand in a name.
pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// A field of an object; the last of several counts.
pub(super) fn get<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(pairs) = value else { return None };
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn tool(place: &str, entry: &Json) -> Result<Tool> {
    if !matches!(entry, Json::Object(_)) {
        return Err(Error::field(place, "has to be an object"));
    }
    if get(entry, "type").is_some_and(|kind| *kind != Json::from("function")) {
        return Err(Error::unsupported(format!("{place}.type"), "is not supported: tools are functions"));
    }
    let function = format!("{place}.function");
    let Some(fields @ Json::Object(_)) = get(entry, "function") else {
        return Err(Error::field(function, "has to be an object"));
    };
    let Some(Json::Text(name)) = get(fields, "name") else {
        return Err(Error::field(format!("{function}.name"), "has to be a text"));
    };
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_of_name) {
        let why = format!("has to be 1 to {MAX_NAME} letters, digits, _ and -");
        return Err(Error::field(format!("{function}.name"), why));
    }
    match get(fields, "parameters") {
        None | Some(Json::Null) => Ok(Tool { name: name.clone(), parameters: Json::Null }),
        Some(parameters @ Json::Object(_)) => Ok(Tool { name: name.clone(), parameters: parameters.clone() }),
        Some(_) => Err(Error::field(format!("{function}.parameters"), "has to be an object")),
    }
}
