//! `POST /v1/completions`: text that is continued as it is.

use super::options::{Common, prompts};
use super::stream::{self, Chunks};
use super::{Head, token_text, usage};
use crate::App;
use crate::answers::Answers;
use crate::dialect::{self, Api};
use crate::error::{ApiError, Result, json_response};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use picolm_engine::{Answer, Event, Fields, Prompt, Reason, TokenLogprob};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Most prompts in one request.
const MAX_PROMPTS: usize = 16;

/// OpenAI's default.
const DEFAULT_TOKENS: usize = 16;

pub(crate) async fn completions(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::Completions, app, body, answer).await
}

async fn answer(app: Arc<App>, mut fields: Fields) -> Result<Response<Body>> {
    let echo = fields.boolean("echo")?.unwrap_or(false);
    let best_of = fields.integer(&["best_of"], 1..=20)?;
    let mut common = Common::take(&mut fields)?;
    if common.request.max_tokens == 0 {
        common.request.max_tokens = DEFAULT_TOKENS;
    }
    if best_of.is_some_and(|best_of| best_of != common.choices as i64) {
        return Err(ApiError::field("best_of", "is not supported unless it is n"));
    }
    let (_, prompts) = prompts(&mut fields, "prompt", MAX_PROMPTS)?;
    fields.finish()?;
    let logprobs = common.request.logprobs;
    let texts = echoes(&prompts, echo, logprobs.is_some())?;
    let requests = prompts.iter().flat_map(|prompt| common.requests(prompt)).collect();
    let answers = Answers::begin(&app.models, common.model.as_deref(), requests, common.choices).await?;
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

/// What each prompt's answers begin with.
fn echoes(prompts: &[Prompt], echo: bool, logprobs: bool) -> Result<Vec<String>> {
    if echo && logprobs {
        return Err(ApiError::field("echo", "is not supported together with logprobs"));
    }
    let text = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => Ok(if echo { text.clone() } else { String::new() }),
        _ if echo => Err(ApiError::field("echo", "is not supported for prompts that are tokens")),
        _ => Ok(String::new()),
    };
    prompts.iter().map(text).collect()
}

fn choice(index: usize, echo: &str, answer: &Answer, logprobs: bool) -> Value {
    json!({
        "index": index,
        "text": format!("{echo}{}", answer.text),
        "logprobs": logprobs.then(|| logprobs_of(&answer.logprobs, 0)),
        "finish_reason": answer.reason.map(Reason::openai),
    })
}

/// OpenAI's older form: lists side by side. `offset`: characters of the text before.
fn logprobs_of(all: &[(TokenLogprob, Vec<TokenLogprob>)], mut offset: usize) -> Value {
    let (mut tokens, mut logprobs, mut top, mut offsets) = (vec![], vec![], vec![], vec![]);
    for (chosen, likely) in all {
        tokens.push(token_text(chosen));
        logprobs.push(chosen.logprob);
        let entries = likely.iter().map(|token| (token_text(token), token.logprob.into()));
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

    fn next(&mut self, index: usize, event: Event) -> Option<Value> {
        match event {
            Event::Piece { piece, .. } => {
                let logprobs = piece.logprob.map(|chosen| logprobs_of(&[(chosen, piece.top)], 0));
                let silent = piece.text.is_empty() && logprobs.is_none();
                (!silent).then(|| self.chunk(index, &piece.text, logprobs, None))
            }
            Event::Finished { reason, .. } => Some(self.chunk(index, "", None, Some(reason.openai()))),
            _ => None,
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
