//! What a client is told when there is no answer: OpenAI's shape, or Ollama's below `/api`.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use picolm_engine::{Error, Kind as ErrorKind};
use serde_json::{Value, json};

/// A refusal: its status, and a sentence that says what and why.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// A word for programs.
    pub(crate) code: &'static str,
    /// The field at fault: `messages[0].role`.
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

/// The answer of a handler.
pub(crate) type Result<T> = std::result::Result<T, ApiError>;

/// Seconds after which it makes sense to come again when all places are taken.
const RETRY_AFTER: &str = "2";

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, param: None, message: message.into() }
    }

    /// A field that is not as it has to be; the message begins with its name.
    pub(crate) fn field(name: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let name = name.into();
        let message = format!("{name} {why}");
        ApiError { param: Some(name), ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message) }
    }

    /// A body that cannot be read as a whole.
    pub(crate) fn body(why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body {why}"))
    }

    /// No place in the queue.
    pub(crate) fn full(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message)
    }

    /// Nobody can be answered.
    pub(crate) fn unready(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// OpenAI's `error` object.
    pub(crate) fn openai(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": self.code } })
    }

    /// The same as Ollama says it.
    pub(crate) fn ollama(&self) -> Value {
        json!({ "error": self.message })
    }

    /// The answer, in the shape of an API.
    pub(crate) fn respond(&self, ollama: bool) -> Response<Body> {
        let mut response = json_response(self.status, &if ollama { self.ollama() } else { self.openai() });
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The gate, which knows the path, gives it the shape of that path's API.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind {
            ErrorKind::Request => (StatusCode::BAD_REQUEST, "invalid_value"),
            ErrorKind::Unsupported => (StatusCode::BAD_REQUEST, "unsupported"),
            ErrorKind::ContextFull => (StatusCode::BAD_REQUEST, "context_length_exceeded"),
            ErrorKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "queue_full"),
            ErrorKind::Memory => (StatusCode::SERVICE_UNAVAILABLE, "out_of_memory"),
            // Its file is at fault, and the request is right: the server cannot serve what it offers.
            ErrorKind::Model | ErrorKind::Template => (StatusCode::INTERNAL_SERVER_ERROR, "model_error"),
            ErrorKind::Storage => (StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable"),
            ErrorKind::State => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
            ErrorKind::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "engine_stopped"),
        };
        ApiError { param: error.field, ..ApiError::new(status, code, error.message) }
    }
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
