//! Dense tensors in someone else's memory, so that large data is lent and never copied on the way to the
//! engine.
//!
//! Refused: bytes whose number does not fit the shape, and bytes that are not aligned for their element type.

use crate::{DType, Error, Result, Tensor, tensor::elements};

/// A dense row-major tensor that is borrowed, its shape too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorRef<'a> {
    dtype: DType,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// A view of little-endian elements; an error when there are not as many as the shape holds, or they are
    /// misaligned.
    pub fn new(dtype: DType, shape: &'a [usize], bytes: &'a [u8]) -> Result<Self> {
        let expected = elements(shape).and_then(|count| count.checked_mul(dtype.size()));
        if expected != Some(bytes.len()) {
            return Err(Error::Tensor(format!(
                "of {dtype} and shape {shape:?} takes {} bytes, got {}",
                expected.map_or_else(|| "more than memory has".to_owned(), |bytes| bytes.to_string()),
                bytes.len()
            )));
        }
        if !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(dtype.size()) {
            return Err(Error::Tensor(format!(
                "of {dtype} does not start at a multiple of {} bytes",
                dtype.size()
            )));
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// A view of 32-bit floats; an error when the shape does not hold as many.
    pub fn f32(shape: &'a [usize], values: &'a [f32]) -> Result<Self> {
        Self::new(DType::F32, shape, bytemuck::cast_slice(values))
    }

    /// A view of 64-bit integers; an error when the shape does not hold as many.
    pub fn i64(shape: &'a [usize], values: &'a [i64]) -> Result<Self> {
        Self::new(DType::I64, shape, bytemuck::cast_slice(values))
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// The elements as little-endian bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A copy of one's own.
    pub fn to_tensor(&self) -> Result<Tensor> {
        Tensor::from_bytes(self.dtype, self.shape, self.bytes)
    }
}

impl<'a> From<&'a Tensor> for TensorRef<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self { dtype: tensor.dtype(), shape: tensor.shape(), bytes: tensor.bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_the_tensor_it_was_taken_from() {
        let tensor = Tensor::f32(&[2, 3], vec![1., 2., 3., 4., 5., 6.]).unwrap();
        let view = TensorRef::from(&tensor);
        assert_eq!(view.bytes().as_ptr(), tensor.bytes().as_ptr(), "nothing is copied");
        assert_eq!(view.to_tensor().unwrap(), tensor);
        assert_eq!(TensorRef::new(DType::F32, &[2, 3], tensor.bytes()).unwrap(), view);
    }

    #[test]
    fn views_that_do_not_add_up_are_refused() {
        let tensor = Tensor::f32(&[4], vec![0.0; 4]).unwrap();
        let refused =
            |shape: &[usize], bytes| TensorRef::new(DType::F32, shape, bytes).unwrap_err().to_string();
        assert!(refused(&[3], tensor.bytes()).contains("takes 12 bytes, got 16"));
        assert!(refused(&[usize::MAX, 2], tensor.bytes()).contains("more than memory"));
        assert!(refused(&[3], &tensor.bytes()[2..14]).contains("multiple of 4"));
    }
}
