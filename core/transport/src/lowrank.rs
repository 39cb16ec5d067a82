//! Low-rank transport: memory and time linear in the number of points.
//!
//! The plan is `P = r Q R^T`, where Q and R are plans from the source and from the target to r latent points
//! of equal weight (Scetbon et al. 2021, arXiv 2103.04737, with fixed inner weights). For squared distances
//! the best Q for a given R is an entropic plan from the points to the images of the latent points, so each
//! mirror descent step is a small `n x r` Sinkhorn problem. At the end both factors are rounded onto their
//! marginals (Altschuler et al. 2017, arXiv 1705.09634), so the plan is feasible and its cost is an upper
//! bound of the optimum. The start is a balanced clustering of both clouds around the same far-apart points.
//! The result is a local optimum.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};
use std::time::Instant;

use crate::rounding::rounded;
use crate::{Cost, Error, Result, Sinkhorn, SolverLimits, StopReason, uniform};

/// A plan of low rank, `P = r Q R^T`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LowRankPlan {
    /// Plan from source points to latent points, `Q[n, r]`; its mass is the mass of the weights.
    pub source: Array2<f32>,
    /// Plan from target points to latent points, `R[m, r]`, of mass one.
    pub target: Array2<f32>,
    /// `<P, C>` for squared Euclidean costs; for Gromov-Wasserstein its objective.
    pub transport_cost: f64,
    /// L1 distance of both marginals from the weights, divided by the mass.
    pub marginal_error: f64,
    /// Mirror descent steps.
    pub iterations: usize,
    /// Wall time.
    pub seconds: f64,
    /// Why it stopped.
    pub stop: StopReason,
}

/// Regularisation of a mirror step, as a share of the mean cost.
const STEP: f64 = 0.05;
/// Lower bound of the previous plan's entries in a step, as a share of the point's weight. It keeps every
/// latent point reachable and exponents in the range of single precision.
const FLOOR: f64 = 1e-7;

/// Solves squared Euclidean transport with a plan of rank `rank` between the clouds `x[n, d]` and `y[m, d]`.
///
/// The weights `a[n]` and `b[m]` need equal sums. Stops when a step lowers the cost by less than the share
/// `tolerance`.
///
/// ```
/// use chiasm_transport::{SolverLimits, low_rank, uniform};
/// let x = ndarray::Array2::from_shape_fn((40, 2), |(i, k)| (i * (k + 3)) as f32 % 7.0);
/// let p = uniform(40);
/// let plan = low_rank(x.view(), (&x + 1.0).view(), (&p, &p), 8, 1e-4, &SolverLimits::new(100))?;
/// assert_eq!(plan.source.dim(), (40, 8));
/// assert!(plan.marginal_error < 1e-5);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// The errors of [`Cost::squared_euclidean`] and [`Sinkhorn::solve`], and a rank of zero.
pub fn low_rank(
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
    (a, b): (&[f64], &[f64]),
    rank: usize,
    tolerance: f64,
    limits: &SolverLimits,
) -> Result<LowRankPlan> {
    let clock = Instant::now();
    if rank == 0 {
        return Err(Error::Setting { what: "rank", expected: "a positive number", got: 0.0 });
    }
    let rank = rank.min(x.nrows()).min(y.nrows());
    let mean = Cost::squared_euclidean(x, y)?.mean();
    let (a, b, mass) = crate::balanced(a, b, (x.nrows(), y.nrows()))?;
    // Centred and scaled to at most one, so that squares neither vanish nor overflow in single precision.
    let centre: Array1<f32> = crate::cost::mean_row(x).into_iter().map(|c| c as f32).collect();
    let (x, y) = (&x - &centre, &y - &centre);
    let top = x.iter().chain(&y).fold(f32::MIN_POSITIVE, |top, v| top.max(v.abs()));
    let unit = f64::from(top).powi(2);
    let (mut x, mut y) = (LowRankSide::new(x / top, a), LowRankSide::new(y / top, b));
    let epsilon = if mean > 0.0 { STEP * mean / unit } else { 1.0 };
    let centres = spread_out(x.points.view(), rank);
    let norms = centres.rows().into_iter().map(|c| c.dot(&c)).collect::<Array1<f32>>();
    x.step(&centres, &norms, epsilon, 1e-3)?;
    y.step(&centres, &norms, epsilon, 1e-3)?;
    let mut before = f64::INFINITY;
    for iteration in 1.. {
        let (centres, spreads) = y.images(rank);
        x.step(&centres, &spreads, epsilon, 1e-4)?;
        let (centres, spreads) = x.images(rank);
        y.step(&centres, &spreads, epsilon, 1e-4)?;
        let cost = x.cost(&y, rank);
        let fall = (before - cost) / cost.max(f64::MIN_POSITIVE);
        before = cost;
        if let Some(stop) = limits.stop(iteration, clock, fall.abs(), tolerance) {
            let marginal_error = x.factor.round() + y.factor.round();
            return Ok(LowRankPlan {
                transport_cost: mass * unit * x.exact_cost(&y),
                source: x.factor.plan * mass as f32,
                target: y.factor.plan,
                marginal_error,
                iterations: iteration,
                seconds: clock.elapsed().as_secs_f64(),
                stop,
            });
        }
    }
    unreachable!("the loop above ends by returning")
}

impl LowRankPlan {
    /// Returns the barycentric targets `[n, d]` of the source points, given the target points `y[m, d]`, in
    /// linear time.
    ///
    /// # Errors
    /// When `y` does not have one row per target point.
    pub fn barycentric(&self, y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        crate::same("rows of the target points", self.target.nrows(), y.nrows())?;
        let images = self.target.t().dot(&y) * self.target.ncols() as f32;
        crate::barycentric(self.source.view(), images.view())
    }
}

/// One factor of a plan: a plan `[n, r]` from points to latent points with the marginals `weights` and
/// `1 / r`.
pub(crate) struct PlanFactor {
    pub weights: Vec<f64>,
    /// Empty before the first step.
    pub plan: Array2<f32>,
}

impl PlanFactor {
    pub fn new(weights: Vec<f64>) -> Self {
        Self { weights, plan: Array2::zeros((0, 0)) }
    }

    /// Takes a mirror step: minimises `<cost, Q> + epsilon KL(Q | old Q)` up to an L1 marginal error of
    /// `tolerance`.
    pub fn step(&mut self, mut cost: Array2<f32>, epsilon: f64, tolerance: f64) -> Result<()> {
        if !self.plan.is_empty() {
            let floor = Array1::from_iter(self.weights.iter().map(|w| (FLOOR * w).max(1e-30) as f32));
            let old = Zip::from(cost.rows_mut()).and(self.plan.rows()).and(&floor);
            old.par_for_each(|mut cost, plan, &floor| {
                Zip::from(&mut cost).and(plan).for_each(|c, &p| *c -= epsilon as f32 * p.max(floor).ln());
            });
        }
        let latent = uniform(cost.ncols());
        let solver = Sinkhorn::new(epsilon).tolerance(tolerance).iterations(500);
        let ground = Cost::matrix(cost.view())?;
        // A start at zero potentials turns annealing off: these costs are already close to the solution's.
        let coupling = solver.start(&vec![0.0; latent.len()]).solve(&ground, &self.weights, &latent)?;
        self.plan = coupling.into_plan();
        Ok(())
    }

    /// Rounds the plan onto its marginals. Returns the L1 marginal error that single precision leaves.
    pub fn round(&mut self) -> f64 {
        let latent = uniform(self.plan.ncols());
        let plan = rounded(self.plan.mapv(f64::from), &self.weights, &latent);
        self.plan = plan.mapv(|p| p as f32);
        let distance = |axis, wanted: &[f64]| -> f64 {
            let sums = self.plan.mapv(f64::from).sum_axis(axis);
            sums.iter().zip(wanted).map(|(sum, wanted)| (sum - wanted).abs()).sum()
        };
        distance(Axis(1), &self.weights) + distance(Axis(0), &latent)
    }
}

/// One cloud and its factor of the plan.
struct LowRankSide {
    points: Array2<f32>,
    squares: Array1<f32>,
    factor: PlanFactor,
}

impl LowRankSide {
    fn new(points: Array2<f32>, weights: Vec<f64>) -> Self {
        let squares = points.rows().into_iter().map(|p| p.dot(&p)).collect();
        Self { points, squares, factor: PlanFactor::new(weights) }
    }

    /// Returns the images of the latent points in this cloud, and the means of the squared norms they
    /// average.
    fn images(&self, rank: usize) -> (Array2<f32>, Array1<f32>) {
        let (plan, r) = (self.factor.plan.t(), rank as f32);
        (plan.dot(&self.points) * r, plan.dot(&self.squares) * r)
    }

    /// Takes a mirror step towards latent points at `centres`.
    fn step(
        &mut self,
        centres: &Array2<f32>,
        spreads: &Array1<f32>,
        epsilon: f64,
        tolerance: f64,
    ) -> Result<()> {
        self.factor.step(self.points.dot(&centres.t()) * -2.0 + spreads, epsilon, tolerance)
    }

    /// Returns `<P, C>` with the other side.
    fn cost(&self, other: &Self, rank: usize) -> f64 {
        let mean = |s: &Self| -> f64 {
            s.factor.weights.iter().zip(&s.squares).map(|(w, &q)| w * f64::from(q)).sum()
        };
        let ((mine, _), (theirs, _)) = (self.images(rank), other.images(rank));
        let inner: f64 = mine.iter().zip(&theirs).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (mean(self) + mean(other) - 2.0 * inner / rank as f64).max(0.0)
    }

    /// Returns `<P, C>` of the plan with both factors as they are, in double precision: one point far away
    /// makes the terms much larger than their sum.
    fn exact_cost(&self, other: &Self) -> f64 {
        let rank = self.factor.plan.ncols() as f64;
        let wide = |s: &Self| (s.factor.plan.mapv(f64::from), s.points.mapv(f64::from));
        let ((q, x), (r, y)) = (wide(self), wide(other));
        let squares = |plan: &Array2<f64>, points: &Array2<f64>, latent: Array1<f64>| {
            let norms: Array1<f64> = points.rows().into_iter().map(|p| p.dot(&p)).collect();
            rank * plan.dot(&latent).dot(&norms)
        };
        let own = squares(&q, &x, r.sum_axis(Axis(0))) + squares(&r, &y, q.sum_axis(Axis(0)));
        let inner = (q.t().dot(&x) * r.t().dot(&y)).sum();
        (own - 2.0 * rank * inner).max(0.0)
    }
}

/// Returns `count` points that are far apart: repeatedly the point of an evenly spaced sample that is
/// farthest from those chosen before (farthest-first traversal, Gonzalez 1985).
pub(crate) fn spread_out(points: ArrayView2<'_, f32>, count: usize) -> Array2<f32> {
    let n = points.nrows();
    let sample: Vec<usize> = (0..n.min(20 * count)).map(|k| k * n / n.min(20 * count)).collect();
    let mut chosen = vec![sample[0]];
    let mut nearest = vec![f32::INFINITY; sample.len()];
    while chosen.len() < count {
        let last = points.row(chosen[chosen.len() - 1]);
        let mut farthest = (0, -1.0);
        for (k, &i) in sample.iter().enumerate() {
            let distance: f32 = points.row(i).iter().zip(last).map(|(a, b)| (a - b).powi(2)).sum();
            nearest[k] = nearest[k].min(distance);
            if nearest[k] > farthest.1 {
                farthest = (i, nearest[k]);
            }
        }
        chosen.push(farthest.0);
    }
    points.select(Axis(0), &chosen)
}
