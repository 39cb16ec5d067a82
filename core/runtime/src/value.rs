//! Our tensors to the engine's values and back. In: the engine reads our memory. Out: one copy.

use chiasm_graph::{DType, Tensor, TensorData};
use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorRef};

/// A view of our tensor that the engine can read.
pub(crate) fn lend(tensor: &Tensor) -> Result<SessionInputValue<'_>, ort::Error> {
    let shape = tensor.shape();
    macro_rules! view {
        ($values:expr) => {
            Ok(TensorRef::from_array_view((shape, $values.as_slice()))?.into())
        };
    }
    match tensor.data() {
        TensorData::F32(v) => view!(v),
        TensorData::F64(v) => view!(v),
        TensorData::F16(v) => view!(v),
        TensorData::BF16(v) => view!(v),
        TensorData::I64(v) => view!(v),
        TensorData::I32(v) => view!(v),
        TensorData::I16(v) => view!(v),
        TensorData::I8(v) => view!(v),
        TensorData::U64(v) => view!(v),
        TensorData::U32(v) => view!(v),
        TensorData::U16(v) => view!(v),
        TensorData::U8(v) => view!(v),
        TensorData::Bool(v) => view!(v),
        other => Err(ort::Error::new(format!("tensors of {} cannot be given to the engine", other.dtype()))),
    }
}

/// A copy of the engine's value, which must be of the element type that the port declares.
pub(crate) fn take(value: &DynValue, dtype: DType) -> Result<Tensor, String> {
    macro_rules! copy {
        ($variant:ident, $kind:ty) => {{
            let (shape, values) = value.try_extract_tensor::<$kind>().map_err(|e| e.to_string())?;
            let shape: Vec<usize> = shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
            Tensor::new(&shape, TensorData::$variant(values.to_vec())).map_err(|e| e.to_string())
        }};
    }
    match dtype {
        DType::F32 => copy!(F32, f32),
        DType::F64 => copy!(F64, f64),
        DType::F16 => copy!(F16, half::f16),
        DType::BF16 => copy!(BF16, half::bf16),
        DType::I64 => copy!(I64, i64),
        DType::I32 => copy!(I32, i32),
        DType::I16 => copy!(I16, i16),
        DType::I8 => copy!(I8, i8),
        DType::U64 => copy!(U64, u64),
        DType::U32 => copy!(U32, u32),
        DType::U16 => copy!(U16, u16),
        DType::U8 => copy!(U8, u8),
        DType::Bool => copy!(Bool, bool),
        other => Err(format!("of {other} cannot be read")),
    }
}
