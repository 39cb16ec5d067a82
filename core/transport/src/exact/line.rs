//! Transport on the line for a convex cost `|x - y|^p`: sorted points matched in order, the closed form.

use super::Move;
use crate::{Error, Result};

/// The optimal moves `(source, target, mass)` and `sum mass |x_i - y_j|^p` for points on the line, p >= 1.
///
/// # Errors
/// On empty or not finite points, weights that are no weights, unequal sums, and p below one (not convex: order is
/// not optimal there).
pub fn on_line(x: &[f64], y: &[f64], a: &[f64], b: &[f64], p: f64) -> Result<(Vec<Move>, f64)> {
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
    let mut moves = Vec::with_capacity(x.len() + y.len());
    let (mut i, mut j) = (0, 0);
    let (mut have, mut want) = (a[rows[0]], b[columns[0]]);
    let mut cost = 0.0;
    loop {
        let amount = have.min(want);
        if amount > 0.0 {
            moves.push((rows[i], columns[j], amount * mass));
            cost += amount * mass * (x[rows[i]] - y[columns[j]]).abs().powf(p);
        }
        (have, want) = (have - amount, want - amount);
        // What rounding leaves at the end of one side belongs to nobody.
        if have <= want {
            i += 1;
            if i == rows.len() {
                break;
            }
            have = a[rows[i]];
        } else {
            j += 1;
            if j == columns.len() {
                break;
            }
            want = b[columns[j]];
        }
    }
    Ok((moves, cost))
}
