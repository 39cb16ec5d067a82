//! Plans that meet their marginals to rounding.

use ndarray::{Array1, Array2, ArrayView1, Axis};

/// Rounds a plan onto the marginals `a` and `b` of equal sums: scales down the rows and columns that exceed
/// them, then adds the missing mass as a rank-one term (Altschuler, Weed and Rigollet 2017, algorithm 2).
pub(crate) fn rounded(mut plan: Array2<f64>, a: &[f64], b: &[f64]) -> Array2<f64> {
    for (axis, wanted) in [(Axis(0), a), (Axis(1), b)] {
        for (mut lane, &wanted) in plan.axis_iter_mut(axis).zip(wanted) {
            let sum = lane.sum();
            if sum > wanted {
                lane *= wanted / sum;
            }
        }
    }
    let missing = |axis, wanted: &[f64]| -> Array1<f64> { &ArrayView1::from(wanted) - &plan.sum_axis(axis) };
    let (rows, columns) = (missing(Axis(1), a), missing(Axis(0), b));
    let mass = rows.sum();
    if mass > 0.0 {
        for (mut row, missing) in plan.rows_mut().into_iter().zip(&rows) {
            row.scaled_add(missing / mass, &columns);
        }
    }
    plan
}
