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
//! [`GromovPlan::next_best`] tells how clear the choice between the optima was. Which distances are compared
//! matters as much: [`geodesic()`] follows a curved cloud.
//!
//! Both methods hold dense plans `[n, m]`; for many points use [`low_rank_gromov`]. Gradients have the factor
//! two of POT. OTT omits it, so its epsilon is half of the epsilon here.

mod entrywise;
mod factors;
mod geodesic;
mod lowrank;
mod problem;
mod product;
mod quadratic;
mod solver;
mod space;
mod starts;

pub use geodesic::geodesic;
pub use lowrank::low_rank_gromov;
pub use quadratic::quadratic_assignment;
pub use solver::GromovWasserstein;
pub use space::Space;
pub use starts::DELIBERATE_STARTS;

use ndarray::Array2;
use rayon::prelude::*;
use std::time::Instant;

use crate::{Error, Result, StopReason};
use entrywise::distance;
use problem::{GromovProblem, GromovTrial, inner};
use starts::Starts;

/// Iterations after which starts are compared.
const SCREENED: usize = 5;
/// Plans of at most this many entries are improved side by side, one per thread; the loops over a larger one
/// keep all threads busy.
const SMALL: usize = 1 << 18;
/// Starts per thread whose plans are in memory at the same time.
const TOGETHER: usize = 8;
/// Starts that are continued after that, besides the first one.
const CONTINUED: usize = 3;
/// Plans at a smaller L1 distance, which is at most 2, belong to the same optimum.
const SAME: f64 = 0.5;
/// Another optimum is about as good if it is above the best by at most this share of it, or by this share of
/// what is unmatched, which is rounding.
const AMBIGUOUS: f64 = 0.1;
const ROUNDING: f64 = 1e-6;

/// A plan between two spaces at a stationary point of the objective.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GromovPlan {
    /// The plan `T[n, m]`.
    pub plan: Array2<f32>,
    /// The objective without the entropy term, `(1 - alpha) <M, T> + alpha GW(T)`.
    pub value: f64,
    /// The objective of the product plan, which matches nothing; see [`GromovPlan::unexplained`].
    pub unmatched: f64,
    /// What is minimised, and what the optima are compared by: the value, for the entropic method plus
    /// `epsilon KL(T | a b^T)`.
    pub objective: f64,
    /// [`GromovPlan::objective`] of the best other optimum that a start led to; `None` if all led to one, or
    /// there was one start; see [`GromovPlan::is_ambiguous`].
    pub next_best: Option<f64>,
    /// L1 distance of both marginals from the weights.
    pub marginal_error: f64,
    /// Outer iterations of the best start.
    pub iterations: usize,
    /// Wall time of all starts.
    pub seconds: f64,
    /// Why the best start stopped.
    pub stop: StopReason,
    /// The objective of a perfect match.
    least: f64,
}

impl GromovPlan {
    /// Returns the share of the difference between the spaces that the plan leaves: 0 if it matches them
    /// perfectly, 1 if no better than the product plan. A perfect match is one of objective 0, or if linear
    /// costs are negative, one that moves all mass at the least of them.
    pub fn unexplained(&self) -> f64 {
        let most = self.unmatched - self.least;
        if most > 0.0 { (self.value - self.least) / most } else { 1.0 }
    }

    /// Returns whether another optimum is about as good, so that the distances hardly tell which matching is
    /// right: its objective is above this one's by at most a tenth of it.
    pub fn is_ambiguous(&self) -> bool {
        let margin = AMBIGUOUS * (self.value - self.least) + ROUNDING * (self.unmatched - self.least);
        self.next_best.is_some_and(|next| next <= self.objective + margin)
    }
}

impl GromovWasserstein {
    /// Solves between the spaces `x` and `y` with weights `a[n]` and `b[m]` of equal sums, which are
    /// normalised to one.
    ///
    /// # Errors
    /// When weights are invalid, a setting is out of range, the linear cost is not finite or has another
    /// shape, or the distances are outside of 1e-32 to 1e32.
    pub fn solve(&self, x: &Space, y: &Space, a: &[f64], b: &[f64]) -> Result<GromovPlan> {
        if let Some((x, y, square)) = in_range(x, y)? {
            let mut found = self.in_units_of(square).solve(&x, &y, a, b)?;
            found.value *= square;
            found.objective *= square;
            found.unmatched *= square;
            found.least *= square;
            found.next_best = found.next_best.map(|value| value * square);
            return Ok(found);
        }
        let clock = Instant::now();
        let shape = (x.size(), y.size());
        let (a, b, _) = crate::balanced(a, b, shape)?;
        self.check(shape)?;
        let square = |space: &Space, weights: &[f64]| inner(&space.moments(weights).1, weights);
        let alpha = self.linear.as_ref().map_or(1.0, |(_, alpha)| *alpha);
        let constant = alpha * (square(x, &a) + square(y, &b));
        let problem = GromovProblem { solver: self, x, y, a: &a, b: &b, clock, constant };
        let starts = Starts::new(x, y, &a, &b, self.starts);
        let mut found = self.trials(&problem, &starts)?;
        found.sort_by(|a, b| a.objective.total_cmp(&b.objective));
        let mut found = found.into_iter();
        let best = found.next().ok_or(Error::Empty("list of starts"))?;
        let next = found.find(|other| distance(&other.plan, &best.plan) > SAME);
        Ok(GromovPlan {
            plan: best.plan,
            value: best.value,
            unmatched: problem.value(&starts.plan(0)?),
            objective: best.objective,
            next_best: next.map(|other| other.objective),
            marginal_error: best.marginal_error,
            iterations: best.iterations,
            seconds: clock.elapsed().as_secs_f64(),
            stop: best.stop.unwrap_or(StopReason::Iterations),
            least: self.linear.as_ref().map_or(0.0, |(m, alpha)| {
                (1.0 - alpha) * m.iter().fold(0.0_f64, |low, &c| low.min(f64::from(c)))
            }),
        })
    }

    /// Runs every start for a few iterations, and the most promising ones until they stop.
    fn trials(&self, problem: &GromovProblem<'_>, starts: &Starts<'_>) -> Result<Vec<GromovTrial>> {
        let (mut first, mut found): (Option<GromovTrial>, Vec<GromovTrial>) = (None, Vec::new());
        let pause = if self.starts > 1 { SCREENED } else { usize::MAX };
        let screened = |start: usize| -> Result<GromovTrial> {
            let basis = if self.epsilon.is_none() { starts.in_order(start) } else { None };
            let mut trial = problem.trial(starts.plan(start)?, basis);
            problem.improve(&mut trial, pause)?;
            Ok(trial)
        };
        let small = problem.a.len() * problem.b.len() <= SMALL;
        let together = if small { TOGETHER * rayon::current_num_threads() } else { 1 };
        let numbers: Vec<usize> = (0..self.starts).collect();
        for numbers in numbers.chunks(together) {
            let trials: Vec<GromovTrial> =
                numbers.par_iter().with_max_len(1).map(|start| screened(*start)).collect::<Result<_>>()?;
            let over = trials.iter().any(GromovTrial::is_cut_short);
            for trial in trials {
                match &first {
                    None => first = Some(trial),
                    Some(first)
                        if distance(&first.plan, &trial.plan) < SAME
                            && first.objective <= trial.objective => {}
                    Some(_) => keep(&mut found, trial),
                }
            }
            if over {
                break;
            }
        }
        // The product plan is continued in any case, so that more starts are never worse than it alone.
        found.extend(first);
        for trials in found.chunks_mut(together) {
            let improve = |trial| problem.improve(trial, usize::MAX);
            trials.par_iter_mut().with_max_len(1).try_for_each(improve)?;
        }
        Ok(found)
    }
}

/// Returns both spaces in units of the largest distance, and the square of this unit, if products of the
/// distances would leave the range of single precision.
fn in_range(x: &Space, y: &Space) -> Result<Option<(Space, Space, f64)>> {
    let top = x.size_of_distances().max(y.size_of_distances());
    if top == 0.0 || (1e-6..1e6).contains(&top) {
        return Ok(None);
    }
    if !(TINY..1.0 / TINY).contains(&top) {
        let why = "they leave the range of single precision: divide them by the largest one";
        return Err(Error::Breakdown { what: "comparing distances", why });
    }
    let (mut x, mut y) = (x.clone(), y.clone());
    x.divide(top);
    y.divide(top);
    Ok(Some((x, y, f64::from(top).powi(2))))
}

/// Smaller distances lose digits in single precision.
const TINY: f32 = 1e-32;

/// Adds a trial to the best ones that lead to different plans.
fn keep(found: &mut Vec<GromovTrial>, trial: GromovTrial) {
    match found.iter_mut().find(|other| distance(&other.plan, &trial.plan) < SAME) {
        Some(same) if trial.objective < same.objective => *same = trial,
        Some(_) => {}
        None => found.push(trial),
    }
    found.sort_by(|a, b| a.objective.total_cmp(&b.objective));
    found.truncate(CONTINUED);
}
