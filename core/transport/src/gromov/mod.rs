//! Gromov-Wasserstein: transport between spaces that share no coordinates, by what their distances say.
//!
//! `min_T sum (D_x[i,k] - D_y[j,l])^2 T[i,j] T[k,l]` over plans with the given marginals; fused with a linear cost M it is
//! `(1 - alpha) <M, T> + alpha GW(T)` (Vayer et al. 2020, arXiv 1811.02834). Two methods: entropic, projected mirror steps
//! `T <- Sinkhorn(grad, epsilon)` (Peyré et al. 2016), each warm-started at the last one's potentials, and conditional
//! gradient, exact transport of the gradient and a line search. Both find a stationary point, not the best: from the
//! product plan they can stick, so several starts are tried where asked for, and known pairs enter as a linear cost
//! ([`Gromov::anchors`]). Both hold plans `[n, m]`; for many points there is [`low_rank_gromov`]. Gradients follow POT's convention (a factor two; OTT has none: its epsilon is half of this).

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

use crate::{Cost, Error, Limits, Progress, Result, Sinkhorn, Stop, exact, on_line};
use product::{dot, unit_hash};
use space::{agreement, sandwich};

/// A Gromov-Wasserstein solver with its settings.
#[derive(Debug, Clone)]
pub struct Gromov {
    epsilon: Option<f64>,
    annealing: Option<f64>,
    tolerance: f64,
    limits: Limits,
    starts: usize,
    linear: Option<(Array2<f32>, f64)>,
}

/// A stationary plan between two spaces.
#[derive(Debug, Clone)]
pub struct GromovPlan {
    /// The plan `T[n, m]`.
    pub plan: Array2<f32>,
    /// The objective without its entropy: `(1 - alpha) <M, T> + alpha GW(T)`.
    pub value: f64,
    /// L1 distance of both marginals from the weights.
    pub marginal_error: f64,
    /// Outer iterations of the start that won.
    pub iterations: usize,
    /// Wall time of all starts.
    pub seconds: f64,
    /// Why the winning start stopped.
    pub stop: Stop,
}

impl Gromov {
    /// Entropic, with `epsilon` in units of squared distances; at most 100 outer iterations.
    pub fn entropic(epsilon: f64) -> Self {
        Self {
            epsilon: Some(epsilon),
            annealing: None,
            tolerance: 1e-5,
            limits: Limits::new(100),
            starts: 1,
            linear: None,
        }
    }

    /// Conditional gradient: plans are sparse, the objective has no entropy.
    pub fn conditional_gradient() -> Self {
        Self { epsilon: None, ..Self::entropic(1.0) }
    }

    /// Begins at `start` (above epsilon) and lowers it by half after each outer iteration: fewer poor optima.
    pub fn annealing(mut self, start: f64) -> Self {
        self.annealing = Some(start);
        self
    }

    /// Stops when an outer iteration moves less mass than this; 0 runs all iterations.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The most outer iterations.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.limits.iterations = iterations;
        self
    }

    /// The longest time, all starts together.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// Calls `watcher` after each outer iteration; `Break` cancels.
    pub fn watch(
        mut self,
        watcher: impl Fn(&Progress) -> std::ops::ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.limits = self.limits.watch(watcher);
        self
    }

    /// Tries so many starts and keeps the best: the product plan, the match of mean distances (a lower bound's plan, both
    /// ways round), then product plans tilted at random from a fixed seed.
    pub fn starts(mut self, starts: usize) -> Self {
        self.starts = starts.max(1);
        self
    }

    /// A linear cost `M[n, m]` beside the distances: `(1 - alpha) <M, T> + alpha GW(T)`.
    pub fn fused(mut self, linear: ArrayView2<'_, f32>, alpha: f64) -> Self {
        self.linear = Some((linear.to_owned(), alpha));
        self
    }

    /// Known pairs `(i, j)` as a linear cost: the mean over pairs k of `(D_x[i, i_k] - D_y[j, j_k])^2`, weighted
    /// `1 - alpha`. With a few pairs in general position this alone nearly tells all points apart.
    ///
    /// # Errors
    /// When there is no pair or an index lies outside its space.
    pub fn anchors(self, x: &Space, y: &Space, pairs: &[(usize, usize)], alpha: f64) -> Result<Self> {
        if pairs.is_empty() {
            return Err(Error::Empty("the list of anchors"));
        }
        if let Some(&(i, j)) = pairs.iter().find(|(i, j)| *i >= x.size() || *j >= y.size()) {
            let (what, expected, got) =
                if i >= x.size() { ("source anchor", x.size(), i) } else { ("target anchor", y.size(), j) };
            return Err(Error::Shape { what, expected, got });
        }
        let near = |space: &Space, of: fn(&(usize, usize)) -> usize| -> Vec<Vec<f32>> {
            space.rows(|_, row| pairs.iter().map(|pair| row[of(pair)]).collect())
        };
        let (x, y) = (near(x, |pair| pair.0), near(y, |pair| pair.1));
        let linear = Array2::from_shape_fn((x.len(), y.len()), |(i, j)| {
            x[i].iter().zip(&y[j]).map(|(x, y)| (x - y).powi(2)).sum::<f32>() / pairs.len() as f32
        });
        Ok(self.fused(linear.view(), alpha))
    }

    /// Solves between spaces with weights `a[n]`, `b[m]` of equal sums (taken as one).
    ///
    /// # Errors
    /// On weights that are no weights, settings out of range, and a linear cost of another shape or not finite.
    pub fn solve(&self, x: &Space, y: &Space, a: &[f64], b: &[f64]) -> Result<GromovPlan> {
        let clock = Instant::now();
        let shape = (x.size(), y.size());
        let (a, b, _) = crate::balanced(a, b, shape)?;
        self.check(shape)?;
        let ((mean_x, _), (mean_y, _)) = (x.moments(&a), y.moments(&b));
        let problem = Problem { setting: self, x, y, a: &a, b: &b, clock };
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
        let mut best = best.ok_or(Error::Empty("the list of starts"))?;
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

struct Problem<'p> {
    setting: &'p Gromov,
    x: &'p Space,
    y: &'p Space,
    a: &'p [f64],
    b: &'p [f64],
    clock: Instant,
}

impl Problem<'_> {
    fn alpha(&self) -> f64 {
        self.setting.linear.as_ref().map_or(1.0, |(_, alpha)| *alpha)
    }

    /// The gradient but for a part that only the marginals decide: `(1 - alpha) M - 4 alpha D_x T D_y`.
    fn gradient(&self, plan: &Array2<f32>) -> Array2<f32> {
        let mut gradient = sandwich((-4.0 * self.alpha()) as f32, self.x, plan.view(), self.y);
        if let Some((linear, alpha)) = &self.setting.linear {
            let weight = (1.0 - alpha) as f32;
            Zip::from(&mut gradient).and(linear).par_for_each(|g, &m| *g += weight * m);
        }
        gradient
    }

    /// The objective at a plan. What the marginals decide is taken at the plan's own, for the terms nearly cancel and would
    /// show an error in its mass many times over.
    fn value(&self, plan: &Array2<f32>) -> f64 {
        let (rows, columns) = (masses(plan.rows()), masses(plan.columns()));
        let square = |space: &Space, v: &Array1<f64>| inner(&space.moments(&v.to_vec()).1, &v.to_vec());
        let apart = square(self.x, &rows) + square(self.y, &columns) - 2.0 * agreement(self.x, plan, self.y);
        let linear = self.setting.linear.as_ref().map_or(0.0, |(m, alpha)| (1.0 - alpha) * dot(m, plan));
        (self.alpha() * apart + linear).max(0.0)
    }

    fn entropic(&self, mut plan: Array2<f32>, epsilon: f64) -> Result<GromovPlan> {
        let limits = &self.setting.limits;
        let mut now = self.setting.annealing.unwrap_or(epsilon).max(epsilon);
        let mut potential: Option<Vec<f64>> = None;
        let mut moved = f64::INFINITY;
        for iteration in 1.. {
            let gradient = self.gradient(&plan);
            let cost = Cost::matrix(gradient.view())?;
            // Loose while the plan still moves much, and never looser than what the last step was worth.
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
            if let Some(stop) = limits.stop(iteration, self.clock, settled, self.setting.tolerance) {
                return Ok(self.found(plan, Some(error), iteration, stop));
            }
        }
        unreachable!("the loop above ends by returning")
    }

    fn conditional_gradient(&self, mut plan: Array2<f32>) -> Result<GromovPlan> {
        let limits = &self.setting.limits;
        let mut gradient = self.gradient(&plan);
        for iteration in 1.. {
            let cost = gradient.mapv(f64::from);
            let left = limits.time.saturating_sub(self.clock.elapsed());
            let target = match exact(cost.view(), self.a, self.b, &Limits::new(usize::MAX).time(left)) {
                Ok(target) if target.stop == Stop::Converged => target.plan().mapv(|p| p as f32),
                // Cut off, it is no plan: what there was before it stands.
                Ok(target) => return Ok(self.found(plan, None, iteration - 1, target.stop)),
                Err(_) if self.clock.elapsed() >= limits.time => {
                    return Ok(self.found(plan, None, iteration - 1, Stop::Time));
                }
                Err(error) => return Err(error),
            };
            let direction = &target - &plan;
            let slope = dot(&gradient, &direction);
            // On the line the objective is `value + slope t + bend t^2`.
            let beyond = self.gradient(&target);
            let bend = 0.5 * (dot(&beyond, &direction) - slope);
            let step = if bend > 0.0 {
                (-slope / (2.0 * bend)).clamp(0.0, 1.0)
            } else {
                f64::from(slope + bend < 0.0)
            };
            let moved = step * direction.iter().map(|d| f64::from(d.abs())).sum::<f64>();
            Zip::from(&mut plan).and(&direction).par_for_each(|p, &d| *p += step as f32 * d);
            Zip::from(&mut gradient).and(&beyond).par_for_each(|g, &to| *g += step as f32 * (to - *g)); // it is affine
            if let Some(stop) = limits.stop(iteration, self.clock, moved, self.setting.tolerance) {
                return Ok(self.found(plan, None, iteration, stop));
            }
        }
        unreachable!("the loop above ends by returning")
    }

    /// With the plan's own marginal error, where the solver does not know it.
    fn found(&self, plan: Array2<f32>, error: Option<f64>, iterations: usize, stop: Stop) -> GromovPlan {
        let marginal_error = error.unwrap_or_else(|| {
            let off =
                |sums: Array1<f64>, w: &[f64]| sums.iter().zip(w).map(|(s, w)| (s - w).abs()).sum::<f64>();
            off(masses(plan.rows()), self.a) + off(masses(plan.columns()), self.b)
        });
        GromovPlan { value: self.value(&plan), plan, marginal_error, iterations, seconds: 0.0, stop }
    }

    /// The k-th start: a plan with the right marginals.
    fn start(&self, k: usize, mean_x: &[f64], mean_y: &[f64]) -> Result<Array2<f32>> {
        let (n, m) = (self.a.len(), self.b.len());
        let product = |i: usize, j: usize| self.a[i] * self.b[j];
        match k {
            0 => Ok(Array2::from_shape_fn((n, m), |(i, j)| product(i, j) as f32)),
            1 | 2 => {
                let sign = if k == 1 { 1.0 } else { -1.0 };
                let turned: Vec<f64> = mean_y.iter().map(|d| sign * d).collect();
                let (moves, _) = on_line(mean_x, &turned, self.a, self.b, 2.0)?;
                let mut plan = Array2::zeros((n, m));
                moves.into_iter().for_each(|(i, j, mass)| plan[[i, j]] += mass as f32);
                Ok(plan)
            }
            _ => {
                // exp of random signs along two random orders of the points, brought to its marginals.
                let wave = |i: usize, s: u64| unit_hash(i as u64, 2 * k as u64 + s) - 0.5;
                let tilt: Vec<f64> = (0..m).map(|j| wave(j, 1)).collect();
                let cost = Array2::from_shape_fn((n, m), |(i, j)| (-8.0 * wave(i, 0) * tilt[j]) as f32);
                Ok(Sinkhorn::new(1.0).solve(&Cost::matrix(cost.view())?, self.a, self.b)?.into_plan())
            }
        }
    }
}

/// The mass of each row or column.
fn masses(lanes: Lanes<'_, f32, Ix1>) -> Array1<f64> {
    let mass = |lane: ArrayView1<'_, f32>| lane.iter().map(|&p| f64::from(p)).sum::<f64>();
    Zip::from(lanes).par_map_collect(mass)
}

fn inner(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn distance(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let rows = Zip::from(x.rows()).and(y.rows());
    let sums: Array1<f64> =
        rows.par_map_collect(|x, y| x.iter().zip(y).map(|(x, y)| f64::from((x - y).abs())).sum());
    sums.sum()
}
