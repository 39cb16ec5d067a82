//! The settings of a Gromov-Wasserstein solver.

use ndarray::{Array2, ArrayView2};
use std::time::Duration;

use super::space::Space;
use crate::{Cost, Error, Result, SolverLimits, SolverProgress};

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
    pub(super) epsilon: Option<f64>,
    pub(super) annealing: Option<f64>,
    pub(super) tolerance: f64,
    pub(super) flatness: f64,
    pub(super) limits: SolverLimits,
    pub(super) starts: usize,
    pub(super) linear: Option<(Array2<f32>, f64)>,
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

    /// Also stops, with [`crate::StopReason::Flat`], when ten outer iterations lower the objective, for the
    /// entropic method that with its entropy, by less than this share of it; 0, the default, never does. The
    /// plan may still drift along directions in which the objective hardly changes, for hundreds of
    /// iterations.
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

    /// Sets the number of starts, of which the best result is kept: first the product plan, then the plan
    /// that matches points by their mean distances, one side in descending order, then four that match the
    /// two leading principal coordinates with either sign, then random plans from a fixed seed.
    ///
    /// Every start runs for five iterations; the first one and the best three others that lead to different
    /// plans are continued.
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

    /// Returns the solver of the same problem with distances whose squares are in units of `square`.
    pub(super) fn in_units_of(&self, square: f64) -> Self {
        let mut solver = self.clone();
        solver.epsilon = self.epsilon.map(|epsilon| epsilon / square);
        solver.annealing = self.annealing.map(|epsilon| epsilon / square);
        let scaled = |linear: &Array2<f32>| linear.mapv(|cost| (f64::from(cost) / square) as f32);
        solver.linear = self.linear.as_ref().map(|(linear, alpha)| (scaled(linear), *alpha));
        solver
    }

    /// Fails if a setting is out of range, or the linear cost has another shape than `shape`.
    pub(super) fn check(&self, shape: (usize, usize)) -> Result<()> {
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
