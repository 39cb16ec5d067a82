//! Converts tensors to the engine's values and back. Inputs are read in place or copied into the engine's
//! memory; outputs are copied once.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};

use chiasm_graph::{DType, Tensor, TensorData, TensorRef};
use ort::AsPointer as _;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::SessionInputValue;
use ort::value::{DynTensor, TensorElementType, TensorValueTypeMarker, Value};

/// Returns a view of a tensor as an input of a run.
pub(crate) fn input_view(tensor: &Tensor) -> Result<SessionInputValue<'_>, ort::Error> {
    let shape = tensor.shape();
    macro_rules! view {
        ($values:expr) => {
            Ok(ort::value::TensorRef::from_array_view((shape, $values.as_slice()))?.into())
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

/// Returns a value over a tensor's memory for [`ort::session::IoBinding`], which copies `ort`'s own borrowed
/// values.
///
/// # Safety
/// The value, and whatever it was bound to, must be dropped or unbound before the memory of `tensor` is freed
/// or written.
#[expect(unsafe_code, reason = "the engine's C interface takes an address")]
pub(crate) unsafe fn bound_view(tensor: TensorRef<'_>) -> Result<DynTensor, ort::Error> {
    let shape: Vec<i64> = tensor.shape().iter().map(|d| i64::try_from(*d).unwrap_or(i64::MAX)).collect();
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
    let data = tensor.bytes().as_ptr().cast_mut().cast::<c_void>();
    let (kind, mut value) = (element_type(tensor.dtype())?.into(), null_mut());
    // SAFETY: `TensorRef` guarantees that the bytes match the shape and are aligned; an input is never
    // written; `value` receives the new value, and `result_from_status` takes ownership of the status.
    unsafe {
        let create = ort::api().CreateTensorWithDataAsOrtValue;
        let (length, rank) = (tensor.bytes().len(), shape.len());
        let status = create(memory.ptr(), data, length, shape.as_ptr(), rank, kind, &mut value);
        ort::Error::result_from_status(status)?;
    }
    let value = NonNull::new(value).ok_or_else(|| ort::Error::new("the engine made no value"))?;
    // SAFETY: `value` was made above and has no other owner; it frees no memory, so any allocator will do.
    Ok(unsafe { Value::from_ptr(value, Some(&Allocator::default())) })
}

/// Copies a tensor into the engine's own memory on the processor.
pub(crate) fn owned_value(tensor: Tensor) -> Result<DynTensor, ort::Error> {
    let shape = tensor.shape().to_vec();
    macro_rules! owned {
        ($values:expr) => {
            Ok(ort::value::Tensor::from_array((shape, $values))?.upcast())
        };
    }
    match tensor.into_data() {
        TensorData::F32(v) => owned!(v),
        TensorData::F64(v) => owned!(v),
        TensorData::F16(v) => owned!(v),
        TensorData::I64(v) => owned!(v),
        TensorData::I32(v) => owned!(v),
        other => Err(ort::Error::new(format!("tensors of {} cannot be a state", other.dtype()))),
    }
}

/// Returns the engine's element type.
pub(crate) fn element_type(dtype: DType) -> Result<TensorElementType, ort::Error> {
    Ok(match dtype {
        DType::F32 => TensorElementType::Float32,
        DType::F64 => TensorElementType::Float64,
        DType::F16 => TensorElementType::Float16,
        DType::BF16 => TensorElementType::Bfloat16,
        DType::I64 => TensorElementType::Int64,
        DType::I32 => TensorElementType::Int32,
        DType::I16 => TensorElementType::Int16,
        DType::I8 => TensorElementType::Int8,
        DType::U64 => TensorElementType::Uint64,
        DType::U32 => TensorElementType::Uint32,
        DType::U16 => TensorElementType::Uint16,
        DType::U8 => TensorElementType::Uint8,
        DType::Bool => TensorElementType::Bool,
        other => return Err(ort::Error::new(format!("tensors of {other} cannot be given to the engine"))),
    })
}

/// Copies an engine's value into a tensor. It must have the element type that the port declares.
pub(crate) fn copy_out<T: TensorValueTypeMarker + ?Sized>(
    value: &Value<T>,
    dtype: DType,
) -> Result<Tensor, String> {
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
        DType::Bool => copy_truth(value),
        other => Err(format!("of {other} cannot be read")),
    }
}

/// Copies truth values. They are read as bytes: the engine hands out whatever an operator wrote, and a byte
/// other than 0 and 1 is no `bool` of Rust.
fn copy_truth<T: TensorValueTypeMarker + ?Sized>(value: &Value<T>) -> Result<Tensor, String> {
    let (shape, values) = value.try_extract_tensor::<bool>().map_err(|e| e.to_string())?;
    let shape: Vec<usize> = shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
    // SAFETY: a `bool` is one byte, and every byte is a valid `u8`; no element is read as a `bool`.
    #[expect(unsafe_code, reason = "see above")]
    let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), values.len()) };
    Tensor::from_bytes(DType::Bool, &shape, bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ONNX Runtime's own `Cast` to a boolean writes 0 and 1; a plain copy of memory may hold any byte.
    #[test]
    fn every_byte_but_zero_is_true() {
        if crate::Engine::open(&crate::EngineSearch::from_environment(None)).is_err() {
            return chiasm_testing::skip(chiasm_testing::Requirement::Engine, "no engine was found");
        }
        let mut value = ort::value::Tensor::from_array(([4_usize], vec![false; 4])).unwrap();
        // SAFETY: the tensor has four bytes.
        #[expect(unsafe_code, reason = "see above")]
        unsafe {
            value.data_ptr_mut().cast::<[u8; 4]>().write([0, 1, 2, 255]);
        }
        let copied = copy_out(&value, DType::Bool).unwrap();
        assert_eq!(copied.as_bool().unwrap(), [false, true, true, true]);
        assert_eq!(copied.bytes(), [0, 1, 1, 1]);
    }
}
