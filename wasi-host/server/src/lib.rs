//! A server of models in a folder, with OpenAI's API and Ollama's. It knows no engine: who runs it says how a model is opened.
//!
//! ```text
//!   listen ──► gate ──► openai::*, ollama, page ──► answers ──Job──► worker (a thread for each loaded model) ──► Engine
//!  connections  Host,     fields ► Request            ▲                 │  all sessions in one batch
//!               Origin,   (error: which, why)         └────── Said ◄────┘
//!               key                          models: on demand, idle ones unloaded     prefixes: states on disk
//! ```
//!
//! One thread does all of HTTP; it computes nothing. `picolm-engine` reads what a client sends; its conversations are parsed where the
//! model's template runs: in the sandbox, if the engine has one.

mod answers;
mod config;
mod dialect;
mod duration;
mod error;
mod facts;
mod gate;
mod listen;
mod log;
mod metrics;
mod models;
mod ollama;
mod openai;
mod page;
mod prefixes;
mod worker;

pub use config::{Config, Settings};
pub use dialect::{Api, Rule, TABLE};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use error::{ApiError, json_response};
use facts::Headers;
use metrics::Metrics;
use models::Models;
use picolm_engine::Engine;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// What all handlers share.
pub(crate) struct App {
    config: Arc<Config>,
    models: Models,
    headers: Arc<Headers>,
    metrics: Arc<Metrics>,
}

/// Loads the model in a file, to be run as the configuration says.
pub type Open = dyn Fn(&Path, &Config) -> picolm_engine::Result<Box<dyn Engine>> + Send + Sync;

/// Serves until the process is told to end (SIGINT, SIGTERM).
///
/// # Errors
/// The address is taken; a pinned model cannot be loaded.
pub fn run(config: Config, open: Arc<Open>) -> Result<()> {
    std::panic::set_hook(Box::new(|panic| log::warn("a mistake in the program", &[("where", panic)])));
    serve(config, open, |_| (), told_to_end())
}

/// Serves until `end`; calls `ready` with the address once it listens.
///
/// # Errors
/// As [`run`].
pub fn serve(
    config: Config,
    open: Arc<Open>,
    ready: impl FnOnce(SocketAddr),
    end: impl Future<Output = ()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let config = Arc::new(config);
        let metrics = Arc::<Metrics>::default();
        let models = Models::new(config.clone(), open, metrics.clone());
        let app = Arc::new(App { config: config.clone(), models, headers: Arc::default(), metrics: metrics.clone() });
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("listen: cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        for name in &config.pin {
            if let Err(error) = app.models.acquire(Some(name), 0).await {
                bail!("pin: {}", error.message);
            }
        }
        if !address.ip().is_loopback() && config.api_keys.is_empty() {
            log::warn("anyone who reaches this address can use the server: set --api-key-file", &[]);
        }
        log::info("listening", &[("address", &address), ("engine", &config.engine)]);
        ready(address);
        let housekeeping = tokio::spawn(keep_house(app.clone()));
        let limits = listen::Limits { connections: config.connections, timeout: config.timeout };
        let open = listen::serve(listener, router(app.clone()), limits, metrics, end).await;
        log::info("ending", &[]);
        housekeeping.abort();
        app.models.close(config.grace).await;
        // Answers are over; what is left of them is on its way.
        let _ = tokio::time::timeout(Duration::from_secs(2), open.shutdown()).await;
        Ok(())
    })
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{model}", get(openai::model))
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .route("/api/embed", post(ollama::embed))
        .route("/api/embeddings", post(ollama::embeddings))
        .route("/api/tags", get(ollama::tags))
        .route("/api/show", post(ollama::show))
        .route("/api/ps", get(ollama::ps))
        .route("/api/version", get(ollama::version))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/openapi.json", get(openapi))
        .route("/form", get(page::form).post(page::submit))
        .fallback(page::file)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(app.clone(), gate::gate))
        .with_state(app)
}

async fn health() -> Response<Body> {
    json_response(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

/// Whether somebody would be answered, which is another question than whether the process lives.
async fn ready(State(app): State<Arc<App>>) -> error::Result<Response<Body>> {
    match app.models.unready() {
        None => Ok(json_response(StatusCode::OK, &serde_json::json!({ "status": "ready" }))),
        Some(why) => Err(why),
    }
}

async fn metrics_text(State(app): State<Arc<App>>) -> Response<Body> {
    let loaded: Vec<String> = app.models.loaded().iter().map(|loaded| loaded.name.clone()).collect();
    let mut response = Response::new(Body::from(app.metrics.render(&loaded)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn openapi() -> Response<Body> {
    let mut response = Response::new(Body::from(include_str!("openapi.json")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn wrong_method(method: Method) -> Response<Body> {
    let message = format!("{method} is not what can be done here");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).into_response()
}

/// Looks now and then for models that nobody uses.
async fn keep_house(app: Arc<App>) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        app.models.unload_idle();
    }
}

async fn told_to_end() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(terminate) => terminate,
            Err(_) => return drop(interrupt.await),
        };
        tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}
