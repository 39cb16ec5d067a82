//! Transport on the line for a convex cost `|x - y|^p`: matching the sorted points in order is optimal.

use ndarray::ArrayView2;

use super::PlanEntry;
use crate::{Error, Result};

/// Solves transport between points on the line with the cost `|x_i - y_j|^p`, p >= 1. Returns the entries of
/// the optimal plan and its cost.
///
/// ```
/// let (plan, cost) = chiasm_transport::on_line(&[0.0, 1.0], &[2.0, 1.0], &[0.5; 2], &[0.5; 2], 1.0)?;
/// assert_eq!((plan[0].source, plan[0].target, cost), (0, 1, 1.0));
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When points are empty or not finite, weights are invalid or have unequal sums, or p is below one (matching
/// in order is not optimal for a concave cost).
pub fn on_line(x: &[f64], y: &[f64], a: &[f64], b: &[f64], p: f64) -> Result<(Vec<PlanEntry>, f64)> {
    if !(p >= 1.0 && p.is_finite()) {
        return Err(Error::Setting { what: "exponent p", expected: "a number >= 1", got: p });
    }
    for (what, points) in [("source points", x), ("target points", y)] {
        if points.is_empty() {
            return Err(Error::Empty(what));
        }
        if let Some(row) = points.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite { what, row });
        }
    }
    let (a, b, mass) = crate::balanced(a, b, (x.len(), y.len()))?;
    let mut entries = in_order(x, y, &a, &b);
    entries.retain(|entry| entry.mass > 0.0);
    entries.iter_mut().for_each(|entry| entry.mass *= mass);
    let costs = entries.iter().map(|entry| entry.mass * (x[entry.source] - y[entry.target]).abs().powf(p));
    let cost = costs.sum();
    Ok((entries, cost))
}

/// Returns the plan that fills sources and targets in the order of `x` and `y`, for weights of equal sums. It
/// has an entry for each step to the next source or target with weight, also where no mass is left to move,
/// so that its entries are a basis: each shares its source or its target with the one before.
pub(crate) fn in_order(x: &[f64], y: &[f64], a: &[f64], b: &[f64]) -> Vec<PlanEntry> {
    let order = |points: &[f64], weights: &[f64]| {
        let mut order: Vec<usize> = (0..points.len()).filter(|&i| weights[i] > 0.0).collect();
        order.sort_by(|&i, &j| points[i].total_cmp(&points[j]));
        order
    };
    let (rows, columns) = (order(x, a), order(y, b));
    let mut entries = Vec::with_capacity(x.len() + y.len());
    let (mut i, mut j) = (0, 0);
    let (mut supply, mut demand) = (a[rows[0]], b[columns[0]]);
    loop {
        let amount = supply.min(demand);
        entries.push(PlanEntry { source: rows[i], target: columns[j], mass: amount });
        (supply, demand) = (supply - amount, demand - amount);
        // A rounding error that remains at the end of one side is dropped.
        if supply <= demand {
            i += 1;
            if i == rows.len() {
                break;
            }
            supply = a[rows[i]];
        } else {
            j += 1;
            if j == columns.len() {
                break;
            }
            demand = b[columns[j]];
        }
    }
    entries
}

/// Returns the potentials `f_i + g_j = C_ij` on the entries of [`in_order`]; zero for points without weight.
pub(super) fn potentials(entries: &[PlanEntry], costs: ArrayView2<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    let (mut f, mut g) = (vec![0.0; costs.nrows()], vec![0.0; costs.ncols()]);
    let mut before: Option<&PlanEntry> = None;
    for entry in entries {
        let (i, j) = (entry.source, entry.target);
        match before {
            Some(before) if before.target == j => f[i] = costs[[i, j]] - g[j],
            _ => g[j] = costs[[i, j]] - f[i],
        }
        before = Some(entry);
    }
    (f, g)
}
