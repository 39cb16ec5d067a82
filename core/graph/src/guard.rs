//! A look at raw protobuf bytes before they are parsed: cheap, iterative, and never deeper than a small
//! stack.
//!
//! Why: the parser (protobuf 3.4.0, RUSTSEC-2024-0437) recurses without a limit into groups that it does not
//! know, so a small hostile file could abort the process. The guard walks field headers with its own stack.
//! It knows which fields of ONNX are messages and looks into those; every other length-prefixed field (names,
//! weights, unknown fields) is stepped over in one move, as the parser does, so that a weight costs one step
//! whatever its size.
//!
//! It refuses: messages nested deeper than [`DEPTH`], groups of any kind (ONNX has none), field lengths that
//! pass the end of their message (a file that was cut off), and wire types that do not exist.

use crate::{Error, Result};

/// Deepest nesting of messages that is parsed: protobuf's own limit in every language. A model's plain graph
/// is 2 deep, each nested subgraph (`If`, `Loop`, `Scan`) adds 3, so about thirty levels of control flow fit.
pub(crate) const DEPTH: usize = 100;

/// The messages of ONNX, as far as nesting goes; `Leaf` stands for every message that holds no other.
#[derive(Clone, Copy)]
enum Kind {
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

/// Checks the bytes of a `ModelProto`; an error says at which byte what was wrong.
pub(crate) fn check(bytes: &[u8]) -> Result<()> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut open = vec![(Kind::Model, bytes.len())];
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
        match wire {
            0 => {
                cursor.varint(end)?;
            }
            1 => cursor.skip(8, end)?,
            5 => cursor.skip(4, end)?,
            2 => {
                let length = cursor.varint(end)?;
                let inner = cursor.end_of(length, end)?;
                match child(kind, field) {
                    Some(_) if open.len() >= DEPTH => {
                        let reason = format!("messages are nested deeper than {DEPTH}, the limit");
                        return Err(wrong(start, reason));
                    }
                    Some(message) => open.push((message, inner)),
                    None => cursor.at = inner,
                }
            }
            3 | 4 => return Err(wrong(start, "it holds a protobuf group, which ONNX never does".to_owned())),
            _ => return Err(wrong(start, format!("wire type {wire} does not exist"))),
        }
    }
    Ok(())
}

/// Which message a field holds, `None` for text, numbers, bytes and unknown fields (numbers as in
/// onnx.proto).
fn child(kind: Kind, field: u64) -> Option<Kind> {
    Some(match (kind, field) {
        (Kind::Model, 7) | (Kind::Training, 1 | 2) | (Kind::Attribute, 6 | 11) => Kind::Graph,
        (Kind::Model, 20) => Kind::Training,
        (Kind::Model, 25) => Kind::Function,
        (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
        (Kind::Node, 5) | (Kind::Function, 11) => Kind::Attribute,
        (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::Sparse, 1 | 2) => Kind::Tensor,
        (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Kind::Sparse,
        (Kind::Graph, 11..=13) | (Kind::Function, 12) => Kind::ValueInfo,
        (Kind::Graph, 14) => Kind::Annotation,
        (Kind::Attribute, 14 | 15) | (Kind::ValueInfo, 2) | (Kind::Wrapper, 1) | (Kind::Map, 2) => Kind::Type,
        (Kind::Type, 1 | 8) => Kind::TensorType,
        (Kind::Type, 4 | 9) => Kind::Wrapper,
        (Kind::Type, 5) => Kind::Map,
        (Kind::TensorType, 2) => Kind::Shape,
        (Kind::Model, 8 | 14)
        | (Kind::Training, 3 | 4)
        | (Kind::Function, 9 | 14)
        | (Kind::Graph, 16)
        | (Kind::Node, 9)
        | (Kind::ValueInfo, 4)
        | (Kind::Annotation, 2)
        | (Kind::Tensor, 3 | 13 | 16)
        | (Kind::Shape, 1) => Kind::Leaf,
        _ => return None,
    })
}

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
                return Err(wrong(start, "a number is cut off: the file is truncated or damaged".to_owned()));
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

    fn skip(&mut self, length: u64, end: usize) -> Result<()> {
        self.at = self.end_of(length, end)?;
        Ok(())
    }

    /// Where `length` bytes from here end, which must not pass `end`.
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
