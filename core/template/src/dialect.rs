//! What a template takes differs, and nothing says so: it is found out once by rendering a short conversation with a marker in it.

use super::{ChatError, DateTime, Json, Message, RenderOptions, Template};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

/// The form in which a template reads messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    content: Content,
}

/// How a template takes `content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Text,
    /// as a list of parts, `[{"type": "text", "text": …}]`
    Parts,
    /// not at all: what is said is lost
    Nowhere,
}

/// A text that templates neither know nor change.
const MARKER: &str = "mzqkvxw";

impl Dialect {
    /// Finds out a template's. Where it refuses all that is tried, messages stay as they are, and rendering them says why.
    pub fn of(template: &Template) -> Dialect {
        let said = Message::new("user", MARKER);
        let content = match shows(template, core::slice::from_ref(&said), &[MARKER]) {
            Ok(true) => Content::Text,
            // Whatever is tried next would take as long.
            Err(ChatError::Limit { .. }) => Content::Text,
            otherwise => match (shows(template, &[in_parts(said)], &[MARKER]), otherwise) {
                (Ok(true), _) => Content::Parts,
                (_, Ok(_)) => Content::Nowhere,
                _ => Content::Text,
            },
        };
        Dialect { content }
    }

    /// Messages in the form that the template reads.
    ///
    /// # Errors
    /// [`ChatError::Unread`]: the template would leave out what they say.
    pub fn adapt<'m>(&self, messages: &'m [Message]) -> Result<Cow<'m, [Message]>, ChatError> {
        match self.content {
            Content::Text => Ok(Cow::Borrowed(messages)),
            Content::Parts => Ok(Cow::Owned(messages.iter().cloned().map(in_parts).collect())),
            Content::Nowhere if messages.iter().all(|message| message.content.is_empty()) => {
                Ok(Cow::Borrowed(messages))
            }
            Content::Nowhere => Err(ChatError::Unread),
        }
    }
}

/// Whether all of these stand in what a template makes of messages.
fn shows(template: &Template, messages: &[Message], wanted: &[&str]) -> Result<bool, ChatError> {
    let options =
        RenderOptions { add_generation_prompt: true, now: Some(DateTime::from_unix(0)), ..RenderOptions::default() };
    let text = template.render(messages, &options)?;
    Ok(wanted.iter().all(|wanted| text.contains(wanted)))
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
