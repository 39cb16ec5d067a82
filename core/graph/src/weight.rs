//! Weights: tensors in the ONNX format that graphs share.
//!
//! The elements of a weight of a known type are always in `raw_data` (little-endian); older typed fields are
//! converted when the model is read. So a digest of the bytes identifies a weight.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use onnx_protobuf::{Message as _, TensorProto, tensor_proto::DataLocation};
use sha2::{Digest as _, Sha256};

use crate::{DType, Error, Result, Tensor, tensor::elements};

/// Initializers by name. The tensors themselves have no name, so that renamed graphs share them.
pub(crate) type WeightMap = BTreeMap<String, Arc<TensorProto>>;

/// The type, shape and first bytes of a weight.
pub(crate) type Outline<'a> = (i32, &'a [i64], &'a [u8]);

/// Converts a tensor to the ONNX format, without a name.
pub(crate) fn to_proto(tensor: &Tensor) -> TensorProto {
    TensorProto {
        // A length above i64::MAX cannot be allocated.
        dims: tensor.shape().iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect(),
        data_type: tensor.dtype().onnx(),
        raw_data: tensor.bytes().to_vec(),
        ..Default::default()
    }
}

/// Converts a tensor from the ONNX format; an error for types that are not in [`DType`].
pub(crate) fn from_proto(proto: &TensorProto) -> Result<Tensor> {
    let dtype = DType::from_onnx(proto.data_type).ok_or_else(|| {
        Error::Unsupported(format!("tensor `{}` has ONNX element type {}", proto.name, proto.data_type))
    })?;
    let mut proto = std::borrow::Cow::Borrowed(proto);
    if proto.raw_data.is_empty() {
        normalize(proto.to_mut())?;
    }
    Tensor::from_bytes(dtype, &shape(&proto)?, &proto.raw_data)
}

/// The elements of a tensor of integers or truth values with at most `most` elements; `None` for other
/// tensors.
pub(crate) fn small_ints(proto: &TensorProto, most: usize) -> Option<Vec<i64>> {
    let count = elements(&shape(proto).ok()?)?;
    let dtype = DType::from_onnx(proto.data_type);
    if count > most || !matches!(dtype, Some(DType::I64 | DType::I32 | DType::Bool)) {
        return None;
    }
    let tensor = from_proto(proto).ok()?;
    let narrow = || tensor.as_i32().map(|values| values.iter().map(|value| i64::from(*value)).collect());
    let truth = || tensor.as_bool().map(|values| values.iter().map(|value| i64::from(*value)).collect());
    tensor.as_i64().map(<[i64]>::to_vec).or_else(narrow).or_else(truth)
}

/// The elements of an f32 tensor with at most `most` elements; `None` for other tensors.
pub(crate) fn small_floats(proto: &TensorProto, most: usize) -> Option<Vec<f32>> {
    let count = elements(&shape(proto).ok()?)?;
    if count > most || DType::from_onnx(proto.data_type) != Some(DType::F32) {
        return None;
    }
    from_proto(proto).ok()?.as_f32().map(<[f32]>::to_vec)
}

/// Moves the elements of a known type to `raw_data` and checks that their number matches the shape.
pub(crate) fn normalize(proto: &mut TensorProto) -> Result<()> {
    let Some(dtype) = DType::from_onnx(proto.data_type) else { return Ok(()) };
    if proto.raw_data.is_empty() {
        proto.raw_data = typed_bytes(proto, dtype);
    }
    proto.float_data = Vec::new();
    proto.double_data = Vec::new();
    proto.int32_data = Vec::new();
    proto.int64_data = Vec::new();
    proto.uint64_data = Vec::new();
    let expected = byte_len(proto)?;
    let got = proto.raw_data.len();
    if expected != Some(got) {
        return Err(Error::Tensor(format!(
            "`{}` of type {dtype} and shape {:?} has {} bytes, got {got}",
            proto.name,
            proto.dims,
            expected.unwrap_or_default(),
        )));
    }
    Ok(())
}

/// The number of bytes of a tensor's shape and type; `None` for a type that is not in [`DType`].
pub(crate) fn byte_len(proto: &TensorProto) -> Result<Option<usize>> {
    let Some(dtype) = DType::from_onnx(proto.data_type) else { return Ok(None) };
    let bytes = elements(&shape(proto)?).and_then(|count| count.checked_mul(dtype.size()));
    bytes.map(Some).ok_or_else(|| {
        Error::Tensor(format!("`{}` of shape {:?} is larger than memory", proto.name, proto.dims))
    })
}

/// Whether the elements are stored in another file.
pub(crate) fn is_external(proto: &TensorProto) -> bool {
    proto.data_location.enum_value() == Ok(DataLocation::EXTERNAL)
}

/// The size of the elements in bytes.
pub(crate) fn stored_len(proto: &TensorProto) -> u64 {
    if DType::from_onnx(proto.data_type).is_some() {
        proto.raw_data.len() as u64
    } else {
        proto.compute_size()
    }
}

/// The SHA-256 digest, in hexadecimal, of the elements' little-endian bytes (of the whole message for a type
/// that is not in [`DType`]).
pub(crate) fn sha256(proto: &TensorProto) -> String {
    let digest = match DType::from_onnx(proto.data_type) {
        Some(_) => Sha256::digest(&proto.raw_data),
        // Writing into memory cannot fail.
        None => Sha256::digest(proto.write_to_bytes().unwrap_or_default()),
    };
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The type, shape and first bytes of a weight, in which most different weights differ.
pub(crate) fn outline(proto: &TensorProto) -> Outline<'_> {
    const BYTES: usize = 64;
    (proto.data_type, &proto.dims, proto.raw_data.get(..BYTES).unwrap_or(&proto.raw_data))
}

/// Whether two weights have the same type, shape and bytes; their doc strings may differ.
pub(crate) fn same(a: &Arc<TensorProto>, b: &Arc<TensorProto>) -> bool {
    Arc::ptr_eq(a, b)
        || (DType::from_onnx(a.data_type).is_some()
            && a.data_type == b.data_type
            && a.dims == b.dims
            && a.raw_data == b.raw_data)
        || a == b
}

fn shape(proto: &TensorProto) -> Result<Vec<usize>> {
    proto.dims.iter().map(|length| usize::try_from(*length)).collect::<Result<_, _>>().map_err(|_| {
        Error::Tensor(format!("`{}` has a negative length in its shape {:?}", proto.name, proto.dims))
    })
}

/// The elements in the older typed fields as bytes; integers of 32 bits and fewer share `int32_data`.
fn typed_bytes(proto: &TensorProto, dtype: DType) -> Vec<u8> {
    let narrow = &proto.int32_data;
    match dtype {
        DType::F32 => bytemuck::cast_slice(&proto.float_data).to_vec(),
        DType::F64 => bytemuck::cast_slice(&proto.double_data).to_vec(),
        DType::I64 => bytemuck::cast_slice(&proto.int64_data).to_vec(),
        DType::U64 => bytemuck::cast_slice(&proto.uint64_data).to_vec(),
        DType::U32 => proto.uint64_data.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect(),
        DType::I32 => bytemuck::cast_slice(narrow).to_vec(),
        DType::F16 | DType::BF16 | DType::I16 | DType::U16 => {
            narrow.iter().flat_map(|value| (*value as u16).to_le_bytes()).collect()
        }
        DType::I8 | DType::U8 | DType::Bool => narrow.iter().map(|value| *value as u8).collect(),
        DType::Str => Vec::new(),
    }
}
