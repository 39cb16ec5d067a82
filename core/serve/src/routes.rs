//! The routes, each with its handler.

mod items;
mod oip;
mod oip_request;
mod oip_tensor;
mod openai;
mod search;
mod status;

use crate::{api_error::ApiError, body, state::ServerState};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};
use std::sync::Arc;

type Handlers = MethodRouter<Arc<ServerState>>;

/// Returns every route and its handlers. `openapi.json` describes the same.
fn routes() -> Vec<(&'static str, Handlers)> {
    vec![
        ("/", get(status::page)),
        ("/health", get(status::health)),
        ("/metrics", get(status::metrics)),
        ("/openapi.json", get(status::openapi)),
        ("/v1/models", get(openai::models)),
        ("/v1/embeddings", post(openai::embeddings)),
        ("/search", post(search::search)),
        ("/items/{model}/{modality}/{item}", get(items::item)),
        ("/v2", get(oip::server)),
        ("/v2/health/live", get(status::health)),
        ("/v2/health/ready", get(status::ready)),
        ("/v2/models/{model}", get(oip::model)),
        ("/v2/models/{model}/ready", get(oip::model_ready)),
        ("/v2/models/{model}/infer", post(oip::infer)),
        ("/v2/models/{model}/versions/{version}", get(oip::version)),
        ("/v2/models/{model}/versions/{version}/ready", get(oip::version_ready)),
        ("/v2/models/{model}/versions/{version}/infer", post(oip::version_infer)),
    ]
}

/// Returns the service of all routes.
pub fn router(state: Arc<ServerState>) -> Router {
    let mut router = Router::new();
    for (path, handlers) in routes() {
        router = router.route(path, handlers);
    }
    router
        .fallback(|request: Request| async move {
            ApiError::missing(format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let (method, path) = (request.method(), request.uri().path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not answer {method}"))
        })
        // The middleware limits bodies itself.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&state), body::handle))
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_openapi_document_describes_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(status::OPENAPI).unwrap();
        let described: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served: BTreeSet<&str> = routes().iter().map(|(path, _)| *path).collect();
        assert_eq!(described, served);
    }
}
