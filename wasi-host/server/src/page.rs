//! Files of the chat page, and a form for those who have no JavaScript.

use super::answers::Answers;
use super::error::{ApiError, Result};
use super::{App, gate};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use picolm_engine::{Chat, Prompt, Request};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Types by the end of a name. Others are not served.
const TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("woff2", "font/woff2"),
    ("txt", "text/plain; charset=utf-8"),
];

/// Nothing runs in the form, and nobody frames it.
const FORM_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Most tokens of an answer in the form.
const FORM_TOKENS: usize = 512;

impl App {
    /// Whether a path is a file of the page: these need no key.
    pub(crate) fn is_page(&self, path: &str) -> bool {
        path == "/form" || self.page_file(path).is_some_and(|file| file.is_file())
    }

    /// The file of a path, if it may be one.
    fn page_file(&self, path: &str) -> Option<PathBuf> {
        let folder = self.config.page.as_ref()?;
        let relative = Path::new(path.trim_start_matches('/'));
        let plain = relative.components().all(|part| match part {
            Component::Normal(name) => {
                name.to_str().is_some_and(|name| !name.starts_with('.') && !name.contains(['%', '\\']))
            }
            _ => false,
        });
        let relative = if path.ends_with('/') { relative.join("index.html") } else { relative.to_owned() };
        plain.then(|| folder.join(relative))
    }
}

/// Whatever is no route: the chat page's files.
pub(super) async fn file(State(app): State<Arc<App>>, method: Method, uri: Uri) -> Response<Body> {
    let found = app.page_file(uri.path()).filter(|file| file.is_file());
    if !matches!(method, Method::GET | Method::HEAD) || (found.is_none() && uri.path() != "/") {
        let path: String = uri.path().chars().take(100).collect();
        return ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path:?}"))
            .into_response();
    }
    let Some(file) = found else {
        return (StatusCode::SEE_OTHER, [(header::LOCATION, "/form")]).into_response();
    };
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let Some((_, kind)) = TYPES.iter().find(|(end, _)| *end == extension) else {
        return ApiError::new(StatusCode::NOT_FOUND, "not_found", "files of this type are not served").into_response();
    };
    match std::fs::read(&file) {
        Ok(bytes) => {
            // Isolated, so that the page may use threads.
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::CACHE_CONTROL, "no-cache"),
                (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
                (header::HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
            ];
            (headers, bytes).into_response()
        }
        Err(error) => ApiError::internal(format!("the file cannot be read: {error}")).into_response(),
    }
}

/// `GET /form`
pub(super) async fn form(State(app): State<Arc<App>>) -> Response<Body> {
    html(StatusCode::OK, &render(&app, &BTreeMap::new(), None))
}

/// `POST /form`
pub(super) async fn submit(State(app): State<Arc<App>>, body: Body) -> Response<Body> {
    let mut fields = BTreeMap::new();
    let answer = async {
        let body = gate::body(&app, body).await?;
        fields = parse(std::str::from_utf8(&body).map_err(|_| ApiError::body("is not UTF-8"))?);
        let get = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        if !app.config.api_keys.is_empty() && !gate::is_key(&app.config.api_keys, get("key")) {
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "invalid_api_key",
                "the key is not one of this server's",
            ));
        }
        answer(&app, get("model"), get("prompt")).await
    };
    let (status, said) = match answer.await {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (error.status, error.message),
    };
    html(status, &render(&app, &fields, Some((status, &said))))
}

async fn answer(app: &App, model: &str, prompt: &str) -> Result<String> {
    if prompt.trim().is_empty() {
        return Err(ApiError::field("prompt", "is empty"));
    }
    let messages = json!([{ "role": "user", "content": prompt }]).to_string();
    let mut request =
        Request { prompt: Prompt::Chat(Chat::new(messages)), max_tokens: FORM_TOKENS, ..Request::default() };
    request.sampling.seed = super::openai::random();
    let model = Some(model).filter(|name| !name.is_empty());
    let (mut complete, _) = Answers::begin(&app.models, model, vec![request], 1).await?.complete().await?;
    Ok(complete.remove(0).text)
}

fn render(app: &App, fields: &BTreeMap<String, String>, said: Option<(StatusCode, &str)>) -> String {
    let get = |name: &str| escape(fields.get(name).map(String::as_str).unwrap_or_default());
    let chosen = fields.get("model").or(app.config.default_model.as_ref()).cloned().unwrap_or_default();
    let mut models = String::new();
    for file in app.models.files() {
        let selected = if file.name == chosen { " selected" } else { "" };
        models += &format!("<option{selected}>{}</option>", escape(&file.name));
    }
    let key = match app.config.api_keys.is_empty() {
        true => "",
        false => "<p><label>Key <input type=password name=key autocomplete=current-password required></label>",
    };
    let said = said.map_or(String::new(), |(status, text)| {
        let heading = if status.is_success() { "Answer" } else { "That did not work" };
        format!("<section aria-live=polite><h2>{heading}</h2><pre>{}</pre></section>", escape(text))
    });
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>picolm</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:44rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}\
         textarea{{width:100%;box-sizing:border-box;font:inherit}}pre{{white-space:pre-wrap}}</style>\
         <h1>picolm</h1><form method=post action=/form accept-charset=utf-8>\
         <p><label>Model <select name=model>{models}</select></label>{key}\
         <p><label>Message<br><textarea name=prompt rows=6 required>{}</textarea></label>\
         <p><button>Send</button></form>{said}</html>",
        get("prompt")
    )
}

fn html(status: StatusCode, text: &str) -> Response<Body> {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(FORM_POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, text.to_string()).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `application/x-www-form-urlencoded`
fn parse(body: &str) -> BTreeMap<String, String> {
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}

fn decode(text: &str) -> String {
    let (mut bytes, text) = (Vec::new(), text.as_bytes());
    let mut at = 0;
    while at < text.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let (byte, len) = match (text[at], hex) {
            (b'%', Some(byte)) => (byte, 3),
            (b'+', _) => (b' ', 1),
            (byte, _) => (byte, 1),
        };
        bytes.push(byte);
        at += len;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms_are_decoded() {
        let fields = super::parse("prompt=a%20b+c%26%C3%A9&key=%zz&model=");
        assert_eq!((&fields["prompt"][..], &fields["key"][..], &fields["model"][..]), ("a b c&é", "%zz", ""));
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(super::escape("</pre><script>&\""), "&lt;/pre&gt;&lt;script&gt;&amp;&quot;");
    }
}
