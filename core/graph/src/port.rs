//! Ports: the inputs and outputs of a graph, with name, element type and axes.

use std::fmt;

use onnx_protobuf::{
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension,
    tensor_shape_proto::dimension, type_proto,
};

use crate::{DType, Error, Result};

/// The length of one axis of a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A fixed length.
    Fixed(usize),
    /// A free length; axes of the same name have the same length within one run.
    Named(String),
    /// A free length that is not related to any other.
    Unknown,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// The name, unique among the graph's ports.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The axes; `None` if their number is unknown.
    pub dims: Option<Vec<Dim>>,
}

impl Dim {
    /// Returns a free axis with a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }

    /// Returns the length of a fixed axis; `None` for a free one.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(length) => Some(*length),
            Self::Named(_) | Self::Unknown => None,
        }
    }
}

impl From<usize> for Dim {
    fn from(length: usize) -> Self {
        Self::Fixed(length)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{length}"),
            Self::Named(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}

impl Port {
    /// Returns a port with known rank.
    pub fn new(name: impl Into<String>, dtype: DType, dims: &[Dim]) -> Self {
        Self { name: name.into(), dtype, dims: Some(dims.to_vec()) }
    }

    /// Returns the length of an axis (a negative index counts from the end); `None` if it is free or unknown.
    pub fn fixed(&self, axis: isize) -> Option<usize> {
        let dims = self.dims.as_ref()?;
        let at = if axis < 0 { dims.len().checked_sub(axis.unsigned_abs())? } else { axis.unsigned_abs() };
        dims.get(at)?.fixed()
    }

    /// Returns the type as text without the name: `f32[N,3,224,224]`, or `f32[..]` if the rank is unknown.
    pub fn type_text(&self) -> String {
        type_text(self.dtype, self.dims.as_deref())
    }

    pub(crate) fn from_proto(value: &ValueInfoProto) -> Result<Self> {
        let Some(type_proto::Value::TensorType(tensor)) = &value.type_.value else {
            return Err(Error::Unsupported(format!(
                "port `{}` is not a tensor (but a sequence, map, optional or untyped value)",
                value.name
            )));
        };
        let dtype = DType::of_port(tensor.elem_type).ok_or_else(|| {
            Error::Unsupported(format!(
                "port `{}` has ONNX element type {}; expected numbers of eight bits or more, booleans or \
                 text",
                value.name, tensor.elem_type
            ))
        })?;
        let dims = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dim_from_proto).collect());
        Ok(Self { name: value.name.clone(), dtype, dims })
    }

    pub(crate) fn to_proto(&self) -> ValueInfoProto {
        let shape = self.dims.as_ref().map(|dims| TensorShapeProto {
            dim: dims.iter().map(dim_to_proto).collect(),
            ..Default::default()
        });
        let tensor =
            type_proto::Tensor { elem_type: self.dtype.onnx(), shape: shape.into(), ..Default::default() };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: self.name.clone(), type_: Some(kind).into(), ..Default::default() }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.type_text())
    }
}

pub(crate) fn type_text(dtype: DType, dims: Option<&[Dim]>) -> String {
    let inside = dims.map_or_else(
        || "..".to_owned(),
        |dims| dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(","),
    );
    format!("{dtype}[{inside}]")
}

fn dim_from_proto(dim: &Dimension) -> Dim {
    match &dim.value {
        Some(dimension::Value::DimValue(length)) => usize::try_from(*length).map_or(Dim::Unknown, Dim::Fixed),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dim::Named(name.clone()),
        _ => Dim::Unknown,
    }
}

pub(crate) fn dim_to_proto(dim: &Dim) -> Dimension {
    let value = match dim {
        Dim::Fixed(length) => Some(dimension::Value::DimValue(i64::try_from(*length).unwrap_or(i64::MAX))),
        Dim::Named(name) => Some(dimension::Value::DimParam(name.clone())),
        Dim::Unknown => None,
    };
    Dimension { value, ..Default::default() }
}
