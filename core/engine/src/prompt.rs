//! A request's prompt to tokens.

use crate::tools::{ToolChoice, Tools};
use crate::{Chat, Error, Prompt, Result};
use alloc::format;
use alloc::vec::Vec;
use picolm_core::text::{ChatTemplate, DateTime, Encode, Json, Message, RenderOptions, Tokenizer, Traced};

/// Who may speak in a conversation.
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function", "ipython"];

/// The tokens of a prompt.
pub(crate) fn tokens(prompt: &Prompt, tokenizer: &Tokenizer, template: Option<&ChatTemplate>) -> Result<Vec<u32>> {
    let tokens = match prompt {
        Prompt::Text(text) => tokenizer.encode(text, Encode::PROMPT),
        Prompt::Tokens(ids) => ids.clone(),
        Prompt::Chat(chat) => tokenizer.encode_traced(&render(chat, template)?, Encode::PROMPT),
    };
    let vocab = tokenizer.n_vocab();
    match tokens.iter().find(|&&token| token as usize >= vocab) {
        Some(token) => Err(Error::request(format!("token {token} is not in the vocabulary of {vocab}"))),
        None => Ok(tokens),
    }
}

/// What the model's chat template makes of a conversation.
pub(crate) fn render(chat: &Chat, template: Option<&ChatTemplate>) -> Result<Traced> {
    let template = template
        .ok_or_else(|| Error::request("this model has no chat template: send a prompt in its own form instead"))?;
    let Json::List(list) = parse(&chat.messages, "messages")? else {
        return Err(Error::field("messages", "has to be a list"));
    };
    let messages = Message::list(list).map_err(|error| Error::field(error.field, error.why))?;
    if let Some(i) = messages.iter().position(|message| !ROLES.contains(&message.role.as_str())) {
        return Err(Error::field(format!("messages[{i}].role"), format!("is none of {}", ROLES.join(", "))));
    }
    let variables = match chat.variables.as_deref().map(|text| parse(text, "chat_template_kwargs")).transpose()? {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Object(variables)) => variables,
        Some(_) => return Err(Error::field("chat_template_kwargs", "has to be an object")),
    };
    let unfinished = is_unfinished(chat, messages.last())?;
    let options = RenderOptions {
        add_generation_prompt: chat.add_generation_prompt.unwrap_or(true),
        now: chat.now.map(DateTime::from_unix),
        tools: tools(chat)?.map(|(list, _)| Json::List(list)),
        variables,
    };
    let rendered =
        if unfinished { template.render_unfinished(&messages, &options) } else { template.render(&messages, &options) };
    Ok(if chat.parse_special { rendered?.trusted() } else { rendered? })
}

/// Whether the answer continues the last message.
fn is_unfinished(chat: &Chat, last: Option<&Message>) -> Result<bool> {
    let field = "continue_final_message";
    let can = last.is_some_and(|last| {
        let calls = last.fields.iter().any(|(name, calls)| {
            name == "tool_calls" && !matches!(calls, Json::Null) && *calls != Json::List(Vec::new())
        });
        last.role == "assistant" && !calls
    });
    match (chat.continue_final_message, chat.add_generation_prompt) {
        (Some(true), Some(true)) => Err(Error::field(field, "cannot be beside add_generation_prompt: true")),
        (Some(true), _) if !can => Err(Error::field(field, "needs a text of the assistant at the end")),
        (None, Some(true)) => Ok(false),
        (wanted, _) => Ok(wanted.unwrap_or(can)),
    }
}

/// The tools that the model is told of, and may call: as they are in the request, and read.
pub(crate) fn tools(chat: &Chat) -> Result<Option<(Vec<Json>, Tools)>> {
    let (must, only) = chat.tool_choice.must();
    let list = match chat.tools.as_deref().map(|tools| parse(tools, "tools")).transpose()? {
        None | Some(Json::Null) if must => return Err(Error::field("tool_choice", "needs tools")),
        None | Some(Json::Null) => return Ok(None),
        Some(Json::List(list)) => list,
        Some(_) => return Err(Error::field("tools", "has to be a list")),
    };
    let tools = Tools::read(&list)?;
    if must && tools.is_empty() {
        return Err(Error::field("tool_choice", "needs tools"));
    }
    if only.is_some_and(|name| !tools.has(name)) {
        return Err(Error::field("tool_choice.function.name", "is the name of none of the tools"));
    }
    Ok((chat.tool_choice != ToolChoice::None && !tools.is_empty()).then_some((list, tools)))
}

fn parse(text: &str, what: &str) -> Result<Json> {
    Json::parse(text).map_err(|error| Error::field(what, format!("is {error}")))
}
