//! Dense layers behind the poolings, with weights from a safetensors file.

use std::path::Path;

use chiasm_plugin::graph::{Builder, DType, Tensor, Value};
use chiasm_plugin::read_file;
use serde::Deserialize;
use serde_json::Value as Json;

/// The largest file of weights.
const MAX_BYTES: u64 = 1 << 30;

/// A dense layer `y = f(W x + b)`, an entry of `dense` in `[ports]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DenseLayer {
    /// The safetensors file, relative to the card's folder. It holds `linear.weight` `[out, in]` and, if the
    /// layer has a bias, `linear.bias` `[out]`.
    weights: String,
    /// The function f.
    #[serde(default)]
    activation: Activation,
    /// Whether `x` is scaled to length one first.
    #[serde(default)]
    normalise: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Activation {
    #[default]
    Identity,
    Tanh,
    Relu,
    Sigmoid,
    Gelu,
}

impl DenseLayer {
    /// Applies the layer to vectors `[B, width]`; returns the result and its width.
    ///
    /// # Errors
    /// A message that names the file, what was expected and what was found.
    pub(super) fn apply(
        &self,
        b: &mut Builder,
        x: &Value,
        width: Option<usize>,
        folder: &Path,
    ) -> Result<(Value, usize), String> {
        let path = folder.join(&self.weights);
        let about = |reason: String| format!("dense layer {}: {reason}", path.display());
        let bytes =
            read_file(&path, MAX_BYTES).map_err(|error| about(format!("cannot be read ({error})")))?;
        let weight = tensor(&bytes, "linear.weight").and_then(|found| found.ok_or_else(|| no_weight(&bytes)));
        let weight = weight.map_err(about)?;
        let &[out, into] = weight.shape() else {
            return Err(about(format!("`linear.weight`: expected two axes, got {:?}", weight.shape())));
        };
        if width.is_some_and(|width| width != into) {
            let width = width.unwrap_or_default();
            return Err(about(format!("it takes {into} numbers, but the pooled vector has {width}")));
        }
        let bias = tensor(&bytes, "linear.bias").map_err(about)?;
        if let Some(bias) = bias.as_ref().filter(|bias| bias.shape() != [out]) {
            return Err(about(format!("`linear.bias`: expected [{out}], got {:?}", bias.shape())));
        }
        let x = if self.normalise { b.l2_normalise(x, -1, crate::LEAST_LENGTH) } else { x.clone() };
        let weight = constant(b, "dense weight", weight);
        let weight = b.transpose(&weight, &[1, 0]);
        let bias = bias.map(|bias| constant(b, "dense bias", bias));
        let y = b.linear(&x, &weight, bias.as_ref());
        let y = match self.activation {
            Activation::Identity => y,
            Activation::Tanh => b.tanh(&y),
            Activation::Relu => b.relu(&y),
            Activation::Sigmoid => b.op("Sigmoid", &[&y], &[]),
            Activation::Gelu => b.gelu(&y),
        };
        Ok((y, out))
    }
}

/// Adds weights as they are stored, cast to single precision.
fn constant(b: &mut Builder, name: &str, tensor: Tensor) -> Value {
    let stored = tensor.dtype();
    let value = b.constant(name, tensor);
    if stored == DType::F32 { value } else { b.cast(&value, DType::F32) }
}

fn no_weight(bytes: &[u8]) -> String {
    let names: Vec<String> = header(bytes)
        .map(|(header, _)| header.as_object().map_or(Vec::new(), |o| o.keys().cloned().collect()))
        .unwrap_or_default();
    format!("expected a tensor `linear.weight`, got {}", names.join(", "))
}

/// Reads a tensor of floating-point numbers; `None` if the file has none of that name.
fn tensor(bytes: &[u8], name: &str) -> Result<Option<Tensor>, String> {
    let (header, data) = header(bytes)?;
    let entry = &header[name];
    if entry.is_null() {
        return Ok(None);
    }
    let about = |reason: String| format!("`{name}`: {reason}");
    let dtype = match entry["dtype"].as_str() {
        Some("F32") => DType::F32,
        Some("F16") => DType::F16,
        Some("BF16") => DType::BF16,
        Some("F64") => DType::F64,
        _ => return Err(about(format!("expected floating-point numbers, got {}", entry["dtype"]))),
    };
    let numbers = |value: &Json| -> Option<Vec<usize>> {
        value.as_array()?.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect()
    };
    let shape = numbers(&entry["shape"]).ok_or_else(|| about("it has no shape".to_owned()))?;
    let part = numbers(&entry["data_offsets"])
        .and_then(|offsets| data.get(*offsets.first()?..*offsets.get(1)?))
        .ok_or_else(|| about("its bytes lie beyond the end of the file".to_owned()))?;
    Tensor::from_bytes(dtype, &shape, part).map(Some).map_err(|error| about(error.to_string()))
}

/// Splits a safetensors file: the length of the header in eight bytes, the header in JSON, the data.
fn header(bytes: &[u8]) -> Result<(Json, &[u8]), String> {
    let damaged = || "it is not a safetensors file, or it is truncated".to_owned();
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(damaged)?;
    Ok((serde_json::from_slice(header).map_err(|error| format!("its header is damaged: {error}"))?, data))
}
