//! Costs for which matching in order is optimal, such as those of points on the line and of histograms.
//!
//! If rows and columns can be ordered such that `C[i, j] + C[k, l] <= C[i, l] + C[k, j]` for all `i < k` and
//! `j < l` (Monge 1781), filling them in this order is optimal (Hoffman 1963). The simplex needs tens of
//! pivots per point to find that plan, along paths through half of all points.

use ndarray::ArrayView2;

/// The most rows that are compared with one another.
const ROWS: usize = 65;
/// The share of the range of the costs by which the condition may be missed: four roundings to single
/// precision. Costs between points of a plane miss it by much more.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;

/// Returns numbers that order the rows and the columns such that the rows that are looked at meet the
/// condition, or `None` if they do not. `spread` is the range of the costs.
pub(super) fn coordinates(costs: ArrayView2<'_, f64>, spread: f64) -> Option<[Vec<f64>; 2]> {
    // On the line, the row and the column that are farthest apart are at its ends, and the costs of both
    // ends differ by a number that grows along it.
    let (n, m) = costs.dim();
    let by = |cost: fn(&f64, &f64) -> std::cmp::Ordering, column: usize| {
        (0..n).max_by(|&i, &k| cost(&costs[[i, column]], &costs[[k, column]])).unwrap_or(0)
    };
    let column = (0..m).max_by(|&j, &l| costs[[0, j]].total_cmp(&costs[[0, l]]))?;
    let (near, far) = (by(|x, y| y.total_cmp(x), column), by(f64::total_cmp, column));
    let opposite = (0..m).min_by(|&j, &l| costs[[far, j]].total_cmp(&costs[[far, l]]))?;
    let x: Vec<f64> = (0..n).map(|i| costs[[i, column]] - costs[[i, opposite]]).collect();
    let y: Vec<f64> = (0..m).map(|j| costs[[near, j]] - costs[[far, j]]).collect();
    let (rows, columns) = (ascending(&x), ascending(&y));
    let some: Vec<usize> = rows.iter().copied().step_by(n.div_ceil(ROWS)).collect();
    let ordered = some.windows(2).all(|pair| {
        let growth = |j: usize| costs[[pair[1], j]] - costs[[pair[0], j]];
        columns.windows(2).all(|next| growth(next[1]) <= growth(next[0]) + ROUNDING * spread)
    });
    ordered.then_some([x, y])
}

fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &k| values[i].total_cmp(&values[k]));
    order
}
