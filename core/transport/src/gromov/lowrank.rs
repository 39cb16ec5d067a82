//! Gromov-Wasserstein plans of low rank: time and memory linear in the number of points.
//!
//! `P = r Q R^T`, Q and R plans from either cloud to r latent points of equal weight (Scetbon, Peyré and Cuturi 2022, arXiv
//! 2106.01128, with the inner weights held fixed). Between squared distances the objective is, on plans with given
//! marginals, a linear function less `8 |X^T P Y|^2`: it is concave, so it lies below its linearisation, and each mirror step
//! in Q or in R along the gradient `-4 r^2 D_x Q (R^T D_y R)` lowers it, however long. Which local optimum that finds is up
//! to the start: balanced clusters of each cloud around spread-out points, matched by a Gromov-Wasserstein plan between their
//! r x r mean distances (quantised Gromov-Wasserstein; Chowdhury, Miller and Needham 2021, arXiv 2104.02013).
//!
//! Refused: spaces given as a matrix, whose size is what low rank avoids and whose objective need not be concave.

use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use std::time::Instant;

use super::product::product;
use super::{Gromov, Space};
use crate::lowrank::{Factor, spread_out};
use crate::{Error, Limits, LowRankPlan, Result, uniform};

/// How the first steps go: their regularisation as a share of the gradient's standard deviation, and the L1 error of their
/// marginals. Where rounding lets the objective rise instead, they become softer and more exact, so many times at most.
const STEP: f64 = 0.1;
const ERROR: f64 = 1e-3;
const SOFTER: [f64; 3] = [1.0, 3.0, 9.0];
/// The start's regularisation as a share of the mean squared distance.
const CLUSTER: f64 = 0.05;
/// Starts of the plan between the clusters.
const STARTS: usize = 8;
/// Rows that are in double precision at a time.
const BLOCK: usize = 2048;

/// A Gromov-Wasserstein plan of rank `rank` between spaces of points, with weights of equal sums (taken as one); stops when a
/// step lowers the objective by less than `tolerance` of it. Its `transport_cost` is the objective.
///
/// # Errors
/// When a space was given as a matrix, weights are no weights or of unequal sums, and for a rank of zero.
pub fn low_rank_gromov(
    x: &Space,
    y: &Space,
    (a, b): (&[f64], &[f64]),
    rank: usize,
    tolerance: f64,
    limits: &Limits,
) -> Result<LowRankPlan> {
    let clock = Instant::now();
    if rank == 0 {
        return Err(Error::Setting { what: "rank", expected: "a positive number", got: 0.0 });
    }
    let rank = rank.min(x.size()).min(y.size());
    let (a, b, _) = crate::balanced(a, b, (x.size(), y.size()))?;
    let (mut x, mut y) = (Side::clustered(x, a, rank)?, Side::clustered(y, b, rank)?);
    y.match_to(&x, limits)?;
    let apart = x.square() + y.square();
    let (mut before, mut pace) = (f64::INFINITY, 0);
    for iteration in 1.. {
        let errors = (x.step(&y, SOFTER[pace])?, y.step(&x, SOFTER[pace])?);
        let value = apart - 2.0 * x.agreement(&y);
        let mut fall = ((before - value) / value.abs().max(f64::MIN_POSITIVE)).max(0.0);
        if value > before && pace + 1 < SOFTER.len() {
            (pace, fall) = (pace + 1, f64::INFINITY);
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

/// One space and its part of the plan.
struct Side<'s> {
    space: &'s Space,
    left: ArrayView2<'s, f32>,
    right: ArrayView2<'s, f32>,
    factor: Factor,
}

impl<'s> Side<'s> {
    /// A balanced clustering around points far from one another.
    fn clustered(space: &'s Space, weights: Vec<f64>, rank: usize) -> Result<Self> {
        let Some(factors) = space.of_points() else {
            let why = "it takes spaces of points with squared distances, not matrices: leave the rank out";
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
        let mut factor = Factor::new(weights);
        factor.step(cost, if epsilon > 0.0 { epsilon } else { 1.0 }, 1e-3)?;
        Ok(Self { space, left, right, factor })
    }

    /// Renames the latent points after those of `other` that they are most like, by their distances.
    fn match_to(&mut self, other: &Self, limits: &Limits) -> Result<()> {
        let between = |side: &Self| -> Result<Space> {
            let distances = side.latent_distances();
            Space::matrix(((&distances + &distances.t()) / 2.0).view())
        };
        let rank = self.factor.plan.ncols();
        let share = limits.time / 2;
        let solver = Gromov::conditional_gradient().starts(STARTS).time_limit(share);
        let weights = uniform(rank);
        let found = solver.solve(&between(other)?, &between(self)?, &weights, &weights)?;
        self.factor.plan = product(rank as f32, self.factor.plan.view(), found.plan.t());
        Ok(())
    }

    /// Mean distances between latent points, `r^2 Q^T D Q`.
    fn latent_distances(&self) -> Array2<f32> {
        let plan = self.factor.plan.view();
        let rank = plan.ncols() as f32;
        product(rank * rank, plan.t(), self.space.times(plan).view())
    }

    /// A mirror step along the gradient, the other side held, and the L1 error of the marginals after it.
    fn step(&mut self, other: &Self, softer: f64) -> Result<f64> {
        let reach = self.space.times(self.factor.plan.view());
        let mut gradient = product(-4.0, reach.view(), other.latent_distances().view());
        // What is the same for a whole row or column moves nothing.
        let rows = gradient.mean_axis(Axis(1)).unwrap_or_default();
        gradient -= &rows.insert_axis(Axis(1));
        let columns = gradient.mean_axis(Axis(0)).unwrap_or_default();
        gradient -= &columns;
        let squares = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        let spread = (squares / gradient.len() as f64).sqrt();
        let epsilon = if spread > 0.0 { softer * STEP * spread } else { 1.0 };
        self.factor.step(gradient, epsilon, ERROR / (softer * softer))?;
        Ok(self.factor.round()) // the objective's terms nearly cancel and would show what is missing many times over
    }

    /// `sum w_i w_k D_ik^2`, from two matrices of the factors' width.
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

    /// `<D_x P D_y, P>`; in double precision, for the factors' products cancel.
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

/// `Z^T M` in double precision, `M` given for some rows at a time.
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
