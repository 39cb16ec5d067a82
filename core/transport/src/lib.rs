//! Optimal transport on the CPU.
//!
//! Given a source cloud of points, a target cloud and the cost of moving mass between them, these solvers
//! find a *transport plan*: a non-negative matrix `P[n, m]` whose rows sum to the source weights and whose
//! columns sum to the target weights.
//!
//! | problem | entry point |
//! |---|---|
//! | entropic, also unbalanced and partial | [`Sinkhorn`] |
//! | exact, with dual potentials that prove it | [`exact()`], on the line [`on_line`] |
//! | exact, of a part of the mass | [`exact_partial`] |
//! | exact, between points, in linear memory | [`exact_points`] |
//! | between spaces that share no coordinates | [`GromovWasserstein`] |
//! | in memory linear in the number of points | [`low_rank`], [`low_rank_gromov`] |
//! | between Gaussians, in closed form | [`gaussian_map`] |
//! | matching two similarity matrices | [`quadratic_assignment`] |
//! | distances along a curved cloud | [`geodesic()`] |
//! | moving points that were not in the problem | [`EntropicMap`], [`barycentric`], [`shift_by_nearest`] |
//!
//! Input and output are `ndarray` arrays. The crate reads no files and keeps no global state. Costs come from
//! points or as a matrix ([`Cost`]), weights as slices. Every iterative solver has an iteration limit and a
//! time limit and reports why it stopped ([`StopReason`]). The same input on the same number of threads gives
//! the same bits.
//!
//! Entropic transport:
//!
//! ```
//! use chiasm_transport::{Cost, Sinkhorn, uniform};
//! let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0], [0.0, 1.0]];
//! let y = ndarray::array![[0.1_f32, 0.0], [1.1, 0.0], [0.0, 1.1]];
//! let cost = Cost::squared_euclidean(x.view(), y.view())?;
//! let coupling = Sinkhorn::new(0.05).tolerance(1e-6).solve(&cost, &uniform(3), &uniform(3))?;
//! assert!(coupling.report.marginal_error <= 1e-6);
//! assert_eq!(coupling.plan().dim(), (3, 3));
//! # Ok::<(), chiasm_transport::Error>(())
//! ```
//!
//! Exact transport:
//!
//! ```
//! use chiasm_transport::{SolverLimits, exact, uniform};
//! let cost = ndarray::array![[0.0, 2.0], [2.0, 1.0]];
//! let found = exact(cost.view(), &uniform(2), &uniform(2), &SolverLimits::new(1000))?;
//! assert_eq!(found.transport_cost, 0.5);
//! # Ok::<(), chiasm_transport::Error>(())
//! ```
//!
//! Gromov-Wasserstein, which compares distances within each cloud:
//!
//! ```
//! use chiasm_transport::{GromovWasserstein, Space, uniform};
//! let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0], [0.0, 3.0]];
//! let y = ndarray::array![[5.0_f32], [6.0], [9.0]];
//! let (x, y) = (Space::squared_euclidean(x.view())?, Space::squared_euclidean(y.view())?);
//! let found = GromovWasserstein::conditional_gradient()
//!     .solve(&x.normalised(), &y.normalised(), &uniform(3), &uniform(3))?;
//! assert!(found.value >= 0.0);
//! # Ok::<(), chiasm_transport::Error>(())
//! ```

mod cost;
mod divergence;
pub mod exact;
mod gaussian;
pub mod gromov;
mod limits;
mod lowrank;
mod maps;
#[expect(unsafe_code, reason = "one system call that gives advice about pages this crate owns")]
mod memory;
mod rounding;
#[expect(unsafe_code, reason = "functions compiled for wider instruction sets, called after detection")]
mod simd;
pub mod sinkhorn;
mod tasks;

pub use cost::{Coordinate, Cost};
pub use divergence::SinkhornDivergence;
pub use exact::{ExactPlan, PlanEntry, PointDistance, exact, exact_partial, exact_points, on_line};
pub use gaussian::{GaussianMap, gaussian_map};
pub use gromov::{
    DELIBERATE_STARTS, GromovPlan, GromovWasserstein, Space, geodesic, low_rank_gromov, quadratic_assignment,
};
pub use limits::{SolverLimits, SolverProgress, StopReason};
pub use lowrank::{LowRankPlan, low_rank};
pub use maps::{EntropicMap, barycentric, nearest_rows, shift_by_nearest};
pub use sinkhorn::{Coupling, CouplingReport, Marginals, Sinkhorn};

/// Errors of the transport solvers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A cloud, a matrix or a list has no elements.
    #[error("{0}: expected at least one element, got none")]
    Empty(&'static str),
    /// The sizes of two arrays do not match.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The size that does not match.
        what: &'static str,
        /// The size that was expected.
        expected: usize,
        /// The size that was given.
        got: usize,
    },
    /// An array holds NaN or infinity.
    #[error("{what}: row {row} holds a value that is not finite; drop the row or compute it again")]
    NotFinite {
        /// The array.
        what: &'static str,
        /// The first such row, counted from 0.
        row: usize,
    },
    /// A weight is negative or not finite, or the weights sum to zero.
    #[error("{what}: expected weights >= 0 with a positive sum, got {got}")]
    Weights {
        /// The side whose weights are wrong.
        what: &'static str,
        /// The offending weight or sum.
        got: String,
    },
    /// A zero vector, for which the cosine is undefined.
    #[error("{0}: the cosine of a zero row is undefined; drop the row or use another cost")]
    NoDirection(&'static str),
    /// The weights of the two sides have different sums.
    #[error(
        "the source weights sum to {source_mass} and the target weights to {target_mass}; balanced transport \
         needs equal sums: normalise both, or use unbalanced or partial transport"
    )]
    Mass {
        /// Sum of the source weights.
        source_mass: f64,
        /// Sum of the target weights.
        target_mass: f64,
    },
    /// A setting is out of range.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The valid range.
        expected: &'static str,
        /// The value that was given.
        got: f64,
    },
    /// The method cannot continue, or does not apply to this problem.
    #[error("{what} failed: {why}")]
    Breakdown {
        /// The method.
        what: &'static str,
        /// The cause and the remedy.
        why: &'static str,
    },
}

/// Result of a transport solver.
pub type Result<T> = std::result::Result<T, Error>;

/// Returns `n` equal weights that sum to one.
pub fn uniform(n: usize) -> Vec<f64> {
    vec![1.0 / n as f64; n]
}

/// Returns an error unless the two sizes are equal.
pub(crate) fn same(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

/// Checks the weights of `n` points and returns their sum.
pub(crate) fn mass(what: &'static str, weights: &[f64], n: usize) -> Result<f64> {
    same(what, n, weights.len())?;
    if let Some(bad) = weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
        return Err(Error::Weights { what, got: bad.to_string() });
    }
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        Ok(sum)
    } else {
        Err(Error::Weights { what, got: format!("a sum of {sum}") })
    }
}

/// Checks the weights of a balanced problem between `shape = (n, m)` points. Returns both normalised to sum
/// to one, and their common mass.
///
/// # Errors
/// When the weights are not one for each point, not finite, negative, all zero, or of unequal sums.
pub fn balanced(a: &[f64], b: &[f64], shape: (usize, usize)) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let source_mass = mass("source weights", a, shape.0)?;
    let target_mass = mass("target weights", b, shape.1)?;
    if (source_mass - target_mass).abs() > 1e-6 * source_mass.max(target_mass) {
        return Err(Error::Mass { source_mass, target_mass });
    }
    let unit = |w: &[f64], sum: f64| w.iter().map(|w| w / sum).collect();
    Ok((unit(a, source_mass), unit(b, target_mass), source_mass))
}
