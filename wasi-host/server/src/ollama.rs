//! Ollama's API, as far as its clients (Home Assistant among them) need it to chat: JSON lines instead of events, options under `options`.
//! What becomes of each field: `dialect`.

use super::answers::Answers;
use super::dialect::{self, Api};
use super::duration;
use super::error::{ApiError, Result, json_response};
use super::facts::Facts;
use super::models::{Loaded, ModelFile, now};
use super::openai::{MAX_INPUTS, ambient, embed_all, logprob};
use crate::App;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures_util::stream;
use picolm_core::text::{DateTime, Json};
use picolm_engine::{Answer, Call, Chat, Event, Fields, Format, Prompt, Reason, Request, ToolChoice, Usage};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The version of Ollama whose API this is: clients refuse to talk to older ones.
const VERSION: &str = "0.13.0";

pub(super) async fn chat(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::OllamaChat, app, body, |app, fields| answer(app, fields, Kind::Chat)).await
}

pub(super) async fn generate(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::OllamaGenerate, app, body, |app, fields| answer(app, fields, Kind::Generate)).await
}

pub(super) async fn embed(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::OllamaEmbed, app, body, |app, mut fields| async move {
        let start = Instant::now();
        let inputs: Vec<Prompt> = fields.texts("input")?.into_iter().map(Prompt::Text).collect();
        if inputs.len() > MAX_INPUTS {
            let why = format!("has {} texts, and at most {MAX_INPUTS} are taken", inputs.len());
            return Err(ApiError::field("input", why));
        }
        let dimensions = fields.integer(&["dimensions"], 1..=1 << 20)?;
        let (name, tokens, all) = embed_and_keep(&app, fields, inputs, dimensions).await?;
        let took = start.elapsed().as_nanos() as u64;
        let answer = json!({
            "model": name, "embeddings": all, "total_duration": took, "load_duration": 0, "prompt_eval_count": tokens,
        });
        Ok(json_response(StatusCode::OK, &answer))
    })
    .await
}

/// Ollama's older form: one text.
pub(super) async fn embeddings(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::OllamaEmbeddings, app, body, |app, mut fields| async move {
        let prompt = fields.text("prompt")?.ok_or_else(|| ApiError::field("prompt", "is missing"))?;
        let (_, _, mut all) = embed_and_keep(&app, fields, vec![Prompt::Text(prompt)], None).await?;
        Ok(json_response(StatusCode::OK, &json!({ "embedding": all.remove(0) })))
    })
    .await
}

async fn embed_and_keep(
    app: &App,
    mut fields: Fields,
    inputs: Vec<Prompt>,
    dimensions: Option<i64>,
) -> Result<(String, usize, Vec<Vec<f32>>)> {
    let model = fields.text("model")?;
    let keep = keep_alive(&mut fields)?;
    fields.finish()?;
    let done = embed_all(app, model.as_deref(), inputs, dimensions).await?;
    let (model, _places) = app.models.acquire(Some(&done.0), 0).await?;
    model.keep(keep.unwrap_or(app.config.idle));
    Ok(done)
}

pub(super) async fn tags(State(app): State<Arc<App>>) -> Response<Body> {
    let models: Vec<Value> =
        app.headers.facts(app.models.files()).await.iter().map(|(file, facts)| tag(file, facts)).collect();
    json_response(StatusCode::OK, &json!({ "models": models }))
}

pub(super) async fn ps(State(app): State<Arc<App>>) -> Response<Body> {
    let loaded = app.models.loaded();
    let files = app.models.files().into_iter().filter(|file| loaded.iter().any(|loaded| loaded.name == file.name));
    let entry = |(file, facts): &(ModelFile, Facts)| {
        let loaded = loaded.iter().find(|loaded| loaded.name == file.name)?;
        let mut entry = tag(file, facts);
        entry["size_vram"] = 0.into();
        entry["context_length"] = loaded.info.context.into();
        let stays = loaded.stays().map_or(u64::from(u32::MAX), |time| time.as_secs());
        entry["expires_at"] = timestamp(now() + stays).into();
        Some(entry)
    };
    let models: Vec<Value> = app.headers.facts(files.collect()).await.iter().filter_map(entry).collect();
    json_response(StatusCode::OK, &json!({ "models": models }))
}

pub(super) async fn version() -> Response<Body> {
    json_response(StatusCode::OK, &json!({ "version": VERSION, "picolm": env!("CARGO_PKG_VERSION") }))
}

pub(super) async fn show(State(app): State<Arc<App>>, body: Body) -> Result<Response<Body>> {
    dialect::answer(Api::OllamaShow, app, body, |app, mut fields| async move {
        let name = fields.text("model")?.ok_or_else(|| ApiError::field("model", "is missing"))?;
        fields.finish()?;
        let (model, _places) = app.models.acquire(Some(&name), 0).await?;
        let facts = app.headers.facts(vec![app.models.find(Some(&name))?]).await;
        let (file, facts) = facts.first().ok_or_else(|| ApiError::internal("the file's header cannot be read"))?;
        Ok(json_response(StatusCode::OK, &about(&model, file, facts)))
    })
    .await
}

fn about(model: &Loaded, file: &ModelFile, facts: &Facts) -> Value {
    let info = &model.info;
    let mut known = json!({
        "general.architecture": info.architecture,
        "general.basename": info.name,
        "general.parameter_count": facts.weights,
    });
    known[format!("{}.context_length", info.architecture)] = info.trained_context.into();
    known[format!("{}.block_count", info.architecture)] = info.layers.into();
    known[format!("{}.vocab_size", info.architecture)] = info.vocabulary.into();
    let mut capabilities = vec!["completion", "embedding"];
    // Whoever can be talked to can be told of tools: by its template, or in words where that knows none. Calls are read in either form.
    capabilities.extend(facts.chats.then_some("tools"));
    json!({
        "license": "", "modelfile": "", "parameters": "", "template": "",
        "modified_at": timestamp(file.modified),
        "details": details(facts),
        "model_info": known,
        "capabilities": capabilities,
    })
}

fn details(facts: &Facts) -> Value {
    json!({
        "parent_model": "", "format": "gguf", "family": facts.family, "families": [facts.family],
        "parameter_size": facts.size(), "quantization_level": facts.format,
    })
}

fn tag(file: &ModelFile, facts: &Facts) -> Value {
    json!({
        "name": file.name, "model": file.name, "modified_at": timestamp(file.modified), "size": file.bytes,
        "digest": file.digest(), "details": details(facts),
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Chat,
    Generate,
}

/// A request, read.
struct Asked {
    model: String,
    /// `None`: nothing is asked, the model is to be loaded.
    request: Option<Request>,
    /// Tokens that prompt and answer have to have room for.
    context: usize,
    stream: bool,
    /// How long the model stays behind it, if it says so; `None` inside is for good.
    keep: Option<Option<Duration>>,
}

async fn answer(app: Arc<App>, fields: Fields, kind: Kind) -> Result<Response<Body>> {
    let start = Instant::now();
    let asked = read(fields, kind)?;
    let keep = asked.keep.unwrap_or(app.config.idle);
    let (model, places) = app.models.acquire(Some(&asked.model), usize::from(asked.request.is_some())).await?;
    if asked.context > model.info.context {
        let (wanted, most) = (asked.context, model.info.context);
        let why = format!("is {wanted}, and this server runs the model with {most}: see its --context");
        return Err(ApiError::field("options.num_ctx", why));
    }
    model.keep(keep);
    let Some(request) = asked.request else {
        let why = if keep == Some(Duration::ZERO) { "unload" } else { "load" };
        let mut line = Line { kind, model: model.name.clone(), start, loaded: start }.with(&Said::default());
        (line["done"], line["done_reason"]) = (true.into(), why.into());
        return Ok(json_response(StatusCode::OK, &line));
    };
    let answers =
        Answers::ask(model, places.into_iter().map(|place| (request.clone(), Some(place))).collect(), 1).await?;
    let line = Line { kind, model: answers.model.name.clone(), start, loaded: Instant::now() };
    if asked.stream {
        return Ok(stream_lines(answers, line));
    }
    let (complete, used) = answers.complete().await?;
    let Answer { text, reasoning, calls, reason, logprobs, .. } = &complete[0];
    let mut whole = line.last(&Said { text, reasoning, calls }, *reason, used);
    if request.logprobs.is_some() {
        whole["logprobs"] = logprobs.iter().map(|(chosen, top)| logprob(chosen, top)).collect();
    }
    Ok(json_response(StatusCode::OK, &whole))
}

fn read(mut fields: Fields, kind: Kind) -> Result<Asked> {
    let model = fields.text("model")?.ok_or_else(|| ApiError::field("model", "is missing"))?;
    let stream = fields.boolean("stream")?.unwrap_or(true);
    let variables = think(&mut fields)?;
    let prompt = match kind {
        Kind::Chat => conversation(&mut fields, variables)?,
        Kind::Generate => prompt(&mut fields, variables)?,
    };
    let (options, context) = options(fields.object_or_empty("options")?)?;
    let (format, keep) = (format(&mut fields)?, keep_alive(&mut fields)?);
    fields.finish()?;
    let request = prompt.map(|prompt| Request { prompt, format, ..options });
    Ok(Asked { model, request, context, stream, keep })
}

/// What the model's template is told of `think`: yes or no, or how much.
fn think(fields: &mut Fields) -> Result<Option<String>> {
    Ok(match fields.take("think") {
        None => None,
        Some(Json::Bool(think)) => Some(json!({ "enable_thinking": think }).to_string()),
        Some(Json::Text(much)) => Some(json!({ "enable_thinking": true, "reasoning_effort": much }).to_string()),
        Some(_) => return Err(ApiError::field("think", "is neither true nor false nor a text such as low")),
    })
}

/// The form of the answer: `"json"`, a schema, or nothing.
fn format(fields: &mut Fields) -> Result<Format> {
    match fields.take("format") {
        None => Ok(Format::Text),
        Some(Json::Text(name)) if name.is_empty() => Ok(Format::Text),
        Some(Json::Text(name)) if name == "json" => Ok(Format::JsonObject),
        Some(schema @ Json::Object(_)) => Ok(Format::JsonSchema(schema.to_string())),
        Some(_) => Err(ApiError::field("format", "is neither \"json\" nor a JSON schema")),
    }
}

/// How long a model stays behind a request: seconds, or a time such as `5m`; below zero (`None` inside) for good.
fn keep_alive(fields: &mut Fields) -> Result<Option<Option<Duration>>> {
    let seconds = |number: f64| (number >= 0.0).then(|| duration::from_seconds(number));
    let said = match fields.take("keep_alive") {
        None => return Ok(None),
        Some(Json::Int(number)) => Some(seconds(number as f64)),
        Some(Json::Float(number)) => Some(seconds(number)),
        Some(Json::Text(text)) => duration::parse(&text).map(|(below, time)| (!below).then_some(time)),
        Some(_) => None,
    };
    said.map(Some)
        .ok_or_else(|| ApiError::field("keep_alive", "is no number of seconds, nor a time such as 30s, 5m or 1h30m"))
}

fn conversation(fields: &mut Fields, variables: Option<String>) -> Result<Option<Prompt>> {
    let mut list = fields.list("messages")?.unwrap_or_default();
    for (i, message) in list.iter_mut().enumerate() {
        let Json::Object(pairs) = message else { continue };
        pairs.retain(|(_, value)| !matches!(value, Json::Null) && *value != Json::List(Vec::new()));
        for (field, _) in pairs {
            match field.as_str() {
                "images" => {
                    return Err(ApiError::field(format!("messages[{i}].{field}"), "is not supported: only text is"));
                }
                // The names that templates know.
                "thinking" => *field = "reasoning_content".into(),
                "tool_name" => *field = "name".into(),
                _ => {}
            }
        }
    }
    name_calls(&mut list);
    let tools = fields.list("tools")?.map(|tools| Json::List(tools).to_string());
    let tool_choice = ToolChoice::take(fields)?;
    let messages = Json::List(list.clone()).to_string();
    let chat = Chat { tools, tool_choice, variables, now: ambient().now, ..Chat::new(messages) };
    Ok((!list.is_empty()).then_some(Prompt::Chat(chat)))
}

/// Ollama's calls have no ids, and what tools say comes in their order; templates want OpenAI's form.
fn name_calls(messages: &mut [Json]) {
    let (mut called, mut answered) = (0, 0);
    let next = |n: &mut usize| {
        *n += 1;
        // Nine digits: Mistral's templates want just as many.
        Json::Text(format!("{:09}", *n - 1))
    };
    for message in messages {
        let Json::Object(pairs) = message else { continue };
        if pairs.iter().any(|(name, value)| name == "role" && *value == Json::from("tool")) {
            let id = next(&mut answered);
            put_new(pairs, "tool_call_id", id);
        }
        for (_, calls) in pairs.iter_mut().filter(|(name, _)| name == "tool_calls") {
            let Json::List(calls) = calls else { continue };
            for call in calls {
                let Json::Object(call) = call else { continue };
                put_new(call, "id", next(&mut called));
                put_new(call, "type", "function".into());
            }
        }
    }
}

/// Adds a field, if there is none of that name.
fn put_new(pairs: &mut Vec<(String, Json)>, name: &str, value: Json) {
    if !pairs.iter().any(|(other, _)| other == name) {
        pairs.push((name.into(), value));
    }
}

fn prompt(fields: &mut Fields, variables: Option<String>) -> Result<Option<Prompt>> {
    let (prompt, system) = (fields.text("prompt")?.unwrap_or_default(), fields.text("system")?);
    if fields.boolean("raw")?.unwrap_or(false) {
        return Ok((!prompt.is_empty()).then_some(Prompt::Text(prompt)));
    }
    if prompt.is_empty() {
        return Ok(None);
    }
    let system = system.filter(|text| !text.is_empty()).map(|text| json!({ "role": "system", "content": text }));
    let messages: Vec<Value> = system.into_iter().chain([json!({ "role": "user", "content": prompt })]).collect();
    let messages = Value::from(messages).to_string();
    Ok(Some(Prompt::Chat(Chat { variables, now: ambient().now, ..Chat::new(messages) })))
}

/// How the answer is made, and the context that is asked for.
fn options(mut fields: Fields) -> Result<(Request, usize)> {
    const MOST: i64 = u32::MAX as i64;
    if let Some(most) = fields.integer(&["num_predict"], -2..=MOST)? {
        // Below 1: as long as there is room.
        fields.put("num_predict", Json::Int(if most < 1 { -1 } else { most }));
        fields.rename("num_predict", "max_tokens")?;
    }
    let context = fields.integer(&["num_ctx"], 0..=MOST)?.unwrap_or(0) as usize;
    let request = Request::options(&mut fields, &ambient())?;
    fields.finish()?;
    Ok((request, context))
}

/// What lines have in common.
struct Line {
    kind: Kind,
    model: String,
    start: Instant,
    loaded: Instant,
}

/// What a line says.
#[derive(Default)]
struct Said<'a> {
    text: &'a str,
    reasoning: &'a str,
    calls: &'a [Call],
}

impl Line {
    fn with(&self, said: &Said<'_>) -> Value {
        let mut line = json!({ "model": self.model, "created_at": timestamp(now()), "done": false });
        match self.kind {
            Kind::Chat => line["message"] = json!({ "role": "assistant", "content": said.text }),
            // Clients want a context of generated tokens, and send it with their next prompt; conversations are for that.
            Kind::Generate => (line["response"], line["context"]) = (said.text.into(), json!([])),
        }
        let place = if self.kind == Kind::Chat { &mut line["message"] } else { &mut line };
        if !said.reasoning.is_empty() {
            place["thinking"] = said.reasoning.into();
        }
        if !said.calls.is_empty() {
            place["tool_calls"] = said.calls.iter().map(call).collect();
        }
        line
    }

    fn last(&self, said: &Said<'_>, reason: Option<Reason>, usage: Usage) -> Value {
        let mut line = self.with(said);
        let nanos = |from: Instant| from.elapsed().as_nanos() as u64;
        let why = if matches!(reason, Some(Reason::Token | Reason::Stop | Reason::Calls)) { "stop" } else { "length" };
        (line["done"], line["done_reason"]) = (true.into(), why.into());
        line["total_duration"] = nanos(self.start).into();
        line["load_duration"] = (self.loaded.duration_since(self.start).as_nanos() as u64).into();
        (line["prompt_eval_count"], line["eval_count"]) = (usage.prompt.into(), usage.answer.into());
        // Both go on at once here, in one batch with others: their sum is what is known.
        (line["prompt_eval_duration"], line["eval_duration"]) = (0.into(), nanos(self.loaded).into());
        line
    }
}

/// A call as Ollama writes it: its arguments are an object.
fn call(call: &Call) -> Value {
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    json!({ "id": call.id, "function": { "index": call.index, "name": call.name, "arguments": arguments } })
}

fn stream_lines(answers: Answers, line: Line) -> Response<Body> {
    let lines = stream::unfold(Some((answers, line)), |state| async {
        let (mut answers, line) = state?;
        let (value, more) = loop {
            match answers.next().await {
                Ok(Some((_, Event::Piece { piece, .. }))) => {
                    let said = Said { text: &piece.text, reasoning: &piece.reasoning, calls: &piece.calls };
                    let mut value = line.with(&said);
                    match &piece.logprob {
                        Some(chosen) => value["logprobs"] = json!([logprob(chosen, &piece.top)]),
                        None if piece.says_nothing() => continue,
                        None => {}
                    }
                    break (value, true);
                }
                Ok(Some((_, Event::Finished { reason, .. }))) => {
                    break (line.last(&Said::default(), Some(reason), answers.usage), false);
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => break (error.ollama(), false),
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(format!("{value}\n"))), more.then_some((answers, line))))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// RFC 3339, in UTC.
fn timestamp(seconds: u64) -> String {
    let t = DateTime::from_unix(seconds as i64);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", t.year, t.month, t.day, t.hour, t.minute, t.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_thoughts_as_ollama_has_them() {
        let calls = [Call { index: 1, id: "call_1".into(), name: "f".into(), arguments: "{\"a\":1}".into() }];
        let said = Said { text: "", reasoning: "Hm.", calls: &calls };
        let line = |kind| Line { kind, model: "m".into(), start: Instant::now(), loaded: Instant::now() };
        let function = json!({ "index": 1, "name": "f", "arguments": { "a": 1 } });
        let message = json!({
            "role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [{ "id": "call_1", "function": function }],
        });
        assert_eq!(line(Kind::Chat).with(&said)["message"], message);
        assert_eq!(line(Kind::Generate).with(&said)["thinking"], "Hm.");
        assert_eq!(line(Kind::Chat).with(&Said::default())["message"], json!({ "role": "assistant", "content": "" }));
    }

    /// Calls and what tools say get the ids that templates want, in order.
    #[test]
    fn calls_of_earlier_turns_get_ids() {
        let text = r#"[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}},{"id":"x","function":{}}]},
            {"role":"tool","content":"5"},{"role":"tool","content":"6","tool_call_id":"x"}]"#;
        let Ok(Json::List(mut list)) = Json::parse(text) else { panic!("a list") };
        name_calls(&mut list);
        let found: Value = serde_json::from_str(&Json::List(list).to_string()).expect("JSON");
        assert_eq!(found[0]["tool_calls"][0]["id"], "000000000");
        assert_eq!(
            (&found[0]["tool_calls"][0]["type"], &found[0]["tool_calls"][1]["id"]),
            (&json!("function"), &json!("x"))
        );
        assert_eq!((&found[1]["tool_call_id"], &found[2]["tool_call_id"]), (&json!("000000000"), &json!("x")));
    }
}
