//! Low-rank transport: memory and time linear in the number of points.
//!
//! `P = Q diag(r) R^T`, Q and R plans from either side to r latent points of equal weight (Scetbon et al. 2021, arXiv
//! 2103.04737, with the inner weights held fixed). For squared distances the best Q given R is an entropic plan of the
//! points to the latent points' images, so each mirror step is a small Sinkhorn of `n x r`. At the end both factors are
//! rounded onto their marginals (Altschuler et al. 2017, arXiv 1705.09634), so that the plan is feasible and its cost bounds
//! the optimum from above, by about the spread of a latent point's share. Starts at a balanced clustering of both clouds
//! around the same spread-out points; finds a local optimum.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use std::time::Instant;

use crate::{Cost, Error, Limits, Result, Sinkhorn, Stop, uniform};

/// A plan of low rank between two clouds.
#[derive(Debug, Clone)]
pub struct LowRankPlan {
    /// Plan from source points to latent points, `Q[n, r]`; it has the weights' mass.
    pub source: Array2<f32>,
    /// Plan from target points to latent points, `R[m, r]`, of mass one.
    pub target: Array2<f32>,
    /// `<P, C>` for squared Euclidean costs; between different spaces the objective of Gromov-Wasserstein.
    pub transport_cost: f64,
    /// L1 distance of both marginals from the weights, as a share of the mass.
    pub marginal_error: f64,
    /// Mirror steps.
    pub iterations: usize,
    /// Wall time.
    pub seconds: f64,
    /// Why it stopped.
    pub stop: Stop,
}

/// Share of the mean cost that a mirror step's regularisation has.
const STEP: f64 = 0.05;
/// The least share of a point's weight that a step takes the old plan to give each latent point: none is lost for ever, and
/// exponents stay in the range of single precision.
const FLOOR: f64 = 1e-7;

/// Squared Euclidean transport of rank `rank` between clouds `x[n, d]`, `y[m, d]` with weights of equal sums; stops
/// when a step lowers the cost by less than `tolerance` of it.
///
/// # Errors
/// As [`Cost::squared_euclidean`] and [`Sinkhorn::solve`], and for a rank of zero.
pub fn low_rank(
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
    (a, b): (&[f64], &[f64]),
    rank: usize,
    tolerance: f64,
    limits: &Limits,
) -> Result<LowRankPlan> {
    let clock = Instant::now();
    if rank == 0 {
        return Err(Error::Setting { what: "rank", expected: "a positive number", got: 0.0 });
    }
    let rank = rank.min(x.nrows()).min(y.nrows());
    let mean = Cost::squared_euclidean(x, y)?.mean();
    let (a, b, mass) = crate::balanced(a, b, (x.nrows(), y.nrows()))?;
    // Centred and at most one, so that squares neither vanish nor overflow in single precision.
    let centre: Array1<f32> = crate::cost::mean_row(x).into_iter().map(|c| c as f32).collect();
    let (x, y) = (&x - &centre, &y - &centre);
    let top = x.iter().chain(&y).fold(f32::MIN_POSITIVE, |top, v| top.max(v.abs()));
    let unit = f64::from(top).powi(2);
    let (mut x, mut y) = (Side::new(x / top, a), Side::new(y / top, b));
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
                transport_cost: mass * unit * x.cost(&y, rank),
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
    /// Barycentric targets of the source points for target points `y[m, d]`, in linear time.
    ///
    /// # Errors
    /// When `y` has another number of rows than the plan's target.
    pub fn barycentric(&self, y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        crate::same("rows of the target points", self.target.nrows(), y.nrows())?;
        let images = self.target.t().dot(&y) * self.target.ncols() as f32;
        crate::barycentric(self.source.view(), images.view())
    }
}

/// One side of a plan: the plan `[n, r]` from its points to the latent points, `weights` and `1 / r` its marginals.
pub(crate) struct Factor {
    pub weights: Vec<f64>,
    /// Empty before the first step.
    pub plan: Array2<f32>,
}

impl Factor {
    pub fn new(weights: Vec<f64>) -> Self {
        Self { weights, plan: Array2::zeros((0, 0)) }
    }

    /// A mirror step: the plan of least `<cost, Q> + epsilon KL(Q | old Q)`, up to an L1 error of `tolerance`.
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
        // From zero potentials, hence no annealing: the costs are those of an iteration under way.
        let coupling = solver.start(&vec![0.0; latent.len()]).solve(&ground, &self.weights, &latent)?;
        self.plan = coupling.into_plan();
        Ok(())
    }

    /// The plan brought to its marginals: what lies above them is scaled down, and what is missing then is added as a
    /// product. Returns the L1 distance that single precision leaves.
    pub fn round(&mut self) -> f64 {
        let latent = uniform(self.plan.ncols());
        let mut plan = self.plan.mapv(f64::from);
        let share = |wanted: f64, sum: f64| if sum > wanted { wanted / sum } else { 1.0 };
        for (axis, wanted) in [(Axis(0), self.weights.as_slice()), (Axis(1), &latent)] {
            for (mut lane, &wanted) in plan.axis_iter_mut(axis).zip(wanted) {
                let factor = share(wanted, lane.sum());
                lane *= factor;
            }
        }
        let missing =
            |axis, wanted: &[f64]| -> Array1<f64> { &ArrayView1::from(wanted) - &plan.sum_axis(axis) };
        let (rows, columns) = (missing(Axis(1), &self.weights), missing(Axis(0), &latent));
        let mass = rows.sum();
        if mass > 0.0 {
            for (mut row, missing) in plan.rows_mut().into_iter().zip(&rows) {
                row.scaled_add(missing / mass, &columns);
            }
        }
        self.plan = plan.mapv(|p| p as f32);
        let distance = |axis, wanted: &[f64]| -> f64 {
            let sums = self.plan.mapv(f64::from).sum_axis(axis);
            sums.iter().zip(wanted).map(|(sum, wanted)| (sum - wanted).abs()).sum()
        };
        distance(Axis(1), &self.weights) + distance(Axis(0), &latent)
    }
}

/// One cloud and its part of the plan.
struct Side {
    points: Array2<f32>,
    squares: Array1<f32>,
    factor: Factor,
}

impl Side {
    fn new(points: Array2<f32>, weights: Vec<f64>) -> Self {
        let squares = points.rows().into_iter().map(|p| p.dot(&p)).collect();
        Self { points, squares, factor: Factor::new(weights) }
    }

    /// Where the latent points lie in this cloud: means, and means of squared norms.
    fn images(&self, rank: usize) -> (Array2<f32>, Array1<f32>) {
        let (plan, r) = (self.factor.plan.t(), rank as f32);
        (plan.dot(&self.points) * r, plan.dot(&self.squares) * r)
    }

    /// A mirror step towards latent points at `centres`.
    fn step(
        &mut self,
        centres: &Array2<f32>,
        spreads: &Array1<f32>,
        epsilon: f64,
        tolerance: f64,
    ) -> Result<()> {
        self.factor.step(self.points.dot(&centres.t()) * -2.0 + spreads, epsilon, tolerance)
    }

    /// `<P, C>` with the other side.
    fn cost(&self, other: &Self, rank: usize) -> f64 {
        let mean = |s: &Self| -> f64 {
            s.factor.weights.iter().zip(&s.squares).map(|(w, &q)| w * f64::from(q)).sum()
        };
        let ((mine, _), (theirs, _)) = (self.images(rank), other.images(rank));
        let inner: f64 = mine.iter().zip(&theirs).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (mean(self) + mean(other) - 2.0 * inner / rank as f64).max(0.0)
    }
}

/// Points far from one another: each the farthest, among an evenly spaced sample, from those chosen before (Gonzalez 1985).
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
