//! A request's prompt to tokens.

use crate::{Chat, Error, Part, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
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
    let messages = Message::list(list).map_err(Error::request)?;
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
