//! `POST /v1/completions`: text that is continued as it is.

use super::options::{Common, MAX_TOKENS};
use super::stream::{self, Chunks};
use super::{Head, token_text, usage};
use crate::answers::{Answers, Complete, Told, finish_reason};
use crate::error::{ApiError, Result, json_response};
use crate::fields::Fields;
use crate::{App, gate};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use picolm_engine::{Part, Piece, Request};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Most prompts in one request.
const MAX_PROMPTS: usize = 16;

/// OpenAI's default.
const DEFAULT_TOKENS: i64 = 16;

pub(crate) async fn completions(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response<Body>> {
    let body = gate::body(&app, &headers, body).await?;
    let mut fields = Fields::parse(&body)?;
    let common = Common::take(&mut fields)?;
    let most = fields.integer("max_tokens", 1..=MAX_TOKENS)?.unwrap_or(DEFAULT_TOKENS) as usize;
    let logprobs = fields.integer("logprobs", 0..=20)?.map(|n| n as usize);
    let echo = fields.boolean("echo")?.unwrap_or(false);
    fields.refuse("suffix", &[json!("")], "is not supported: text is continued at its end")?;
    let best_of = fields.integer("best_of", 1..=20)?.unwrap_or(common.choices as i64);
    if best_of != common.choices as i64 {
        return Err(ApiError::field("best_of", "is not supported unless it is n"));
    }
    let prompts = prompts(fields.take("prompt"))?;
    fields.finish()?;
    let texts = echoes(&prompts, echo, logprobs.is_some())?;
    let request = |prompt: Part| Request {
        prompt: vec![prompt],
        sampling: common.sampling.clone(),
        stops: common.stops.clone(),
        max_tokens: most,
        logprobs,
    };
    let requests = prompts.into_iter().flat_map(|prompt| common.requests(&request(prompt)).collect::<Vec<_>>());
    let answers = Answers::begin(&app.models, common.model.as_deref(), requests.collect(), common.choices).await?;
    let head = Head::new("cmpl", "text_completion", &answers.model.name);
    let echo = |index: usize| texts[index / common.choices].clone();
    if common.stream {
        let echoes = (0..texts.len() * common.choices).map(echo).collect();
        return Ok(stream::respond(answers, TextChunks { head, echoes, include_usage: common.include_usage }));
    }
    let (complete, used) = answers.complete().await?;
    let choices: Vec<Value> =
        complete.iter().enumerate().map(|(i, one)| choice(i, &echo(i), one, logprobs.is_some())).collect();
    let mut answer = head.with(choices.into());
    answer["usage"] = usage(used);
    Ok(json_response(StatusCode::OK, &answer))
}

/// A text, a list of texts, a list of tokens, or a list of these.
fn prompts(value: Option<Value>) -> Result<Vec<Part>> {
    let wrong = || ApiError::field("prompt", "has to be a text, a list of tokens, or a list of these");
    let all: Vec<Part> = match value {
        None => return Err(ApiError::field("prompt", "is missing")),
        Some(Value::String(text)) => vec![Part::Text(text)],
        Some(Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_number) => {
            vec![Part::Tokens(tokens(&list).ok_or_else(wrong)?)]
        }
        Some(Value::Array(list)) => {
            let part = |value: &Value| match value {
                Value::String(text) => Some(Part::Text(text.clone())),
                Value::Array(list) => Some(Part::Tokens(tokens(list)?)),
                _ => None,
            };
            list.iter().map(part).collect::<Option<_>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    match all.len() {
        0 => Err(ApiError::field("prompt", "is empty")),
        1..=MAX_PROMPTS => Ok(all),
        n => Err(ApiError::field("prompt", format!("has {n} texts, and at most {MAX_PROMPTS} are taken"))),
    }
}

fn tokens(list: &[Value]) -> Option<Vec<u32>> {
    list.iter().map(|token| token.as_u64()?.try_into().ok()).collect()
}

/// What each prompt's answers begin with.
fn echoes(prompts: &[Part], echo: bool, logprobs: bool) -> Result<Vec<String>> {
    if echo && logprobs {
        return Err(ApiError::field("echo", "is not supported together with logprobs"));
    }
    let text = |prompt: &Part| match prompt {
        Part::Text(text) => Ok(if echo { text.clone() } else { String::new() }),
        _ if echo => Err(ApiError::field("echo", "is not supported for prompts that are tokens")),
        _ => Ok(String::new()),
    };
    prompts.iter().map(text).collect()
}

fn choice(index: usize, echo: &str, answer: &Complete, logprobs: bool) -> Value {
    json!({
        "index": index,
        "text": format!("{echo}{}", answer.text),
        "logprobs": logprobs.then(|| logprobs_of(&answer.pieces, 0)),
        "finish_reason": answer.reason.map(finish_reason),
    })
}

/// OpenAI's older form: lists side by side. `offset`: characters of the text before.
fn logprobs_of(pieces: &[Piece], mut offset: usize) -> Value {
    let (mut tokens, mut logprobs, mut top, mut offsets) = (vec![], vec![], vec![], vec![]);
    for piece in pieces {
        let Some(chosen) = &piece.logprob else { continue };
        tokens.push(token_text(chosen));
        logprobs.push(chosen.logprob);
        let entries = piece.top.iter().map(|token| (token_text(token), token.logprob.into()));
        top.push(entries.collect::<Map<String, Value>>());
        offsets.push(offset);
        offset += token_text(chosen).chars().count();
    }
    json!({ "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets })
}

struct TextChunks {
    head: Head,
    echoes: Vec<String>,
    include_usage: bool,
}

impl TextChunks {
    fn chunk(&self, index: usize, text: &str, logprobs: Option<Value>, reason: Option<&str>) -> Value {
        let mut entry = json!({ "index": index, "text": text, "finish_reason": reason });
        entry["logprobs"] = logprobs.unwrap_or(Value::Null);
        let mut chunk = self.head.with(json!([entry]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

impl Chunks for TextChunks {
    fn first(&mut self) -> Vec<Value> {
        let echoes = self.echoes.iter().enumerate().filter(|(_, echo)| !echo.is_empty());
        echoes.map(|(i, echo)| self.chunk(i, echo, None, None)).collect()
    }

    fn next(&mut self, index: usize, told: Told) -> Option<Value> {
        match told {
            Told::Piece(piece) => {
                let logprobs = piece.logprob.is_some().then(|| logprobs_of(std::slice::from_ref(&piece), 0));
                let silent = piece.text.is_empty() && logprobs.is_none();
                (!silent).then(|| self.chunk(index, &piece.text, logprobs, None))
            }
            Told::Finished(reason) => Some(self.chunk(index, "", None, Some(finish_reason(reason)))),
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
