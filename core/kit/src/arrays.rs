//! Conversions between arrays and tensors, and from types of the closed forms to those of plugins.

use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::ndarray::{Array2, ArrayView2};
use chiasm_plugin::{Error, InverseKind, Result, Services};

/// A matrix as a tensor.
///
/// # Errors
/// Never, for a matrix that fits in memory.
pub fn tensor(rows: ArrayView2<'_, f32>) -> Result<Tensor> {
    Ok(Tensor::f32(&[rows.nrows(), rows.ncols()], rows.iter().copied().collect())?)
}

/// A tensor of two axes as a matrix.
///
/// # Errors
/// When it has another rank or type.
pub fn matrix(tensor: Tensor) -> Result<Array2<f32>> {
    let &[rows, columns] = tensor.shape() else {
        return Err(Error::other(format!("expected a matrix, got shape {:?}", tensor.shape())));
    };
    Ok(Array2::from_shape_vec((rows, columns), tensor.into_f32()?)?)
}

/// Runs rows through a graph with one input and one output, in the host's engine.
///
/// # Errors
/// When the host has no engine, or the engine refuses.
pub fn apply(services: &Services<'_>, graph: &Graph, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let input = graph.inputs().first().map(|port| port.name.clone()).unwrap_or_default();
    let mut outputs = services.run(graph, &[(&input, &tensor(rows)?)])?;
    match outputs.pop() {
        Some((_, output)) if outputs.is_empty() => matrix(output),
        _ => Err(Error::other(format!("the graph \"{}\" should have one output", graph.name()))),
    }
}

/// Converts a closed form's error to a plugin's. An error that the user can correct becomes an invalid input.
pub fn plugin_error(error: chiasm_closed_form::Error) -> Error {
    use chiasm_closed_form::Error as Closed;
    match error {
        Closed::Cancelled => Error::cancelled(),
        error @ (Closed::Graph(_) | Closed::Linfa(_)) => Error::from(error),
        error => Error::invalid(error.to_string()),
    }
}

/// Converts the kind of a closed form's inverse to a plugin's.
pub fn inverse_kind(kind: chiasm_closed_form::MapInverseKind) -> InverseKind {
    use chiasm_closed_form::MapInverseKind as Kind;
    match kind {
        Kind::TwoSided => InverseKind::TwoSided,
        Kind::Left => InverseKind::Left,
        Kind::Right => InverseKind::Right,
    }
}
