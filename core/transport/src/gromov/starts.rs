//! The plans from which Gromov-Wasserstein starts.
//!
//! The objective has several optima where a space nearly is its own mirror image. Those are reached from
//! plans that match the leading principal coordinates of both spaces, with either sign: the leading
//! eigenvectors of `-1/2 J D J` (classical scaling; Torgerson 1952), where J removes the mean.

use ndarray::{Array2, ArrayView2};

use super::problem::plan_of;
use super::product::unit_hash;
use super::space::Space;
use crate::exact::{PlanEntry, in_order};
use crate::rounding::rounded;
use crate::{Cost, Result, Sinkhorn};

/// Starts that depend on the spaces: the product plan, one by mean distances, four by signs of the two
/// leading coordinates. All later ones are random.
pub const DELIBERATE_STARTS: usize = 6;
/// Vectors of the subspace iteration: the leading coordinates, and two more, which speed it up.
const VECTORS: usize = 4;
const STEPS: usize = 30;
/// Regularisation of the plans between coordinates, as a share of their mean cost.
const BLUR: f64 = 0.05;

/// The starting plans between two spaces with given weights.
pub(super) struct Starts<'p> {
    a: &'p [f64],
    b: &'p [f64],
    /// The mean distance of each point.
    means: [Vec<f64>; 2],
    /// The two leading coordinates of each point, where they were asked for.
    coordinates: Option<[Array2<f32>; 2]>,
}

impl<'p> Starts<'p> {
    /// Prepares the first `count` starts.
    pub fn new(x: &Space, y: &Space, a: &'p [f64], b: &'p [f64], count: usize) -> Self {
        let coordinates = (count > 2).then(|| [leading(x), leading(y)]);
        Self { a, b, means: [x.moments(a).0, y.moments(b).0], coordinates }
    }

    /// Returns the basis of the first linear problem of conditional gradient where it is known: from the
    /// product plan the costs are products of mean distances, so that the plan in their order is optimal.
    pub fn in_order(&self, k: usize) -> Option<Vec<PlanEntry>> {
        (k == 0).then(|| self.by_means(1.0))
    }

    /// Returns the basis of the plan in ascending order of the mean distances, times `sign` in the target.
    fn by_means(&self, sign: f64) -> Vec<PlanEntry> {
        let turned: Vec<f64> = self.means[1].iter().map(|d| sign * d).collect();
        in_order(&self.means[0], &turned, self.a, self.b)
    }

    /// Returns the k-th plan, which has the given marginals.
    pub fn plan(&self, k: usize) -> Result<Array2<f32>> {
        let (n, m) = (self.a.len(), self.b.len());
        match (k, &self.coordinates) {
            (0, _) => Ok(Array2::from_shape_fn((n, m), |(i, j)| (self.a[i] * self.b[j]) as f32)),
            // In ascending order of the mean distances is where the product plan leads to.
            (1, _) => Ok(plan_of(&self.by_means(-1.0), (n, m))),
            (2..DELIBERATE_STARTS, Some([x, y])) => {
                let sign = |bit: usize| if (k - 2) >> bit & 1 == 0 { 1.0 } else { -1.0 };
                let turned = y * &ndarray::array![sign(0), sign(1)];
                let cost = Cost::squared_euclidean(x.view(), turned.view())?;
                // Without any spread there is nothing to match.
                if cost.mean() > 0.0 {
                    self.entropic(Sinkhorn::of_mean_cost(BLUR), &cost)
                } else {
                    self.plan(0)
                }
            }
            _ => {
                // The exponential of a random rank-one matrix, scaled to the marginals.
                let random = |i: usize, s: u64| unit_hash(i as u64, 2 * k as u64 + s) - 0.5;
                let columns: Vec<f64> = (0..m).map(|j| random(j, 1)).collect();
                let cost = Array2::from_shape_fn((n, m), |(i, j)| (-8.0 * random(i, 0) * columns[j]) as f32);
                self.entropic(Sinkhorn::new(1.0), &Cost::matrix(cost.view())?)
            }
        }
    }

    /// Returns an entropic plan, which need not have converged, rounded to the marginals: with others, its
    /// objective could be below that of all plans.
    fn entropic(&self, solver: Sinkhorn, cost: &Cost<'_>) -> Result<Array2<f32>> {
        let plan = solver.tolerance(1e-4).iterations(300).solve(cost, self.a, self.b)?.into_plan();
        Ok(rounded(plan.mapv(f64::from), self.a, self.b).mapv(|p| p as f32))
    }
}

/// The two leading principal coordinates `[n, 2]`, with a first one of length one; by orthogonal iteration.
fn leading(space: &Space) -> Array2<f32> {
    let n = space.size();
    let width = VECTORS.min(n);
    let mut basis = Array2::from_shape_fn((n, width), |(i, k)| unit_hash(i as u64, 77 + k as u64) - 0.5);
    let mut lengths = vec![0.0; width];
    for _ in 0..STEPS {
        let image = space.times(centred(&basis).mapv(|v| v as f32).view());
        basis = centred(&(image.mapv(f64::from) * -0.5));
        lengths = orthonormalised(&mut basis);
    }
    // An eigenvector times the root of its eigenvalue, relative to the first one.
    let share = |k: usize| if lengths[0] > 0.0 { (lengths[k] / lengths[0]).sqrt() } else { 0.0 };
    let second = |i: usize| if width > 1 { basis[[i, 1]] * share(1) } else { 0.0 };
    Array2::from_shape_fn((n, 2), |(i, k)| if k == 0 { basis[[i, 0]] } else { second(i) } as f32)
}

fn centred(columns: &Array2<f64>) -> Array2<f64> {
    let means = columns.sum_axis(ndarray::Axis(0)) / columns.nrows() as f64;
    columns - &means
}

/// Makes columns orthonormal, in order (Gram-Schmidt), and returns how long each was; a column that depends
/// on those before it becomes zero.
fn orthonormalised(columns: &mut Array2<f64>) -> Vec<f64> {
    let dot = |m: ArrayView2<'_, f64>, a: usize, b: usize| m.column(a).dot(&m.column(b));
    let mut lengths = Vec::new();
    for k in 0..columns.ncols() {
        let before = dot(columns.view(), k, k).sqrt();
        // The second pass removes what rounding left.
        for earlier in (0..k).chain(0..k) {
            let along = dot(columns.view(), earlier, k);
            let part = &columns.column(earlier) * along;
            let mut column = columns.column_mut(k);
            column -= &part;
        }
        let length = dot(columns.view(), k, k).sqrt();
        let kept = if length > 1e-6 * before { 1.0 / length } else { 0.0 };
        columns.column_mut(k).mapv_inplace(|v| v * kept);
        lengths.push(length);
    }
    lengths
}
