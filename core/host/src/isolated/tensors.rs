//! Tensors of messages, and copies of them.

use std::io;

use chiasm_abi::{Code, DataType, NamedTensor, OwnedTensor, PluginError, TensorView};
use chiasm_plugin::export::tensor;

use super::message::failure;

/// Copies the bytes of a tensor to this process's own memory.
pub(super) fn copied(tensor: &NamedTensor<'_>) -> io::Result<Vec<u8>> {
    tensor.tensor.bytes().map(|(bytes, _)| bytes.to_vec()).map_err(io::Error::other)
}

/// Returns named bytes as a tensor; `shape` holds their number.
pub(super) fn bytes_tensor<'a>(name: &'a str, bytes: &'a [u8], shape: &'a mut [i64; 1]) -> NamedTensor<'a> {
    // No slice has more than `i64::MAX` bytes.
    *shape = [i64::try_from(bytes.len()).unwrap_or(i64::MAX)];
    NamedTensor { name: name.into(), tensor: TensorView::of_bytes(bytes, DataType::of(1, 8), shape) }
}

/// Copies a tensor to this process's own memory.
pub(super) fn owned(tensor: &NamedTensor<'_>) -> Result<OwnedTensor, PluginError> {
    let copy = tensor::from_abi(&tensor.tensor).and_then(tensor::to_abi);
    copy.map_err(|e| failure(Code::OTHER, e.to_string()))
}
