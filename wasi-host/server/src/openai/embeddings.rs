//! `POST /v1/embeddings`: the mean of the last hidden states (behind the model's last norm) of a text's tokens, made one long. Models that
//! were trained to write are no experts at this; texts about the same are nearer to each other than others, and that is all.

use super::options::prompts;
use crate::App;
use crate::answers::Answers;
use crate::dialect::{self, Api};
use crate::error::{ApiError, Result, json_response};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use picolm_engine::{Fields, Prompt, Request, Task};
use serde_json::{Value, json};
use std::sync::Arc;

/// Most texts in one request: OpenAI's.
pub(crate) const MAX_INPUTS: usize = 2048;

pub(crate) async fn embeddings(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::Embeddings, app, body, answer).await
}

async fn answer(app: Arc<App>, mut fields: Fields) -> Result<Response<Body>> {
    let model = fields.text("model")?;
    let base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(ApiError::field("encoding_format", "is neither float nor base64")),
    };
    let (_, inputs) = prompts(&mut fields, "input", MAX_INPUTS)?;
    let dimensions = fields.integer(&["dimensions"], 1..=1 << 20)?;
    fields.finish()?;
    let (name, tokens, all) = embed_all(&app, model.as_deref(), inputs, dimensions).await?;
    let value = |embedding: &[f32]| match base64 {
        true => Value::from(encode(embedding)),
        false => Value::from(embedding),
    };
    let entry = |(i, e): (usize, &Vec<f32>)| json!({ "object": "embedding", "index": i, "embedding": value(e) });
    let data: Vec<Value> = all.iter().enumerate().map(entry).collect();
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(json_response(StatusCode::OK, &json!({ "object": "list", "model": name, "data": data, "usage": usage })))
}

/// The model's name, the number of tokens, and an embedding for each text, which has so many dimensions if that is said.
pub(crate) async fn embed_all(
    app: &App,
    model: Option<&str>,
    inputs: Vec<Prompt>,
    dimensions: Option<i64>,
) -> Result<(String, usize, Vec<Vec<f32>>)> {
    let (model, _place) = app.models.acquire(model, 1).await?;
    let (mut tokens, mut all) = (0, Vec::new());
    for prompt in inputs {
        // One at a time: a request has one place.
        let request = Request { prompt, task: Task::Embed, ..Request::default() };
        let answers = async { Answers::ask(model.clone(), vec![(request, None)], 1).await?.complete().await };
        let (mut answers, usage) = answers.await.map_err(|error| match error.status {
            StatusCode::BAD_REQUEST => ApiError { param: Some("input".into()), ..error },
            _ => error,
        })?;
        let has = answers[0].embedding.len();
        if let Some(wanted) = dimensions.filter(|wanted| *wanted != has as i64) {
            return Err(ApiError::field("dimensions", format!("is {wanted}, and this model has {has}")));
        }
        tokens += usage.prompt;
        all.append(&mut answers);
    }
    Ok((model.name.clone(), tokens, all.into_iter().map(|answer| answer.embedding).collect()))
}

/// Little-endian floats in base64, as OpenAI's own clients ask for them.
fn encode(embedding: &[f32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = embedding.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_of_floats() {
        // Python: base64.b64encode(struct.pack('<f', 1.0)), and of (1.0, -2.5), and of three
        assert_eq!(super::encode(&[1.0]), "AACAPw==");
        assert_eq!(super::encode(&[1.0, -2.5]), "AACAPwAAIMA=");
        assert_eq!(super::encode(&[1.0, -2.5, 0.1]), "AACAPwAAIMDNzMw9");
    }
}
