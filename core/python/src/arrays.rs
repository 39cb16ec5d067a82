//! NumPy arrays as `ndarray` views, and back. The Python code passes contiguous arrays in row-major order.

use crate::error::of_message;
use chiasm_graph::Tensor;
use chiasm_pipeline::Error;
use chiasm_runtime::Session;
use ndarray::{Array2, ArrayView2};
use numpy::{
    Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Returns a view of a matrix.
///
/// # Errors
/// If it is not contiguous.
pub fn matrix<'a, T: Element>(
    py: Python<'_>,
    array: &'a PyReadonlyArray2<'_, T>,
) -> PyResult<ArrayView2<'a, T>> {
    let values = array.as_slice().map_err(|error| of_message(py, "chiasm::array", error))?;
    ArrayView2::from_shape((array.shape()[0], array.shape()[1]), values)
        .map_err(|error| of_message(py, "chiasm::array", error))
}

/// Returns the values of a vector.
///
/// # Errors
/// If it is not contiguous.
pub fn vector<'a, T: Element>(py: Python<'_>, array: &'a PyReadonlyArray1<'_, T>) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|error| of_message(py, "chiasm::array", error))
}

/// Runs rows `[n, d]` through a session, from `input` to `output` `[n, k]`.
///
/// # Errors
/// If the rows do not fit the graph, or the engine fails.
pub fn mapped(session: &Session, rows: Array2<f32>, input: &str, output: &str) -> Result<Array2<f32>, Error> {
    let internal = |error: String| Error::Internal(error);
    let shape = [rows.nrows(), rows.ncols()];
    let tensor =
        Tensor::f32(&shape, rows.into_raw_vec_and_offset().0).map_err(|e| internal(e.to_string()))?;
    let mut found = session.run_outputs(&[(input, &tensor)], &[output])?;
    let (_, tensor) = found.pop().ok_or_else(|| internal(format!("no output `{output}`")))?;
    let width = tensor.shape().get(1).copied().unwrap_or_default();
    let values = tensor.into_f32().map_err(|e| internal(e.to_string()))?;
    Array2::from_shape_vec((shape[0], width), values).map_err(|e| internal(e.to_string()))
}

/// Gives a matrix to NumPy, without a copy if it is in row-major order.
pub fn to_numpy<T: Element + Copy>(py: Python<'_>, array: Array2<T>) -> PyResult<Bound<'_, PyArray2<T>>> {
    let shape = [array.nrows(), array.ncols()];
    let values = match array.is_standard_layout() {
        true => array.into_raw_vec_and_offset().0,
        false => array.iter().copied().collect(),
    };
    PyArray1::from_vec(py, values).reshape(shape)
}
