//! Tensors of the Open Inference Protocol: in JSON, or as little-endian bytes after it.

use crate::api_error::ApiError;
use chiasm_graph::{DType, Tensor, TensorData};
use half::{bf16, f16};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::Value;

/// The names of the element types in the protocol. Texts and files are `BYTES`.
const NAMES: [(DType, &str); 13] = [
    (DType::F32, "FP32"),
    (DType::F64, "FP64"),
    (DType::F16, "FP16"),
    (DType::BF16, "BF16"),
    (DType::I64, "INT64"),
    (DType::I32, "INT32"),
    (DType::I16, "INT16"),
    (DType::I8, "INT8"),
    (DType::U64, "UINT64"),
    (DType::U32, "UINT32"),
    (DType::U16, "UINT16"),
    (DType::U8, "UINT8"),
    (DType::Bool, "BOOL"),
];

/// The name of the type of texts and files.
pub const BYTES: &str = "BYTES";

/// Returns the name of an element type.
pub fn name_of(dtype: DType) -> &'static str {
    NAMES.iter().find(|(own, _)| *own == dtype).map_or(BYTES, |(_, name)| name)
}

/// Returns the element type of this name.
pub fn dtype_of(name: &str) -> Result<DType, ApiError> {
    NAMES.iter().find(|(_, own)| *own == name).map(|(dtype, _)| *dtype).ok_or_else(|| {
        let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
        ApiError::bad(format!("unknown datatype {name:?}: expected {} or {BYTES}", names.join(", ")))
    })
}

/// Returns the number of elements of a shape.
pub fn elements(shape: &[usize]) -> Result<usize, ApiError> {
    shape
        .iter()
        .try_fold(1_usize, |all, axis| all.checked_mul(*axis))
        .ok_or_else(|| ApiError::bad(format!("the shape {shape:?} is larger than memory")))
}

/// Appends the values of a list, or of lists of lists, in order.
pub fn flattened<'v>(data: &'v Value, into: &mut Vec<&'v Value>) {
    match data {
        Value::Array(entries) => entries.iter().for_each(|entry| flattened(entry, into)),
        one => into.push(one),
    }
}

/// Returns the tensor of values in JSON.
pub fn of_json(name: &str, dtype: DType, shape: &[usize], data: &Value) -> Result<Tensor, ApiError> {
    let mut values = Vec::new();
    flattened(data, &mut values);
    let expected = elements(shape)?;
    if values.len() != expected {
        let got = values.len();
        return Err(ApiError::bad(format!("{name}: the shape {shape:?} has {expected} elements, got {got}")));
    }
    let mut bytes = Vec::with_capacity(expected * dtype.size());
    for value in values {
        let written = append(dtype, value, &mut bytes);
        written.ok_or_else(|| ApiError::bad(format!("{name}: {value} is no {}", name_of(dtype))))?;
    }
    Tensor::from_bytes(dtype, shape, &bytes).map_err(|error| ApiError::bad(format!("{name}: {error}")))
}

/// Appends one value; `None` if it is not of the type.
fn append(dtype: DType, value: &Value, bytes: &mut Vec<u8>) -> Option<()> {
    macro_rules! put {
        ($kind:ty, $value:expr) => {
            bytes.extend(<$kind>::try_from($value?).ok()?.to_le_bytes())
        };
    }
    match dtype {
        DType::F32 => bytes.extend((value.as_f64()? as f32).to_le_bytes()),
        DType::F64 => bytes.extend(value.as_f64()?.to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f64(value.as_f64()?).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(value.as_f64()?).to_le_bytes()),
        DType::I64 => put!(i64, value.as_i64()),
        DType::I32 => put!(i32, value.as_i64()),
        DType::I16 => put!(i16, value.as_i64()),
        DType::I8 => put!(i8, value.as_i64()),
        DType::U64 => put!(u64, value.as_u64()),
        DType::U32 => put!(u32, value.as_u64()),
        DType::U16 => put!(u16, value.as_u64()),
        DType::U8 => put!(u8, value.as_u64()),
        DType::Bool => bytes.push(u8::from(value.as_bool()?)),
        _ => return None,
    }
    Some(())
}

/// The values of a tensor, which are written as a flat list. A 32-bit float has its shortest text; a number
/// that JSON does not have is null.
pub struct JsonValues<'t>(pub &'t Tensor);

impl Serialize for JsonValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.data() {
            TensorData::F32(values) => serializer.collect_seq(values),
            TensorData::F64(values) => serializer.collect_seq(values),
            TensorData::F16(values) => serializer.collect_seq(values.iter().map(|value| value.to_f32())),
            TensorData::BF16(values) => serializer.collect_seq(values.iter().map(|value| value.to_f32())),
            TensorData::I64(values) => serializer.collect_seq(values),
            TensorData::I32(values) => serializer.collect_seq(values),
            TensorData::I16(values) => serializer.collect_seq(values),
            TensorData::I8(values) => serializer.collect_seq(values),
            TensorData::U64(values) => serializer.collect_seq(values),
            TensorData::U32(values) => serializer.collect_seq(values),
            TensorData::U16(values) => serializer.collect_seq(values),
            TensorData::U8(values) => serializer.collect_seq(values),
            TensorData::Bool(values) => serializer.collect_seq(values),
            other => Err(S::Error::custom(format!("tensors of {} have no JSON", other.dtype()))),
        }
    }
}

/// Splits the bytes of a `BYTES` tensor: each element is preceded by its length as four bytes.
pub fn split_bytes<'b>(name: &str, mut bytes: &'b [u8]) -> Result<Vec<&'b [u8]>, ApiError> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let next = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
        });
        let Some((element, rest)) = next else {
            return Err(ApiError::bad(format!("{name}: an element is longer than the binary data")));
        };
        found.push(element);
        bytes = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_type_is_the_same_after_json() {
        for (dtype, name) in NAMES {
            let data = match dtype {
                DType::Bool => json!([[true, false], [false, true]]),
                DType::F32 | DType::F64 | DType::F16 | DType::BF16 => json!([[0.5, -2.0], [3.0, 0.25]]),
                _ => json!([[1, 0], [7, 100]]),
            };
            assert_eq!(dtype_of(name).unwrap(), dtype);
            let tensor = of_json("x", dtype, &[2, 2], &data).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (dtype, &[2, 2][..]));
            let written = serde_json::to_string(&JsonValues(&tensor)).unwrap();
            assert_eq!(
                written,
                data.to_string().replace("],[", ",").replace("[[", "[").replace("]]", "]"),
                "{name}"
            );
        }
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        for (dtype, data) in [
            (DType::U8, json!([256])),
            (DType::I8, json!([-129])),
            (DType::U64, json!([-1])),
            (DType::I64, json!([1.5])),
            (DType::F32, json!(["1"])),
            (DType::Bool, json!([1])),
            (DType::F32, json!([1, 2])),
            (DType::F32, json!([])),
        ] {
            assert_eq!(of_json("x", dtype, &[1], &data).unwrap_err().status, 400, "{dtype} {data}");
        }
        assert!(of_json("x", DType::F32, &[usize::MAX, 2], &json!([])).is_err());
    }

    #[test]
    fn elements_of_bytes_are_preceded_by_their_length() {
        let bytes = b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c";
        assert_eq!(split_bytes("x", bytes).unwrap(), [&b"ab"[..], b"", b"c"]);
        for damaged in [&b"\x03\0\0\0ab"[..], b"\x01\0\0", b"\xff\xff\xff\xffa"] {
            assert_eq!(split_bytes("x", damaged).unwrap_err().status, 400);
        }
    }
}
