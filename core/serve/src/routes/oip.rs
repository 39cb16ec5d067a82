//! `/v2`: the Open Inference Protocol, version 2.
//!
//! A run is two models. `RUN` takes raw items: an input for each of any of its modalities, with the shape
//! `[n]`; texts and files are `BYTES`, row numbers `INT64`. In JSON a file is its base64. `RUN.onnx` takes
//! the tensors of `model.onnx`.

use super::{
    oip_request::{InferRequest, InputValue},
    oip_tensor::{BYTES, name_of},
    openai::content,
};
use crate::{
    api_error::ApiError,
    body::expect_type,
    items::Items,
    job::Work,
    model::{Model, ServedModality},
    options::TENSORS,
    state::ServerState,
};
use axum::{
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use chiasm_graph::{DType, Dim, Port};
use chiasm_host::Takes;
use serde_json::{Value, json};
use std::sync::Arc;

type Shared = State<Arc<ServerState>>;
type Answer = Result<Response, ApiError>;

/// `GET /v2`.
pub async fn server() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    content(&json!({ "name": "chiasm", "version": version, "extensions": ["binary_tensor_data"] }))
}

/// `GET /v2/models/{model}`.
pub async fn model(State(state): Shared, Path(name): Path<String>) -> Answer {
    let (model, tensors) = state.registry.model_or_tensors(&name)?;
    let (inputs, outputs): (Vec<Value>, Vec<Value>) = if tensors {
        (model.inputs.iter().map(described).collect(), model.outputs.iter().map(described).collect())
    } else {
        (model.modalities.iter().map(raw_input).collect(), model.outputs.iter().map(described).collect())
    };
    Ok(content(&json!({
        "name": name, "versions": ["1"], "platform": "chiasm", "inputs": inputs, "outputs": outputs,
    })))
}

/// `GET /v2/models/{model}/ready`.
pub async fn model_ready(State(state): Shared, Path(name): Path<String>) -> Answer {
    state.registry.model_or_tensors(&name)?;
    Ok(content(&json!({ "name": name, "ready": true })))
}

/// `GET /v2/models/{model}/versions/{version}`.
pub async fn version(state: Shared, Path((name, version)): Path<(String, String)>) -> Answer {
    model(state, of_version(name, &version)?).await
}

/// `GET /v2/models/{model}/versions/{version}/ready`.
pub async fn version_ready(state: Shared, Path((name, version)): Path<(String, String)>) -> Answer {
    model_ready(state, of_version(name, &version)?).await
}

/// `POST /v2/models/{model}/versions/{version}/infer`.
pub async fn version_infer(
    state: Shared,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    infer(state, of_version(name, &version)?, headers, body).await
}

/// `POST /v2/models/{model}/infer`.
pub async fn infer(
    State(state): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    // tritonclient sends no type, or that of binary data.
    if headers.contains_key(axum::http::header::CONTENT_TYPE) {
        expect_type(&headers, &["application/json", "application/octet-stream"])?;
    }
    let (model, tensors) = state.registry.model_or_tensors(&name)?;
    let (request, inputs) = InferRequest::parse(&headers, &body)?;
    if inputs.is_empty() {
        return Err(ApiError::bad("expected at least one input"));
    }
    let wanted = request.wanted();
    let work = if tensors { of_tensors(inputs, &wanted)? } else { of_items(&state, &model, inputs)? };
    let mut outputs = state.registry.run(name.strip_suffix(TENSORS).unwrap_or(&name), work).await?;
    if !wanted.is_empty() {
        if let Some(missing) = wanted.iter().find(|name| outputs.iter().all(|(own, _)| own != *name)) {
            let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("no output {missing:?} for these inputs: there is {}", names.join(", "));
            return Err(ApiError::bad(message));
        }
        outputs.retain(|(name, _)| wanted.contains(name));
    }
    Ok(request.response(&name, &outputs))
}

fn of_version(name: String, version: &str) -> Result<Path<String>, ApiError> {
    match version {
        "1" => Ok(Path(name)),
        other => Err(ApiError::missing(format!("{name} has the version 1 only, not {other:?}"))),
    }
}

fn of_tensors(inputs: Vec<(String, InputValue)>, wanted: &[String]) -> Result<Work, ApiError> {
    let tensor = |(name, value)| match value {
        InputValue::Tensor(tensor) => Ok((name, tensor)),
        InputValue::Strings(_) | InputValue::Bytes(_) => {
            Err(ApiError::bad(format!("{name}: the inputs of {TENSORS} are numbers, got {BYTES}")))
        }
    };
    let inputs = inputs.into_iter().map(tensor).collect::<Result<_, _>>()?;
    Ok(Work::Tensors { inputs, outputs: wanted.to_vec() })
}

fn of_items(
    state: &ServerState,
    model: &Model,
    mut inputs: Vec<(String, InputValue)>,
) -> Result<Work, ApiError> {
    // In the order of the run, so that equal requests share a batch.
    let place = |name: &str| model.modalities.iter().position(|own| own.name == name);
    inputs.iter().try_for_each(|(name, _)| model.modality(name).map(drop))?;
    inputs.sort_by_key(|(name, _)| place(name));
    let (mut modalities, mut columns, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in inputs {
        let takes = model.modality(&name)?.takes;
        let mut items = Items::default();
        match value {
            InputValue::Strings(elements) => {
                elements.iter().try_for_each(|item| state.items.add_json(&mut items, takes, item))?;
            }
            InputValue::Bytes(elements) => {
                elements.iter().try_for_each(|item| state.items.add(&mut items, takes, item))?;
            }
            InputValue::Tensor(tensor) => match (takes, tensor.as_i64()) {
                (Takes::Row, Some(rows)) => rows
                    .iter()
                    .try_for_each(|row| state.items.add(&mut items, takes, row.to_string().as_bytes()))?,
                _ => {
                    let got = name_of(tensor.dtype());
                    let expected = datatype(takes);
                    return Err(ApiError::bad(format!("{name}: expected {expected}, got {got}")));
                }
            },
        }
        if columns.first().is_some_and(|first: &Vec<_>| first.len() != items.raw.len()) {
            return Err(ApiError::bad("expected as many items of each modality"));
        }
        if modalities.contains(&name) || items.raw.is_empty() {
            return Err(ApiError::bad(format!("{name}: expected one input with at least one item")));
        }
        modalities.push(name);
        columns.push(items.raw);
        files.extend(items.files);
    }
    Ok(Work::Items { modalities, columns, files })
}

fn datatype(takes: Takes) -> &'static str {
    match takes {
        Takes::Text | Takes::Path => BYTES,
        Takes::Row => name_of(DType::I64),
    }
}

/// Describes a modality. `kind` is not part of the protocol.
fn raw_input(modality: &ServedModality) -> Value {
    let kind = match modality.takes {
        Takes::Text => "text",
        Takes::Path => "file",
        Takes::Row => "row",
    };
    json!({ "name": modality.name, "datatype": datatype(modality.takes), "shape": [-1], "kind": kind })
}

/// Describes a port. A free axis is -1.
fn described(port: &Port) -> Value {
    let length = |dim: &Dim| dim.fixed().map_or(-1, |length| i64::try_from(length).unwrap_or(-1));
    let shape: Vec<i64> = port.dims.iter().flatten().map(length).collect();
    json!({ "name": port.name, "datatype": name_of(port.dtype), "shape": shape })
}
