//! Linear assignment by shortest augmenting paths (Jonker and Volgenant 1987), started from dual potentials.
//!
//! Given `v`, the choice `u_i = min_j (C_ij - v_j)` makes the potentials feasible. A row is assigned a column
//! at its minimum if that is free. Augmenting row reduction assigns most of the other rows, and the rest need
//! one shortest-path search each. The searches are short if the potentials start near the optimum.

use ndarray::ArrayView2;

use crate::simd;

/// Marks an unassigned row or column.
const FREE: usize = usize::MAX;

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
    let mut search =
        PathSearch { keys: vec![0.0; n], parents: vec![0; n], closed: Vec::new(), distances: Vec::new() };
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

/// Returns the best and the second-best column of a row, and the difference of their reduced costs.
fn two_best(row: &[f64], v: &[f64]) -> (usize, usize, f64) {
    let (mut first, mut second) = ((0, f64::INFINITY), (0, f64::INFINITY));
    for (j, (c, v)) in row.iter().zip(v).enumerate() {
        let x = c - v;
        if x < second.1 {
            if x < first.1 {
                second = first;
                first = (j, x);
            } else {
                second = (j, x);
            }
        }
    }
    let gap = if second.1.is_finite() { second.1 - first.1 } else { 0.0 };
    (first.0, second.0, gap)
}

/// Dijkstra's algorithm over the columns of a dense matrix.
struct PathSearch {
    keys: Vec<f64>,
    parents: Vec<u64>,
    closed: Vec<usize>,
    /// Distances of the closed columns.
    distances: Vec<f64>,
}

impl PathSearch {
    /// Finds the shortest alternating path from row `start` to a free column, updates the potentials and
    /// augments the assignment along the path.
    fn augment<'r>(
        &mut self,
        row: &impl Fn(usize) -> &'r [f64],
        start: usize,
        v: &mut [f64],
        column_of: &mut [usize],
        row_of: &mut [usize],
    ) {
        self.keys.fill(f64::INFINITY);
        self.closed.clear();
        self.distances.clear();
        let mut i = start;
        // Distances are relative to the minimum of the start row, so the row's own potential is not needed.
        let mut shift = 0.0;
        let end = loop {
            let least = simd::lower_keys(row(i), v, shift, &mut self.keys, &mut self.parents, i as u64);
            let mut found = None;
            for (j, _) in self.keys.iter().enumerate().filter(|(_, key)| **key == least) {
                found = Some(j);
                if row_of[j] == FREE {
                    break;
                }
            }
            // With finite costs there is an open column until a free one is reached.
            let Some(j) = found else { return };
            if row_of[j] == FREE {
                break (j, least);
            }
            self.keys[j] = f64::NEG_INFINITY;
            self.closed.push(j);
            self.distances.push(least);
            i = row_of[j];
            shift = least - (row(i)[j] - v[j]);
        };
        let (mut j, distance) = end;
        for (&j, closed) in self.closed.iter().zip(&self.distances) {
            v[j] += closed - distance;
        }
        loop {
            let i = self.parents[j] as usize;
            row_of[j] = i;
            std::mem::swap(&mut column_of[i], &mut j);
            if i == start {
                break;
            }
        }
    }
}
