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
//! point, not the global optimum, and can stop at the product plan. Several starts
//! ([`GromovWasserstein::starts`]) and known pairs ([`GromovWasserstein::anchors`]) help.
//!
//! Both methods hold dense plans `[n, m]`; for many points use [`low_rank_gromov`]. Gradients have the factor
//! two of POT. OTT omits it, so its epsilon is half of the epsilon here.

mod factors;
mod lowrank;
mod product;
mod quadratic;
mod space;

pub use lowrank::low_rank_gromov;
pub use quadratic::quadratic_assignment;
pub use space::Space;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Ix1, Zip, iter::Lanes};
use std::time::{Duration, Instant};

use crate::{Cost, Error, Result, Sinkhorn, SolverLimits, SolverProgress, StopReason, exact, on_line};
use product::{dot, unit_hash};
use space::{agreement, sandwich};

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
    /// that match points by their mean distances in ascending and in descending order, then random plans from
    /// a fixed seed.
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
        let ((mean_x, _), (mean_y, _)) = (x.moments(&a), y.moments(&b));
        let problem = GromovProblem { solver: self, x, y, a: &a, b: &b, clock };
        let mut best: Option<GromovPlan> = None;
        for start in 0..self.starts {
            let plan = problem.start(start, &mean_x, &mean_y)?;
            let found = match self.epsilon {
                Some(epsilon) => problem.entropic(plan, epsilon)?,
                None => problem.conditional_gradient(plan)?,
            };
            if best.as_ref().is_none_or(|best| found.value < best.value) {
                best = Some(found);
            }
            if clock.elapsed() >= self.limits.time {
                break;
            }
        }
        let mut best = best.ok_or(Error::Empty("list of starts"))?;
        best.seconds = clock.elapsed().as_secs_f64();
        Ok(best)
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

/// A checked problem with normalised weights.
struct GromovProblem<'p> {
    solver: &'p GromovWasserstein,
    x: &'p Space,
    y: &'p Space,
    a: &'p [f64],
    b: &'p [f64],
    clock: Instant,
}

impl GromovProblem<'_> {
    fn alpha(&self) -> f64 {
        self.solver.linear.as_ref().map_or(1.0, |(_, alpha)| *alpha)
    }

    /// Returns the gradient without the part that depends on the marginals only:
    /// `(1 - alpha) M - 4 alpha D_x T D_y`.
    fn gradient(&self, plan: &Array2<f32>) -> Array2<f32> {
        let mut gradient = sandwich((-4.0 * self.alpha()) as f32, self.x, plan.view(), self.y);
        if let Some((linear, alpha)) = &self.solver.linear {
            let weight = (1.0 - alpha) as f32;
            Zip::from(&mut gradient).and(linear).par_for_each(|g, &m| *g += weight * m);
        }
        gradient
    }

    /// Returns the objective at a plan. The terms nearly cancel and would amplify an error in the mass, so
    /// the part that depends on the marginals uses those of the plan.
    fn value(&self, plan: &Array2<f32>) -> f64 {
        let (rows, columns) = (masses(plan.rows()), masses(plan.columns()));
        let square = |space: &Space, v: &Array1<f64>| inner(&space.moments(&v.to_vec()).1, &v.to_vec());
        let apart = square(self.x, &rows) + square(self.y, &columns) - 2.0 * agreement(self.x, plan, self.y);
        let linear = self.solver.linear.as_ref().map_or(0.0, |(m, alpha)| (1.0 - alpha) * dot(m, plan));
        (self.alpha() * apart + linear).max(0.0)
    }

    fn entropic(&self, mut plan: Array2<f32>, epsilon: f64) -> Result<GromovPlan> {
        let limits = &self.solver.limits;
        let mut now = self.solver.annealing.unwrap_or(epsilon).max(epsilon);
        let mut potential: Option<Vec<f64>> = None;
        let mut moved = f64::INFINITY;
        for iteration in 1.. {
            let gradient = self.gradient(&plan);
            let cost = Cost::matrix(gradient.view())?;
            // Loose while the plan changes much, and never looser than 1 % of the last change.
            let tolerance = (0.01 * moved).clamp(1e-6, 3e-4);
            let mut solver = Sinkhorn::new(now).tolerance(tolerance).iterations(1000).memory(usize::MAX);
            if let Some(potential) = &potential {
                solver = solver.start(potential);
            }
            let coupling = solver.solve(&cost, self.a, self.b)?;
            potential = Some(coupling.target_potential().to_vec());
            let error = coupling.report.marginal_error;
            let next = coupling.into_plan();
            moved = distance(&next, &plan);
            plan = next;
            let settled = if now > epsilon { f64::INFINITY } else { moved };
            now = (0.5 * now).max(epsilon);
            if let Some(stop) = limits.stop(iteration, self.clock, settled, self.solver.tolerance) {
                return Ok(self.found(plan, Some(error), iteration, stop));
            }
        }
        unreachable!("the loop above ends by returning")
    }

    fn conditional_gradient(&self, mut plan: Array2<f32>) -> Result<GromovPlan> {
        let limits = &self.solver.limits;
        let mut gradient = self.gradient(&plan);
        for iteration in 1.. {
            let cost = gradient.mapv(f64::from);
            let left = limits.time.saturating_sub(self.clock.elapsed());
            let target = match exact(cost.view(), self.a, self.b, &SolverLimits::new(usize::MAX).time(left)) {
                Ok(target) if target.stop == StopReason::Converged => target.plan().mapv(|p| p as f32),
                // The inner solve was cut short: keep the previous plan.
                Ok(target) => return Ok(self.found(plan, None, iteration - 1, target.stop)),
                Err(_) if self.clock.elapsed() >= limits.time => {
                    return Ok(self.found(plan, None, iteration - 1, StopReason::Time));
                }
                Err(error) => return Err(error),
            };
            let direction = &target - &plan;
            let slope = dot(&gradient, &direction);
            // Along the direction the objective is `value + slope t + bend t^2`.
            let beyond = self.gradient(&target);
            let bend = 0.5 * (dot(&beyond, &direction) - slope);
            let step = if bend > 0.0 {
                (-slope / (2.0 * bend)).clamp(0.0, 1.0)
            } else {
                f64::from(slope + bend < 0.0)
            };
            let moved = step * direction.iter().map(|d| f64::from(d.abs())).sum::<f64>();
            Zip::from(&mut plan).and(&direction).par_for_each(|p, &d| *p += step as f32 * d);
            // The gradient is affine in the plan.
            Zip::from(&mut gradient).and(&beyond).par_for_each(|g, &to| *g += step as f32 * (to - *g));
            if let Some(stop) = limits.stop(iteration, self.clock, moved, self.solver.tolerance) {
                return Ok(self.found(plan, None, iteration, stop));
            }
        }
        unreachable!("the loop above ends by returning")
    }

    /// Builds the result; computes the marginal error of the plan if it is not given.
    fn found(
        &self,
        plan: Array2<f32>,
        error: Option<f64>,
        iterations: usize,
        stop: StopReason,
    ) -> GromovPlan {
        let marginal_error = error.unwrap_or_else(|| {
            let off =
                |sums: Array1<f64>, w: &[f64]| sums.iter().zip(w).map(|(s, w)| (s - w).abs()).sum::<f64>();
            off(masses(plan.rows()), self.a) + off(masses(plan.columns()), self.b)
        });
        GromovPlan { value: self.value(&plan), plan, marginal_error, iterations, seconds: 0.0, stop }
    }

    /// Returns the k-th starting plan, which has the given marginals.
    fn start(&self, k: usize, mean_x: &[f64], mean_y: &[f64]) -> Result<Array2<f32>> {
        let (n, m) = (self.a.len(), self.b.len());
        let product = |i: usize, j: usize| self.a[i] * self.b[j];
        match k {
            0 => Ok(Array2::from_shape_fn((n, m), |(i, j)| product(i, j) as f32)),
            1 | 2 => {
                let sign = if k == 1 { 1.0 } else { -1.0 };
                let turned: Vec<f64> = mean_y.iter().map(|d| sign * d).collect();
                let (entries, _) = on_line(mean_x, &turned, self.a, self.b, 2.0)?;
                let mut plan = Array2::zeros((n, m));
                entries.iter().for_each(|entry| plan[[entry.source, entry.target]] += entry.mass as f32);
                Ok(plan)
            }
            _ => {
                // The exponential of a random rank-one matrix, scaled to the marginals.
                let random = |i: usize, s: u64| unit_hash(i as u64, 2 * k as u64 + s) - 0.5;
                let columns: Vec<f64> = (0..m).map(|j| random(j, 1)).collect();
                let cost = Array2::from_shape_fn((n, m), |(i, j)| (-8.0 * random(i, 0) * columns[j]) as f32);
                Ok(Sinkhorn::new(1.0).solve(&Cost::matrix(cost.view())?, self.a, self.b)?.into_plan())
            }
        }
    }
}

/// Returns the mass of each row or column.
fn masses(lanes: Lanes<'_, f32, Ix1>) -> Array1<f64> {
    let mass = |lane: ArrayView1<'_, f32>| lane.iter().map(|&p| f64::from(p)).sum::<f64>();
    Zip::from(lanes).par_map_collect(mass)
}

fn inner(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Returns the L1 distance of two plans.
fn distance(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let rows = Zip::from(x.rows()).and(y.rows());
    let sums: Array1<f64> =
        rows.par_map_collect(|x, y| x.iter().zip(y).map(|(x, y)| f64::from((x - y).abs())).sum());
    sums.sum()
}
