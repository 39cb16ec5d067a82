//! Writing a graph in the ONNX format, directly from the shared weights, without a copy of them in memory.

use std::io::Write;

use onnx_protobuf::{Message as _, TensorProto};
use protobuf::{CodedOutputStream, rt::WireType};

use crate::{Error, Graph, Result, weight::WeightMap};

/// The maximum size of a protobuf message in bytes (2 GiB - 1).
pub(crate) const LIMIT: u64 = i32::MAX as u64;

/// Field numbers of onnx.proto.
const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_NAME: u32 = 8;

impl Graph {
    /// Returns the model as bytes; equal graphs have equal bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above 2 GiB (use [`Graph::save`]).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        write(self, &self.weights, &mut bytes)?;
        Ok(bytes)
    }
}

/// Writes the model with the given weights in place of its own.
pub(crate) fn write(graph: &Graph, weights: &WeightMap, out: &mut dyn Write) -> Result<()> {
    let (body, total) = sizes(graph, weights);
    if total > LIMIT {
        return Err(Error::TooLarge { bytes: total, limit: LIMIT });
    }
    let mut out = CodedOutputStream::new(out);
    let written = (|| {
        graph.header.write_to_with_cached_sizes(&mut out)?;
        out.write_tag(MODEL_GRAPH, WireType::LengthDelimited)?;
        out.write_raw_varint64(body)?;
        graph.graph.write_to_with_cached_sizes(&mut out)?;
        for (name, tensor) in weights {
            out.write_tag(GRAPH_INITIALIZER, WireType::LengthDelimited)?;
            out.write_raw_varint64(tensor_size(name, tensor))?;
            out.write_string(TENSOR_NAME, name)?;
            tensor.write_to_with_cached_sizes(&mut out)?;
        }
        out.flush()
    })();
    written.map_err(|error| Error::Io {
        action: "write",
        path: std::path::PathBuf::from(graph.name()),
        source: error.into(),
    })
}

/// The size of the model as one message, in bytes.
pub(crate) fn size(graph: &Graph) -> u64 {
    sizes(graph, &graph.weights).1
}

/// The sizes of the graph's message and of the whole model; also caches the sizes that writing uses.
fn sizes(graph: &Graph, weights: &WeightMap) -> (u64, u64) {
    let weights = weights.iter().map(|(name, tensor)| delimited(tensor_size(name, tensor)));
    let body = graph.graph.compute_size() + weights.sum::<u64>();
    (body, graph.header.compute_size() + delimited(body))
}

fn tensor_size(name: &str, tensor: &TensorProto) -> u64 {
    tensor.compute_size() + delimited(name.len() as u64)
}

/// The size of a field with a one-byte tag, its length and its content.
fn delimited(length: u64) -> u64 {
    1 + protobuf::rt::compute_raw_varint64_size(length) + length
}
