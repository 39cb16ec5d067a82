//! Dense tensors: the weights of graphs, and the inputs and outputs of sessions.

use half::{bf16, f16};

use crate::{DType, Error, Result};

#[cfg(target_endian = "big")]
compile_error!("ONNX stores little-endian bytes and tensors are viewed as bytes in place");

/// A dense tensor in row-major order; an empty shape is a scalar.
///
/// ```
/// use chiasm_graph::{DType, Tensor};
///
/// let tensor = Tensor::f32(&[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])?;
/// assert_eq!((tensor.dtype(), tensor.shape(), tensor.len()), (DType::F32, &[2, 3][..], 6));
/// assert_eq!(tensor.as_f32(), Some(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0][..]));
/// assert!(Tensor::f32(&[2, 3], vec![0.0; 5]).is_err());
/// # Ok::<(), chiasm_graph::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

/// The typed elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 16-bit IEEE floats.
    F16(Vec<f16>),
    /// 16-bit brain floats.
    BF16(Vec<bf16>),
    /// Signed 64-bit integers.
    I64(Vec<i64>),
    /// Signed 32-bit integers.
    I32(Vec<i32>),
    /// Signed 16-bit integers.
    I16(Vec<i16>),
    /// Signed 8-bit integers.
    I8(Vec<i8>),
    /// Unsigned 64-bit integers.
    U64(Vec<u64>),
    /// Unsigned 32-bit integers.
    U32(Vec<u32>),
    /// Unsigned 16-bit integers.
    U16(Vec<u16>),
    /// Unsigned 8-bit integers.
    U8(Vec<u8>),
    /// Booleans.
    Bool(Vec<bool>),
}

/// Evaluates an expression for the vector of elements, whatever its type.
macro_rules! each {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            TensorData::F32($values) => $body,
            TensorData::F64($values) => $body,
            TensorData::F16($values) => $body,
            TensorData::BF16($values) => $body,
            TensorData::I64($values) => $body,
            TensorData::I32($values) => $body,
            TensorData::I16($values) => $body,
            TensorData::I8($values) => $body,
            TensorData::U64($values) => $body,
            TensorData::U32($values) => $body,
            TensorData::U16($values) => $body,
            TensorData::U8($values) => $body,
            TensorData::Bool($values) => $body,
        }
    };
}

/// Defines the constructor, the borrowing view and the conversion for each element type.
macro_rules! typed {
    ($($make:ident $view:ident $take:ident $variant:ident $kind:ty;)*) => {
        impl Tensor {
            $(
                #[doc = concat!(
                    "A tensor of `",
                    stringify!($kind),
                    "`.\n\n# Errors\n[`Error::Tensor`] if the shape does not have `data.len()` elements."
                )]
                pub fn $make(shape: &[usize], data: Vec<$kind>) -> Result<Self> {
                    Self::new(shape, TensorData::$variant(data))
                }

                #[doc = concat!("Returns the elements; `None` if they are not `", stringify!($kind), "`.")]
                pub fn $view(&self) -> Option<&[$kind]> {
                    match &self.data {
                        TensorData::$variant(values) => Some(values),
                        _ => None,
                    }
                }

                #[doc = concat!(
                    "Returns the elements without a copy.\n\n# Errors\n[`Error::Tensor`] if they are not `",
                    stringify!($kind),
                    "`."
                )]
                pub fn $take(self) -> Result<Vec<$kind>> {
                    match self.data {
                        TensorData::$variant(values) => Ok(values),
                        other => Err(Error::Tensor(format!(
                            "holds {}, expected {}", other.dtype(), DType::$variant
                        ))),
                    }
                }
            )*
        }

        $(
            impl From<Vec<$kind>> for TensorData {
                fn from(values: Vec<$kind>) -> Self {
                    Self::$variant(values)
                }
            }
        )*
    };
}

typed! {
    f32 as_f32 into_f32 F32 f32;
    f64 as_f64 into_f64 F64 f64;
    f16 as_f16 into_f16 F16 f16;
    i64 as_i64 into_i64 I64 i64;
    i32 as_i32 into_i32 I32 i32;
    u8 as_u8 into_u8 U8 u8;
    bool as_bool into_bool Bool bool;
}

impl Tensor {
    /// Returns a tensor of any element type.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the number of elements does not match the shape.
    pub fn new(shape: &[usize], data: impl Into<TensorData>) -> Result<Self> {
        let data = data.into();
        match elements(shape) {
            Some(count) if count == data.len() => Ok(Self { shape: shape.to_vec(), data }),
            Some(count) => {
                Err(Error::Tensor(format!("of shape {shape:?} has {count} elements, got {}", data.len())))
            }
            None => Err(Error::Tensor(format!("of shape {shape:?} is larger than memory"))),
        }
    }

    /// Returns a tensor from little-endian bytes, as ONNX and NumPy store them.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the number of bytes does not match the shape.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        if dtype == DType::Str {
            return Err(Error::Tensor(format!("of type {dtype} does not exist")));
        }
        if !bytes.len().is_multiple_of(dtype.size()) {
            return Err(Error::Tensor(format!(
                "of type {dtype} has {} bytes per element, got {} bytes in total",
                dtype.size(),
                bytes.len()
            )));
        }
        Self::new(shape, TensorData::from_bytes(dtype, bytes))
    }

    /// Returns a scalar (shape `[]`).
    pub fn scalar(value: f32) -> Self {
        Self { shape: Vec::new(), data: TensorData::F32(vec![value]) }
    }

    /// Returns zeros (`false` for booleans).
    ///
    /// # Errors
    /// [`Error::Tensor`] if the shape is larger than memory.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let bytes = elements(shape).and_then(|count| count.checked_mul(dtype.size()));
        let bytes =
            bytes.ok_or_else(|| Error::Tensor(format!("of shape {shape:?} is larger than memory")))?;
        Self::from_bytes(dtype, shape, &vec![0; bytes])
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Returns the lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the typed elements.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Returns the typed elements without a copy.
    pub fn into_data(self) -> TensorData {
        self.data
    }

    /// Returns the elements as little-endian bytes, without a copy.
    pub fn bytes(&self) -> &[u8] {
        each!(&self.data, values => bytemuck::cast_slice(values))
    }

    /// Returns the same elements in another shape.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the number of elements does not match the shape.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self> {
        Self::new(shape, self.data)
    }
}

impl TensorData {
    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::I64(_) => DType::I64,
            Self::I32(_) => DType::I32,
            Self::I16(_) => DType::I16,
            Self::I8(_) => DType::I8,
            Self::U64(_) => DType::U64,
            Self::U32(_) => DType::U32,
            Self::U16(_) => DType::U16,
            Self::U8(_) => DType::U8,
            Self::Bool(_) => DType::Bool,
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether any element is NaN.
    pub fn has_nan(&self) -> bool {
        match self {
            Self::F32(values) => values.iter().any(|value| value.is_nan()),
            Self::F64(values) => values.iter().any(|value| value.is_nan()),
            Self::F16(values) => values.iter().any(|value| value.is_nan()),
            Self::BF16(values) => values.iter().any(|value| value.is_nan()),
            _ => false,
        }
    }

    /// Typed elements from bytes; the number of bytes is a multiple of the element size.
    fn from_bytes(dtype: DType, bytes: &[u8]) -> Self {
        use bytemuck::pod_collect_to_vec as collect;
        match dtype {
            DType::F32 => Self::F32(collect(bytes)),
            DType::F64 => Self::F64(collect(bytes)),
            DType::F16 => Self::F16(collect(bytes)),
            DType::BF16 => Self::BF16(collect(bytes)),
            DType::I64 => Self::I64(collect(bytes)),
            DType::I32 => Self::I32(collect(bytes)),
            DType::I16 => Self::I16(collect(bytes)),
            DType::I8 => Self::I8(collect(bytes)),
            DType::U64 => Self::U64(collect(bytes)),
            DType::U32 => Self::U32(collect(bytes)),
            DType::U16 => Self::U16(collect(bytes)),
            DType::U8 => Self::U8(bytes.to_vec()),
            DType::Bool => Self::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
            // No caller has bytes of text.
            DType::Str => Self::U8(bytes.to_vec()),
        }
    }
}

/// The number of elements of a shape; `None` if it overflows.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))
}
