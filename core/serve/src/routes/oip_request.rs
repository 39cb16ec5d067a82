//! The bodies of an inference of the Open Inference Protocol, version 2, with the extension for binary
//! tensors (<https://github.com/kserve/open-inference-protocol>,
//! `extension_binary_data.md` of <https://github.com/triton-inference-server/server>).
//!
//! With the extension, the header `Inference-Header-Content-Length` states the size of the JSON, and the
//! tensors follow it in the order in which they are named.

use super::oip_tensor::{BYTES, JsonValues, dtype_of, elements, flattened, name_of, of_json, split_bytes};
use crate::api_error::ApiError;
use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use chiasm_graph::{DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The header with the size of the JSON.
pub const JSON_LENGTH: &str = "inference-header-content-length";

/// The JSON of a request.
#[derive(Deserialize)]
pub struct InferRequest {
    pub id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<InferInput>,
    #[serde(default)]
    outputs: Vec<InferOutput>,
}

#[derive(Deserialize)]
struct InferInput {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Value>,
}

#[derive(Deserialize)]
struct InferOutput {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// The JSON of an answer.
#[derive(Serialize)]
struct InferAnswer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<DescribedOutput<'a>>,
}

#[derive(Serialize)]
struct DescribedOutput<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<JsonValues<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// An input: numbers, or elements that are texts or files. In JSON an element is a string.
pub enum InputValue {
    Tensor(Tensor),
    Strings(Vec<Value>),
    Bytes(Vec<Vec<u8>>),
}

impl InferRequest {
    /// Parses a body. Returns the inputs too, by name.
    ///
    /// # Errors
    /// 400 if it is not as the protocol says.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<(Self, Vec<(String, InputValue)>), ApiError> {
        let length = match headers.get(JSON_LENGTH) {
            None => body.len(),
            Some(value) => {
                let length = value.to_str().ok().and_then(|text| text.parse().ok());
                let length = length.filter(|length| *length <= body.len());
                length
                    .ok_or_else(|| ApiError::bad(format!("{JSON_LENGTH}: expected at most {}", body.len())))?
            }
        };
        let (text, mut binary) = body.split_at(length);
        let mut request: Self = serde_json::from_slice(text)
            .map_err(|error| ApiError::bad(format!("the body is not an inference: {error}")))?;
        let mut inputs = Vec::with_capacity(request.inputs.len());
        for input in &mut request.inputs {
            let value = input.value(&mut binary)?;
            inputs.push((input.name.clone(), value));
        }
        if !binary.is_empty() {
            return Err(ApiError::bad(format!("{} bytes follow the last input", binary.len())));
        }
        Ok((request, inputs))
    }

    /// Returns the names of the outputs that are wanted; all of them if none.
    pub fn wanted(&self) -> Vec<String> {
        self.outputs.iter().map(|output| output.name.clone()).collect()
    }

    /// Returns the response with these outputs.
    pub fn response(&self, model: &str, outputs: &[(String, Tensor)]) -> Response {
        let flag =
            |parameters: &Map<String, Value>, name: &str| parameters.get(name).and_then(Value::as_bool);
        let all_binary = flag(&self.parameters, "binary_data_output").unwrap_or(false);
        let (mut described, mut binary) = (Vec::new(), Vec::new());
        for (name, tensor) in outputs {
            let wanted = self.outputs.iter().find(|output| output.name == *name);
            let as_binary =
                wanted.and_then(|output| flag(&output.parameters, "binary_data")).unwrap_or(all_binary);
            if as_binary {
                binary.extend_from_slice(tensor.bytes());
            }
            described.push(DescribedOutput {
                name,
                datatype: name_of(tensor.dtype()),
                shape: tensor.shape(),
                parameters: as_binary.then(|| BinarySize { binary_data_size: tensor.bytes().len() }),
                data: (!as_binary).then_some(JsonValues(tensor)),
            });
        }
        let id = self.id.as_deref();
        let text = InferAnswer { model_name: model, model_version: "1", id, outputs: described };
        let text = match serde_json::to_string(&text) {
            Ok(text) => text,
            Err(error) => return ApiError::internal(error.to_string()).into_response(),
        };
        if binary.is_empty() {
            return ([(header::CONTENT_TYPE, "application/json")], text).into_response();
        }
        let length = HeaderValue::from(text.len());
        let mut response = [text.into_bytes(), binary].concat().into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(JSON_LENGTH, length);
        response
    }
}

impl InferInput {
    /// Returns the value; binary data is taken from the start of `binary`.
    fn value(&mut self, binary: &mut &[u8]) -> Result<InputValue, ApiError> {
        let (name, shape) = (&self.name, &self.shape);
        let count = elements(shape)?;
        let counted = |got: usize| match got == count {
            true => Ok(()),
            false => {
                let message = format!("{name}: the shape {shape:?} has {count} elements, got {got}");
                Err(ApiError::bad(message))
            }
        };
        let size = self.parameters.get("binary_data_size");
        let Some(size) = size else {
            let data = self.data.take();
            let data =
                data.ok_or_else(|| ApiError::bad(format!("{name}: expected `data` or binary data")))?;
            if self.datatype != BYTES {
                return of_json(name, dtype_of(&self.datatype)?, shape, &data).map(InputValue::Tensor);
            }
            let mut elements = Vec::new();
            flattened(&data, &mut elements);
            counted(elements.len())?;
            return Ok(InputValue::Strings(elements.into_iter().cloned().collect()));
        };
        let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
        let (own, rest) = size.and_then(|size| binary.split_at_checked(size)).ok_or_else(|| {
            ApiError::bad(format!("{name}: `binary_data_size`: expected at most {} bytes", binary.len()))
        })?;
        *binary = rest;
        if self.datatype == BYTES {
            let elements = split_bytes(name, own)?;
            counted(elements.len())?;
            return Ok(InputValue::Bytes(elements.into_iter().map(<[u8]>::to_vec).collect()));
        }
        let dtype = dtype_of(&self.datatype)?;
        // A byte that is neither 0 nor 1 is true.
        let truths: Vec<u8>;
        let own = if dtype == DType::Bool {
            truths = own.iter().map(|byte| u8::from(*byte != 0)).collect();
            &truths
        } else {
            own
        };
        let tensor = Tensor::from_bytes(dtype, shape, own);
        tensor.map(InputValue::Tensor).map_err(|error| ApiError::bad(format!("{name}: {error}")))
    }
}
