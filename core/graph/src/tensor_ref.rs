//! Borrowed dense tensors, so that large data is passed to the engine without a copy.

use crate::{DType, Error, Result, Tensor, tensor::elements};

/// A borrowed dense tensor in row-major order; its shape is borrowed too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorRef<'a> {
    dtype: DType,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// Borrows elements as little-endian bytes.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the number of bytes does not match the shape, or the bytes are not aligned for
    /// the element type.
    pub fn new(dtype: DType, shape: &'a [usize], bytes: &'a [u8]) -> Result<Self> {
        let expected = elements(shape).and_then(|count| count.checked_mul(dtype.size()));
        if expected != Some(bytes.len()) {
            return Err(Error::Tensor(format!(
                "of type {dtype} and shape {shape:?} has {} bytes, got {}",
                expected.map_or_else(|| "more than memory has".to_owned(), |bytes| bytes.to_string()),
                bytes.len()
            )));
        }
        if !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(dtype.size()) {
            return Err(Error::Tensor(format!(
                "of type {dtype} must start at a multiple of {} bytes",
                dtype.size()
            )));
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// Borrows 32-bit floats.
    ///
    /// # Errors
    /// [`Error::Tensor`] if their number does not match the shape.
    pub fn f32(shape: &'a [usize], values: &'a [f32]) -> Result<Self> {
        Self::new(DType::F32, shape, bytemuck::cast_slice(values))
    }

    /// Borrows 64-bit integers.
    ///
    /// # Errors
    /// [`Error::Tensor`] if their number does not match the shape.
    pub fn i64(shape: &'a [usize], values: &'a [i64]) -> Result<Self> {
        Self::new(DType::I64, shape, bytemuck::cast_slice(values))
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the lengths of the axes.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Returns the elements as little-endian bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns a copy that owns its elements.
    ///
    /// # Errors
    /// As [`Tensor::from_bytes`]; not for elements that passed [`TensorRef::new`].
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
    fn a_borrowed_tensor_shares_memory_with_the_tensor() {
        let tensor = Tensor::f32(&[2, 3], vec![1., 2., 3., 4., 5., 6.]).unwrap();
        let view = TensorRef::from(&tensor);
        assert_eq!(view.bytes().as_ptr(), tensor.bytes().as_ptr(), "nothing is copied");
        assert_eq!(view.to_tensor().unwrap(), tensor);
        assert_eq!(TensorRef::new(DType::F32, &[2, 3], tensor.bytes()).unwrap(), view);
    }

    #[test]
    fn bytes_that_do_not_match_the_shape_or_alignment_are_an_error() {
        let tensor = Tensor::f32(&[4], vec![0.0; 4]).unwrap();
        let refused =
            |shape: &[usize], bytes| TensorRef::new(DType::F32, shape, bytes).unwrap_err().to_string();
        assert!(refused(&[3], tensor.bytes()).contains("has 12 bytes, got 16"));
        assert!(refused(&[usize::MAX, 2], tensor.bytes()).contains("more than memory"));
        assert!(refused(&[3], &tensor.bytes()[2..14]).contains("multiple of 4"));
    }
}
