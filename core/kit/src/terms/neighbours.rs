//! The nearest neighbours of a batch's rows, as pieces of a graph without derivatives.

use chiasm_plugin::graph::{Builder, Value};

/// Added to the distance of a row that is no candidate: far larger than any distance.
pub(super) const FAR: f32 = 1e6;

/// The k nearest other rows of each row.
pub(super) struct Nearest {
    /// Their places, `[n, k]`, the nearest first.
    pub places: Value,
    /// Their distances, `[n, k]`.
    pub distances: Value,
}

/// The k nearest rows by `distances [n, n]` among those that `others` marks with 1.
pub(super) fn nearest(b: &mut Builder, distances: &Value, others: &Value, k: usize) -> Nearest {
    let hidden = b.neg(others);
    let hidden = b.add_scalar(&hidden, 1.0);
    let hidden = b.mul_scalar(&hidden, FAR);
    let distances = b.add(distances, &hidden);
    let distances = b.stop_gradient(&distances);
    let closeness = b.neg(&distances);
    let (values, places) = b.top_k(&closeness, k, 1);
    Nearest { places, distances: b.neg(&values) }
}

impl Nearest {
    /// The distance to the last of them, `[n, 1]`.
    pub fn reach(&self, b: &mut Builder) -> Value {
        let axes: &[i64] = &[1];
        let reach = b.op("ReduceMax", &[&self.distances], &[("axes", axes.into()), ("keepdims", 1.into())]);
        b.stop_gradient(&reach)
    }

    /// `[n, n]`: 1 where the column is one of the row's nearest.
    pub fn adjacency(&self, b: &mut Builder, distances: &Value, others: &Value) -> Value {
        let reach = self.reach(b);
        let within = b.op("LessOrEqual", &[distances, &reach], &[]);
        let within = b.cast(&within, chiasm_plugin::graph::DType::F32);
        let within = b.mul(&within, others);
        b.stop_gradient(&within)
    }
}
