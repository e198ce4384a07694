//! Messages, and how a list of them in OpenAI's shape is read.

use super::Json;
use alloc::format;
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

/// Why something is no message: the field at fault, as `messages[0].content`, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct MessageError {
    /// Which it is.
    pub field: String,
    /// What is wrong; goes on behind its name.
    pub why: &'static str,
}

impl Message {
    /// A message of a role and a text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into(), fields: Vec::new() }
    }

    /// Messages as OpenAI writes them (<https://platform.openai.com/docs/api-reference/chat/create>): objects with a role, and a content
    /// that is a text, a list of parts that are texts, or (beside tool calls) null. All other fields are kept for the template.
    ///
    /// # Errors
    /// The first that is none.
    pub fn list(values: Vec<Json>) -> Result<Vec<Self>, MessageError> {
        values.into_iter().enumerate().map(|(index, value)| Self::from_json(index, value)).collect()
    }

    fn from_json(index: usize, value: Json) -> Result<Self, MessageError> {
        let fault = |field: &str, why| Err(MessageError { field: format!("messages[{index}]{field}"), why });
        let Json::Object(fields) = value else { return fault("", "has to be an object") };
        let calls_tools = fields.iter().any(|(name, value)| name == "tool_calls" && *value != Json::Null);
        let says = |(name, value): &(String, Json)| name == "content" && *value != Json::Null;
        let silent = !calls_tools && !fields.iter().any(says);
        let mut message = Message::new("", "");
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("role", Json::Text(role)) => message.role = role,
                ("content", Json::Text(content)) => message.content = content,
                ("content", Json::List(parts)) => {
                    for (i, part) in parts.into_iter().enumerate() {
                        match text_of_part(part) {
                            Ok(text) => message.content.push_str(&text),
                            Err((field, why)) => return fault(&format!(".content[{i}]{field}"), why),
                        }
                    }
                }
                ("content", value @ Json::Null) => message.fields.push((name, value)),
                ("role", _) => return fault(".role", "has to be a text"),
                ("content", _) => return fault(".content", "has to be a text or a list of parts"),
                (_, value) => message.fields.push((name, value)),
            }
        }
        match () {
            () if message.role.is_empty() => fault(".role", "is missing"),
            () if silent => fault(".content", "is missing"),
            () => Ok(message),
        }
    }
}

/// The text of `{type: "text", text}`, or the field at fault.
fn text_of_part(part: Json) -> Result<String, (&'static str, &'static str)> {
    let not_text = ("", "is not text, and only text is supported");
    let Json::Object(fields) = part else { return Err(not_text) };
    if !fields.iter().any(|(key, value)| key == "type" && *value == Json::from("text")) {
        return Err(not_text);
    }
    match fields.into_iter().find(|(key, _)| key == "text") {
        Some((_, Json::Text(text))) => Ok(text),
        _ => Err((".text", "has to be a text")),
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
            (r#"[5]"#, "messages[0] has to be an object"),
            (r#"[{"role":"user","content":"a"},{"content":"a"}]"#, "messages[1].role is missing"),
            (r#"[{"role":5,"content":"a"}]"#, "messages[0].role has to be a text"),
            (r#"[{"role":"user"}]"#, "messages[0].content is missing"),
            (r#"[{"role":"user","content":null}]"#, "messages[0].content is missing"),
            (r#"[{"role":"user","content":5}]"#, "messages[0].content has to be a text or a list of parts"),
            (
                r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","text":"a"}]}]"#,
                "messages[0].content[1] is not text, and only text is supported",
            ),
            (
                r#"[{"role":"user","content":[{"type":"text","text":5}]}]"#,
                "messages[0].content[0].text has to be a text",
            ),
        ] {
            assert_eq!(list(text), Err(error.to_string()));
        }
    }
}
