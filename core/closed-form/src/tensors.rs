//! Arrays of double precision as tensors of single precision.

use chiasm_graph::Tensor;
use ndarray::{Array1, Array2};

use crate::Result;

/// A vector as a tensor.
pub(crate) fn vector(values: &Array1<f64>) -> Result<Tensor> {
    Ok(Tensor::f32(&[values.len()], values.iter().map(|&x| x as f32).collect())?)
}

/// A matrix as a tensor.
pub(crate) fn matrix(values: &Array2<f64>) -> Result<Tensor> {
    let data = values.iter().map(|&x| x as f32).collect();
    Ok(Tensor::f32(&[values.nrows(), values.ncols()], data)?)
}
