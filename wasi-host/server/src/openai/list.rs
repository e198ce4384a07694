//! `GET /v1/models`

use crate::App;
use crate::error::{Result, json_response};
use crate::models::ModelFile;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn models(State(app): State<Arc<App>>) -> Response<Body> {
    let data: Vec<Value> = app.models.files().iter().map(entry).collect();
    json_response(StatusCode::OK, &json!({ "object": "list", "data": data }))
}

pub(crate) async fn model(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response<Body>> {
    Ok(json_response(StatusCode::OK, &entry(&app.models.find(Some(&name))?)))
}

fn entry(file: &ModelFile) -> Value {
    json!({ "id": file.name, "object": "model", "created": file.modified, "owned_by": "picolm" })
}
