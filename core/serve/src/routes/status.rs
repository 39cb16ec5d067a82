//! Health, metrics, the OpenAPI document and the page.

use crate::{api_error::ApiError, state::ServerState};
use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::{Arc, atomic::Ordering};

/// The OpenAPI document.
pub const OPENAPI: &str = include_str!("openapi.json");
const PAGE: &str = include_str!("page.html");
/// The page loads nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src \
                      'self'; img-src blob: data:; media-src blob:";

type Shared = State<Arc<ServerState>>;

/// `GET /`.
pub async fn page() -> Response {
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    let policy: (HeaderName, &str) = (header::CONTENT_SECURITY_POLICY, POLICY);
    ([kind, policy], PAGE).into_response()
}

/// `GET /health` and `/v2/health/live`: the process answers.
pub async fn health() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}").into_response()
}

/// `GET /v2/health/ready`: every run is loaded, and the server does not stop.
pub async fn ready(State(state): Shared) -> Result<Response, ApiError> {
    if state.registry.stopping.load(Ordering::Relaxed) {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server stops"));
    }
    Ok(health().await)
}

/// `GET /metrics`.
pub async fn metrics(State(state): Shared) -> Response {
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    let seconds = state.started.elapsed().as_secs();
    let up = format!("# TYPE chiasm_uptime_seconds gauge\nchiasm_uptime_seconds {seconds}\n");
    ([kind], state.registry.metrics(&state.metrics) + &up).into_response()
}

/// `GET /openapi.json`.
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
