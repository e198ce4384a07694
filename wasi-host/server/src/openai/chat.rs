//! `POST /v1/chat/completions`

use super::options::{Common, MAX_TOKENS, refuse_tools};
use super::stream::{self, Chunks};
use super::{Head, token_text, usage};
use crate::answers::{Answers, Complete, Told, finish_reason};
use crate::error::{ApiError, Result, json_response};
use crate::fields::Fields;
use crate::{App, gate};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use picolm_engine::{Chat, Part, Piece, Request, TokenLogprob};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Who may speak in a conversation.
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool"];

pub(crate) async fn chat(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response<Body>> {
    let body = gate::body(&app, &headers, body).await?;
    let mut fields = Fields::parse(&body)?;
    let common = Common::take(&mut fields)?;
    let request = request(&mut fields, &common)?;
    fields.finish()?;
    let logprobs = request.logprobs.is_some();
    let requests = common.requests(&request).collect();
    let answers = Answers::begin(&app.models, common.model.as_deref(), requests, common.choices).await?;
    let name = answers.model.name.clone();
    if common.stream {
        let head = Head::new("chatcmpl", "chat.completion.chunk", &name);
        let (choices, include_usage) = (common.choices, common.include_usage);
        return Ok(stream::respond(answers, ChatChunks { head, choices, include_usage, logprobs }));
    }
    let (complete, used) = answers.complete().await?;
    let choices: Vec<Value> = complete.iter().enumerate().map(|(i, one)| choice(i, one, logprobs)).collect();
    let mut answer = Head::new("chatcmpl", "chat.completion", &name).with(choices.into());
    answer["usage"] = usage(used);
    Ok(json_response(StatusCode::OK, &answer))
}

fn request(fields: &mut Fields, common: &Common) -> Result<Request> {
    refuse_tools(fields)?;
    fields.refuse("response_format", &[json!({"type": "text"})], "is not supported yet: answers are text")?;
    fields.refuse("modalities", &[json!(["text"])], "has more than text, and only text is supported")?;
    fields.refuse("audio", &[], "is not supported: answers are text")?;
    fields.refuse("prediction", &[], "is not supported")?;
    fields.refuse("web_search_options", &[], "is not supported")?;
    let most = fields.integer("max_tokens", 1..=MAX_TOKENS)?;
    let most = fields.integer("max_completion_tokens", 1..=MAX_TOKENS)?.or(most);
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.integer("top_logprobs", 0..=20)?;
    if top.is_some() && !wanted {
        return Err(ApiError::field("top_logprobs", "is of no use without logprobs: true"));
    }
    let variables = fields.object("chat_template_kwargs")?.map(|map| Value::Object(map.into_map()).to_string());
    let messages = messages(fields)?;
    Ok(Request {
        prompt: vec![Part::Chat(Chat { variables, now: Some(crate::models::now() as i64), ..Chat::new(messages) })],
        sampling: common.sampling.clone(),
        stops: common.stops.clone(),
        max_tokens: most.unwrap_or(0) as usize,
        logprobs: wanted.then(|| top.unwrap_or(0) as usize),
    })
}

/// The conversation as JSON: looked at here for errors that name the place, and read where the template runs.
fn messages(fields: &mut Fields) -> Result<String> {
    let list = match fields.take("messages") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(Value::Array(_)) => return Err(ApiError::field("messages", "is empty")),
        Some(_) => return Err(ApiError::field("messages", "has to be a list")),
        None => return Err(ApiError::field("messages", "is missing")),
    };
    for (i, message) in list.iter().enumerate() {
        let Value::Object(message) = message else {
            return Err(ApiError::field(format!("messages[{i}]"), "has to be an object"));
        };
        check_message(i, message)?;
    }
    Ok(Value::Array(list).to_string())
}

fn check_message(i: usize, message: &Map<String, Value>) -> Result<()> {
    let at = |field: &str| format!("messages[{i}].{field}");
    match message.get("role") {
        Some(Value::String(role)) if ROLES.contains(&role.as_str()) => {}
        Some(_) => return Err(ApiError::field(at("role"), format!("is none of {}", ROLES.join(", ")))),
        None => return Err(ApiError::field(at("role"), "is missing")),
    }
    if message
        .get("tool_calls")
        .is_some_and(|calls| calls.as_array().is_none_or(|calls| !calls.is_empty()) && !calls.is_null())
    {
        return Err(ApiError {
            code: "unsupported",
            ..ApiError::field(at("tool_calls"), "is not supported yet: this server cannot call tools")
        });
    }
    match message.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) => parts.iter().enumerate().try_for_each(|(j, part)| {
            let kind = part.get("type").and_then(Value::as_str);
            match (kind, part.get("text")) {
                (Some("text"), Some(Value::String(_))) => Ok(()),
                (Some("text"), _) => Err(ApiError::field(at(&format!("content[{j}].text")), "has to be a text")),
                _ => Err(ApiError {
                    code: "unsupported",
                    ..ApiError::field(at(&format!("content[{j}]")), "is not text, and only text is supported")
                }),
            }
        }),
        Some(Value::Null) | None => Err(ApiError::field(at("content"), "is missing")),
        Some(_) => Err(ApiError::field(at("content"), "has to be a text or a list of parts")),
    }
}

fn choice(index: usize, answer: &Complete, logprobs: bool) -> Value {
    json!({
        "index": index,
        "message": { "role": "assistant", "content": answer.text, "refusal": null },
        "logprobs": logprobs.then(|| json!({ "content": answer.pieces.iter().filter_map(logprob).collect::<Vec<_>>(), "refusal": null })),
        "finish_reason": answer.reason.map(finish_reason),
    })
}

fn logprob(piece: &Piece) -> Option<Value> {
    let one =
        |token: &TokenLogprob| json!({ "token": token_text(token), "logprob": token.logprob, "bytes": token.bytes });
    let mut entry = one(piece.logprob.as_ref()?);
    entry["top_logprobs"] = piece.top.iter().map(one).collect();
    Some(entry)
}

struct ChatChunks {
    head: Head,
    choices: usize,
    include_usage: bool,
    logprobs: bool,
}

impl ChatChunks {
    fn chunk(&self, index: usize, delta: &Value, logprobs: Option<Value>, reason: Option<&str>) -> Value {
        let mut entry = json!({ "index": index, "delta": delta, "finish_reason": reason });
        entry["logprobs"] = logprobs.unwrap_or(Value::Null);
        let mut chunk = self.head.with(json!([entry]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

impl Chunks for ChatChunks {
    fn first(&mut self) -> Vec<Value> {
        (0..self.choices).map(|i| self.chunk(i, &json!({ "role": "assistant", "content": "" }), None, None)).collect()
    }

    fn next(&mut self, index: usize, told: Told) -> Option<Value> {
        match told {
            Told::Piece(piece) => {
                let entry = logprob(&piece).filter(|_| self.logprobs);
                let logprobs = entry.map(|entry| json!({ "content": [entry], "refusal": null }));
                if piece.text.is_empty() && logprobs.is_none() {
                    return None;
                }
                Some(self.chunk(index, &json!({ "content": piece.text }), logprobs, None))
            }
            Told::Finished(reason) => Some(self.chunk(index, &json!({}), None, Some(finish_reason(reason)))),
        }
    }

    fn last(&mut self, answers: &Answers) -> Option<Value> {
        self.include_usage.then(|| {
            let mut chunk = self.head.with(json!([]));
            chunk["usage"] = usage(answers.usage);
            chunk
        })
    }
}
