//! Neighbourhood graphs of paired rows and how two of them differ. Widths may differ; a cloud's scale does
//! not count.
//!
//! A cloud's graph joins each row to its k nearest (either way round) and holds the minimum spanning tree of
//! all distances besides, so that it is connected and every geodesic is finite. It needs all distances: give
//! a subsample.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::crossing::relative_distances;
use crate::neighbours::Neighbours;
use crate::{Error, Result, same};

/// The neighbourhood graph of a cloud.
#[derive(Debug, Clone)]
pub struct Graph {
    neighbours: Neighbours,
    /// Euclidean distances in units of their mean.
    distance: Array2<f64>,
    /// The rows that each row is joined to, ascending.
    edges: Vec<Vec<u32>>,
}

impl Graph {
    /// Of the rows of `x [n, d]`; `salt` decides between equal distances.
    ///
    /// # Errors
    /// When a value is not finite, `k` is not inside `1..n`, or all rows are equal.
    pub fn of<T: crate::Real>(x: ArrayView2<'_, T>, k: usize, salt: u64) -> Result<Self> {
        let neighbours = Neighbours::of(x, k, salt)?;
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

    /// Rows of the cloud.
    pub fn size(&self) -> usize {
        self.edges.len()
    }

    /// The same graph after the cloud's rows have been taken in another order.
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

    /// Lengths of the shortest ways from one row to all (Dijkstra 1959).
    fn geodesics(&self, from: usize) -> Vec<f64> {
        let mut best = vec![f64::INFINITY; self.size()];
        let mut heap = BinaryHeap::from([Reached(0.0, from)]);
        best[from] = 0.0;
        while let Some(Reached(length, at)) = heap.pop() {
            if length > best[at] {
                continue;
            }
            for &next in &self.edges[at] {
                let next = next as usize;
                let through = length + self.distance[[at, next]];
                if through < best[next] {
                    best[next] = through;
                    heap.push(Reached(through, next));
                }
            }
        }
        best
    }

    /// Mean augmented Forman-Ricci curvature of each row's edges.
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

/// How far geodesic distances of paired rows are from proportional: `sqrt(1 - <gx, gy>² / (‖gx‖² ‖gy‖²))`
/// over all pairs of rows, `g` the lengths of the shortest ways in the graphs (Tenenbaum et al. 2000 for
/// these; the sine is the relative residual of the best common scale). In [0, 1], no unit.
///
/// # Errors
/// When the graphs have other numbers of rows.
pub fn geodesic_distortion(x: &Graph, y: &Graph) -> Result<f64> {
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

/// Mean of `|κx(i) - κy(i)| / k`, `κ(i)` the mean over the edges at row i of the augmented Forman-Ricci
/// curvature `4 - deg i - deg j + 3 triangles` (Samal et al. 2018, Sci. Rep. 8:8650): a discrete scalar
/// curvature; no unit.
///
/// # Errors
/// As [`geodesic_distortion`].
pub fn curvature_mismatch(x: &Graph, y: &Graph) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.size(), y.size())?;
    let (n, k) = x.neighbours.index.dim();
    let apart = (0..n).into_par_iter().map(|i| (x.curvature(i) - y.curvature(i)).abs());
    Ok(apart.collect::<Vec<_>>().into_iter().sum::<f64>() / (n * k) as f64)
}

/// Hausdorff distance of the two kNN graphs: the farthest that a neighbour in one cloud lies from the other
/// cloud's neighbourhood.
///
/// `max` over edges `i -> j` of one graph of the distance, in the other cloud, of `j` to the nearest of `i`
/// and its neighbours there, both ways; in units of that cloud's mean distance to the k-th neighbour. 0 where
/// the graphs agree.
///
/// # Errors
/// As [`geodesic_distortion`].
pub fn hausdorff_knn(x: &Graph, y: &Graph) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.size(), y.size())?;
    Ok(directed(x, y)?.max(directed(y, x)?))
}

fn directed(from: &Graph, to: &Graph) -> Result<f64> {
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

/// The minimum spanning tree `(i, j, distance)` of a full matrix of distances (Prim 1957).
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

/// A row and the length of the way to it; the shortest comes first out of a heap.
struct Reached(f64, usize);

impl Ord for Reached {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Reached {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Reached {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Reached {}
