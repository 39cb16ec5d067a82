//! Optimal transport on the CPU: exact, entropic, between different spaces, and in linear memory.
//!
//! ndarray in, ndarray out; pure numbers, no files, no global state. Costs come from points or as a matrix
//! ([`Cost`]), weights as slices. Every solver has an iteration limit and a time limit, says how it stopped
//! ([`Stop`]), and refuses input from which no right answer can come. Results are the same bits for the same
//! input and the same number of threads.
//!
//! ```
//! use chiasm_transport::{Cost, Sinkhorn, uniform};
//! let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0], [0.0, 1.0]];
//! let y = ndarray::array![[0.1_f32, 0.0], [1.1, 0.0], [0.0, 1.1]];
//! let cost = Cost::squared_euclidean(x.view(), y.view())?;
//! let coupling = Sinkhorn::new(0.05).tolerance(1e-6).solve(&cost, &uniform(3), &uniform(3))?;
//! assert!(coupling.report.marginal_error <= 1e-6);
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
#[expect(unsafe_code, reason = "one request to the system about pages of our own")]
mod memory;
#[expect(unsafe_code, reason = "functions compiled for wider instruction sets, called after detection")]
mod simd;
pub mod sinkhorn;

pub use cost::Cost;
pub use divergence::Divergence;
pub use exact::{Exact, exact, on_line};
pub use gaussian::{GaussianMap, gaussian_map};
pub use gromov::{Gromov, GromovPlan, Space, low_rank_gromov, quadratic_assignment};
pub use limits::{Limits, Progress, Stop};
pub use lowrank::{LowRankPlan, low_rank};
pub use maps::{EntropicMap, barycentric, shifted};
pub use sinkhorn::{Coupling, Marginals, Report, Sinkhorn};

/// What can go wrong in a transport problem.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A cloud or a weight vector has nothing in it.
    #[error("{0} is empty; transport needs at least one point on each side")]
    Empty(&'static str),
    /// Two arrays that must agree in a size do not.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// Which quantity disagrees.
        what: &'static str,
        /// The size that was expected.
        expected: usize,
        /// The size that was found.
        got: usize,
    },
    /// An array holds NaN or infinity.
    #[error("{what}: row {row} holds a value that is not finite; drop the row or compute it again")]
    NotFinite {
        /// Which array.
        what: &'static str,
        /// The first such row, counted from 0.
        row: usize,
    },
    /// A weight is negative, not finite, or all are zero.
    #[error("{what}: expected weights >= 0 with a positive sum, got {got}")]
    Weights {
        /// Which side's weights.
        what: &'static str,
        /// What was found.
        got: String,
    },
    /// A point at zero has no cosine to others.
    #[error(
        "{0}: a zero row has no direction, and the cosine cost needs one: drop the row, or take another cost"
    )]
    NoDirection(&'static str),
    /// The two sides' weights sum to different totals.
    #[error(
        "the weights sum to {source_mass} and {target_mass}; balanced transport needs equal sums: normalise both, or ask for unbalanced or partial transport"
    )]
    Mass {
        /// Sum of the source's weights.
        source_mass: f64,
        /// Sum of the target's weights.
        target_mass: f64,
    },
    /// A setting lies outside its range.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// The range in words.
        expected: &'static str,
        /// The value that was given.
        got: f64,
    },
    /// The numbers left the range in which the method can answer.
    #[error("{what} broke down: {why}")]
    Breakdown {
        /// Which method.
        what: &'static str,
        /// What happened and what to do.
        why: &'static str,
    },
}

/// Result of a transport problem.
pub type Result<T> = std::result::Result<T, Error>;

/// `n` equal weights that sum to one.
pub fn uniform(n: usize) -> Vec<f64> {
    vec![1.0 / n as f64; n]
}

/// Fails when two sizes differ.
pub(crate) fn same(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

/// The sum of a side's weights, once they are known to be weights of `n` points.
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

/// Both sides' weights scaled to sum to one, and the mass that they share.
pub(crate) fn balanced(a: &[f64], b: &[f64], shape: (usize, usize)) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let source_mass = mass("source weights", a, shape.0)?;
    let target_mass = mass("target weights", b, shape.1)?;
    if (source_mass - target_mass).abs() > 1e-6 * source_mass.max(target_mass) {
        return Err(Error::Mass { source_mass, target_mass });
    }
    let unit = |w: &[f64], sum: f64| w.iter().map(|w| w / sum).collect();
    Ok((unit(a, source_mass), unit(b, target_mass), source_mass))
}
