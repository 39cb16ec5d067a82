//! Uniform manifold approximation and projection (UMAP) of vectors in two dimensions.
//!
//! This is the method of McInnes, Healy and Melville (2018, arXiv:1802.03426) with the settings of the Python
//! package umap-learn: 15 neighbours with the point itself, a minimum distance of 0.1 and a spread of 1. It
//! differs in three ways, so that it is reproducible: the neighbours are exact, the layout starts from the
//! principal components, and one thread draws from a seeded generator.

use chiasm_geometry::{neighbours::Neighbours, random::Random};
use ndarray::{Array2, ArrayView2};

/// The neighbours of a point, without the point itself.
pub const NEIGHBOURS: usize = 14;
/// The curve `1 / (1 + A d^(2 B))` of the layout. The constants fit it to a minimum distance of 0.1 and a
/// spread of 1 (`umap.umap_.find_ab_params(1.0, 0.1)`).
const A: f64 = 1.576_943_460_405_378;
const B: f64 = 0.895_060_878_168_033_4;
/// The points that a point is moved away from, for each that it is moved towards.
const NEGATIVES: f64 = 5.0;
/// The largest step of a coordinate at the first learning rate.
const STEP: f64 = 4.0;
/// The width of the start, and the standard deviation of the noise that is added to it.
const WIDTH: f64 = 10.0;
const NOISE: f64 = 1e-4;
/// Large layouts take fewer passes over the edges.
const LARGE: usize = 2000;

/// An edge of the fuzzy graph. Every edge is listed in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FuzzyEdge {
    pub from: usize,
    pub to: usize,
    /// The membership strength, above 0 and at most 1.
    pub weight: f64,
}

/// Lays out points in two dimensions, `[n, 2]`, given their neighbours and their principal components
/// `[n, 2]`.
pub fn umap(near: &Neighbours, principal: ArrayView2<'_, f64>, seed: u64) -> Array2<f64> {
    let passes = if principal.nrows() <= LARGE { 500 } else { 200 };
    let mut random = Random::new(seed);
    let mut points = start(principal, &mut random);
    optimize(&mut points, &fuzzy_graph(near), passes, &mut random);
    Array2::from_shape_fn((points.len(), 2), |(row, axis)| points[row][axis])
}

/// Returns the fuzzy graph of points with these neighbours (algorithms 2 and 3 of the paper), sorted.
///
/// The strength of `i -> j` is `exp(-max(0, d_ij - rho_i) / sigma_i)`, where `rho_i` is the distance to the
/// nearest neighbour elsewhere and `sigma_i` makes the strengths of a row sum to `log2(k + 1)`. Both
/// directions `a` and `b` are joined to `a + b - a b`.
pub fn fuzzy_graph(near: &Neighbours) -> Vec<FuzzyEdge> {
    let (count, k) = near.index.dim();
    let mean = near.distance.sum() / (count * (k + 1)).max(1) as f64;
    // Both directions of every pair: the strengths of `low -> high` and of `high -> low`.
    let mut pairs: Vec<(usize, usize, [f64; 2])> = Vec::with_capacity(count * k);
    for (from, (others, distances)) in near.index.rows().into_iter().zip(near.distance.rows()).enumerate() {
        let distances = distances.to_vec();
        let (rho, sigma) = bandwidth(&distances, mean);
        for (to, distance) in others.iter().map(|to| *to as usize).zip(&distances) {
            let strength = if *distance <= rho { 1.0 } else { (-(distance - rho) / sigma).exp() };
            let sides = if from < to { [strength, 0.0] } else { [0.0, strength] };
            pairs.push((from.min(to), from.max(to), sides));
        }
    }
    pairs.sort_unstable_by_key(|(low, high, _)| (*low, *high));
    let mut edges = Vec::with_capacity(2 * pairs.len());
    for pair in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let [a, b] = pair.iter().fold([0.0, 0.0], |[a, b], (_, _, [c, d])| [a + c, b + d]);
        let (from, to, weight) = (pair[0].0, pair[0].1, a + b - a * b);
        edges.push(FuzzyEdge { from, to, weight });
        edges.push(FuzzyEdge { from: to, to: from, weight });
    }
    edges.retain(|edge| edge.weight > 0.0);
    edges.sort_unstable_by_key(|edge| (edge.from, edge.to));
    edges
}

/// Returns `rho` and `sigma` of a row of ascending distances. `mean` is the mean distance of all rows, in
/// which every point counts as its own neighbour.
fn bandwidth(distances: &[f64], mean: f64) -> (f64, f64) {
    /// The smallest `sigma`, relative to the mean distance.
    const SMALLEST: f64 = 1e-3;
    let rho = distances.iter().copied().find(|distance| *distance > 0.0).unwrap_or_default();
    let goal = ((distances.len() + 1) as f64).log2();
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..64 {
        let sum: f64 = distances.iter().map(|d| (-(d - rho).max(0.0) / sigma).exp()).sum();
        if (sum - goal).abs() < 1e-5 {
            break;
        }
        if sum > goal {
            high = sigma;
        } else {
            low = sigma;
        }
        sigma = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * sigma };
    }
    let own = distances.iter().sum::<f64>() / (distances.len() + 1) as f64;
    (rho, sigma.max(SMALLEST * if rho > 0.0 { own } else { mean }))
}

/// Returns the principal components, each scaled to the same width, with a little noise that parts equal
/// points.
fn start(principal: ArrayView2<'_, f64>, random: &mut Random) -> Vec<[f64; 2]> {
    let ranges = [0, 1].map(|axis| {
        let column = principal.column(axis);
        column.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
    });
    let place = |axis: usize, value: f64| {
        let (low, high) = ranges[axis];
        if high > low { WIDTH * (value - low) / (high - low) } else { 0.0 }
    };
    let row = |row: usize| [0, 1].map(|axis| place(axis, principal[[row, axis]]) + NOISE * random.normal());
    (0..principal.nrows()).map(row).collect()
}

/// When an edge is followed.
struct Schedule {
    from: usize,
    to: usize,
    /// The passes from one time to the next.
    every: f64,
    /// The pass in which it is followed next, and the one of its next repulsion.
    next: [f64; 2],
}

/// Moves the points by stochastic gradient descent (algorithm 5 of the paper). An edge of weight `w` is
/// followed in a share `w / max w` of the passes.
fn optimize(points: &mut [[f64; 2]], edges: &[FuzzyEdge], passes: usize, random: &mut Random) {
    let most = edges.iter().map(|edge| edge.weight).fold(0.0, f64::max);
    let schedule = |edge: &FuzzyEdge| {
        let every = most / edge.weight;
        Schedule { from: edge.from, to: edge.to, every, next: [every, every / NEGATIVES] }
    };
    let followed = edges.iter().filter(|edge| edge.weight * passes as f64 >= most);
    let mut schedules: Vec<Schedule> = followed.map(schedule).collect();
    for pass in 0..passes {
        let now = pass as f64;
        let rate = 1.0 - now / passes as f64;
        for edge in schedules.iter_mut().filter(|edge| edge.next[0] <= now) {
            attract(points, edge.from, edge.to, rate);
            let every = edge.every / NEGATIVES;
            let negatives = ((now - edge.next[1]) / every).max(0.0).floor();
            edge.next[0] += edge.every;
            edge.next[1] += negatives * every;
            for _ in 0..negatives as usize {
                let other = random.below(points.len());
                if other != edge.from {
                    repel(points, edge.from, other, rate);
                }
            }
        }
    }
}

fn apart(points: &[[f64; 2]], one: usize, other: usize) -> ([f64; 2], f64) {
    let difference = [0, 1].map(|axis| points[one][axis] - points[other][axis]);
    (difference, difference[0] * difference[0] + difference[1] * difference[1])
}

/// Moves two points together.
fn attract(points: &mut [[f64; 2]], one: usize, other: usize, rate: f64) {
    let (difference, square) = apart(points, one, other);
    if square > 0.0 {
        let power = A * square.powf(B);
        let force = -2.0 * B * power / (square * (power + 1.0));
        for axis in [0, 1] {
            let step = (force * difference[axis]).clamp(-STEP, STEP) * rate;
            points[one][axis] += step;
            points[other][axis] -= step;
        }
    }
}

/// Moves one point away from another.
fn repel(points: &mut [[f64; 2]], one: usize, other: usize, rate: f64) {
    let (difference, square) = apart(points, one, other);
    if square > 0.0 {
        let force = 2.0 * B / ((0.001 + square) * (A * square.powf(B) + 1.0));
        for axis in [0, 1] {
            points[one][axis] += (force * difference[axis]).clamp(-STEP, STEP) * rate;
        }
    }
}
