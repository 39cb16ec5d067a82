//! Attributes of nodes.

use onnx_protobuf::{AttributeProto, attribute_proto::AttributeType};

use crate::{Tensor, weight};

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// One integer.
    Int(i64),
    /// One 32-bit float.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
    /// 32-bit floats.
    Floats(Vec<f32>),
    /// Text.
    Text(String),
    /// A tensor.
    Tensor(Tensor),
}

impl Attr {
    pub(crate) fn to_proto(&self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto { name: name.to_owned(), ..Default::default() };
        let kind = match self {
            Self::Int(value) => {
                proto.i = *value;
                AttributeType::INT
            }
            Self::Float(value) => {
                proto.f = *value;
                AttributeType::FLOAT
            }
            Self::Ints(values) => {
                proto.ints.clone_from(values);
                AttributeType::INTS
            }
            Self::Floats(values) => {
                proto.floats.clone_from(values);
                AttributeType::FLOATS
            }
            Self::Text(text) => {
                proto.s = text.clone().into_bytes();
                AttributeType::STRING
            }
            Self::Tensor(tensor) => {
                proto.t = Some(weight::to_proto(tensor)).into();
                AttributeType::TENSOR
            }
        };
        proto.type_ = kind.into();
        proto
    }
}

impl From<i64> for Attr {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f32> for Attr {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<&[i64]> for Attr {
    fn from(values: &[i64]) -> Self {
        Self::Ints(values.to_vec())
    }
}

impl From<&str> for Attr {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
