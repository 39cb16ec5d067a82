//! A sparse plan with the dual potentials that certify it.

use ndarray::{Array1, Array2};

use crate::StopReason;

/// The largest duality gap of a converged plan, as a share of `<P, |C|>`.
pub(super) const GAP: f64 = 1e-9;

/// An entry of a sparse plan: the mass that moves from a source point to a target point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanEntry {
    /// Index of the source point.
    pub source: usize,
    /// Index of the target point.
    pub target: usize,
    /// The mass.
    pub mass: f64,
}

/// A sparse optimal plan with the dual potentials that certify it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExactPlan {
    /// The non-zero entries, at most n + m - 1.
    pub entries: Vec<PlanEntry>,
    /// `<P, C>`.
    pub transport_cost: f64,
    /// Dual potential f of the source, `[n]`: `f_i + g_j <= C_ij`.
    pub source_potential: Array1<f64>,
    /// Dual potential g of the target, `[m]`.
    pub target_potential: Array1<f64>,
    /// The duality gap, `<P, C>` minus the dual value: an upper bound of the distance from the optimal cost.
    /// At most 1e-9 of `<P, |C|>` if the solver converged.
    pub gap: f64,
    /// Wall time.
    pub seconds: f64,
    /// Why it stopped; the plan is optimal only for [`StopReason::Converged`].
    pub stop: StopReason,
    pub(super) shape: (usize, usize),
}

impl ExactPlan {
    /// Returns the dense plan `P[n, m]`.
    pub fn plan(&self) -> Array2<f64> {
        let mut plan = Array2::zeros(self.shape);
        self.entries.iter().for_each(|entry| plan[[entry.source, entry.target]] += entry.mass);
        plan
    }
}
