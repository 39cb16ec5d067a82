//! The iterations of both Gromov-Wasserstein methods.
//!
//! The entropic method computes its gradients beyond the last step, `G(T_k) + b (G(T_k) - G(T_k-1))` with
//! b = 0.8 (heavy-ball momentum; Polyak 1964), which needs no further product because the gradient is affine
//! in T. This has the same stationary points and takes about two thirds of the iterations. Far from an
//! optimum it would lead to other, often worse ones, so b is zero in the first iterations, after a step that
//! moves more than a little mass, and after one that has not lowered the objective with its entropy.

use ndarray::{Array1, Array2};
use std::time::Instant;

use super::entrywise::{distance, dot, entropy, masses, update};
use super::solver::GromovWasserstein;
use super::space::{Space, agreement, sandwich};
use crate::exact::{ExactPlan, PlanEntry, Start, is_assignment, solve};
use crate::{Cost, Result, Sinkhorn, SolverLimits, StopReason};

/// The share of the last change of the gradient that is added to it.
const MOMENTUM: f32 = 0.8;
/// Momentum begins once a step moves less than this, in L1 norm.
const NEAR: f64 = 0.1;
/// The objective is flat if this many iterations lower it by less than the given share of it, and the last
/// one moves little mass.
const WINDOW: usize = 10;
const LITTLE: f64 = 0.02;

/// A step that moves less than this, in L1 norm, leaves similar costs.
const SIMILAR: f64 = 1.0;

/// A checked problem with normalised weights.
pub(super) struct GromovProblem<'p> {
    pub solver: &'p GromovWasserstein,
    pub x: &'p Space,
    pub y: &'p Space,
    pub a: &'p [f64],
    pub b: &'p [f64],
    pub clock: Instant,
    /// The part of the objective that depends on the weights only, `alpha (a^T D_x^2 a + b^T D_y^2 b)`.
    pub constant: f64,
}

/// A solve that can be continued.
pub(super) struct GromovTrial {
    pub plan: Array2<f32>,
    pub value: f64,
    /// What is minimised: the value, and for the entropic method epsilon times the entropy of the plan.
    pub objective: f64,
    pub marginal_error: f64,
    pub iterations: usize,
    /// `None` while it can be continued.
    pub stop: Option<StopReason>,
    potential: Option<Vec<f64>>,
    /// The basis from which the first linear problem starts, where one is known.
    in_order: Option<Vec<PlanEntry>>,
    /// The last solution of conditional gradient's linear problem, from which the next one starts.
    target: Option<ExactPlan>,
    epsilon: f64,
    moved: f64,
}

impl GromovTrial {
    /// Returns whether the time limit or the caller has stopped it.
    pub fn is_cut_short(&self) -> bool {
        matches!(self.stop, Some(StopReason::Cancelled | StopReason::Time))
    }
}

/// The largest marginal error of a plan that is returned.
const MARGINALS: f64 = 1e-5;

/// What the entropic method remembers from its last step.
#[derive(Default)]
struct LastStep {
    /// Whether the next plan is the result, so that its marginals must hold.
    settles: bool,
    gradient: Option<Array2<f32>>,
    entropy: f64,
    /// The objective with its entropy after each step at the final epsilon.
    objectives: Vec<f64>,
}

impl GromovProblem<'_> {
    /// Begins a solve at a plan, and its first linear problem at the basis [`in_order`](crate::exact::in_order).
    pub fn trial(&self, plan: Array2<f32>, in_order: Option<Vec<PlanEntry>>) -> GromovTrial {
        let epsilon = self.solver.epsilon.unwrap_or(0.0);
        GromovTrial {
            plan,
            value: f64::INFINITY,
            objective: f64::INFINITY,
            marginal_error: f64::INFINITY,
            iterations: 0,
            stop: None,
            potential: None,
            in_order,
            target: None,
            epsilon: self.solver.annealing.unwrap_or(epsilon).max(epsilon),
            moved: f64::INFINITY,
        }
    }

    /// Continues a solve until it stops, or until it has done `pause` iterations.
    pub fn improve(&self, trial: &mut GromovTrial, pause: usize) -> Result<()> {
        if trial.stop.is_some() {
            return Ok(());
        }
        match self.solver.epsilon {
            Some(epsilon) => self.entropic(trial, epsilon, pause)?,
            None => self.conditional_gradient(trial, pause)?,
        }
        trial.value = self.value(&trial.plan);
        trial.objective =
            trial.value + self.solver.epsilon.map_or(0.0, |e| e * entropy(&trial.plan, self.a, self.b));
        Ok(())
    }

    fn alpha(&self) -> f64 {
        self.solver.linear.as_ref().map_or(1.0, |(_, alpha)| *alpha)
    }

    /// Returns the gradient without the part that depends on the marginals only:
    /// `(1 - alpha) M - 4 alpha D_x T D_y`.
    fn gradient(&self, plan: &Array2<f32>) -> Array2<f32> {
        let mut gradient = self.change_of_gradient(plan);
        if let Some((linear, alpha)) = &self.solver.linear {
            let weight = (1.0 - alpha) as f32;
            update(&mut gradient, linear, |g, &m| *g += weight * m);
        }
        gradient
    }

    /// Returns the difference of the gradients between which plans differ by `change`, `-4 alpha D_x T D_y`.
    fn change_of_gradient(&self, change: &Array2<f32>) -> Array2<f32> {
        sandwich((-4.0 * self.alpha()) as f32, self.x, change.view(), self.y)
    }

    /// Returns `(1 - alpha) <M, T>`.
    fn linear_part(&self, plan: &Array2<f32>) -> f64 {
        self.solver.linear.as_ref().map_or(0.0, |(m, alpha)| (1.0 - alpha) * dot(m, plan))
    }

    /// Returns the objective at a plan. The terms nearly cancel and would amplify an error in the mass, so
    /// the part that depends on the marginals uses those of the plan.
    pub fn value(&self, plan: &Array2<f32>) -> f64 {
        let [rows, columns] = masses(plan);
        let square = |space: &Space, v: &Array1<f64>| inner(&space.moments(&v.to_vec()).1, &v.to_vec());
        let apart = square(self.x, &rows) + square(self.y, &columns) - 2.0 * agreement(self.x, plan, self.y);
        self.alpha() * apart.max(0.0) + self.linear_part(plan)
    }

    fn entropic(&self, trial: &mut GromovTrial, epsilon: f64, pause: usize) -> Result<()> {
        let limits = &self.solver.limits;
        let mut last = LastStep::default();
        while trial.stop.is_none() && trial.iterations < pause {
            let gradient = self.gradient(&trial.plan);
            let cost = self.extrapolated(&mut last, gradient, trial, epsilon);
            let now = trial.epsilon;
            let next = {
                let cost = Cost::matrix(cost.view())?;
                // Loose while the plan changes much, and never looser than 1 % of the last change.
                let tolerance = if last.settles { 1e-6 } else { (0.01 * trial.moved).clamp(1e-6, 3e-4) };
                let mut solver = Sinkhorn::new(now).tolerance(tolerance).iterations(1000).memory(usize::MAX);
                if let Some(potential) = &trial.potential {
                    solver = solver.start(potential);
                }
                let coupling = solver.solve(&cost, self.a, self.b)?;
                trial.potential = Some(coupling.target_potential().to_vec());
                trial.marginal_error = coupling.report.marginal_error;
                last.entropy = coupling.report.dual.unwrap_or(f64::NAN);
                coupling.into_plan()
            };
            // The dual value is the cost of the plan plus its entropy.
            last.entropy -= dot(&cost, &next);
            trial.moved = distance(&next, &trial.plan);
            trial.plan = next;
            trial.iterations += 1;
            trial.epsilon = (0.5 * now).max(epsilon);
            let settled = if now > epsilon { f64::INFINITY } else { trial.moved };
            let tolerance = self.solver.tolerance;
            trial.stop = limits.stop(trial.iterations, self.clock, settled, tolerance);
            let flat = settled < LITTLE && self.is_flat(&last.objectives);
            trial.stop = trial.stop.or_else(|| flat.then_some(StopReason::Flat));
            let ends = matches!(trial.stop, Some(StopReason::Converged | StopReason::Flat));
            if ends && trial.marginal_error > MARGINALS && !last.settles {
                (trial.stop, last.settles) = (None, true);
            }
        }
        Ok(())
    }

    /// Returns the cost of the next step from the gradient at the current plan, and records the objective
    /// there.
    fn extrapolated(
        &self,
        last: &mut LastStep,
        gradient: Array2<f32>,
        trial: &GromovTrial,
        epsilon: f64,
    ) -> Array2<f32> {
        let Some(before) = last.gradient.take() else {
            last.gradient = Some(gradient.clone());
            return gradient;
        };
        let quadratic = 0.5 * (dot(&gradient, &trial.plan) + self.linear_part(&trial.plan));
        let objective = self.constant + quadratic + last.entropy;
        let lower = last.objectives.last().is_none_or(|before| objective < *before);
        let mut cost = gradient.clone();
        if trial.epsilon > epsilon {
            last.objectives.clear(); // objectives at different epsilons cannot be compared
        } else {
            last.objectives.push(objective);
            if lower && last.objectives.len() > WINDOW && trial.moved < NEAR {
                let step = |c: &mut f32, &b: &f32| *c += MOMENTUM * (*c - b);
                update(&mut cost, &before, step);
            }
        }
        last.gradient = Some(gradient);
        cost
    }

    /// Returns whether the last iterations have lowered the objective by less than the solver's share of it.
    fn is_flat(&self, objectives: &[f64]) -> bool {
        let share = self.solver.flatness;
        let Some(earlier) = objectives.len().checked_sub(WINDOW + 1) else { return false };
        let (from, to) = (objectives[earlier], objectives[earlier + WINDOW]);
        share > 0.0 && from - to < share * to.abs()
    }

    /// Solves the linear problem of conditional gradient. Returns `None`, with the reason in the trial, if it
    /// was cut short.
    fn linear_problem(&self, gradient: &Array2<f32>, trial: &mut GromovTrial) -> Result<Option<Array2<f32>>> {
        let left = self.solver.limits.time.saturating_sub(self.clock.elapsed());
        let limits = SolverLimits::new(usize::MAX).time(left);
        let assigns = is_assignment(self.a, self.b);
        let start = match (&trial.target, &trial.in_order) {
            // The potentials of other costs are a poor start of the assignment.
            (Some(target), _) if !assigns || trial.moved < SIMILAR => Start::Plan(target),
            (None, Some(entries)) if !assigns => Start::InOrder(entries),
            _ => Start::Costs(None),
        };
        let cost = gradient.mapv(f64::from);
        match solve(cost.view(), self.a, self.b, &limits, start) {
            Ok(target) if target.stop == StopReason::Converged => {
                let plan = plan_of(&target.entries, cost.dim());
                trial.target = Some(target);
                return Ok(Some(plan));
            }
            Ok(target) => trial.stop = Some(target.stop),
            Err(_) if self.clock.elapsed() >= self.solver.limits.time => trial.stop = Some(StopReason::Time),
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    fn conditional_gradient(&self, trial: &mut GromovTrial, pause: usize) -> Result<()> {
        let limits = &self.solver.limits;
        let mut gradient = self.gradient(&trial.plan);
        let quadratic = 0.5 * (dot(&gradient, &trial.plan) + self.linear_part(&trial.plan));
        let mut objectives = vec![self.constant + quadratic];
        while trial.stop.is_none() && trial.iterations < pause {
            let target = match &trial.in_order {
                // The gradient at the product plan is rounded, and rounded costs have another optimum.
                Some(entries) if trial.iterations == 0 && self.solver.linear.is_none() => {
                    plan_of(entries, trial.plan.dim())
                }
                _ => match self.linear_problem(&gradient, trial)? {
                    Some(target) => target,
                    None => break,
                },
            };
            let direction = &target - &trial.plan;
            let slope = dot(&gradient, &direction);
            // Along the direction the objective is `value + slope t + bend t^2`, and the gradient is affine.
            let change = match trial.iterations {
                0 => self.gradient(&target) - &gradient,
                _ => self.change_of_gradient(&direction),
            };
            let bend = 0.5 * dot(&change, &direction);
            let step = if bend > 0.0 {
                (-slope / (2.0 * bend)).clamp(0.0, 1.0)
            } else {
                f64::from(slope + bend < 0.0)
            };
            trial.moved = step * distance(&target, &trial.plan);
            update(&mut trial.plan, &direction, |p, &d| *p += step as f32 * d);
            update(&mut gradient, &change, |g, &change| *g += step as f32 * change);
            trial.iterations += 1;
            trial.stop = limits.stop(trial.iterations, self.clock, trial.moved, self.solver.tolerance);
            objectives.push(objectives[objectives.len() - 1] + step * (slope + step * bend));
            trial.stop = trial.stop.or_else(|| self.is_flat(&objectives).then_some(StopReason::Flat));
        }
        let off = |sums: Array1<f64>, w: &[f64]| sums.iter().zip(w).map(|(s, w)| (s - w).abs()).sum::<f64>();
        let [rows, columns] = masses(&trial.plan);
        trial.marginal_error = off(rows, self.a) + off(columns, self.b);
        Ok(())
    }
}

/// Returns the plan with the given entries.
pub(super) fn plan_of(entries: &[PlanEntry], shape: (usize, usize)) -> Array2<f32> {
    let mut plan = Array2::zeros(shape);
    entries.iter().for_each(|entry| plan[[entry.source, entry.target]] += entry.mass as f32);
    plan
}

pub(super) fn inner(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
