//! Arrays that a plugin borrows for one call.

use chiasm_abi::{Element, NamedTensor, TensorView};
use chiasm_graph::Tensor;
use chiasm_plugin::export::tensor;

use crate::SharedValues;
use crate::calls::ArrayFile;

/// A borrowed dense array. It is passed to a plugin in this process without a copy, and if it borrows
/// [`SharedValues`], also to one in a process of its own.
pub struct BorrowedArray<'a> {
    shape: Vec<i64>,
    source: Source<'a>,
}

enum Source<'a> {
    F32(&'a [f32]),
    I64(&'a [i64]),
    Shared(&'a SharedValues),
    Tensor(&'a Tensor),
}

impl<'a> BorrowedArray<'a> {
    /// Returns an array of `f32` in row-major order. The call fails if the shape does not fit the slice.
    pub fn f32(shape: &[usize], values: &'a [f32]) -> Self {
        Self { shape: signed(shape), source: Source::F32(values) }
    }

    /// Returns an array of `i64` in row-major order. The call fails if the shape does not fit the slice.
    pub fn i64(shape: &[usize], values: &'a [i64]) -> Self {
        Self { shape: signed(shape), source: Source::I64(values) }
    }

    /// Returns an array of `f32` in row-major order. The call fails if the shape does not fit the number of
    /// values.
    pub fn shared(shape: &[usize], values: &'a SharedValues) -> Self {
        Self { shape: signed(shape), source: Source::Shared(values) }
    }

    /// Returns the file with the bytes of the array, if it has one.
    pub(crate) fn file(&self) -> Option<ArrayFile<'a>> {
        match self.source {
            Source::Shared(values) => values.file(),
            Source::F32(_) | Source::I64(_) | Source::Tensor(_) => None,
        }
    }

    /// Returns the length of an axis.
    pub(crate) fn axis(&self, axis: usize) -> Option<usize> {
        self.shape.get(axis).and_then(|length| usize::try_from(*length).ok())
    }

    pub(crate) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(crate) fn shape(&self) -> &[i64] {
        &self.shape
    }

    pub(crate) fn named<'b>(&'b self, name: &'b str) -> NamedTensor<'b> {
        let tensor = match self.source {
            Source::F32(values) => dense(values, &self.shape),
            Source::I64(values) => dense(values, &self.shape),
            Source::Shared(values) => dense(values.as_slice(), &self.shape),
            Source::Tensor(tensor) => tensor::view(tensor.into(), &self.shape),
        };
        NamedTensor { name: name.into(), tensor }
    }
}

impl<'a> From<&'a Tensor> for BorrowedArray<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self { shape: signed(tensor.shape()), source: Source::Tensor(tensor) }
    }
}

fn dense<'b, T: Element>(values: &'b [T], shape: &'b [i64]) -> TensorView<'b> {
    TensorView::dense(values, shape)
}

/// Converts a shape to the ABI's integers. No slice is longer than `i64::MAX`, so a longer axis is refused
/// when the view is read.
fn signed(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect()
}
