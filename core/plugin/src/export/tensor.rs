//! Converts between graph tensors and ABI tensors.

use chiasm_abi::{DataType, MAX_RANK, OwnedTensor, TensorView};
use chiasm_graph::{DType, Tensor, TensorRef};

use crate::{Error, Result};

/// The element types of graphs and their ABI equivalents.
const TYPES: [(DType, DataType); 13] = [
    (DType::F32, DataType::F32),
    (DType::F64, DataType::F64),
    (DType::F16, DataType::F16),
    (DType::BF16, DataType::BF16),
    (DType::I64, DataType::of(0, 64)),
    (DType::I32, DataType::of(0, 32)),
    (DType::I16, DataType::of(0, 16)),
    (DType::I8, DataType::of(0, 8)),
    (DType::U64, DataType::of(1, 64)),
    (DType::U32, DataType::of(1, 32)),
    (DType::U16, DataType::of(1, 16)),
    (DType::U8, DataType::of(1, 8)),
    (DType::Bool, DataType::BOOL),
];

/// Returns the ABI's equivalent of an element type.
pub fn data_type(dtype: DType) -> Result<DataType> {
    TYPES
        .iter()
        .find(|(own, _)| *own == dtype)
        .map(|(_, abi)| *abi)
        .ok_or_else(|| Error::unsupported(format!("tensors of {dtype} cannot be passed to or from a plugin")))
}

/// Returns the graph's equivalent of an element type.
pub fn dtype(abi: DataType) -> Result<DType> {
    TYPES
        .iter()
        .find(|(_, own)| *own == abi)
        .map(|(dtype, _)| *dtype)
        .ok_or_else(|| Error::unsupported(format!("element type {abi} is not supported")))
}

/// Converts a shape to the ABI's integers.
pub fn shape(lengths: &[usize]) -> Result<Vec<i64>> {
    Ok(lengths.iter().map(|length| i64::try_from(*length)).collect::<Result<_, _>>()?)
}

/// Returns a view of a tensor; `shape` is the tensor's shape, from [`shape`].
pub fn view<'a>(tensor: TensorRef<'a>, shape: &'a [i64]) -> TensorView<'a> {
    // A type without an equivalent gets a code that every reader refuses.
    let dtype = data_type(tensor.dtype()).unwrap_or(DataType { code: u8::MAX, bits: 0, lanes: 0 });
    TensorView::of_bytes(tensor.bytes(), dtype, shape)
}

/// Converts a tensor to an owned ABI tensor, without copying its elements.
pub fn to_abi(tensor: Tensor) -> Result<OwnedTensor> {
    let dtype = data_type(tensor.dtype())?;
    let lengths: [i64; MAX_RANK] = std::array::from_fn(|axis| {
        // No axis of elements in memory is longer than `i64::MAX`.
        tensor.shape().get(axis).map_or(0, |length| i64::try_from(*length).unwrap_or(i64::MAX))
    });
    let rank = tensor.shape().len();
    let shape = lengths.get(..rank).ok_or_else(|| {
        Error::unsupported(format!(
            "tensors of rank {rank} cannot be passed to or from a plugin; the largest rank is {MAX_RANK}"
        ))
    })?;
    Ok(OwnedTensor::new(tensor, dtype, shape.iter().copied(), Tensor::bytes)?)
}

/// Copies a dense view to a tensor.
pub fn from_abi(view: &TensorView<'_>) -> Result<Tensor> {
    let (bytes, layout) = view.bytes().map_err(|e| Error::invalid(e.to_string()))?;
    Ok(Tensor::from_bytes(dtype(view.dtype())?, layout.shape(), bytes)?)
}
