//! `POST /v1/chat/completions`

use super::options::{Common, prompts};
use super::stream::{self, Chunks};
use super::{Head, token_text, usage};
use crate::App;
use crate::answers::Answers;
use crate::dialect::{self, Api};
use crate::error::{Result, json_response};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use picolm_engine::{Answer, Call, Event, Fields, Piece, Reason, TokenLogprob};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn chat(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::Chat, app, body, answer).await
}

async fn answer(app: Arc<App>, mut fields: Fields) -> Result<Response<Body>> {
    let common = Common::take(&mut fields)?;
    let (_, prompts) = prompts(&mut fields, "messages", 1)?;
    fields.finish()?;
    let logprobs = common.request.logprobs.is_some();
    let requests = common.requests(&prompts[0]).collect();
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

fn choice(index: usize, answer: &Answer, logprobs: bool) -> Value {
    json!({
        "index": index,
        "message": message(answer),
        "logprobs": logprobs.then(|| json!({ "content": answer.logprobs.iter().map(|(chosen, top)| logprob(chosen, top)).collect::<Vec<_>>(), "refusal": null })),
        "finish_reason": answer.reason.map(Reason::openai),
    })
}

fn message(answer: &Answer) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text, "refusal": null });
    if !answer.calls.is_empty() {
        message["tool_calls"] = answer.calls.iter().map(call).collect();
        if answer.text.is_empty() {
            message["content"] = Value::Null;
        }
    }
    if !answer.reasoning.is_empty() {
        message["reasoning_content"] = answer.reasoning.as_str().into();
    }
    message
}

fn call(call: &Call) -> Value {
    let function = json!({ "name": call.name, "arguments": call.arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

/// What a token adds to the message.
fn delta(piece: &Piece) -> Value {
    let mut delta = json!({});
    if !piece.text.is_empty() || (piece.reasoning.is_empty() && piece.calls.is_empty()) {
        delta["content"] = piece.text.as_str().into();
    }
    if !piece.reasoning.is_empty() {
        delta["reasoning_content"] = piece.reasoning.as_str().into();
    }
    let entry = |one: &Call| {
        let mut entry = call(one);
        entry["index"] = one.index.into();
        entry
    };
    if !piece.calls.is_empty() {
        delta["tool_calls"] = piece.calls.iter().map(entry).collect();
    }
    delta
}

pub(crate) fn logprob(chosen: &TokenLogprob, top: &[TokenLogprob]) -> Value {
    let one =
        |token: &TokenLogprob| json!({ "token": token_text(token), "logprob": token.logprob, "bytes": token.bytes });
    let mut entry = one(chosen);
    entry["top_logprobs"] = top.iter().map(one).collect();
    entry
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

    fn next(&mut self, index: usize, event: Event) -> Option<Value> {
        match event {
            Event::Piece { piece, .. } => {
                let entry = piece.logprob.as_ref().filter(|_| self.logprobs).map(|chosen| logprob(chosen, &piece.top));
                let logprobs = entry.map(|entry| json!({ "content": [entry], "refusal": null }));
                if piece.says_nothing() && logprobs.is_none() {
                    return None;
                }
                Some(self.chunk(index, &delta(&piece), logprobs, None))
            }
            Event::Finished { reason, .. } => Some(self.chunk(index, &json!({}), None, Some(reason.openai()))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_thoughts_as_openai_has_them() {
        let called = Call { index: 1, id: "call_1".into(), name: "f".into(), arguments: "{\"a\":1}".into() };
        let reasoning = "Hm.".to_string();
        let answer = Answer { calls: vec![called.clone()], reasoning: reasoning.clone(), ..Answer::default() };
        let function = json!({ "name": "f", "arguments": "{\"a\":1}" });
        let whole = json!({
            "role": "assistant", "content": null, "refusal": null, "reasoning_content": "Hm.",
            "tool_calls": [{ "id": "call_1", "type": "function", "function": function }],
        });
        assert_eq!(message(&answer), whole);
        let said = message(&Answer { text: "So:".into(), ..answer });
        assert_eq!(said["content"], "So:");
        assert_eq!(message(&Answer::default()), json!({ "role": "assistant", "content": "", "refusal": null }));
        let part = json!([{ "index": 1, "id": "call_1", "type": "function", "function": function }]);
        assert_eq!(delta(&Piece { calls: vec![called], ..Piece::default() }), json!({ "tool_calls": part }));
        assert_eq!(delta(&Piece { reasoning, ..Piece::default() }), json!({ "reasoning_content": "Hm." }));
        assert_eq!(delta(&Piece::default()), json!({ "content": "" }));
    }
}
