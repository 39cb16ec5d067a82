//! `GET /items/MODEL/MODALITY/INDEX`: an item that a search can find, as it is in the data of the run.

use crate::{api_error::ApiError, state::ServerState};
use axum::{
    extract::{Path, State},
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use chiasm_pipeline::RawItem;
use std::sync::Arc;

/// The largest file that is sent.
const LARGEST: u64 = 64 << 20;

/// The first bytes of files, and their media types. What is none of them is not shown by browsers.
const TYPES: [(&[u8], &str); 9] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"RIFF", "audio/wav"),
];

/// `GET /items/{model}/{modality}/{item}`.
pub async fn item(
    State(state): State<Arc<ServerState>>,
    Path((model, modality, item)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let model = state.registry.model(&model)?;
    let gallery = model.gallery(&modality).map_err(|error| ApiError::missing(error.message))?;
    let raw = item.parse().ok().and_then(|item: usize| gallery.raw.get(item)).cloned();
    let raw = raw.ok_or_else(|| ApiError::missing(format!("there is no item {item:?} of {modality:?}")))?;
    let safe: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    match raw {
        RawItem::Text(text) => {
            Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), safe], text).into_response())
        }
        RawItem::Row(row) => {
            Ok(([(header::CONTENT_TYPE, "text/plain"), safe], row.to_string()).into_response())
        }
        RawItem::Path(path) => {
            let read = tokio::task::spawn_blocking(move || chiasm_host::read_file(&path, LARGEST)).await;
            let bytes = read.ok().and_then(Result::ok);
            let bytes = bytes.ok_or_else(|| ApiError::missing("the file of the item cannot be read"))?;
            Ok(([(header::CONTENT_TYPE, type_of(&bytes)), safe], bytes).into_response())
        }
    }
}

fn type_of(bytes: &[u8]) -> &'static str {
    if bytes.get(8..12) == Some(b"WEBP") {
        return "image/webp";
    }
    let found = TYPES.iter().find(|(start, _)| bytes.starts_with(start));
    found.map_or("application/octet-stream", |(_, kind)| kind)
}
