//! Persistent homology of a small cloud (components and loops of its Vietoris-Rips filtration), and the
//! bottleneck distance of two persistence diagrams.
//!
//! H0 comes from the minimum spanning tree. H1 comes from persistent cohomology over Z/2 (de Silva, Morozov
//! and Vejdemo-Johansson 2011): the coboundaries of the edges, longest first, are reduced by earlier ones;
//! edges of the tree are cleared. Edges longer than the enclosing radius are skipped, because the complex is
//! a cone beyond it (Henselman-Petrusek and Ghrist 2016, arXiv 1606.00199; Bauer 2021, arXiv 1908.02518).
//!
//! ```
//! use chiasm_geometry::persistence::{bottleneck, persistence};
//! let circle = ndarray::Array2::from_shape_fn((20, 2), |(i, j)| {
//!     let angle = i as f64 * std::f64::consts::TAU / 20.0;
//!     if j == 0 { angle.cos() } else { angle.sin() }
//! });
//! let found = persistence(circle.view())?;
//! assert_eq!(found.h1.len(), 1); // one loop
//! assert_eq!(bottleneck(&found.h1, &found.h1), 0.0);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::ArrayView2;
use std::collections::{BinaryHeap, HashMap};

use crate::graphs::spanning_tree;
use crate::wasserstein::relative_distances;
use crate::{Real, Result};

/// Births and deaths of the features that die, without those of zero persistence.
pub type Diagram = Vec<(f64, f64)>;

/// Persistence diagrams of H0 and H1.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Persistence {
    /// Components: born at 0, merged at the edges of the minimum spanning tree.
    pub h0: Diagram,
    /// Loops.
    pub h1: Diagram,
}

/// Computes the diagrams of the rows of `x [n, d]`, with distances in units of their mean.
///
/// The work grows like `n³`; use a few hundred rows at most.
///
/// # Errors
/// When there are fewer than two rows, a value is not finite, or all rows are equal.
pub fn persistence<T: Real>(x: ArrayView2<'_, T>) -> Result<Persistence> {
    let distance = relative_distances(0, x)?;
    let tree = spanning_tree(distance.view());
    let h0 = tree.iter().filter(|edge| edge.2 > 0.0).map(|edge| (0.0, edge.2)).collect();
    Ok(Persistence { h0, h1: loops(distance.view(), &tree) })
}

/// A triangle, ordered by the length of its longest edge and then its corners, as in the filtration.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Triangle(f64, [u32; 3]);

impl Eq for Triangle {}

impl Ord for Triangle {
    /// The earliest triangle is the greatest, so that a heap returns the pivot first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Triangle {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns the diagram of H1.
fn loops(distance: ArrayView2<'_, f64>, tree: &[(usize, usize, f64)]) -> Diagram {
    let n = distance.nrows();
    let farthest = |i: usize| distance.row(i).iter().fold(0.0f64, |m, d| m.max(*d));
    let radius = (0..n).map(farthest).fold(f64::INFINITY, f64::min);
    let cleared: std::collections::HashSet<(usize, usize)> =
        tree.iter().map(|&(i, j, _)| (i.min(j), i.max(j))).collect();
    let mut edges: Vec<(f64, usize, usize)> = (0..n)
        .flat_map(|i| (i + 1..n).map(move |j| (distance[[i, j]], i, j)))
        .filter(|&(d, i, j)| d <= radius && !cleared.contains(&(i, j)))
        .collect();
    edges.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((b.1, b.2).cmp(&(a.1, a.2))));
    let coboundary = |i: usize, j: usize| {
        (0..n).filter(move |&k| k != i && k != j).filter_map(move |k| {
            let longest = distance[[i, j]].max(distance[[i, k]]).max(distance[[j, k]]);
            let mut corners = [i as u32, j as u32, k as u32];
            corners.sort_unstable();
            (longest <= radius).then_some(Triangle(longest, corners))
        })
    };
    // For each pivot triangle, the edges whose coboundaries sum to its column.
    let mut owner: HashMap<[u32; 3], Vec<(usize, usize)>> = HashMap::new();
    let mut diagram = Vec::new();
    for (birth, i, j) in edges {
        let mut sum = vec![(i, j)];
        let mut column: BinaryHeap<Triangle> = coboundary(i, j).collect();
        while let Some(pivot) = pivot(&mut column) {
            let Some(earlier) = owner.get(&pivot.1) else {
                if pivot.0 > birth {
                    diagram.push((birth, pivot.0));
                }
                owner.insert(pivot.1, sum);
                break;
            };
            column.push(pivot);
            for &(i, j) in earlier {
                column.extend(coboundary(i, j));
                sum.push((i, j));
            }
        }
    }
    diagram
}

/// Removes and returns the earliest triangle that occurs an odd number of times.
fn pivot(column: &mut BinaryHeap<Triangle>) -> Option<Triangle> {
    while let Some(top) = column.pop() {
        if column.peek() != Some(&top) {
            return Some(top);
        }
        column.pop();
    }
    None
}

/// Returns the bottleneck distance of two diagrams, in their unit: the smallest `r` for which a perfect
/// matching moves no point by more than `r` in the maximum norm, where points may be matched to the diagonal
/// (Cohen-Steiner et al. 2007).
pub fn bottleneck(a: &[(f64, f64)], b: &[(f64, f64)]) -> f64 {
    let apart = |p: (f64, f64), q: (f64, f64)| (p.0 - q.0).abs().max((p.1 - q.1).abs());
    let life = |p: &(f64, f64)| (p.1 - p.0) / 2.0;
    let mut candidates: Vec<f64> = a.iter().flat_map(|p| b.iter().map(|q| apart(*p, *q))).collect();
    candidates.extend(a.iter().chain(b).map(life).chain([0.0]));
    candidates.sort_unstable_by(f64::total_cmp);
    candidates.dedup();
    let possible = |r: f64| {
        let joined = |i: usize, j: usize| match (a.get(i), b.get(j)) {
            (Some(p), Some(q)) => apart(*p, *q) <= r,
            // A point may be matched to its own projection on the diagonal; projections match each other.
            (Some(p), None) => j - b.len() == i && life(p) <= r,
            (None, Some(q)) => i - a.len() == j && life(q) <= r,
            (None, None) => true,
        };
        let size = a.len() + b.len();
        let lists = (0..size).map(|i| (0..size).filter(|&j| joined(i, j)).collect()).collect();
        perfect(lists)
    };
    let at = candidates.partition_point(|&r| !possible(r));
    candidates.get(at).copied().unwrap_or(0.0)
}

/// Returns whether a perfect matching exists (Hopcroft and Karp 1973).
fn perfect(lists: Vec<Vec<usize>>) -> bool {
    const FREE: usize = usize::MAX;
    let n = lists.len();
    let (mut left, mut right) = (vec![FREE; n], vec![FREE; n]);
    let mut matched = 0;
    loop {
        let mut level = vec![FREE; n];
        let mut queue: Vec<usize> = (0..n).filter(|&i| left[i] == FREE).collect();
        queue.iter().for_each(|&i| level[i] = 0);
        let mut head = 0;
        while head < queue.len() {
            let i = queue[head];
            head += 1;
            for &j in &lists[i] {
                let next = right[j];
                if next != FREE && level[next] == FREE {
                    level[next] = level[i] + 1;
                    queue.push(next);
                }
            }
        }
        let mut tried = vec![0; n];
        let found = (0..n)
            .filter(|&i| left[i] == FREE)
            .collect::<Vec<_>>()
            .into_iter()
            .filter(|&i| augment(i, &lists, &level, &mut tried, &mut left, &mut right))
            .count();
        matched += found;
        if found == 0 || matched == n {
            return matched == n;
        }
    }
}

/// Searches an augmenting path along the levels and applies it. Iterative, because paths may be long.
fn augment(
    start: usize,
    lists: &[Vec<usize>],
    level: &[usize],
    tried: &mut [usize],
    left: &mut [usize],
    right: &mut [usize],
) -> bool {
    const FREE: usize = usize::MAX;
    let mut path = vec![start];
    while let Some(&i) = path.last() {
        let Some(&j) = lists[i].get(tried[i]) else {
            path.pop();
            if let Some(&before) = path.last() {
                tried[before] += 1;
            }
            continue;
        };
        let next = right[j];
        if next == FREE {
            for &i in path.iter().rev() {
                let j = lists[i][tried[i]];
                left[i] = j;
                right[j] = i;
            }
            path.iter().for_each(|&i| tried[i] = lists[i].len());
            return true;
        }
        if level[next] == level[i] + 1 && tried[next] < lists[next].len() {
            path.push(next);
        } else {
            tried[i] += 1;
        }
    }
    false
}
