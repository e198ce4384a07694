//! Ollama's API, as far as its clients (Home Assistant among them) need it to chat: JSON lines instead of events, options under `options`.

use super::answers::Answers;
use super::config::duration;
use super::error::{ApiError, Result, json_response};
use super::models::{Loaded, ModelFile, now};
use super::openai::{ambient, embed_all};
use super::{App, gate};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use futures_util::stream;
use picolm_core::text::{DateTime, Json};
use picolm_engine::{Chat, Event, Fields, Prompt, Reason, Request, Usage};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Options of Ollama that say how to run a model: here the server's own say that.
const IGNORED_OPTIONS: &[&str] = &[
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "num_keep",
    "use_mmap",
    "numa",
    "low_vram",
    "typical_p",
    "tfs_z",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "penalize_newline",
];

pub(super) async fn chat(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response<Body> {
    answer(&app, &headers, body, Kind::Chat).await
}

pub(super) async fn generate(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response<Body> {
    answer(&app, &headers, body, Kind::Generate).await
}

pub(super) async fn embed(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response<Body> {
    let embed = async {
        let start = Instant::now();
        let mut fields = gate::fields(&app, &headers, body).await?;
        let model = fields.text("model")?;
        let inputs: Vec<Prompt> = fields.texts("input")?.into_iter().map(Prompt::Text).collect();
        let keep = keep_alive(&mut fields)?;
        fields.ignore(&["truncate", "options", "dimensions"]);
        fields.finish()?;
        let (name, tokens, all) = embed_all(&app, model.as_deref(), inputs).await?;
        let (model, _places) = app.models.acquire(Some(&name), 0).await?;
        model.keep(keep.unwrap_or(app.config.idle));
        let took = start.elapsed().as_nanos() as u64;
        Ok(
            json!({ "model": name, "embeddings": all, "total_duration": took, "load_duration": 0, "prompt_eval_count": tokens }),
        )
    };
    respond(embed.await)
}

pub(super) async fn tags(State(app): State<Arc<App>>) -> Response<Body> {
    let models: Vec<Value> = app.models.files().iter().map(tag).collect();
    respond(Ok(json!({ "models": models })))
}

pub(super) async fn ps(State(app): State<Arc<App>>) -> Response<Body> {
    let models: Vec<Value> = app
        .models
        .loaded()
        .iter()
        .filter_map(|loaded| {
            let mut entry = tag(&app.models.find(Some(&loaded.name)).ok()?);
            entry["size_vram"] = 0.into();
            let stays = loaded.stays().map_or(u64::from(u32::MAX), |time| time.as_secs());
            entry["expires_at"] = timestamp(now() + stays).into();
            Some(entry)
        })
        .collect();
    respond(Ok(json!({ "models": models })))
}

pub(super) async fn version() -> Response<Body> {
    respond(Ok(json!({ "version": env!("CARGO_PKG_VERSION") })))
}

pub(super) async fn show(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response<Body> {
    let show = async {
        let mut fields = gate::fields(&app, &headers, body).await?;
        let name = fields.text("model")?.or(fields.text("name")?);
        fields.ignore(&["verbose", "system", "template", "options"]);
        fields.finish()?;
        let name = name.ok_or_else(|| ApiError::field("model", "is missing"))?;
        let (model, _places) = app.models.acquire(Some(&name), 0).await?;
        let file = app.models.find(Some(&name))?;
        Ok(about(&model, &file))
    };
    respond(show.await)
}

fn about(model: &Loaded, file: &ModelFile) -> Value {
    let info = &model.info;
    let mut facts = json!({
        "general.architecture": info.architecture,
        "general.basename": info.name,
    });
    facts[format!("{}.context_length", info.architecture)] = info.trained_context.into();
    facts[format!("{}.block_count", info.architecture)] = info.layers.into();
    facts[format!("{}.vocab_size", info.architecture)] = info.vocabulary.into();
    json!({
        "license": "", "modelfile": "", "parameters": "", "template": "",
        "modified_at": timestamp(file.modified),
        "details": details(&info.architecture),
        "model_info": facts,
        "capabilities": ["completion", "embedding"],
    })
}

fn details(family: &str) -> Value {
    json!({
        "parent_model": "", "format": "gguf", "family": family, "families": [family], "parameter_size": "", "quantization_level": "",
    })
}

fn tag(file: &ModelFile) -> Value {
    json!({
        "name": file.name, "model": file.name, "modified_at": timestamp(file.modified), "size": file.bytes, "digest": "",
        "details": details(""),
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
    /// The names of the options in it.
    options: Vec<String>,
    stream: bool,
    /// How long the model stays behind it, if it says so; `None` inside is for good.
    keep: Option<Option<Duration>>,
}

async fn answer(app: &App, headers: &HeaderMap, body: Body, kind: Kind) -> Response<Body> {
    let start = Instant::now();
    let begin = async {
        let asked = read(gate::fields(app, headers, body).await?, kind)?;
        let keep = asked.keep.unwrap_or(app.config.idle);
        let Some(request) = asked.request else {
            let (model, _places) = app.models.acquire(Some(&asked.model), 0).await?;
            model.keep(keep);
            let why = if keep == Some(Duration::ZERO) { "unload" } else { "load" };
            let mut line = Line { kind, model: model.name.clone(), start, loaded: start }.with("");
            (line["done"], line["done_reason"]) = (true.into(), why.into());
            return Ok(json_response(StatusCode::OK, &line));
        };
        let answers = Answers::begin(&app.models, Some(&asked.model), vec![request], 1).await;
        let answers = answers.map_err(|error| of_option(error, &asked.options))?;
        answers.model.keep(keep);
        let line = Line { kind, model: answers.model.name.clone(), start, loaded: Instant::now() };
        if asked.stream {
            return Ok(stream_lines(answers, line));
        }
        let (complete, used) = answers.complete().await?;
        Ok(json_response(StatusCode::OK, &line.last(&complete[0].text, complete[0].reason, used)))
    };
    begin.await.unwrap_or_else(|error: ApiError| error.respond(&error.ollama()))
}

fn read(mut fields: Fields, kind: Kind) -> Result<Asked> {
    let model = fields.text("model")?.ok_or_else(|| ApiError::field("model", "is missing"))?;
    let stream = fields.boolean("stream")?.unwrap_or(true);
    fields.refuse("tools", &[], "is not supported yet: this server cannot call tools")?;
    fields.refuse("format", &[r#""""#], "is not supported yet: answers are text")?;
    fields.refuse("images", &[], "is not supported: only text is")?;
    fields.refuse("suffix", &[r#""""#], "is not supported: text is continued at its end")?;
    fields.refuse("template", &[r#""""#], "is not supported: the model's own is used")?;
    fields.refuse("context", &[], "is not supported: send the conversation instead")?;
    let think = fields.take("think").map(|think| think != Json::Bool(false));
    let variables = think.map(|think| json!({ "enable_thinking": think }).to_string());
    let prompt = match kind {
        Kind::Chat => conversation(&mut fields, variables)?,
        Kind::Generate => prompt(&mut fields, variables)?,
    };
    let given = fields.object("options")?;
    let names = given.as_ref().map(Fields::names).unwrap_or_default();
    let options = options(given.map_or_else(|| Fields::parse("{}"), Ok)?)?;
    let keep = keep_alive(&mut fields)?;
    fields.ignore(&["logprobs", "top_logprobs"]);
    fields.finish()?;
    Ok(Asked { model, request: prompt.map(|prompt| Request { prompt, ..options }), options: names, stream, keep })
}

/// How long a model stays behind a request: seconds, or a time such as `5m`; below zero (`None` inside) for good.
fn keep_alive(fields: &mut Fields) -> Result<Option<Option<Duration>>> {
    const YEAR: f64 = 365.0 * 86400.0;
    let wrong = || ApiError::field("keep_alive", "is no number of seconds, nor a time such as 30s, 5m or 2h");
    let seconds = |number: f64| (number >= 0.0).then(|| Duration::from_secs_f64(number.min(YEAR)));
    match fields.take("keep_alive") {
        None => Ok(None),
        Some(Json::Int(number)) => Ok(Some(seconds(number as f64))),
        Some(Json::Float(number)) => Ok(Some(seconds(number))),
        Some(Json::Text(text)) => match text.trim().strip_prefix('-') {
            Some(_) => Ok(Some(None)),
            None if ["0", "0s", "0m", "0h"].contains(&text.trim()) => Ok(Some(Some(Duration::ZERO))),
            None => Ok(Some(Some(duration("keep_alive", Some(text.trim()), 0).map_err(|_| wrong())?))),
        },
        Some(_) => Err(wrong()),
    }
}

fn conversation(fields: &mut Fields, variables: Option<String>) -> Result<Option<Prompt>> {
    let mut list = fields.list("messages")?.unwrap_or_default();
    for (i, message) in list.iter_mut().enumerate() {
        let Json::Object(pairs) = message else { continue };
        for (field, value) in &*pairs {
            let none = matches!(value, Json::Null) || *value == Json::List(Vec::new());
            if ["images", "tool_calls"].contains(&field.as_str()) && !none {
                return Err(ApiError::field(format!("messages[{i}].{field}"), "is not supported: only text is"));
            }
        }
        pairs.retain(|(field, _)| ["role", "content"].contains(&field.as_str()));
    }
    let chat = || Chat { variables, now: ambient().now, ..Chat::new(Json::List(list.clone()).to_string()) };
    Ok((!list.is_empty()).then(|| Prompt::Chat(chat())))
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

/// Sampling, texts that end the answer, and its length.
fn options(mut fields: Fields) -> Result<Request> {
    // Below 0: as long as there is room.
    let most = fields.integer(&["num_predict"], -2..=i64::from(u32::MAX))?.unwrap_or(0).max(0) as usize;
    fields.ignore(IGNORED_OPTIONS);
    let request = Request::options(&mut fields, &ambient())?;
    fields.finish()?;
    Ok(Request { max_tokens: most, ..request })
}

/// An error about an option, under the name that it has here.
fn of_option(error: ApiError, options: &[String]) -> ApiError {
    let Some(param) = error.param.as_deref() else { return error };
    let name = match param {
        "repetition_penalty" => "repeat_penalty",
        "penalty_last_n" => "repeat_last_n",
        same => same,
    };
    if !options.iter().any(|option| option == name) {
        return error;
    }
    let name = format!("options.{name}");
    ApiError { message: error.message.replacen(param, &name, 1), param: Some(name), ..error }
}

/// What lines have in common.
struct Line {
    kind: Kind,
    model: String,
    start: Instant,
    loaded: Instant,
}

impl Line {
    fn with(&self, text: &str) -> Value {
        let mut line = json!({ "model": self.model, "created_at": timestamp(now()), "done": false });
        match self.kind {
            Kind::Chat => line["message"] = json!({ "role": "assistant", "content": text }),
            Kind::Generate => line["response"] = text.into(),
        }
        line
    }

    fn last(&self, text: &str, reason: Option<Reason>, usage: Usage) -> Value {
        let mut line = self.with(text);
        let nanos = |from: Instant| from.elapsed().as_nanos() as u64;
        let why = if matches!(reason, Some(Reason::Token | Reason::Stop)) { "stop" } else { "length" };
        (line["done"], line["done_reason"]) = (true.into(), why.into());
        line["total_duration"] = nanos(self.start).into();
        line["load_duration"] = (self.loaded.duration_since(self.start).as_nanos() as u64).into();
        (line["prompt_eval_count"], line["eval_count"]) = (usage.prompt.into(), usage.answer.into());
        // Both go on at once here, in one batch with others: their sum is what is known.
        (line["prompt_eval_duration"], line["eval_duration"]) = (0.into(), nanos(self.loaded).into());
        line
    }
}

fn stream_lines(answers: Answers, line: Line) -> Response<Body> {
    let lines = stream::unfold(Some((answers, line)), |state| async {
        let (mut answers, line) = state?;
        let (value, more) = loop {
            match answers.next().await {
                Ok(Some((_, Event::Piece { piece, .. }))) if piece.text.is_empty() => {}
                Ok(Some((_, Event::Piece { piece, .. }))) => break (line.with(&piece.text), true),
                Ok(Some((_, Event::Finished { reason, .. }))) => {
                    break (line.last("", Some(reason), answers.usage), false);
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

fn respond(answer: Result<Value>) -> Response<Body> {
    match answer {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(error) => error.respond(&error.ollama()),
    }
}

/// RFC 3339, in UTC.
fn timestamp(seconds: u64) -> String {
    let t = DateTime::from_unix(seconds as i64);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", t.year, t.month, t.day, t.hour, t.minute, t.second)
}
