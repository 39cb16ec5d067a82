//! A check of protobuf bytes before they are parsed.
//!
//! The parser (protobuf 3.4.0, RUSTSEC-2024-0437) recurses without a limit into unknown groups, so that a
//! small malicious file could abort the process. This check is iterative: it reads field headers with a stack
//! of its own. It descends into the fields of ONNX that are messages and skips every other length-prefixed
//! field (names, weights, unknown fields) in one step, as the parser does.
//!
//! Errors: messages nested deeper than [`DEPTH`], groups of any kind (ONNX has none), field lengths beyond
//! the end of their message (a truncated file), wire types that do not exist, and fields that take more
//! memory than [`Budget::of_messages`] allows: an empty node is two bytes in the file and hundreds in memory.

use onnx_protobuf as onnx;

use crate::{Budget, Error, Result};

/// The maximum nesting of messages, which is also protobuf's limit. The main graph of a model is at depth 2
/// and each nested subgraph (`If`, `Loop`, `Scan`) adds 3, so that about thirty levels of control flow are
/// possible.
pub(crate) const DEPTH: usize = 100;

/// The messages of ONNX that contain messages; `Leaf` stands for all others.
#[derive(Clone, Copy)]
enum MessageKind {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Tensor,
    Sparse,
    Annotation,
    Type,
    TensorType,
    Wrapper,
    Map,
    Shape,
    Leaf,
}

/// The largest number of a field in ONNX.
const LAST_FIELD: u64 = 32;

impl MessageKind {
    /// The size of the parsed message in bytes, without its content.
    fn size(self) -> u64 {
        let size = match self {
            Self::Model => size_of::<onnx::ModelProto>(),
            Self::Training => size_of::<onnx::TrainingInfoProto>(),
            Self::Function => size_of::<onnx::FunctionProto>(),
            Self::Graph => size_of::<onnx::GraphProto>(),
            Self::Node => size_of::<onnx::NodeProto>(),
            Self::Attribute => size_of::<onnx::AttributeProto>(),
            Self::ValueInfo => size_of::<onnx::ValueInfoProto>(),
            Self::Tensor => size_of::<onnx::TensorProto>(),
            Self::Sparse => size_of::<onnx::SparseTensorProto>(),
            Self::Annotation => size_of::<onnx::TensorAnnotation>(),
            Self::Type | Self::TensorType | Self::Wrapper | Self::Map => size_of::<onnx::TypeProto>(),
            Self::Shape => size_of::<onnx::TensorShapeProto>(),
            Self::Leaf => size_of::<onnx::StringStringEntryProto>(),
        };
        size as u64
    }
}

/// How many bytes in memory a byte of a field may become: packed integers of one byte become 4 or 8.
fn widening(kind: MessageKind, field: u64) -> u64 {
    match (kind, field) {
        (MessageKind::Tensor, 5) => 4,
        (MessageKind::Tensor, 1 | 7 | 11) | (MessageKind::Attribute, 8) | (MessageKind::Sparse, 3) => 8,
        _ => 1,
    }
}

/// Checks the bytes of a `ModelProto`; the error gives the position of the first bad byte.
pub(crate) fn check(bytes: &[u8]) -> Result<()> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut budget = Budget::of_messages(bytes.len() as u64);
    let mut open = vec![(MessageKind::Model, bytes.len())];
    while let Some(&(kind, end)) = open.last() {
        if cursor.at == end {
            open.pop();
            continue;
        }
        let start = cursor.at;
        let tag = cursor.varint(end)?;
        let (field, wire) = (tag >> 3, tag & 7);
        if field == 0 || field > 0x1FFF_FFFF {
            return Err(wrong(start, format!("field number {field} does not exist")));
        }
        let mut spend = |bytes: u64| {
            let over =
                |over: crate::budget::OverBudget| wrong(start, format!("the model is too large: {over}"));
            budget.spend(bytes).map_err(over)
        };
        if wire != 2 {
            // A number, in a list that grows by doubling; the parser keeps unknown fields in a table.
            spend(if field > LAST_FIELD { 192 } else { 16 })?;
        }
        match wire {
            0 => {
                cursor.varint(end)?;
            }
            1 => cursor.skip(8, end)?,
            5 => cursor.skip(4, end)?,
            2 => {
                let length = cursor.varint(end)?;
                let inner = cursor.end_of(length, end)?;
                let message = child(kind, field);
                spend(match message {
                    Some(message) => 2 * message.size(),
                    None if field > LAST_FIELD => length.saturating_add(192),
                    None => length.saturating_mul(widening(kind, field)).saturating_add(48),
                })?;
                match message {
                    Some(_) if open.len() >= DEPTH => {
                        let reason = format!("messages are nested deeper than {DEPTH}, the maximum");
                        return Err(wrong(start, reason));
                    }
                    Some(message) => open.push((message, inner)),
                    None => cursor.at = inner,
                }
            }
            3 | 4 => return Err(wrong(start, "found a protobuf group, which ONNX does not use".to_owned())),
            _ => return Err(wrong(start, format!("wire type {wire} does not exist"))),
        }
    }
    Ok(())
}

/// The message that a field contains; `None` for text, numbers, bytes and unknown fields. Field numbers are
/// those of onnx.proto.
fn child(kind: MessageKind, field: u64) -> Option<MessageKind> {
    Some(match (kind, field) {
        (MessageKind::Model, 7) | (MessageKind::Training, 1 | 2) | (MessageKind::Attribute, 6 | 11) => {
            MessageKind::Graph
        }
        (MessageKind::Model, 20) => MessageKind::Training,
        (MessageKind::Model, 25) => MessageKind::Function,
        (MessageKind::Graph, 1) | (MessageKind::Function, 7) => MessageKind::Node,
        (MessageKind::Node, 5) | (MessageKind::Function, 11) => MessageKind::Attribute,
        (MessageKind::Graph, 5) | (MessageKind::Attribute, 5 | 10) | (MessageKind::Sparse, 1 | 2) => {
            MessageKind::Tensor
        }
        (MessageKind::Graph, 15) | (MessageKind::Attribute, 22 | 23) => MessageKind::Sparse,
        (MessageKind::Graph, 11..=13) | (MessageKind::Function, 12) => MessageKind::ValueInfo,
        (MessageKind::Graph, 14) => MessageKind::Annotation,
        (MessageKind::Attribute, 14 | 15)
        | (MessageKind::ValueInfo, 2)
        | (MessageKind::Wrapper, 1)
        | (MessageKind::Map, 2) => MessageKind::Type,
        (MessageKind::Type, 1 | 8) => MessageKind::TensorType,
        (MessageKind::Type, 4 | 9) => MessageKind::Wrapper,
        (MessageKind::Type, 5) => MessageKind::Map,
        (MessageKind::TensorType, 2) => MessageKind::Shape,
        (MessageKind::Model, 8 | 14)
        | (MessageKind::Training, 3 | 4)
        | (MessageKind::Function, 9 | 14)
        | (MessageKind::Graph, 16)
        | (MessageKind::Node, 9)
        | (MessageKind::ValueInfo, 4)
        | (MessageKind::Annotation, 2)
        | (MessageKind::Tensor, 3 | 13 | 16)
        | (MessageKind::Shape, 1) => MessageKind::Leaf,
        _ => return None,
    })
}

/// A position in the bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// The next variable-length number, which must end before `end`.
    fn varint(&mut self, end: usize) -> Result<u64> {
        let start = self.at;
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            if self.at >= end {
                return Err(wrong(
                    start,
                    "a number is incomplete: the file is truncated or damaged".to_owned(),
                ));
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            if shift < 64 {
                value |= u64::from(byte & 0x7F) << shift;
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(wrong(start, "a number is longer than ten bytes".to_owned()))
    }

    /// Skips bytes, which must end before `end`.
    fn skip(&mut self, length: u64, end: usize) -> Result<()> {
        self.at = self.end_of(length, end)?;
        Ok(())
    }

    /// The position `length` bytes ahead, which must not be beyond `end`.
    fn end_of(&self, length: u64, end: usize) -> Result<usize> {
        let left = end - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(self.at + length),
            _ => Err(wrong(
                self.at,
                format!("a field of {length} bytes has only {left} left: the file is truncated or damaged"),
            )),
        }
    }
}

fn wrong(offset: usize, reason: String) -> Error {
    Error::Wire { offset, reason }
}
