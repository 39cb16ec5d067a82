//! Geodesic distances: shortest paths in a graph of nearest neighbours.
//!
//! Each point is joined to its k nearest neighbours, in either direction, by an edge as long as their
//! distance; the distance of two points is the length of the shortest path between them (Isomap; Tenenbaum,
//! de Silva and Langford 2000). Where the graph falls apart, it is first connected by the edges of the
//! minimum spanning tree of all points that join two parts: the smallest edges that connect it. No distance
//! is therefore infinite.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{Error, Result, cost::finite};

/// Returns the lengths `[n, n]` of the shortest paths between points, given their symmetric distances
/// `[n, n]` and the number of neighbours of each point, which is at most n - 1.
///
/// ```
/// // Three points of a bent line: the ends are 1.4 apart, and 2 along the line.
/// let distances = ndarray::array![[0.0_f32, 1.0, 1.4], [1.0, 0.0, 1.0], [1.4, 1.0, 0.0]];
/// let paths = chiasm_transport::geodesic(distances.view(), 1)?;
/// assert_eq!(paths[[0, 2]], 2.0);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When the matrix is empty, not square, or not finite, a distance is negative, or the number of neighbours
/// is zero.
pub fn geodesic(distances: ArrayView2<'_, f32>, neighbours: usize) -> Result<Array2<f32>> {
    finite("distance matrix", distances, f32::is_finite)?;
    let n = distances.nrows();
    crate::same("columns of a distance matrix", n, distances.ncols())?;
    if let Some(&got) = distances.iter().find(|d| **d < 0.0) {
        return Err(Error::Setting { what: "distances", expected: "numbers of 0 or more", got: got.into() });
    }
    if neighbours == 0 {
        return Err(Error::Setting { what: "neighbours", expected: "a number of 1 or more", got: 0.0 });
    }
    let graph = connected(nearest(distances, neighbours.min(n - 1)), distances);
    let rows: Vec<Vec<f32>> = (0..n).into_par_iter().map(|source| shortest_paths(&graph, source)).collect();
    let mut paths = Array2::zeros((n, n));
    // The two directions of a path are summed in different orders; both get the smaller sum.
    paths.indexed_iter_mut().for_each(|((i, j), path): (_, &mut f32)| *path = rows[i][j].min(rows[j][i]));
    Ok(paths)
}

/// The neighbours of each point and their distances.
type Graph = Vec<Vec<(usize, f32)>>;

/// Joins each point to its k nearest neighbours; of equally distant ones the first are taken.
fn nearest(distances: ArrayView2<'_, f32>, k: usize) -> Graph {
    let n = distances.nrows();
    let of_point = |i: usize| -> Vec<usize> {
        let mut others: Vec<usize> = (0..n).filter(|&j| j != i).collect();
        let closer = |a: &usize, b: &usize| distances[[i, *a]].total_cmp(&distances[[i, *b]]).then(a.cmp(b));
        if k < others.len() {
            others.select_nth_unstable_by(k, closer);
            others.truncate(k);
        }
        others
    };
    let found: Vec<Vec<usize>> = (0..n).into_par_iter().map(of_point).collect();
    let mut graph: Graph = vec![Vec::new(); n];
    for (i, near) in found.iter().enumerate() {
        for &j in near {
            join(&mut graph, i, j, distances[[i, j]]);
        }
    }
    graph.iter_mut().for_each(|edges| {
        edges.sort_by_key(|edge| edge.0);
        edges.dedup_by_key(|edge| edge.0);
    });
    graph
}

fn join(graph: &mut Graph, i: usize, j: usize, length: f32) {
    graph[i].push((j, length));
    graph[j].push((i, length));
}

/// Adds the edges of the minimum spanning tree that join two parts of the graph.
fn connected(mut graph: Graph, distances: ArrayView2<'_, f32>) -> Graph {
    let mut parts = Parts::of(&graph);
    if parts.count == 1 {
        return graph;
    }
    let mut tree = spanning_tree(distances);
    tree.sort_by(|a, b| a.2.total_cmp(&b.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    for (i, j, length) in tree {
        if parts.merge(i, j) {
            join(&mut graph, i, j, length);
        }
    }
    graph
}

/// The edges of the minimum spanning tree of the complete graph (Prim 1957), in O(n^2).
fn spanning_tree(distances: ArrayView2<'_, f32>) -> Vec<(usize, usize, f32)> {
    let n = distances.nrows();
    let mut nearest: Vec<(f32, usize)> = distances.row(0).iter().map(|&d| (d, 0)).collect();
    let mut outside: Vec<usize> = (1..n).collect();
    let mut tree = Vec::with_capacity(n.saturating_sub(1));
    let closest = |outside: &[usize], nearest: &[(f32, usize)]| {
        (0..outside.len()).min_by(|&a, &b| nearest[outside[a]].0.total_cmp(&nearest[outside[b]].0))
    };
    while let Some(place) = closest(&outside, &nearest) {
        let new = outside.swap_remove(place);
        tree.push((nearest[new].1, new, nearest[new].0));
        for &other in &outside {
            let length = distances[[new, other]];
            if length < nearest[other].0 {
                nearest[other] = (length, new);
            }
        }
    }
    tree
}

/// The connected parts of a graph.
struct Parts {
    parent: Vec<usize>,
    count: usize,
}

impl Parts {
    fn of(graph: &Graph) -> Self {
        let mut parts = Self { parent: (0..graph.len()).collect(), count: graph.len() };
        for (i, edges) in graph.iter().enumerate() {
            for &(j, _) in edges {
                parts.merge(i, j);
            }
        }
        parts
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    /// Joins the parts of two points; returns whether they were different.
    fn merge(&mut self, i: usize, j: usize) -> bool {
        let (i, j) = (self.root(i), self.root(j));
        if i == j {
            return false;
        }
        self.parent[i] = j;
        self.count -= 1;
        true
    }
}

/// The length of the shortest path from one point to each (Dijkstra 1959).
fn shortest_paths(graph: &Graph, source: usize) -> Vec<f32> {
    let mut lengths = vec![f64::INFINITY; graph.len()];
    lengths[source] = 0.0;
    // The bits of non-negative numbers have the order of the numbers.
    let mut waiting = BinaryHeap::from([(Reverse(0_u64), source)]);
    while let Some((Reverse(bits), at)) = waiting.pop() {
        let length = f64::from_bits(bits);
        if length > lengths[at] {
            continue;
        }
        for &(next, edge) in &graph[at] {
            let through = length + f64::from(edge);
            if through < lengths[next] {
                lengths[next] = through;
                waiting.push((Reverse(through.to_bits()), next));
            }
        }
    }
    lengths.into_iter().map(|length| length as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pairs of points on a line, at 0, 1 and 10, 11: one neighbour each leaves two parts, and the edge
    /// from 1 to 10 connects them.
    #[test]
    fn parts_are_connected_by_the_smallest_edge() {
        let x = [0.0_f32, 1.0, 10.0, 11.0];
        let distances = Array2::from_shape_fn((4, 4), |(i, j)| (x[i] - x[j]).abs());
        let graph = connected(nearest(distances.view(), 1), distances.view());
        let edges: usize = graph.iter().map(Vec::len).sum();
        assert_eq!(edges, 2 * 3);
        assert!(graph[1].contains(&(2, 9.0)));
        let Ok(paths) = geodesic(distances.view(), 1) else { panic!("expected paths") };
        assert_eq!(paths, distances);
    }
}
