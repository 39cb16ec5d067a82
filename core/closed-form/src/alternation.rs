//! Alternates an optimal plan between two clouds and a rotation of one onto the other (Grave, Joulin and
//! Berthet 2019, arXiv 1805.11222).

use std::time::Duration;

use chiasm_geometry::linalg::product;
use chiasm_parameters::Choice;
use chiasm_transport::{Cost, PlanEntry, Sinkhorn, SolverLimits, exact};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::partners::PartnerClouds;
use crate::procrustes::polar;
use crate::{Error, Result};

const EPS_SCALE: f64 = 0.05;
const TIME_LIMIT: f64 = 600.0;
/// The largest number of items for the exact solver: their distances take 3 GiB in double precision.
const MOST_EXACT: usize = 20_000;
/// The iteration ends when no rotation changes by more than this, in Frobenius norm.
const STILL: f64 = 1e-3;

/// How the plan of each turn is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "lowercase")]
pub enum PlanSolver {
    /// Entropic: each item goes to a mean of its likely partners.
    Sinkhorn,
    /// Exact: each item goes to one partner, or a few where counts differ.
    Emd,
}

/// The settings of the iteration.
#[derive(Debug, Clone)]
pub(crate) struct Alternation {
    pub(crate) solver: PlanSolver,
    /// Sinkhorn's regularisation as a share of the mean cost.
    pub(crate) eps_scale: Option<f64>,
    /// The weight of an item without a partner, where a pair has weight 1.
    pub(crate) weight: f64,
    /// The largest number of turns.
    pub(crate) steps: usize,
    /// The largest number of seconds of one exact plan.
    pub(crate) time_limit: Option<f64>,
}

impl Alternation {
    /// The entropic solver.
    pub(crate) fn entropic(&self) -> Sinkhorn {
        Sinkhorn::of_mean_cost(self.eps_scale.unwrap_or(EPS_SCALE)).tolerance(1e-3)
    }

    /// Alternates from the rotation `start` until the rotation converges; returns the last plan's cost and
    /// the rotation. `pull` is the sum of products of the known pairs; `tick` is called before each turn, and
    /// its error stops the iteration.
    pub(crate) fn run(
        &self,
        (a, b): (&PartnerClouds, &PartnerClouds),
        pull: &Array2<f64>,
        start: &Array2<f64>,
        tick: &dyn Fn(usize) -> Result<()>,
    ) -> Result<(f64, Array2<f64>)> {
        let weighted = weighted(a);
        let (mut turn, mut cost) = (start.clone(), 0.0);
        for step in 0..self.steps {
            tick(step)?;
            let (paid, targets) = self.targets((a, b), &turn, &b.rest)?;
            cost = paid;
            let next = polar((product(&weighted.t(), &targets)? * self.weight + pull).view())?;
            let moved = (&next - &turn).iter().map(|d| d * d).sum::<f64>().sqrt();
            turn = next;
            if moved < STILL {
                break;
            }
        }
        Ok((cost, turn))
    }

    /// Returns the cost of the plan from the rotated items without a partner to those of the reference, and
    /// for each item the mean of the rows of `carried`, one for each item of the reference, under its plan.
    pub(crate) fn targets(
        &self,
        (a, b): (&PartnerClouds, &PartnerClouds),
        turn: &Array2<f64>,
        carried: &Array2<f64>,
    ) -> Result<(f64, Array2<f64>)> {
        let [mass, held] = [&a.weights, &b.weights].map(|weights| (weights / weights.sum()).to_vec());
        let x = product(&a.rest, turn)?.mapv(|v| v as f32);
        let y = b.rest.mapv(|v| v as f32);
        match self.solver {
            PlanSolver::Sinkhorn => {
                let cost = Cost::squared_euclidean(x.view(), y.view())?;
                let coupling = self.entropic().solve(&cost, &mass, &held)?;
                let carried = carried.mapv(|v| v as f32);
                let targets = coupling.barycentric(carried.view())?.mapv(f64::from);
                Ok((coupling.report.transport_cost, targets))
            }
            PlanSolver::Emd => self.exact_targets((x.view(), y.view()), [&mass, &held], carried),
        }
    }

    fn exact_targets(
        &self,
        (x, y): (ArrayView2<'_, f32>, ArrayView2<'_, f32>),
        [mass, held]: [&[f64]; 2],
        carried: &Array2<f64>,
    ) -> Result<(f64, Array2<f64>)> {
        let most = x.nrows().max(y.nrows());
        if most > MOST_EXACT {
            let expected = format!("at most {MOST_EXACT} without a partner for solver = emd");
            return Err(Error::data("items", expected, format!("{most}; set solver = sinkhorn")));
        }
        // For unit rows the assignment of least distance is that of most similarity.
        let cost = x.dot(&y.t()).mapv(|s| 1.0 - f64::from(s));
        let seconds = self.time_limit.unwrap_or(TIME_LIMIT);
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let found = exact(cost.view(), mass, held, &SolverLimits::new(usize::MAX).time(time))?;
        let mut sums = Array2::zeros((x.nrows(), carried.ncols()));
        for &PlanEntry { source: i, target: j, mass: moved } in &found.entries {
            sums.row_mut(i).scaled_add(moved / mass[i], &carried.row(j));
        }
        Ok((found.transport_cost, sums))
    }
}

/// The items without a partner, times their weights.
fn weighted(a: &PartnerClouds) -> Array2<f64> {
    &a.rest * &a.weights.view().insert_axis(Axis(1))
}
