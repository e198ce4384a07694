//! A request's prompt to tokens.

use crate::{Chat, Error, Part, Result};
use picolm_core::text::{ChatTemplate, DateTime, Encode, Json, Message, RenderOptions, Tokenizer};

/// The tokens of all parts, one behind the other.
pub(crate) fn tokens(parts: &[Part], tokenizer: &Tokenizer, template: Option<&ChatTemplate>) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    for part in parts {
        // Only what stands first begins as the model's file asks for.
        let how = if tokens.is_empty() { Encode::PROMPT } else { Encode { bos: false, ..Encode::PROMPT } };
        match part {
            Part::Text(text) => tokens.extend(tokenizer.encode(text, how)),
            Part::Tokens(ids) => tokens.extend_from_slice(ids),
            Part::Chat(chat) => tokens.extend(tokenizer.encode(&render(chat, template)?, how)),
        }
    }
    let vocab = tokenizer.n_vocab();
    match tokens.iter().find(|&&token| token as usize >= vocab) {
        Some(token) => Err(Error::request(format!("token {token} is not in the vocabulary of {vocab}"))),
        None => Ok(tokens),
    }
}

/// The text that the model's chat template makes of a conversation.
pub(crate) fn render(chat: &Chat, template: Option<&ChatTemplate>) -> Result<String> {
    let template = template
        .ok_or_else(|| Error::request("this model has no chat template: send a prompt in its own form instead"))?;
    let Json::List(list) = parse(&chat.messages, "messages")? else {
        return Err(Error::request("messages is not a list"));
    };
    let messages = list.into_iter().enumerate().map(|(i, value)| message(i, value)).collect::<Result<Vec<_>>>()?;
    let tools = chat.tools.as_deref().map(|tools| parse(tools, "tools")).transpose()?;
    if tools.as_ref().is_some_and(|tools| !matches!(tools, Json::List(_))) {
        return Err(Error::request("tools is not a list"));
    }
    let variables = match chat.variables.as_deref().map(|text| parse(text, "the template's variables")).transpose()? {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Object(variables)) => variables,
        Some(_) => return Err(Error::request("the template's variables are not an object")),
    };
    let options = RenderOptions {
        add_generation_prompt: chat.add_generation_prompt,
        now: chat.now.map(DateTime::from_unix),
        tools,
        variables,
    };
    Ok(template.render(&messages, &options)?)
}

fn parse(text: &str, what: &str) -> Result<Json> {
    Json::parse(text).map_err(|error| Error::request(format!("{what}: {error}")))
}

fn message(index: usize, value: Json) -> Result<Message> {
    let Json::Object(fields) = value else {
        return Err(Error::request(format!("messages[{index}] is not an object")));
    };
    let mut message = Message::new("", "");
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("role", Json::Text(role)) => message.role = role,
            ("content", Json::Text(content)) => message.content = content,
            ("content", Json::List(parts)) => {
                message.content = parts.into_iter().map(|part| text_part(index, part)).collect::<Result<String>>()?;
            }
            ("content", value @ Json::Null) => message.fields.push((name, value)),
            ("role" | "content", _) => return Err(Error::request(format!("messages[{index}].{name} is not a text"))),
            (_, value) => message.fields.push((name, value)),
        }
    }
    match message.role.is_empty() {
        true => Err(Error::request(format!("messages[{index}] has no role"))),
        false => Ok(message),
    }
}

/// `{type: "text", text}`; models that see or hear are not supported.
fn text_part(index: usize, part: Json) -> Result<String> {
    let field =
        |fields: &[(String, Json)], name| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    if let Json::Object(fields) = part
        && field(&fields, "type") == Some(Json::from("text"))
        && let Some(Json::Text(text)) = field(&fields, "text")
    {
        return Ok(text);
    }
    Err(Error::request(format!("messages[{index}].content has a part that is not text, and only text is supported")))
}
