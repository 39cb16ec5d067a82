//! Permutes the hidden units of a model to match those of another.

use chiasm_graph::{Graph, HiddenUnits, Tensor};
use chiasm_transport::{SolverLimits, exact, uniform};
use ndarray::Array2;

use crate::models::Models;
use crate::{Error, Result};

/// Largest number of rounds over all layers.
const ROUNDS: usize = 20;
/// Pivots of one assignment.
const PIVOTS: usize = 1_000_000;

/// Returns `model` with its hidden units in the order that matches `reference` best; its function is the
/// same.
///
/// The units of a layer are matched by the squared distance of all weights that make them or read them, an
/// assignment problem: optimal transport between two sets of units of equal mass (Singh and Jaggi 2020,
/// section 4, with a permutation as the plan). What a layer's weights are depends on the order of the units
/// before it, so rounds over the layers are repeated until no order changes (weight matching, Ainsworth et
/// al. 2023, arXiv 2209.04836, algorithm 1).
///
/// # Errors
/// When the architectures differ, or they have no hidden units whose order is free.
pub fn aligned(model: &Graph, reference: &Graph) -> Result<Graph> {
    Models::new([reference, model])?;
    let layers = reference.hidden_units();
    if layers.is_empty() {
        return Err(Error::argument("model", "hidden units whose order is free", "none"));
    }
    let mut aligned = model.clone();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for units in &layers {
            let order = best_order(&aligned, reference, units)?;
            if order.iter().enumerate().any(|(at, from)| at != *from) {
                aligned = permuted(&aligned, units, &order)?;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    Ok(aligned)
}

/// For each unit of the reference the unit of the model that takes its place.
fn best_order(model: &Graph, reference: &Graph, units: &HiddenUnits) -> Result<Vec<usize>> {
    let mut cost = Array2::<f64>::zeros((units.count, units.count));
    for (name, axis) in units.incoming.iter().chain(&units.outgoing) {
        let [own, theirs] = [model, reference].map(|graph| slices(graph, name, *axis));
        let (own, theirs) = (own?, theirs?);
        // |a - b|² = |a|² - 2 ab + |b|², and the squares do not affect the assignment
        cost.scaled_add(-2.0, &theirs.dot(&own.t()));
    }
    let mass = uniform(units.count);
    let plan = exact(cost.view(), &mass, &mass, &SolverLimits::new(PIVOTS))?;
    let mut order: Vec<usize> = (0..units.count).collect();
    for entry in &plan.entries {
        order[entry.source] = entry.target;
    }
    Ok(order)
}

/// The entries of a weight for each index of an axis, `[units, other entries]`.
fn slices(graph: &Graph, name: &str, axis: usize) -> Result<Array2<f64>> {
    let weight = graph.weight(name)?;
    let (shape, values) = (weight.shape(), weight.as_f32().unwrap_or_default());
    let (count, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer = values.len() / (count * inner).max(1);
    Ok(Array2::from_shape_fn((count, outer * inner), |(unit, at)| {
        f64::from(values[(at / inner * count + unit) * inner + at % inner])
    }))
}

/// The model with the units in another order.
fn permuted(model: &Graph, units: &HiddenUnits, order: &[usize]) -> Result<Graph> {
    let mut weights = Vec::new();
    for (name, axis) in units.incoming.iter().chain(&units.outgoing) {
        let weight = model.weight(name)?;
        let (shape, values) = (weight.shape().to_vec(), weight.as_f32().unwrap_or_default());
        let (count, inner) = (shape[*axis], shape[axis + 1..].iter().product::<usize>());
        let moved = |at: usize| {
            let (outer, unit, rest) = (at / (count * inner), at / inner % count, at % inner);
            values[(outer * count + order[unit]) * inner + rest]
        };
        weights.push((name.as_str(), Tensor::f32(&shape, (0..values.len()).map(moved).collect())?));
    }
    Ok(model.with_weights(&weights)?)
}
