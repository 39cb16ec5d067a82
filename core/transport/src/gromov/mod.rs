//! Gromov-Wasserstein: transport between spaces that share no coordinates, by comparing the distances within
//! each.
//!
//! Minimises `GW(T) = sum (D_x[i,k] - D_y[j,l])^2 T[i,j] T[k,l]` over plans T with the given marginals. Fused
//! with a linear cost M, the objective is `(1 - alpha) <M, T> + alpha GW(T)` (Vayer et al. 2020, arXiv
//! 1811.02834).
//!
//! There are two methods. The entropic one takes projected mirror descent steps
//! `T <- Sinkhorn(grad, epsilon)` (Peyré et al. 2016), each started from the last potentials. Conditional
//! gradient solves exact transport of the gradient and takes a line-search step. Both find a stationary
//! point, not the global optimum: a space that nearly is its own mirror image has several optima. Several
//! starts ([`GromovWasserstein::starts`]) and known pairs ([`GromovWasserstein::anchors`]) help, and
//! [`GromovPlan::rival`] tells how clear the choice between the optima was. Which distances are compared
//! matters as much: [`geodesic()`] follows a curved cloud.
//!
//! Both methods hold dense plans `[n, m]`; for many points use [`low_rank_gromov`]. Gradients have the factor
//! two of POT. OTT omits it, so its epsilon is half of the epsilon here.

mod factors;
mod geodesic;
mod lowrank;
mod problem;
mod product;
mod quadratic;
mod space;
mod starts;

pub use geodesic::geodesic;
pub use lowrank::low_rank_gromov;
pub use quadratic::quadratic_assignment;
pub use space::Space;
pub use starts::DELIBERATE_STARTS;

use ndarray::{Array2, ArrayView2};
use std::time::{Duration, Instant};

use crate::{Cost, Error, Result, SolverLimits, SolverProgress, StopReason};
use problem::{GromovProblem, GromovTrial, distance, inner};
use starts::Starts;

/// Iterations after which starts are compared.
const SCREENED: usize = 5;
/// Starts that are continued after that.
const CONTINUED: usize = 3;
/// Plans at a smaller L1 distance, which is at most 2, belong to the same optimum.
const SAME: f64 = 0.5;

/// A Gromov-Wasserstein solver.
///
/// ```
/// use chiasm_transport::{GromovWasserstein, Space, uniform};
/// let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0], [0.0, 3.0], [2.0, 2.0]];
/// let space = Space::squared_euclidean(x.view())?.normalised();
/// let p = uniform(4);
/// let found = GromovWasserstein::conditional_gradient().starts(3).solve(&space, &space, &p, &p)?;
/// assert!(found.value < 1e-6); // a space is at distance zero from itself
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GromovWasserstein {
    epsilon: Option<f64>,
    annealing: Option<f64>,
    tolerance: f64,
    flatness: f64,
    limits: SolverLimits,
    starts: usize,
    linear: Option<(Array2<f32>, f64)>,
}

/// A plan between two spaces at a stationary point of the objective.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GromovPlan {
    /// The plan `T[n, m]`.
    pub plan: Array2<f32>,
    /// The objective without the entropy term, `(1 - alpha) <M, T> + alpha GW(T)`.
    pub value: f64,
    /// The objective of the product plan, which matches nothing. `value / unmatched` is the share of the
    /// difference between the spaces that no matching removes; it does not depend on the units of D.
    pub unmatched: f64,
    /// The objective of the best other optimum that a start led to; `None` if all led to one, or there was
    /// one start. If it is hardly above `value`, the data do not tell which of both matchings is right.
    pub rival: Option<f64>,
    /// L1 distance of both marginals from the weights.
    pub marginal_error: f64,
    /// Outer iterations of the best start.
    pub iterations: usize,
    /// Wall time of all starts.
    pub seconds: f64,
    /// Why the best start stopped.
    pub stop: StopReason,
}

impl GromovWasserstein {
    /// Entropic method with regularisation `epsilon`, in units of squared entries of D. The defaults are a
    /// tolerance of 1e-5, 100 outer iterations and one start.
    pub fn entropic(epsilon: f64) -> Self {
        Self {
            epsilon: Some(epsilon),
            annealing: None,
            tolerance: 1e-5,
            flatness: 0.0,
            limits: SolverLimits::new(100),
            starts: 1,
            linear: None,
        }
    }

    /// Conditional gradient, with the same defaults. The plans are sparse and the objective has no entropy
    /// term.
    pub fn conditional_gradient() -> Self {
        Self { epsilon: None, ..Self::entropic(1.0) }
    }

    /// Starts at the regularisation `start`, above epsilon, and halves it after each outer iteration until it
    /// reaches epsilon. This avoids some poor local optima.
    pub fn annealing(mut self, start: f64) -> Self {
        self.annealing = Some(start);
        self
    }

    /// Stops when an outer iteration changes the plan by less than this, in L1 norm; 0 runs all iterations.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Of the entropic method: also stops, with [`StopReason::Flat`], when ten outer iterations lower the
    /// objective with its entropy by less than this share of it; 0, the default, never does. The plan may
    /// still drift along directions in which the objective hardly changes, for hundreds of iterations.
    pub fn flat_objective(mut self, share: f64) -> Self {
        self.flatness = share;
        self
    }

    /// Sets the maximum number of outer iterations.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.limits.iterations = iterations;
        self
    }

    /// Sets the maximum wall time of all starts together.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// Calls `watcher` after each outer iteration; `Break` cancels the solve.
    pub fn watch(
        mut self,
        watcher: impl Fn(&SolverProgress) -> std::ops::ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.limits = self.limits.watch(watcher);
        self
    }

    /// Sets the number of starts, of which the best result is kept: first the product plan, then the plans
    /// that match points by their mean distances in ascending and in descending order, then four that match
    /// the two leading principal coordinates with either sign, then random plans from a fixed seed.
    ///
    /// Every start runs for five iterations; the best three that lead to different plans are continued.
    pub fn starts(mut self, starts: usize) -> Self {
        self.starts = starts.max(1);
        self
    }

    /// Adds a linear cost `M[n, m]`: the objective becomes `(1 - alpha) <M, T> + alpha GW(T)`.
    pub fn fused(mut self, linear: ArrayView2<'_, f32>, alpha: f64) -> Self {
        self.linear = Some((linear.to_owned(), alpha));
        self
    }

    /// Adds known pairs `(i_k, j_k)` as a linear cost with weight `1 - alpha`: the mean over k of
    /// `(D_x[i, i_k] - D_y[j, j_k])^2`. A few pairs in general position nearly determine the matching.
    ///
    /// # Errors
    /// When there are no pairs or an index is outside its space.
    pub fn anchors(self, x: &Space, y: &Space, pairs: &[(usize, usize)], alpha: f64) -> Result<Self> {
        if pairs.is_empty() {
            return Err(Error::Empty("list of anchors"));
        }
        if let Some(&(i, j)) = pairs.iter().find(|(i, j)| *i >= x.size() || *j >= y.size()) {
            let (what, got) = if i >= x.size() { ("source anchor", i) } else { ("target anchor", j) };
            let expected = "an index below the number of points of its space";
            return Err(Error::Setting { what, expected, got: got as f64 });
        }
        let to_anchors = |space: &Space, of: fn(&(usize, usize)) -> usize| -> Vec<Vec<f32>> {
            space.rows(|_, row| pairs.iter().map(|pair| row[of(pair)]).collect())
        };
        let (x, y) = (to_anchors(x, |pair| pair.0), to_anchors(y, |pair| pair.1));
        let linear = Array2::from_shape_fn((x.len(), y.len()), |(i, j)| {
            x[i].iter().zip(&y[j]).map(|(x, y)| (x - y).powi(2)).sum::<f32>() / pairs.len() as f32
        });
        Ok(self.fused(linear.view(), alpha))
    }

    /// Solves between the spaces `x` and `y` with weights `a[n]` and `b[m]` of equal sums, which are
    /// normalised to one.
    ///
    /// # Errors
    /// When weights are invalid, a setting is out of range, or the linear cost is not finite or has another
    /// shape.
    pub fn solve(&self, x: &Space, y: &Space, a: &[f64], b: &[f64]) -> Result<GromovPlan> {
        let clock = Instant::now();
        let shape = (x.size(), y.size());
        let (a, b, _) = crate::balanced(a, b, shape)?;
        self.check(shape)?;
        let square = |space: &Space, weights: &[f64]| inner(&space.moments(weights).1, weights);
        let alpha = self.linear.as_ref().map_or(1.0, |(_, alpha)| *alpha);
        let constant = alpha * (square(x, &a) + square(y, &b));
        let problem = GromovProblem { solver: self, x, y, a: &a, b: &b, clock, constant };
        let starts = Starts::new(x, y, &a, &b, self.starts);
        let mut found: Vec<GromovTrial> = Vec::new();
        for start in 0..self.starts {
            let mut trial = problem.trial(starts.plan(start)?);
            problem.improve(&mut trial, if self.starts > 1 { SCREENED } else { usize::MAX })?;
            let over = matches!(trial.stop, Some(StopReason::Cancelled | StopReason::Time));
            keep(&mut found, trial);
            if over {
                break;
            }
        }
        for trial in &mut found {
            problem.improve(trial, usize::MAX)?;
        }
        found.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut found = found.into_iter();
        let best = found.next().ok_or(Error::Empty("list of starts"))?;
        let rival = found.find(|other| distance(&other.plan, &best.plan) > SAME).map(|other| other.value);
        Ok(GromovPlan {
            plan: best.plan,
            value: best.value,
            unmatched: problem.value(&starts.plan(0)?),
            rival,
            marginal_error: best.marginal_error,
            iterations: best.iterations,
            seconds: clock.elapsed().as_secs_f64(),
            stop: best.stop.unwrap_or(StopReason::Iterations),
        })
    }

    fn check(&self, shape: (usize, usize)) -> Result<()> {
        for (what, value) in [("epsilon", self.epsilon), ("annealing start", self.annealing)] {
            if let Some(got) = value.filter(|e| !(*e > 0.0 && e.is_finite())) {
                return Err(Error::Setting { what, expected: "a positive number", got });
            }
        }
        if let Some((linear, alpha)) = &self.linear {
            Cost::matrix(linear.view())?;
            crate::same("rows of the linear cost", shape.0, linear.nrows())?;
            crate::same("columns of the linear cost", shape.1, linear.ncols())?;
            if !(0.0..=1.0).contains(alpha) {
                return Err(Error::Setting { what: "alpha", expected: "a number in [0, 1]", got: *alpha });
            }
        }
        Ok(())
    }
}

/// Adds a trial to the best ones that lead to different plans.
fn keep(found: &mut Vec<GromovTrial>, trial: GromovTrial) {
    match found.iter_mut().find(|other| distance(&other.plan, &trial.plan) < SAME) {
        Some(same) if trial.value < same.value => *same = trial,
        Some(_) => {}
        None => found.push(trial),
    }
    found.sort_by(|a, b| a.value.total_cmp(&b.value));
    found.truncate(CONTINUED);
}
