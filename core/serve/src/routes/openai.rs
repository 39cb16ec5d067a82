//! `/v1`: embeddings in the form of OpenAI
//! (<https://platform.openai.com/docs/api-reference/embeddings/create>).
//!
//! The model is `RUN`, or `RUN:MODALITY`; without a modality the one that takes texts. For a modality that
//! takes files, an input is the base64 of a file. Texts are not counted in tokens: `usage` is zero.

use crate::{
    api_error::ApiError,
    body::json,
    items::Items,
    job::Work,
    model::{Model, ServedModality},
    state::ServerState,
};
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chiasm_host::Takes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as object};
use std::sync::Arc;

/// The body of `POST /v1/embeddings`. Other keys, such as `user`, are ignored.
#[derive(Deserialize)]
pub struct EmbeddingsRequest {
    model: String,
    input: Value,
    #[serde(default)]
    encoding_format: EncodingFormat,
    dimensions: Option<usize>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum EncodingFormat {
    #[default]
    Float,
    Base64,
}

/// The answer to `POST /v1/embeddings`.
#[derive(Serialize)]
struct Embeddings<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// A vector as a list of numbers, or as the base64 of 32-bit floats in little-endian order.
#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

#[derive(Serialize)]
struct ListedModel {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

/// `GET /v1/models`.
pub async fn models(State(state): State<Arc<ServerState>>) -> Response {
    let of = |model: &Arc<Model>| {
        let parts = model.modalities.iter().map(|own| format!("{}:{}", model.name, own.name));
        let ids: Vec<String> = [model.name.clone()].into_iter().chain(parts).collect();
        let created = model.loaded;
        ids.into_iter().map(move |id| ListedModel { id, object: "model", created, owned_by: "chiasm" })
    };
    let data: Vec<ListedModel> = state.registry.models().iter().flat_map(of).collect();
    content(&object!({ "object": "list", "data": data }))
}

/// `POST /v1/embeddings`.
pub async fn embeddings(
    State(state): State<Arc<ServerState>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: EmbeddingsRequest = json(&headers, &body)?;
    let (name, modality) = match request.model.split_once(':') {
        Some((name, modality)) => (name, Some(modality)),
        None => (request.model.as_str(), None),
    };
    let model = state.registry.model(name)?;
    let modality = modality_of(&model, modality)?;
    let mut items = Items::default();
    match &request.input {
        Value::Array(inputs) if inputs.is_empty() => return Err(ApiError::bad("`input` is empty")),
        Value::Array(inputs) => {
            inputs.iter().try_for_each(|input| state.items.add_json(&mut items, modality.takes, input))?;
        }
        one => state.items.add_json(&mut items, modality.takes, one)?,
    }
    let work =
        Work::Items { modalities: vec![modality.name.clone()], columns: vec![items.raw], files: items.files };
    let outputs = state.registry.run(name, work).await?;
    let found = outputs.iter().find(|(name, _)| *name == modality.output);
    let tensor =
        found.map(|(_, tensor)| tensor).ok_or_else(|| ApiError::internal("the output is missing"))?;
    let width = tensor.shape().get(1).copied().unwrap_or(0).max(1);
    let kept = request.dimensions.unwrap_or(width);
    if kept == 0 || kept > width {
        return Err(ApiError::bad(format!("`dimensions`: expected 1 to {width}, got {kept}")));
    }
    let rows = tensor.as_f32().unwrap_or_default().chunks_exact(width).enumerate();
    let data = rows.map(|(index, row)| {
        let vector = if kept < width { shortened(&row[..kept]) } else { row.to_vec() };
        Embedding { object: "embedding", index, embedding: Vector::of(vector, request.encoding_format) }
    });
    let usage = Usage { prompt_tokens: 0, total_tokens: 0 };
    let answer = Embeddings { object: "list", data: data.collect(), model: &request.model, usage };
    Ok(content(&answer))
}

fn modality_of<'m>(model: &'m Model, name: Option<&str>) -> Result<&'m ServedModality, ApiError> {
    if let Some(name) = name {
        return model.modality(name);
    }
    let mut texts = model.modalities.iter().filter(|own| own.takes == Takes::Text);
    match (texts.next(), texts.next()) {
        (Some(only), None) => Ok(only),
        _ => {
            let names: Vec<String> =
                model.modalities.iter().map(|own| format!("{}:{}", model.name, own.name)).collect();
            Err(ApiError::bad(format!("name the modality in `model`: {}", names.join(" or "))))
        }
    }
}

/// Returns a vector of unit length, as OpenAI's models do for fewer dimensions.
fn shortened(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| if length > 0.0 { value / length } else { 0.0 }).collect()
}

impl Vector {
    fn of(vector: Vec<f32>, format: EncodingFormat) -> Self {
        match format {
            EncodingFormat::Float => Self::Floats(vector),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// Returns a response of JSON.
pub fn content(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => ApiError::internal(error.to_string()).into_response(),
    }
}
