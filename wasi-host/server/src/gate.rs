//! What every request passes first: is it meant for us, may it come from where it comes, has it a key, is it small enough.
//!
//! A page somewhere on the web can make a browser send requests to 127.0.0.1. It cannot forge `Host` (a name of its own that resolves to
//! us is not ours) nor `Origin`, so both are checked, also without keys.

use super::App;
use super::error::ApiError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use futures_util::StreamExt;
use picolm_engine::Fields;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// What is asked by those who only want to know how the server is: without a key, and without a name for it.
const PROBES: [&str; 2] = ["/health", "/ready"];

/// The header that names the fields of a request that were dropped.
pub(crate) const DROPPED: HeaderName = HeaderName::from_static("picolm-dropped");

/// The layer around all routes.
pub(crate) async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response<Body> {
    let start = Instant::now();
    // Not the path itself: somebody may have made it up.
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_string();
    let (method, ollama) = (request.method().clone(), request.uri().path().starts_with("/api/"));
    let origin = request.headers().get(header::ORIGIN).cloned();
    let listed = origin.filter(|origin| is_listed(&app.config.allow_origin, origin));
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|_| listed.is_some()).cloned();
    let mut response = match check(&app, &request) {
        Ok(()) if method == Method::OPTIONS => preflight(asked),
        Ok(()) => next.run(request).await,
        Err(error) => {
            drain(&app, request.into_body());
            error.into_response()
        }
    };
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = error.respond(ollama);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = listed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from(DROPPED));
    }
    let status = response.status().as_u16();
    app.metrics.request(&route, status, start.elapsed());
    let ms = start.elapsed().as_millis();
    super::log::info("request", &[("method", &method), ("route", &route), ("status", &status), ("ms", &ms)]);
    response
}

fn check(app: &App, request: &Request) -> Result<(), ApiError> {
    let (headers, config, path) = (request.headers(), &app.config, request.uri().path());
    // Whoever only asks whether it is alive may not know its name.
    let nameless = PROBES.contains(&path) && !headers.contains_key(header::HOST);
    let host = host_of(headers, request.uri());
    if !nameless && !host.as_ref().is_some_and(|host| is_our_name(&config.allow_host, host)) {
        return Err(misdirected(&match host {
            None => "there is no Host".into(),
            Some(host) => format!(
                "this server does not go by the name in Host, {:?}: start it with --allow-host",
                host.chars().take(100).collect::<String>()
            ),
        }));
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && !is_same_origin(origin, headers)
        && !is_listed(&config.allow_origin, origin)
    {
        let message = "pages of this Origin may not use this server: start it with --allow-origin";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", message));
    }
    let open = PROBES.contains(&path) || ["/", "/favicon.ico"].contains(&path) || app.is_page(path);
    if !config.api_keys.is_empty() && !open && request.method() != Method::OPTIONS {
        check_key(&config.api_keys, headers)?;
    }
    Ok(())
}

fn check_key(keys: &[String], headers: &HeaderMap) -> Result<(), ApiError> {
    let key = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = key.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match key {
        Some((_, key)) if is_key(keys, key.trim()) => Ok(()),
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
pub(crate) async fn fields(app: &App, sent: Body) -> Result<Fields, ApiError> {
    let bytes = body(app, sent).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| ApiError::body(format!("is not UTF-8: {error}")))?;
    Ok(Fields::parse(text)?)
}

/// A body as a whole.
pub(crate) async fn body(app: &App, body: Body) -> Result<Bytes, ApiError> {
    // Announced, or sent.
    if body.size_hint().lower() > app.config.max_body as u64 {
        drain(app, body);
        return Err(too_large(app));
    }
    let mut parts = body.into_data_stream();
    let read = async {
        let mut all = Vec::new();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| ApiError::body(format!("breaks off: {error}")))?;
            if all.len() + part.len() > app.config.max_body {
                return Err(too_large(app));
            }
            all.extend_from_slice(&part);
        }
        Ok(Bytes::from(all))
    };
    let late = || {
        let message = format!("the body did not arrive within {} s", app.config.timeout.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    };
    let read = tokio::time::timeout(app.config.timeout, read).await.unwrap_or_else(|_| Err(late()));
    if read.as_ref().is_err_and(|error| error.status == StatusCode::PAYLOAD_TOO_LARGE) {
        drain(app, Body::from_stream(parts));
    }
    read
}

fn too_large(app: &App) -> ApiError {
    let most = app.config.max_body / 1024;
    let message = format!("the body is longer than the {most} KB that this server takes: see --max-body");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

/// Takes the rest of a body for a while, and forgets it: who is still sending when the connection is closed may never read the answer.
fn drain(app: &App, body: Body) {
    let mut parts = body.into_data_stream();
    let rest = async move { while let Some(Ok(_)) = parts.next().await {} };
    drop(tokio::spawn(tokio::time::timeout(app.config.timeout, rest)));
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

/// Addresses cannot be made to point elsewhere, nor can names in `.local`, which are asked of the local network; and localhost is us.
fn is_our_name(allowed: &[String], name: &str) -> bool {
    let is = |allowed: &String| match allowed.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => allowed == name || allowed == "any",
    };
    let local = name == "localhost" || name.ends_with(".local") || name.parse::<IpAddr>().is_ok();
    local || allowed.iter().any(is)
}

/// A page of ours: its origin is the host that it asks.
fn is_same_origin(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, name)| headers.get(header::HOST).is_some_and(|host| host.as_bytes() == name.as_bytes()))
}

fn is_listed(allowed: &[String], origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)))
}

/// What a browser asks before it sends a request of another origin; `check` has been passed. `asked`: the headers that a page of a listed
/// origin wants to send. Clients have many of their own.
fn preflight(asked: Option<HeaderValue>) -> Response<Body> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let usual = HeaderValue::from_static("authorization, content-type");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(usual));
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
            host_of(&headers, &Uri::from_static("/"))
                .is_some_and(|name| is_our_name(&["box.lan".into(), "*.home.lan".into()], &name))
        };
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "[::1]:8080",
            "192.168.1.7",
            "box.lan:80",
            "box.lan.",
            "a.home.lan",
            "pi.local:1",
        ] {
            assert!(name(ours), "{ours}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.nip.io",
            "",
            "[::1",
            "box.lan.evil",
            "home.lan",
            "ahome.lan",
        ] {
            assert!(!name(other), "{other}");
        }
        assert!(is_our_name(&["any".into()], "evil.example"));
    }
}
