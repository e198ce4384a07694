//! `POST /v1/embeddings`: the mean of the last hidden states (behind the model's last norm) of a text's tokens, made one long. Models that
//! were trained to write are no experts at this; texts about the same are nearer to each other than others, and that is all.

use crate::App;
use crate::error::{ApiError, Result, json_response};
use crate::fields::Fields;
use crate::gate;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use picolm_engine::{Part, Request};
use serde_json::{Value, json};
use std::sync::Arc;

/// Most texts in one request.
const MAX_INPUTS: usize = 256;

pub(crate) async fn embeddings(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response<Body>> {
    let body = gate::body(&app, &headers, body).await?;
    let mut fields = Fields::parse(&body)?;
    let model = fields.text("model")?;
    let base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(ApiError::field("encoding_format", "is neither float nor base64")),
    };
    let inputs = inputs(fields.take("input"))?;
    let dimensions = fields.integer("dimensions", 1..=1 << 20)?;
    fields.ignore(&["user"]);
    fields.finish()?;
    let (name, tokens, all) = embed_all(&app, model.as_deref(), inputs).await?;
    if let (Some(wanted), Some(first)) = (dimensions, all.first())
        && wanted != first.len() as i64
    {
        return Err(ApiError::field("dimensions", format!("is {wanted}, and this model has {}", first.len())));
    }
    let value = |embedding: &[f32]| match base64 {
        true => Value::from(encode(embedding)),
        false => Value::from(embedding),
    };
    let entry = |(i, e): (usize, &Vec<f32>)| json!({ "object": "embedding", "index": i, "embedding": value(e) });
    let data: Vec<Value> = all.iter().enumerate().map(entry).collect();
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(json_response(StatusCode::OK, &json!({ "object": "list", "model": name, "data": data, "usage": usage })))
}

/// The model's name, the number of tokens, and an embedding of length 1 for each text.
pub(crate) async fn embed_all(
    app: &App,
    model: Option<&str>,
    inputs: Vec<Part>,
) -> Result<(String, usize, Vec<Vec<f32>>)> {
    let (model, mut places) = app.models.acquire(model, 1).await?;
    let place = Arc::new(places.remove(0));
    let (mut tokens, mut all) = (0, Vec::new());
    for input in inputs {
        // One at a time: answers go on in between.
        let request = Request { prompt: vec![input], ..Request::default() };
        let (n, mut embedding) = model.embed(request, place.clone()).await?;
        normalise(&mut embedding);
        tokens += n;
        all.push(embedding);
    }
    Ok((model.name.clone(), tokens, all))
}

fn inputs(value: Option<Value>) -> Result<Vec<Part>> {
    let wrong = || ApiError::field("input", "has to be a text, a list of tokens, or a list of these");
    let tokens =
        |list: &[Value]| list.iter().map(|token| token.as_u64()?.try_into().ok()).collect::<Option<Vec<u32>>>();
    let part = |value: &Value| match value {
        Value::String(text) => Some(Part::Text(text.clone())),
        Value::Array(list) => Some(Part::Tokens(tokens(list)?)),
        _ => None,
    };
    let all = match value {
        None => return Err(ApiError::field("input", "is missing")),
        Some(Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_number) => {
            vec![Part::Tokens(tokens(&list).ok_or_else(wrong)?)]
        }
        Some(Value::Array(list)) => list.iter().map(part).collect::<Option<Vec<_>>>().ok_or_else(wrong)?,
        Some(text) => vec![part(&text).ok_or_else(wrong)?],
    };
    match all.len() {
        0 => Err(ApiError::field("input", "is empty")),
        1..=MAX_INPUTS => Ok(all),
        n => Err(ApiError::field("input", format!("has {n} texts, and at most {MAX_INPUTS} are taken"))),
    }
}

fn normalise(embedding: &mut [f32]) {
    let length = embedding.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        embedding.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
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
