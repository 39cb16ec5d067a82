//! Gromov-Wasserstein plans of low rank: time and memory linear in the number of points.
//!
//! The plan is `P = r Q R^T`, where Q and R are plans from each cloud to r latent points of equal weight
//! (Scetbon, Peyré and Cuturi 2022, arXiv 2106.01128, with fixed inner weights). For squared distances and
//! plans with given marginals the objective is a linear function minus `8 |X^T P Y|^2`. It is concave and
//! lies below its linearisation, so a mirror descent step in Q or in R along the gradient
//! `-4 r^2 D_x Q (R^T D_y R)` lowers it, whatever the step size. The start determines the local optimum:
//! balanced clusters of each cloud around far-apart points, matched by a Gromov-Wasserstein plan between
//! their r x r mean distances (quantised Gromov-Wasserstein; Chowdhury, Miller and Needham 2021, arXiv
//! 2104.02013).
//!
//! Spaces made from a matrix are rejected: low rank exists to avoid their size, and their objective need not
//! be concave.

use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use std::time::Instant;

use super::product::product;
use super::{GromovWasserstein, Space};
use crate::lowrank::{PlanFactor, spread_out};
use crate::{Error, LowRankPlan, Result, SolverLimits, uniform};

/// Regularisation of a mirror step as a share of the gradient's standard deviation.
const STEP: f64 = 0.1;
/// L1 marginal error of a mirror step.
const ERROR: f64 = 1e-3;
/// Factors of the regularisation. Each time rounding errors make the objective rise, the next one is used,
/// with a smaller marginal error.
const SOFTENING: [f64; 3] = [1.0, 3.0, 9.0];
/// Regularisation of the initial clustering as a share of the mean squared distance.
const CLUSTER: f64 = 0.05;
/// Starts of the plan between the clusters.
const STARTS: usize = 8;
/// Rows that are converted to double precision at a time.
const BLOCK: usize = 2048;

/// Solves Gromov-Wasserstein with a plan of rank `rank` between two spaces that were made from points.
///
/// The weights `a[n]` and `b[m]` need equal sums and are normalised to one. Stops when a step lowers the
/// objective by less than the share `tolerance`. `transport_cost` of the result is the objective.
///
/// ```
/// use chiasm_transport::{SolverLimits, Space, low_rank_gromov, uniform};
/// let x = ndarray::Array2::from_shape_fn((40, 2), |(i, k)| (i * (k + 3)) as f32 % 7.0);
/// let space = Space::squared_euclidean(x.view())?.normalised();
/// let p = uniform(40);
/// let plan = low_rank_gromov(&space, &space, (&p, &p), 8, 1e-4, &SolverLimits::new(100))?;
/// assert_eq!(plan.source.dim(), (40, 8));
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When a space was made from a matrix, weights are invalid or have unequal sums, or the rank is zero.
pub fn low_rank_gromov(
    x: &Space,
    y: &Space,
    (a, b): (&[f64], &[f64]),
    rank: usize,
    tolerance: f64,
    limits: &SolverLimits,
) -> Result<LowRankPlan> {
    let clock = Instant::now();
    if rank == 0 {
        return Err(Error::Setting { what: "rank", expected: "a positive number", got: 0.0 });
    }
    if let Some((x, y, square)) = super::in_range(x, y)? {
        let mut found = low_rank_gromov(&x, &y, (a, b), rank, tolerance, limits)?;
        found.transport_cost *= square;
        return Ok(found);
    }
    let rank = rank.min(x.size()).min(y.size());
    let (a, b, _) = crate::balanced(a, b, (x.size(), y.size()))?;
    let (mut x, mut y) = (GromovSide::clustered(x, a, rank)?, GromovSide::clustered(y, b, rank)?);
    y.match_to(&x, limits)?;
    let constant = x.square() + y.square();
    let (mut before, mut level) = (f64::INFINITY, 0);
    for iteration in 1.. {
        let errors = (x.step(&y, SOFTENING[level])?, y.step(&x, SOFTENING[level])?);
        let value = constant - 2.0 * x.agreement(&y);
        let mut fall = ((before - value) / value.abs().max(f64::MIN_POSITIVE)).max(0.0);
        if value > before && level + 1 < SOFTENING.len() {
            (level, fall) = (level + 1, f64::INFINITY);
        }
        before = value;
        if let Some(stop) = limits.stop(iteration, clock, fall, tolerance) {
            return Ok(LowRankPlan {
                transport_cost: value.max(0.0),
                source: x.factor.plan,
                target: y.factor.plan,
                marginal_error: errors.0 + errors.1,
                iterations: iteration,
                seconds: clock.elapsed().as_secs_f64(),
                stop,
            });
        }
    }
    unreachable!("the loop above ends by returning")
}

/// One space and its factor of the plan.
struct GromovSide<'s> {
    space: &'s Space,
    left: ArrayView2<'s, f32>,
    right: ArrayView2<'s, f32>,
    factor: PlanFactor,
}

impl<'s> GromovSide<'s> {
    /// Starts at a balanced clustering around far-apart points.
    fn clustered(space: &'s Space, weights: Vec<f64>, rank: usize) -> Result<Self> {
        let Some(factors) = space.of_points() else {
            let why = "it needs spaces made by Space::squared_euclidean: use GromovWasserstein for matrices";
            return Err(Error::Breakdown { what: "low-rank Gromov-Wasserstein", why });
        };
        let (left, right) = (factors.left.view(), factors.right.view());
        let points = right.slice_move(s![.., ..right.ncols() - 2]);
        let square = |row: ndarray::ArrayView1<'_, f32>| row.dot(&row);
        let mean = 2.0 * points.rows().into_iter().map(|row| f64::from(square(row))).sum::<f64>();
        let epsilon = CLUSTER * mean / points.nrows() as f64;
        let centres = spread_out(points, rank);
        let norms: Array1<f32> = centres.rows().into_iter().map(square).collect();
        let cost = product(-2.0, points, centres.t()) + norms;
        let mut factor = PlanFactor::new(weights);
        factor.step(cost, if epsilon > 0.0 { epsilon } else { 1.0 }, 1e-3)?;
        Ok(Self { space, left, right, factor })
    }

    /// Permutes the latent points so that they match those of `other`, by their mutual distances.
    fn match_to(&mut self, other: &Self, limits: &SolverLimits) -> Result<()> {
        let between = |side: &Self| -> Result<Space> {
            let distances = side.latent_distances();
            Space::matrix(((&distances + &distances.t()) / 2.0).view())
        };
        let rank = self.factor.plan.ncols();
        let share = limits.time / 2;
        let solver = GromovWasserstein::conditional_gradient().starts(STARTS).time_limit(share);
        let weights = uniform(rank);
        let found = solver.solve(&between(other)?, &between(self)?, &weights, &weights)?;
        self.factor.plan = product(rank as f32, self.factor.plan.view(), found.plan.t());
        Ok(())
    }

    /// Returns the mean distances between latent points, `r^2 Q^T D Q`.
    fn latent_distances(&self) -> Array2<f32> {
        let plan = self.factor.plan.view();
        let rank = plan.ncols() as f32;
        product(rank * rank, plan.t(), self.space.times(plan).view())
    }

    /// Takes a mirror step with the other side fixed. Returns the L1 marginal error after it.
    fn step(&mut self, other: &Self, softening: f64) -> Result<f64> {
        let reach = self.space.times(self.factor.plan.view());
        let mut gradient = product(-4.0, reach.view(), other.latent_distances().view());
        // Constants of a row or column do not change the step.
        let rows = gradient.mean_axis(Axis(1)).unwrap_or_default();
        gradient -= &rows.insert_axis(Axis(1));
        let columns = gradient.mean_axis(Axis(0)).unwrap_or_default();
        gradient -= &columns;
        let squares = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        let spread = (squares / gradient.len() as f64).sqrt();
        let epsilon = if spread > 0.0 { softening * STEP * spread } else { 1.0 };
        self.factor.step(gradient, epsilon, ERROR / (softening * softening))?;
        // The terms of the objective nearly cancel and would amplify missing mass.
        Ok(self.factor.round())
    }

    /// Returns `sum w_i w_k D_ik^2`, from two matrices as wide as the factors.
    fn square(&self) -> f64 {
        let weights = Array2::from_shape_fn((self.factor.weights.len(), 1), |(i, _)| self.factor.weights[i]);
        let gram = |z: ArrayView2<'_, f32>| {
            sums(z, |rows| {
                let weights = weights.slice(s![rows.clone(), ..]);
                &z.slice(s![rows, ..]).mapv(f64::from) * &weights
            })
        };
        inner(&gram(self.left), &gram(self.right))
    }

    /// Returns `<D_x P D_y, P>` in double precision, because the products of the factors nearly cancel.
    fn agreement(&self, other: &Self) -> f64 {
        let rank = self.factor.plan.ncols() as f64;
        let latent = |side: &Self, z: ArrayView2<'_, f32>| {
            sums(z, |rows| side.factor.plan.slice(s![rows, ..]).mapv(f64::from))
        };
        let across = |mine: Mat<f64>, theirs: Mat<f64>| &mine * theirs.transpose();
        let one = across(latent(self, self.left), latent(other, other.right));
        let two = across(latent(self, self.right), latent(other, other.left));
        rank * rank * inner(&one, &two)
    }
}

/// Returns `Z^T M` in double precision; `m` returns blocks of rows of M.
fn sums(z: ArrayView2<'_, f32>, m: impl Fn(std::ops::Range<usize>) -> Array2<f64>) -> Mat<f64> {
    let mut total = Mat::zeros(z.ncols(), m(0..0).ncols());
    for start in (0..z.nrows()).step_by(BLOCK) {
        let rows = start..(start + BLOCK).min(z.nrows());
        let (z, m) = (z.slice(s![rows.clone(), ..]), m(rows));
        let z = Mat::from_fn(z.nrows(), z.ncols(), |i, j| f64::from(z[[i, j]]));
        let m = Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[[i, j]]);
        matmul(&mut total, Accum::Add, z.transpose(), &m, 1.0, Par::rayon(0));
    }
    total
}

fn inner(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (0..a.ncols()).map(|j| (0..a.nrows()).map(|i| a[(i, j)] * b[(i, j)]).sum::<f64>()).sum()
}
