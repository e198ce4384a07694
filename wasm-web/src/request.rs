//! A request in OpenAI's shape, as JSON, to what the core takes. What is not supported is refused by name.

use crate::error::{Fault, Result};
use picolm_core::generation::Options;
use picolm_core::text::{Json, Message, RenderOptions};

/// What a request asks for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) messages: Option<Vec<Message>>,
    pub(crate) prompt: Option<String>,
    pub(crate) options: Options,
    pub(crate) render: RenderOptions,
    /// Whether nothing of the session is used.
    pub(crate) anew: bool,
}

/// Reads a request.
pub(crate) fn parse(text: &str) -> Result<Request> {
    let Json::Object(fields) = Json::parse(text).map_err(Fault::request)? else {
        return Err(Fault::request("a request is an object"));
    };
    let mut request = Request::default();
    request.render.add_generation_prompt = true;
    for (name, value) in fields {
        set(&mut request, &name, value)?;
    }
    Ok(request)
}

fn set(request: &mut Request, name: &str, value: Json) -> Result<()> {
    let sampling = &mut request.options.sampling;
    match (name, value) {
        // OpenAI's clients send null for what is not set.
        (_, Json::Null) => {}
        ("messages", Json::List(list)) => {
            request.messages = Some(Message::list(list).map_err(Fault::request)?);
        }
        ("prompt", Json::Text(text)) => request.prompt = Some(text),
        ("stop", Json::Text(text)) => request.options.stops = vec![text],
        ("stop", Json::List(list)) => {
            request.options.stops = list.into_iter().map(|stop| text(stop, "stop")).collect::<Result<_>>()?;
        }
        ("temperature", value) => sampling.temperature = number(name, &value)?,
        ("top_p", value) => sampling.top_p = number(name, &value)?,
        ("min_p", value) => sampling.min_p = number(name, &value)?,
        ("top_k", value) => sampling.top_k = whole(name, &value)?,
        ("repetition_penalty", value) => sampling.repetition_penalty = number(name, &value)?,
        ("frequency_penalty", value) => sampling.frequency_penalty = number(name, &value)?,
        ("presence_penalty", value) => sampling.presence_penalty = number(name, &value)?,
        ("penalty_last_n", value) => sampling.penalty_last_n = whole::<u32>(name, &value)? as usize,
        ("seed", value) => sampling.seed = whole(name, &value)?,
        ("logit_bias", Json::Object(biases)) => {
            sampling.logit_bias =
                biases.into_iter().map(|(token, bias)| bias_of(&token, &bias)).collect::<Result<_>>()?;
        }
        ("max_tokens" | "max_completion_tokens", value) => match whole::<u32>(name, &value)? {
            0 => return Err(Fault::request(format!("{name} is 0, which leaves no room for an answer"))),
            most => request.options.max_tokens = most as usize,
        },
        ("lookup", value) => request.options.lookup = whole::<u32>(name, &value)? as usize,
        ("cache_prompt", Json::Bool(cache)) => request.anew = !cache,
        ("tools", value @ Json::List(_)) => request.render.tools = Some(value),
        ("chat_template_kwargs", Json::Object(variables)) => request.render.variables = variables,
        ("add_generation_prompt", Json::Bool(add)) => request.render.add_generation_prompt = add,
        ("n" | "best_of", Json::Int(1)) | ("logprobs" | "echo", Json::Bool(false)) => {}
        ("response_format", Json::Object(format)) if format == [("type".to_string(), Json::from("text"))] => {}
        ("model" | "user" | "metadata" | "store", _) => {}
        ("n" | "best_of" | "logprobs" | "top_logprobs" | "echo" | "suffix" | "response_format" | "tool_choice", _) => {
            return Err(Fault::request(format!("{name} is not supported with this value: leave it out")));
        }
        (
            "messages"
            | "prompt"
            | "stop"
            | "logit_bias"
            | "cache_prompt"
            | "tools"
            | "chat_template_kwargs"
            | "add_generation_prompt",
            _,
        ) => {
            return Err(Fault::request(format!("{name} has the wrong type")));
        }
        _ => return Err(Fault::request(format!("unknown option {name:?}"))),
    }
    Ok(())
}

fn text(value: Json, name: &str) -> Result<String> {
    if let Json::Text(text) = value {
        Ok(text)
    } else {
        Err(Fault::request(format!("{name} has an entry that is not a text")))
    }
}

fn number(name: &str, value: &Json) -> Result<f32> {
    match *value {
        Json::Int(number) => Ok(number as f32),
        Json::Float(number) => Ok(number as f32),
        _ => Err(Fault::request(format!("{name} is not a number"))),
    }
}

fn whole<T: TryFrom<i64>>(name: &str, value: &Json) -> Result<T> {
    let Json::Int(number) = *value else { return Err(Fault::request(format!("{name} is not a whole number"))) };
    T::try_from(number).map_err(|_| Fault::request(format!("{name} is {number}, which is out of range")))
}

fn bias_of(token: &str, bias: &Json) -> Result<(u32, f32)> {
    let id = token
        .parse()
        .map_err(|_| Fault::request(format!("logit_bias names {token:?}, which is not the number of a token")))?;
    // OpenAI: -100 is a ban.
    let bias = number("logit_bias", bias)?;
    Ok((id, if bias == -100.0 { f32::NEG_INFINITY } else { bias }))
}
