//! The Sinkhorn divergence: entropic transport without its bias, a smooth loss that is zero only for equal measures.
//!
//! `S(x, y) = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2` (Feydy et al. 2019, arXiv 1810.08278), each term the dual value
//! `<P, C> + epsilon KL(P | a b^T)` at one epsilon. Its gradient needs no backpropagation through the iterations: by the
//! envelope theorem it is the plans', `2 a_i (T_xx(x_i) - T_xy(x_i))` for squared distances, T the barycentric targets.

use ndarray::{Array2, ArrayView2};

use crate::{Cost, Report, Result, Sinkhorn};

/// A Sinkhorn divergence between two clouds for squared Euclidean costs.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// `S >= 0`, in units of the cost, for weights scaled to sum to one.
    pub value: f64,
    /// Its gradient in the source points, `[n, d]`.
    pub gradient: Array2<f32>,
    /// The three solves: across, source, target.
    pub reports: [Report; 3],
}

impl Sinkhorn {
    /// The divergence of weighted clouds `x[n, d]`, `y[m, d]`; an epsilon relative to the mean cost is taken across.
    ///
    /// # Errors
    /// As [`Sinkhorn::solve`] and [`Cost::squared_euclidean`].
    pub fn divergence(
        &self,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        a: &[f64],
        b: &[f64],
    ) -> Result<Divergence> {
        let (across, source, target) =
            (Cost::squared_euclidean(x, y)?, Cost::squared_euclidean(x, x)?, Cost::squared_euclidean(y, y)?);
        let plan = self.solve(&across, a, b)?;
        let alike = self.clone().epsilon(plan.report.epsilon);
        let own = alike.solve(&source, a, a)?;
        let other = alike.solve(&target, b, b)?;
        let mass: f64 = a.iter().sum();
        let value = (plan.report.dual - 0.5 * (own.report.dual + other.report.dual)) / mass;
        let mut gradient = own.barycentric(x)? - plan.barycentric(y)?;
        for (mut row, weight) in gradient.rows_mut().into_iter().zip(a) {
            row *= (2.0 * weight / mass) as f32;
        }
        Ok(Divergence { value: value.max(0.0), gradient, reports: [plan.report, own.report, other.report] })
    }
}
