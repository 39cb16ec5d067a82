//! Weights: tensors in the ONNX format, kept as they are stored and shared between graphs.
//!
//! A weight of a known type always keeps its elements in `raw_data` (little-endian); the older typed fields
//! are brought to that form once, on loading. So a weight's bytes have one form, its hash one meaning, and
//! copying a graph copies none.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use onnx_protobuf::{Message as _, TensorProto, tensor_proto::DataLocation};
use sha2::{Digest as _, Sha256};

use crate::{DType, Error, Result, Tensor, tensor::elements};

/// Initializers by name; the tensor itself is kept without its name, so that renaming shares it.
pub(crate) type WeightMap = BTreeMap<String, Arc<TensorProto>>;

/// Type, shape and first bytes of a weight.
pub(crate) type Outline<'a> = (i32, &'a [i64], &'a [u8]);

/// A tensor in the ONNX format, without a name.
pub(crate) fn to_proto(tensor: &Tensor) -> TensorProto {
    TensorProto {
        // A length above i64::MAX cannot be allocated.
        dims: tensor.shape().iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect(),
        data_type: tensor.dtype().onnx(),
        raw_data: tensor.bytes().to_vec(),
        ..Default::default()
    }
}

/// A tensor from the ONNX format; refuses types that [`DType`] does not have.
pub(crate) fn from_proto(proto: &TensorProto) -> Result<Tensor> {
    let dtype = DType::from_onnx(proto.data_type).ok_or_else(|| {
        Error::Unsupported(format!("tensor `{}` has ONNX element type {}", proto.name, proto.data_type))
    })?;
    let mut proto = std::borrow::Cow::Borrowed(proto);
    if proto.raw_data.is_empty() {
        settle(proto.to_mut())?;
    }
    Tensor::from_bytes(dtype, &shape(&proto)?, &proto.raw_data)
}

/// The elements of a small tensor of integers; `None` for anything else.
pub(crate) fn small_ints(proto: &TensorProto, most: usize) -> Option<Vec<i64>> {
    let count = elements(&shape(proto).ok()?)?;
    if count > most || !matches!(DType::from_onnx(proto.data_type), Some(DType::I64 | DType::I32)) {
        return None;
    }
    let tensor = from_proto(proto).ok()?;
    let narrow = || tensor.as_i32().map(|values| values.iter().map(|value| i64::from(*value)).collect());
    tensor.as_i64().map(<[i64]>::to_vec).or_else(narrow)
}

/// Brings the elements of a known type to `raw_data` and checks that there are as many as the shape says.
pub(crate) fn settle(proto: &mut TensorProto) -> Result<()> {
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
            "`{}` of {dtype} and shape {:?} takes {} bytes, got {got}",
            proto.name,
            proto.dims,
            expected.unwrap_or_default(),
        )));
    }
    Ok(())
}

/// Bytes that a tensor's shape and type call for; `None` for a type of unknown width.
pub(crate) fn byte_len(proto: &TensorProto) -> Result<Option<usize>> {
    let Some(dtype) = DType::from_onnx(proto.data_type) else { return Ok(None) };
    let bytes = elements(&shape(proto)?).and_then(|count| count.checked_mul(dtype.size()));
    bytes.map(Some).ok_or_else(|| {
        Error::Tensor(format!("`{}` of shape {:?} is larger than memory", proto.name, proto.dims))
    })
}

/// Whether the elements lie in another file.
pub(crate) fn is_external(proto: &TensorProto) -> bool {
    proto.data_location.enum_value() == Ok(DataLocation::EXTERNAL)
}

/// Bytes of the elements as stored.
pub(crate) fn stored_len(proto: &TensorProto) -> u64 {
    if DType::from_onnx(proto.data_type).is_some() {
        proto.raw_data.len() as u64
    } else {
        proto.compute_size()
    }
}

/// SHA-256, in hexadecimal, of the elements' little-endian bytes (of the whole stored message for a foreign
/// type).
pub(crate) fn sha256(proto: &TensorProto) -> String {
    let digest = match DType::from_onnx(proto.data_type) {
        Some(_) => Sha256::digest(&proto.raw_data),
        // Writing into memory cannot fail; an empty message would only make the hash less telling.
        None => Sha256::digest(proto.write_to_bytes().unwrap_or_default()),
    };
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What tells most different weights apart at once: type, shape, and the first bytes.
pub(crate) fn outline(proto: &TensorProto) -> Outline<'_> {
    const BYTES: usize = 64;
    (proto.data_type, &proto.dims, proto.raw_data.get(..BYTES).unwrap_or(&proto.raw_data))
}

/// Whether two weights have the same type, shape and bytes, whatever notes they carry.
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

/// The older typed fields as bytes; types of 32 bits and fewer share `int32_data`.
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
    }
}
