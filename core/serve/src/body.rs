//! The middleware of every request: key, size, time, memory, the form of errors, and metrics.

use crate::{api_error::ApiError, state::ServerState};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::{sync::Arc, time::Instant};
use tokio::{sync::SemaphorePermit, time::timeout};

/// The routes that need no key: orchestrators and browsers cannot send one.
const OPEN: [&str; 4] = ["/", "/health", "/v2/health/live", "/v2/health/ready"];

/// Checks a request, reads its body, answers it, and counts the answer.
pub async fn handle(State(state): State<Arc<ServerState>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = answer(&state, request, next, &path).await.unwrap_or_else(IntoResponse::into_response);
    let response = match response.extensions().get::<ApiError>() {
        Some(error) => error.respond(&path),
        None => response,
    };
    state.metrics.request(&route, response.status().as_u16(), started.elapsed());
    response
}

async fn answer(state: &ServerState, request: Request, next: Next, path: &str) -> Result<Response, ApiError> {
    if let Some(key) = state.key.filter(|_| !OPEN.contains(&path)) {
        key.check(request.headers())?;
    }
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let limit = state.options.max_body;
    let stated = stated_length(request.headers())?;
    if let Some(stated) = stated.filter(|stated| *stated > limit as u64) {
        return Err(too_large(stated, limit));
    }
    // The memory is reserved before the body is read, and released when the answer is made.
    let size = stated.map_or(limit, |stated| usize::try_from(stated).unwrap_or(limit));
    let kibibytes = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX);
    let Ok(_memory) = state.bodies.try_acquire_many(kibibytes) else {
        return Err(ApiError::busy("the requests that are being answered fill the memory for bodies"));
    };
    let (parts, body) = request.into_parts();
    let read = timeout(state.options.timeout, Limited::new(body, limit).collect());
    let body = match read.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large(limit as u64 + 1, limit)),
        Ok(Err(error)) => return Err(ApiError::bad(format!("the body could not be read: {error}"))),
        Err(_) => {
            let message = format!("the body did not arrive within {:?}", state.options.timeout);
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
        }
    };
    let _values = reserve_values(state, &parts.headers, &body, kibibytes)?;
    let answer = next.run(Request::from_parts(parts, Body::from(body)));
    timeout(state.options.timeout, answer).await.map_err(|_| {
        let message = format!("there was no answer within {:?}", state.options.timeout);
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, message)
    })
}

/// The memory that a value of JSON takes when it is parsed, in bytes.
const VALUE: usize = 48;

/// Reserves the memory for the values of a body of JSON: `[0,0,0]` takes two bytes for a value, and many
/// times that when it is parsed. The number of values is at most that of the commas and brackets, also in a
/// body of JSON and binary tensors. `held` are the KiB that the body has already; what can never fit beside
/// them is too large.
fn reserve_values<'s>(
    state: &'s ServerState,
    headers: &HeaderMap,
    body: &[u8],
    held: u32,
) -> Result<Option<SemaphorePermit<'s>>, ApiError> {
    if expect_type(headers, &["multipart/form-data"]).is_ok() {
        return Ok(None);
    }
    let values = body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    let kibibytes = values.saturating_mul(VALUE).div_ceil(1024);
    let all = state.options.max_bodies.max(state.options.max_body).div_ceil(1024);
    let most = (all / 2).min(all.saturating_sub(held as usize));
    if kibibytes > most {
        let message =
            format!("the body has about {values} values, and at most {} are read", most * 1024 / VALUE);
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    match state.bodies.try_acquire_many(u32::try_from(kibibytes).unwrap_or(u32::MAX)) {
        Ok(memory) => Ok(Some(memory)),
        Err(_) => Err(ApiError::busy("the requests that are being answered fill the memory for bodies")),
    }
}

fn stated_length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| ApiError::bad("Content-Length is not a number"))
}

fn too_large(size: u64, limit: usize) -> ApiError {
    let message = format!("expected a body of at most {limit} bytes, got {size} or more");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// Checks that the body has one of these media types.
///
/// # Errors
/// 415 if it has another.
pub fn expect_type(headers: &HeaderMap, types: &[&str]) -> Result<(), ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match types.contains(&bare.as_str()) {
        true => Ok(()),
        false => {
            let message = format!("expected Content-Type {}, got {bare:?}", types.join(" or "));
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

/// Parses a body of JSON.
///
/// # Errors
/// 415 for another media type, 400 if it is not what is expected.
pub fn json<T: serde::de::DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    expect_type(headers, &["application/json"])?;
    serde_json::from_slice(body).map_err(|error| ApiError::bad(format!("the body is not valid: {error}")))
}
