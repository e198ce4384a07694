//! Messages, and how a list of them in OpenAI's shape is read.

use super::Json;
use alloc::string::String;
use alloc::vec::Vec;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or whatever else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
    /// Other fields that templates read, such as `tool_calls`, `name` or `reasoning_content`. A field `content` replaces
    /// the text: a list of parts, or null beside tool calls.
    pub fields: Vec<(String, Json)>,
}

/// Why something is no message; the number is its place in the list.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum MessageError {
    #[error("messages[{0}] is not an object")]
    NotAnObject(usize),
    #[error("messages[{0}] has no role")]
    NoRole(usize),
    #[error("messages[{0}].{1} is not a text")]
    NotAText(usize, String),
    /// Models that see or hear are not supported.
    #[error("messages[{0}].content has a part that is not text, and only text is supported")]
    NotATextPart(usize),
}

impl Message {
    /// A message of a role and a text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into(), fields: Vec::new() }
    }

    /// Messages as OpenAI writes them (<https://platform.openai.com/docs/api-reference/chat/create>): objects with a role, and a content
    /// that is a text, a list of parts that are texts, or null. All other fields are kept for the template.
    ///
    /// # Errors
    /// The first that is none.
    pub fn list(values: Vec<Json>) -> Result<Vec<Self>, MessageError> {
        values.into_iter().enumerate().map(|(index, value)| Self::from_json(index, value)).collect()
    }

    fn from_json(index: usize, value: Json) -> Result<Self, MessageError> {
        let Json::Object(fields) = value else {
            return Err(MessageError::NotAnObject(index));
        };
        let mut message = Message::new("", "");
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("role", Json::Text(role)) => message.role = role,
                ("content", Json::Text(content)) => message.content = content,
                ("content", Json::List(parts)) => {
                    let texts: Option<String> = parts.into_iter().map(text_of_part).collect();
                    message.content = texts.ok_or(MessageError::NotATextPart(index))?;
                }
                ("content", value @ Json::Null) => message.fields.push((name, value)),
                ("role" | "content", _) => return Err(MessageError::NotAText(index, name)),
                (_, value) => message.fields.push((name, value)),
            }
        }
        match message.role.is_empty() {
            true => Err(MessageError::NoRole(index)),
            false => Ok(message),
        }
    }
}

/// The text of `{type: "text", text}`.
fn text_of_part(part: Json) -> Option<String> {
    let Json::Object(fields) = part else { return None };
    let is_text = |(key, value): &(String, Json)| key == "type" && *value == Json::from("text");
    let text = |(key, value)| if key == "text" { Some(value) } else { None };
    match fields.iter().any(is_text).then(|| fields.into_iter().find_map(text))? {
        Some(Json::Text(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn list(text: &str) -> Result<Vec<Message>, String> {
        let Ok(Json::List(values)) = Json::parse(text) else { panic!("{text} is no list") };
        Message::list(values).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_parts_and_null_are_contents_and_other_fields_are_kept() {
        let messages = list(
            r#"[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"text":"c","type":"text"}]},
                {"role":"assistant","content":null,"tool_calls":[]}]"#,
        )
        .expect("messages");
        let mut last = Message::new("assistant", "");
        last.fields = [("content".into(), Json::Null), ("tool_calls".into(), Json::List(Vec::new()))].into();
        assert_eq!(messages, [Message::new("user", "a"), Message::new("user", "bc"), last]);
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (text, error) in [
            (r#"[5]"#, "messages[0] is not an object"),
            (r#"[{"role":"user","content":"a"},{"content":"a"}]"#, "messages[1] has no role"),
            (r#"[{"role":5,"content":"a"}]"#, "messages[0].role is not a text"),
            (r#"[{"role":"user","content":5}]"#, "messages[0].content is not a text"),
            (
                r#"[{"role":"user","content":[{"type":"image_url","text":"a"}]}]"#,
                "messages[0].content has a part that is not text, and only text is supported",
            ),
            (
                r#"[{"role":"user","content":[{"type":"text","text":5}]}]"#,
                "messages[0].content has a part that is not text, and only text is supported",
            ),
        ] {
            assert_eq!(list(text), Err(error.to_string()));
        }
    }
}
