//! What every request passes first: is it meant for us, may it come from where it comes, has it a key, is it small enough.
//!
//! A page somewhere on the web can make a browser send requests to 127.0.0.1. It cannot forge `Host` (a name of its own that resolves to
//! us is not ours) nor `Origin`, so both are checked, also without keys.

use super::App;
use super::error::ApiError;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use futures_util::StreamExt;
use picolm_engine::Fields;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// The layer around all routes.
pub(crate) async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response<Body> {
    let start = Instant::now();
    // Not the path itself: somebody may have made it up.
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_string();
    let (method, ollama) = (request.method().clone(), request.uri().path().starts_with("/api/"));
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match check(&app, &request) {
        Ok(()) if method == Method::OPTIONS => preflight(),
        Ok(()) => next.run(request).await,
        Err(error) if ollama => error.respond(&error.ollama()),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| is_listed(&app.config.allow_origin, origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    let status = response.status().as_u16();
    app.metrics.request(&route, status, start.elapsed());
    let ms = start.elapsed().as_millis();
    super::log::info("request", &[("method", &method), ("route", &route), ("status", &status), ("ms", &ms)]);
    response
}

fn check(app: &App, request: &Request) -> Result<(), ApiError> {
    let (headers, config) = (request.headers(), &app.config);
    let host = host_of(headers, request.uri()).ok_or_else(|| misdirected("there is no Host"))?;
    if !is_our_name(&config.allow_host, &host) {
        return Err(misdirected(&format!(
            "this server does not go by the name in Host, {:?}: start it with --allow-host",
            host.chars().take(100).collect::<String>()
        )));
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && !is_same_origin(origin, headers)
        && !is_listed(&config.allow_origin, origin)
    {
        let message = "pages of this Origin may not use this server: start it with --allow-origin";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", message));
    }
    let open = ["/", "/health", "/favicon.ico"].contains(&request.uri().path()) || app.is_page(request.uri().path());
    if config.api_keys.is_empty() || open || request.method() == Method::OPTIONS {
        return Ok(());
    }
    let key = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = key.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match key {
        Some((_, key)) if is_key(&config.api_keys, key.trim()) => Ok(()),
        Some(_) => {
            Err(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "the API key is not one of this server's"))
        }
        None => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "missing_api_key",
            "there is no API key: send it as Authorization: Bearer KEY",
        )),
    }
}

/// Whether it is one of the keys. Hashes are compared, all of them: the time it takes tells nothing of where they differ.
pub(crate) fn is_key(keys: &[String], key: &str) -> bool {
    let hash = Sha256::digest(key);
    keys.iter().fold(false, |found, key| found | (Sha256::digest(key) == hash))
}

/// The fields of a JSON object, if it is not too long and arrives in time.
pub(crate) async fn fields(app: &App, headers: &HeaderMap, sent: Body) -> Result<Fields, ApiError> {
    let bytes = body(app, headers, sent).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| ApiError::body(format!("is not UTF-8: {error}")))?;
    Ok(Fields::parse(text)?)
}

/// A body as a whole.
pub(crate) async fn body(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let most = app.config.max_body;
    let too_large = || {
        let message = format!("the body is longer than the {} KB that this server takes: see --max-body", most / 1024);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|len| len > most as u64) {
        return Err(too_large());
    }
    let read = async {
        let mut all = Vec::new();
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| ApiError::body(format!("breaks off: {error}")))?;
            if all.len() + part.len() > most {
                return Err(too_large());
            }
            all.extend_from_slice(&part);
        }
        Ok(Bytes::from(all))
    };
    let late = || {
        let message = format!("the body did not arrive within {} s", app.config.timeout.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    };
    tokio::time::timeout(app.config.timeout, read).await.map_err(|_| late())?
}

fn misdirected(why: &str) -> ApiError {
    ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", why)
}

/// The name in Host or in an absolute URI, without its port.
fn host_of(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() {
        return None;
    }
    let host = uri.authority().map(|authority| authority.as_str()).or(host)?;
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => host.split(':').next()?,
    };
    Some(name.trim_end_matches('.').to_ascii_lowercase())
}

/// Addresses cannot be made to point elsewhere, and localhost is us.
fn is_our_name(allowed: &[String], name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok() || allowed.iter().any(|allowed| allowed == name)
}

/// A page of ours: its origin is the host that it asks.
fn is_same_origin(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, name)| headers.get(header::HOST).is_some_and(|host| host.as_bytes() == name.as_bytes()))
}

fn is_listed(allowed: &[String], origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)))
}

/// What a browser asks before it sends a request of another origin; `check` has been passed.
fn preflight() -> Response<Body> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_ours() {
        let name = |host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).expect("a header"))]);
            host_of(&headers, &Uri::from_static("/")).is_some_and(|name| is_our_name(&["box.lan".into()], &name))
        };
        for ours in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "192.168.1.7", "box.lan:80", "box.lan."]
        {
            assert!(name(ours), "{ours}");
        }
        for other in ["evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.io", "", "[::1", "box.lan.evil"] {
            assert!(!name(other), "{other}");
        }
    }
}
