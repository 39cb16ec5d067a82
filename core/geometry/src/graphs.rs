//! Neighbourhood graphs of clouds, and measures that compare the graphs of paired rows.
//!
//! The graph of a cloud is the symmetrised k-nearest-neighbour graph plus the minimum spanning tree of all
//! distances, so it is connected and all geodesics are finite. It needs all pairwise distances: subsample
//! large clouds. Widths may differ, and the scale of a cloud does not matter.
//!
//! ```
//! use chiasm_geometry::graphs::{NeighbourGraph, geodesic_distortion};
//! let x = ndarray::Array2::from_shape_fn((20, 2), |(i, j)| (i * i + j) as f64);
//! let graph = NeighbourGraph::new(x.view(), 3, 0)?;
//! let scaled = NeighbourGraph::new((&x * 2.0).view(), 3, 0)?;
//! assert!(geodesic_distortion(&graph, &scaled)? < 1e-6);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::neighbours::Neighbours;
use crate::wasserstein::relative_distances;
use crate::{Error, Result, same};

/// The neighbourhood graph of a cloud.
#[derive(Debug, Clone)]
pub struct NeighbourGraph {
    neighbours: Neighbours,
    /// Euclidean distances in units of their mean.
    distance: Array2<f64>,
    /// The adjacent rows of each row, sorted in ascending order.
    edges: Vec<Vec<u32>>,
}

impl NeighbourGraph {
    /// Builds the graph of the rows of `x [n, d]`. `salt` seeds the order of equal distances.
    ///
    /// # Errors
    /// When a value is not finite, `k` is not in `1..n`, or all rows are equal.
    pub fn new<T: crate::Real>(x: ArrayView2<'_, T>, k: usize, salt: u64) -> Result<Self> {
        let neighbours = Neighbours::new(x, k, salt)?;
        let distance = relative_distances(0, x)?;
        let mut edges = vec![Vec::new(); x.nrows()];
        let listed = neighbours.index.indexed_iter().map(|((i, _), &j)| (i, j as usize));
        let tree = spanning_tree(distance.view()).into_iter().map(|(i, j, _)| (i, j));
        for (i, j) in listed.chain(tree) {
            edges[i].push(j as u32);
            edges[j].push(i as u32);
        }
        for list in &mut edges {
            list.sort_unstable();
            list.dedup();
        }
        Ok(Self { neighbours, distance, edges })
    }

    /// Returns the number of rows of the cloud.
    pub fn size(&self) -> usize {
        self.edges.len()
    }

    /// Returns the graph of the cloud with its rows in another order.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| place[old] = new as u32);
        let renamed = |&old: &usize| {
            let mut list: Vec<u32> = self.edges[old].iter().map(|&j| place[j as usize]).collect();
            list.sort_unstable();
            list
        };
        Self {
            neighbours: self.neighbours.reordered(order),
            distance: Array2::from_shape_fn(self.distance.dim(), |(i, j)| {
                self.distance[[order[i], order[j]]]
            }),
            edges: order.iter().map(renamed).collect(),
        }
    }

    /// Returns the lengths of the shortest paths from one row to all rows (Dijkstra 1959).
    fn geodesics(&self, from: usize) -> Vec<f64> {
        let mut best = vec![f64::INFINITY; self.size()];
        let mut heap = BinaryHeap::from([QueueEntry(0.0, from)]);
        best[from] = 0.0;
        while let Some(QueueEntry(length, at)) = heap.pop() {
            if length > best[at] {
                continue;
            }
            for &next in &self.edges[at] {
                let next = next as usize;
                let through = length + self.distance[[at, next]];
                if through < best[next] {
                    best[next] = through;
                    heap.push(QueueEntry(through, next));
                }
            }
        }
        best
    }

    /// Returns the mean augmented Forman-Ricci curvature of the edges of a row.
    fn curvature(&self, row: usize) -> f64 {
        let own = &self.edges[row];
        let ricci = |&other: &u32| {
            let theirs = &self.edges[other as usize];
            let triangles = crate::neighbours::shared(own, theirs);
            4.0 - (own.len() + theirs.len()) as f64 + 3.0 * triangles as f64
        };
        own.iter().map(ricci).sum::<f64>() / own.len() as f64
    }
}

/// Returns the distortion of the geodesic distances of paired rows, `sqrt(1 - <gx, gy>² / (‖gx‖² ‖gy‖²))`, in
/// [0, 1].
///
/// `g` are the shortest-path lengths between all pairs of rows (geodesics as in Isomap, Tenenbaum et al.
/// 2000). The value is the relative residual after the best common scale.
///
/// # Errors
/// When the graphs have different numbers of rows.
pub fn geodesic_distortion(x: &NeighbourGraph, y: &NeighbourGraph) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.size(), y.size())?;
    let sums: Vec<[f64; 3]> = (0..x.size())
        .into_par_iter()
        .map(|row| {
            let (a, b) = (x.geodesics(row), y.geodesics(row));
            a.iter().zip(&b).fold([0.0; 3], |s, (a, b)| [s[0] + a * b, s[1] + a * a, s[2] + b * b])
        })
        .collect();
    let [xy, xx, yy] = sums.into_iter().fold([0.0; 3], |t, s| [t[0] + s[0], t[1] + s[1], t[2] + s[2]]);
    if !(xx > 0.0 && yy > 0.0) {
        return Err(Error::NoSpread("graph of a cloud"));
    }
    Ok((1.0 - xy * xy / (xx * yy)).max(0.0).sqrt())
}

/// Returns the mean of `|κx(i) - κy(i)| / k` over paired rows, where κ(i) is a discrete scalar curvature.
///
/// κ(i) is the mean over the edges (i, j) of the augmented Forman-Ricci curvature
/// `4 - deg i - deg j + 3 triangles` (Samal et al. 2018, Sci. Rep. 8:8650).
///
/// # Errors
/// The errors of [`geodesic_distortion`].
pub fn curvature_mismatch(x: &NeighbourGraph, y: &NeighbourGraph) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.size(), y.size())?;
    let (n, k) = x.neighbours.index.dim();
    let apart = (0..n).into_par_iter().map(|i| (x.curvature(i) - y.curvature(i)).abs());
    Ok(apart.collect::<Vec<_>>().into_iter().sum::<f64>() / (n * k) as f64)
}

/// Returns the Hausdorff distance of two kNN graphs of paired rows; 0 if the graphs are equal.
///
/// For every edge `i -> j` of one graph it takes the distance, in the other cloud, from `j` to the nearest of
/// `i` and its neighbours there, in units of that cloud's mean distance to the k-th neighbour. The result is
/// the maximum over all edges of both graphs.
///
/// # Errors
/// The errors of [`geodesic_distortion`].
pub fn hausdorff_knn(x: &NeighbourGraph, y: &NeighbourGraph) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.size(), y.size())?;
    Ok(directed(x, y)?.max(directed(y, x)?))
}

/// Returns the maximum over the edges of one graph.
fn directed(from: &NeighbourGraph, to: &NeighbourGraph) -> Result<f64> {
    let (n, k) = to.neighbours.index.dim();
    let reach = |i: usize| to.distance[[i, to.neighbours.index[[i, k - 1]] as usize]];
    let scale = (0..n).map(reach).sum::<f64>() / n as f64;
    if scale <= 0.0 {
        return Err(Error::NoSpread("neighbourhoods of a cloud"));
    }
    let gap = |i: usize, j: usize| {
        let near = to.neighbours.index.row(i);
        near.iter().map(|&l| to.distance[[j, l as usize]]).fold(to.distance[[j, i]], f64::min)
    };
    let farthest = from.neighbours.index.indexed_iter().map(|((i, _), &j)| gap(i, j as usize));
    Ok(farthest.fold(0.0, f64::max) / scale)
}

/// Returns the edges `(i, j, distance)` of the minimum spanning tree of a distance matrix (Prim 1957).
pub(crate) fn spanning_tree(distance: ArrayView2<'_, f64>) -> Vec<(usize, usize, f64)> {
    let n = distance.nrows();
    let mut nearest: Vec<(f64, usize)> = (0..n).map(|j| (distance[[0, j]], 0)).collect();
    let mut outside: Vec<usize> = (1..n).collect();
    let mut tree = Vec::with_capacity(n.saturating_sub(1));
    while let Some(at) =
        (0..outside.len()).min_by(|&a, &b| nearest[outside[a]].0.total_cmp(&nearest[outside[b]].0))
    {
        let new = outside.swap_remove(at);
        tree.push((nearest[new].1, new, nearest[new].0));
        for &j in &outside {
            if distance[[new, j]] < nearest[j].0 {
                nearest[j] = (distance[[new, j]], new);
            }
        }
    }
    tree
}

/// A row and the length of a path to it. A heap returns the shortest first.
struct QueueEntry(f64, usize);

impl Ord for QueueEntry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for QueueEntry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for QueueEntry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for QueueEntry {}
