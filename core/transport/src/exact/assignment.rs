//! Linear assignment by shortest augmenting paths (Jonker and Volgenant 1987), started from dual potentials.
//!
//! Given `v`, the choice `u_i = min_j (C_ij - v_j)` makes the potentials feasible. A row is assigned a column
//! at its minimum if that is free. Augmenting row reduction assigns most of the other rows, and the rest need
//! one shortest-path search each. The searches are short if the potentials start near the optimum.
//!
//! A search looks only at the columns of a row that have small reduced costs, as the sparse method of
//! Volgenant (1996) does, and is exact all the same: `v` only falls, so `C_ij - v_j` of the columns that are
//! left out never falls below the bound under which columns were kept. When the shortest distance reaches
//! the bound of a row, more columns of that row are kept.

mod search;

use ndarray::ArrayView2;

use crate::simd;
use search::{FREE, PathSearch};

/// Returns the column assigned to each row of a square problem. `v` holds the starting potentials of the
/// columns and receives the optimal ones. Returns `None` if `stop`, which is called between searches, returns
/// true.
pub(super) fn solve(cost: ArrayView2<'_, f64>, v: &mut [f64], stop: impl Fn() -> bool) -> Option<Vec<usize>> {
    let n = cost.nrows();
    let row = |i: usize| cost.row(i).to_slice().unwrap_or_default();
    let mut column_of = vec![FREE; n];
    let mut row_of = vec![FREE; n];
    let mut free: Vec<usize> = (0..n).collect();
    for _ in 0..3 {
        free = reduce(&row, free, v, &mut column_of, &mut row_of);
    }
    let mut search = PathSearch::new(n);
    for i in free {
        if stop() {
            return None;
        }
        search.augment(&row, i, v, &mut column_of, &mut row_of);
    }
    Some(column_of)
}

/// Augmenting row reduction: each free row takes its best column, whose potential falls by the difference to
/// the second best. The row that had the column becomes free, and is tried at once if the potential fell.
/// Returns the rows that are still free.
fn reduce<'r>(
    row: &impl Fn(usize) -> &'r [f64],
    free: Vec<usize>,
    v: &mut [f64],
    column_of: &mut [usize],
    row_of: &mut [usize],
) -> Vec<usize> {
    let mut left = Vec::new();
    let mut steps = 4 * free.len();
    for start in free {
        let mut i = start;
        loop {
            let (mut j, second, gap) = two_best(row(i), v);
            if gap > 0.0 {
                v[j] -= gap;
            } else if row_of[j] != FREE {
                j = second;
            }
            let evicted = std::mem::replace(&mut row_of[j], i);
            column_of[i] = j;
            if evicted == FREE {
                break;
            }
            column_of[evicted] = FREE;
            steps = steps.saturating_sub(1);
            if gap <= 0.0 || steps == 0 {
                left.push(evicted);
                break;
            }
            i = evicted;
        }
    }
    left
}

/// Returns the best and the second-best column of a row, and the difference of their reduced costs; zero
/// without a second column. The second-best column is looked for only if it is as good.
fn two_best(row: &[f64], v: &[f64]) -> (usize, usize, f64) {
    let (least, next) = simd::two_least(row, v);
    let mut best = (0..row.len()).filter(|&j| row[j] - v[j] == least);
    let first = best.next().unwrap_or(0);
    match next - least {
        gap if gap > 0.0 && gap.is_finite() => (first, first, gap),
        _ => (first, best.next().unwrap_or(first), 0.0),
    }
}
