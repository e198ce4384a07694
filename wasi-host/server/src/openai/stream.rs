//! Server-sent events.

use crate::answers::Answers;
use crate::error::ApiError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use futures_util::stream;
use picolm_engine::Event;
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;

/// While a long prompt is read nothing else can be said, and proxies close what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Makes the chunks of one kind of answer.
pub(super) trait Chunks: Send + 'static {
    /// What comes before the first token.
    fn first(&mut self) -> Vec<Value>;
    /// What is said of an answer; `None` if nothing is to be said yet.
    fn next(&mut self, index: usize, event: Event) -> Option<Value>;
    /// What comes behind all answers.
    fn last(&mut self, answers: &Answers) -> Option<Value>;
}

/// What is left to be sent.
enum State<C> {
    Begin(Answers, C),
    Go(Answers, C),
    Done,
    End,
}

/// Sends chunks as they come. The answers end with the client.
pub(super) fn respond<C: Chunks>(answers: Answers, chunks: C) -> Response<Body> {
    let events = stream::unfold(State::Begin(answers, chunks), |state| async {
        let (text, state) = advance(state).await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), state))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would collect it first.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn advance<C: Chunks>(state: State<C>) -> Option<(String, State<C>)> {
    match state {
        State::Begin(answers, mut chunks) => {
            let first = chunks.first();
            Some((first.iter().map(event).collect(), State::Go(answers, chunks)))
        }
        State::Go(mut answers, mut chunks) => loop {
            let next = match tokio::time::timeout(KEEP_ALIVE, answers.next()).await {
                Err(_) => return Some((": still at work\n\n".into(), State::Go(answers, chunks))),
                Ok(next) => next,
            };
            return match next {
                Ok(Some((index, news))) => match chunks.next(index, news) {
                    Some(chunk) => Some((event(&chunk), State::Go(answers, chunks))),
                    None => continue,
                },
                Ok(None) => Some((chunks.last(&answers).iter().map(event).collect(), State::Done)),
                Err(error) => Some((failed(&error), State::Done)),
            };
        },
        State::Done => Some(("data: [DONE]\n\n".into(), State::End)),
        State::End => None,
    }
}

/// The status has been sent; the error comes where a chunk would.
fn failed(error: &ApiError) -> String {
    event(&error.openai())
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}
