//! Dense row-major tensors: the values that graphs hold as weights and that sessions take and give.
//!
//! The elements are typed (`TensorData`), so that reading them needs no cast; their bytes are a view, not a
//! copy. Strings, complex numbers and types below eight bits are refused: no port may carry them.

use half::{bf16, f16};

use crate::{DType, Error, Result};

#[cfg(target_endian = "big")]
compile_error!("ONNX stores little-endian bytes and tensors are viewed as bytes in place");

/// A dense tensor in row-major order; an empty shape is a scalar.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

/// The elements of a tensor.
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

/// Runs one expression for whichever vector the data holds.
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

/// Constructor, borrowing view and owning view of one element type.
macro_rules! typed {
    ($($make:ident $view:ident $take:ident $variant:ident $kind:ty;)*) => {
        impl Tensor {
            $(
                #[doc = concat!(
                    "A tensor of `",
                    stringify!($kind),
                    "`; an error when the shape does not hold `data.len()` elements."
                )]
                pub fn $make(shape: &[usize], data: Vec<$kind>) -> Result<Self> {
                    Self::new(shape, TensorData::$variant(data))
                }

                #[doc = concat!("The elements, `None` when they are not `", stringify!($kind), "`.")]
                pub fn $view(&self) -> Option<&[$kind]> {
                    match &self.data {
                        TensorData::$variant(values) => Some(values),
                        _ => None,
                    }
                }

                #[doc = concat!(
                    "The elements without a copy; an error when they are not `",
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
    /// A tensor of any element type; an error when the shape does not hold as many elements as there are.
    pub fn new(shape: &[usize], data: impl Into<TensorData>) -> Result<Self> {
        let data = data.into();
        match elements(shape) {
            Some(count) if count == data.len() => Ok(Self { shape: shape.to_vec(), data }),
            Some(count) => {
                Err(Error::Tensor(format!("of shape {shape:?} holds {count} elements, got {}", data.len())))
            }
            None => Err(Error::Tensor(format!("of shape {shape:?} is larger than memory"))),
        }
    }

    /// A tensor from little-endian bytes, as ONNX and NumPy store them.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        if !bytes.len().is_multiple_of(dtype.size()) {
            return Err(Error::Tensor(format!(
                "of {dtype} takes {} bytes an element, got {} bytes",
                dtype.size(),
                bytes.len()
            )));
        }
        Self::new(shape, TensorData::from_bytes(dtype, bytes))
    }

    /// A scalar (shape `[]`).
    pub fn scalar(value: f32) -> Self {
        Self { shape: Vec::new(), data: TensorData::F32(vec![value]) }
    }

    /// All zeros (`false` for booleans).
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let bytes = elements(shape).and_then(|count| count.checked_mul(dtype.size()));
        let bytes =
            bytes.ok_or_else(|| Error::Tensor(format!("of shape {shape:?} is larger than memory")))?;
        Self::from_bytes(dtype, shape, &vec![0; bytes])
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The typed elements.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The typed elements, without a copy.
    pub fn into_data(self) -> TensorData {
        self.data
    }

    /// The elements as little-endian bytes, without a copy.
    pub fn bytes(&self) -> &[u8] {
        each!(&self.data, values => bytemuck::cast_slice(values))
    }

    /// The same elements under another shape; an error when it does not hold as many.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self> {
        Self::new(shape, self.data)
    }
}

impl TensorData {
    /// Element type.
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

    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some floating-point element is not a number.
    pub fn has_nan(&self) -> bool {
        match self {
            Self::F32(values) => values.iter().any(|value| value.is_nan()),
            Self::F64(values) => values.iter().any(|value| value.is_nan()),
            Self::F16(values) => values.iter().any(|value| value.is_nan()),
            Self::BF16(values) => values.iter().any(|value| value.is_nan()),
            _ => false,
        }
    }

    /// Typed elements from bytes whose number is a multiple of the element's size.
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
        }
    }
}

/// How many elements a shape holds; `None` when the number overflows.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))
}
