//! What clients send, sorted by one [`TABLE`]: done, taken where it says what is done anyway, dropped where it changes no answer (a header
//! and the log say so), and refused where the answer would be another.
//!
//! ```text
//!   body ─► Fields ─► sort, by TABLE ─► fields that are read ─► handler ─► answer + picolm-dropped: names
//!                        └─ other names, and the names in errors ◄────────── error
//! ```

mod table;

pub use table::TABLE;

use crate::error::{ApiError, Result};
use crate::gate::{self, DROPPED};
use crate::{App, log};
use axum::body::Body;
use axum::http::{HeaderValue, Response};
use picolm_core::text::Json;
use picolm_engine::{Error, Fields};
use std::future::Future;
use std::sync::Arc;

/// What a body, or the object `options` in it, is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/api/chat`
    OllamaChat,
    /// `/api/generate`
    OllamaGenerate,
    /// `options` of these two
    OllamaOptions,
    /// `/api/embed`
    OllamaEmbed,
    /// `/api/embeddings`
    OllamaEmbeddings,
    /// `/api/show`
    OllamaShow,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It does what it says.
    Honoured,
    /// It is another name of this field.
    As(&'static str),
    /// It is read as if it stood among Ollama's options.
    Option,
    /// What it asks for is not there: taken if it says, as JSON, what is done anyway; why another value is refused.
    Only(&'static [&'static str], &'static str),
    /// It changes no answer here, and is dropped.
    Dropped,
}

/// Reads a body, has it answered, and says what of it was dropped. Errors have the names that the client used.
pub(crate) async fn answer<A>(
    api: Api,
    app: Arc<App>,
    body: Body,
    handler: impl FnOnce(Arc<App>, Fields) -> A,
) -> Result<Response<Body>>
where
    A: Future<Output = Result<Response<Body>>>,
{
    let mut fields = gate::fields(&app, body).await?;
    let mut sorted = Sorted::default();
    let answer = match sorted.sort_body(api, &mut fields) {
        Ok(()) => handler(app, fields).await,
        Err(error) => Err(error.into()),
    };
    let mut answer = answer.map_err(|error| sorted.blame(error))?;
    if !sorted.dropped.is_empty() {
        let dropped = sorted.dropped.join(", ");
        log::info("fields dropped", &[("fields", &dropped)]);
        answer.headers_mut().extend(HeaderValue::from_str(&dropped).map(|names| (DROPPED, names)));
    }
    Ok(answer)
}

/// The fields with a form of the answer within.
const FORMS: [&str; 2] = ["format", "response_format"];

/// What was done to the fields of a body.
#[derive(Debug, Default)]
struct Sorted {
    /// as the client wrote them
    dropped: Vec<String>,
    /// what errors call a field, and what the client calls it
    names: Vec<(String, String)>,
}

impl Sorted {
    fn sort_body(&mut self, api: Api, fields: &mut Fields) -> picolm_engine::Result<()> {
        self.sort(api, fields, &[])?;
        if !matches!(api, Api::OllamaChat | Api::OllamaGenerate) {
            return Ok(());
        }
        let mut options = fields.object_or_empty("options")?;
        let names = fields.names().into_iter().filter(|name| rule(api, name) == Some(Rule::Option));
        let outside: Vec<(String, Json)> = names.filter_map(|name| Some((name.clone(), fields.take(&name)?))).collect();
        for (name, value) in &outside {
            if !options.put(name, value.clone()) {
                return Err(fields.differs(name, &options.name(name)));
            }
        }
        self.sort(Api::OllamaOptions, &mut options, &outside)?;
        fields.put("options", Json::Object(options.into_pairs()));
        Ok(())
    }

    /// `outside`: the fields that stood elsewhere.
    fn sort(&mut self, api: Api, fields: &mut Fields, outside: &[(String, Json)]) -> picolm_engine::Result<()> {
        for name in fields.names() {
            let here = fields.name(&name);
            let sent = if outside.iter().any(|(outside, _)| *outside == name) { name.clone() } else { here.clone() };
            let mut called = |ours: String| self.names.push((ours, sent.clone()));
            called(here);
            // What a form asks for has names of its own in errors.
            if FORMS.contains(&name.as_str()) {
                ["json_schema", "regex", "grammar"].into_iter().for_each(|ours| called(ours.to_string()));
            }
            match rule(api, &name) {
                Some(Rule::Honoured) => called(name),
                Some(Rule::As(ours)) => {
                    called(ours.to_string());
                    called(fields.name(ours));
                    fields.rename(&name, ours)?;
                }
                Some(Rule::Only(values, why)) => fields.refuse(&name, values, why)?,
                Some(Rule::Dropped) if fields.take(&name).is_some() => self.dropped.push(sent),
                Some(Rule::Dropped | Rule::Option) => {}
                None if fields.has(&name) => {
                    return Err(Error::unsupported(fields.name(&name), "is no field that is known here"));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// An error about a field, with the name that the client knows it by.
    fn blame(&self, error: ApiError) -> ApiError {
        let Some(param) = error.param.as_deref() else { return error };
        let rest = |ours: &str| param.strip_prefix(ours).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        let known = self.names.iter().filter_map(|(ours, sent)| Some((ours.len(), format!("{sent}{}", rest(ours)?))));
        let found = known.max_by_key(|(len, _)| *len).map(|(_, name)| name);
        let Some(name) = found else { return error };
        ApiError { message: error.message.replacen(param, &name, 1), param: Some(name), ..error }
    }
}

/// What becomes of a field.
fn rule(api: Api, name: &str) -> Option<Rule> {
    let mut fields = TABLE.iter().filter(|(apis, _)| apis.contains(&api)).flat_map(|(_, fields)| *fields);
    fields.find(|(field, _)| *field == name).map(|(_, rule)| *rule)
}
