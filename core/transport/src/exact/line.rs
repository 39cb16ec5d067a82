//! Transport on the line for a convex cost `|x - y|^p`: matching the sorted points in order is optimal.

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
    let order = |points: &[f64]| {
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by(|&i, &j| points[i].total_cmp(&points[j]));
        order
    };
    let (rows, columns) = (order(x), order(y));
    let mut entries = Vec::with_capacity(x.len() + y.len());
    let (mut i, mut j) = (0, 0);
    let (mut supply, mut demand) = (a[rows[0]], b[columns[0]]);
    let mut cost = 0.0;
    loop {
        let amount = supply.min(demand);
        if amount > 0.0 {
            entries.push(PlanEntry { source: rows[i], target: columns[j], mass: amount * mass });
            cost += amount * mass * (x[rows[i]] - y[columns[j]]).abs().powf(p);
        }
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
    Ok((entries, cost))
}
