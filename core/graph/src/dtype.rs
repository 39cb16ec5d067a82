//! The element types of ports and tensors, and their numbers in the ONNX format.

use std::fmt;

/// The type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 16-bit IEEE float.
    F16,
    /// 16-bit brain float.
    BF16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
    /// Text. Only ports have this type: there are no tensors of it.
    Str,
}

/// Type, name, bytes per element, number in `TensorProto.DataType`.
const TABLE: [(DType, &str, usize, i32); 14] = [
    (DType::F32, "f32", 4, 1),
    (DType::F64, "f64", 8, 11),
    (DType::F16, "f16", 2, 10),
    (DType::BF16, "bf16", 2, 16),
    (DType::I64, "i64", 8, 7),
    (DType::I32, "i32", 4, 6),
    (DType::I16, "i16", 2, 5),
    (DType::I8, "i8", 1, 3),
    (DType::U64, "u64", 8, 13),
    (DType::U32, "u32", 4, 12),
    (DType::U16, "u16", 2, 4),
    (DType::U8, "u8", 1, 2),
    (DType::Bool, "bool", 1, 9),
    (DType::Str, "str", 1, 8),
];

impl DType {
    /// Returns whether the elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }

    /// Returns the short name: "f32", "i64", "bool".
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Returns the number of bytes per element; 1 for text, whose elements have no fixed size.
    pub fn size(self) -> usize {
        self.row().2
    }

    /// Returns the type with this short name; `None` for an unknown name.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Returns the number of the type in the ONNX format (`TensorProto.DataType`).
    pub fn onnx(self) -> i32 {
        self.row().3
    }

    /// Returns the type of a tensor with this ONNX number; `None` for strings, complex numbers and types
    /// below eight bits.
    pub fn from_onnx(number: i32) -> Option<Self> {
        Self::of_port(number).filter(|dtype| *dtype != Self::Str)
    }

    /// Returns the type of a port, which can also be text.
    pub(crate) fn of_port(number: i32) -> Option<Self> {
        TABLE.iter().find(|row| row.3 == number).map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, usize, i32) {
        // The table is in the order of the variants; a test checks it.
        &TABLE[self as usize]
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_own_row() {
        for (dtype, name, _, number) in TABLE {
            assert_eq!(dtype.as_str(), name);
            assert_eq!(DType::of_port(number), Some(dtype));
            assert_eq!(DType::from_onnx(number), Some(dtype).filter(|own| *own != DType::Str));
            assert_eq!(DType::parse(name), Some(dtype));
        }
    }
}
