//! The Sinkhorn divergence: entropic transport without its bias. It is a smooth loss that is zero only for
//! equal measures.
//!
//! `S(x, y) = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2` (Feydy et al. 2019, arXiv 1810.08278), where each term
//! is the dual value `<P, C> + epsilon KL(P | a b^T)` at the same epsilon. By the envelope theorem its
//! gradient needs no backpropagation through the iterations: for squared distances it is
//! `2 a_i (T_xx(x_i) - T_xy(x_i))`, where T are the barycentric targets.

use ndarray::{Array2, ArrayView2};

use crate::{Coordinate, Cost, CouplingReport, Error, Result, Sinkhorn};

/// The Sinkhorn divergence of two clouds for squared Euclidean costs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SinkhornDivergence {
    /// `S >= 0` in units of the cost, for weights normalised to sum to one.
    pub value: f64,
    /// Gradient with respect to the source points, `[n, d]`.
    pub gradient: Array2<f32>,
    /// Reports of the three solves: source to target, source to itself, target to itself.
    pub reports: [CouplingReport; 3],
}

impl Sinkhorn {
    /// Computes the divergence of the clouds `x[n, d]` and `y[m, d]` with weights `a[n]` and `b[m]`.
    ///
    /// An epsilon relative to the mean cost refers to the cost from source to target.
    ///
    /// ```
    /// use chiasm_transport::{Sinkhorn, uniform};
    /// let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0]];
    /// let y = &x + 3.0;
    /// let found = Sinkhorn::new(0.1).divergence(x.view(), y.view(), &uniform(2), &uniform(2))?;
    /// assert!((found.value - 18.0).abs() < 1e-2); // a shift costs its squared length
    /// # Ok::<(), chiasm_transport::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Sinkhorn::solve`] and [`Cost::squared_euclidean`], and marginals that are not
    /// balanced.
    pub fn divergence<T: Coordinate>(
        &self,
        x: ArrayView2<'_, T>,
        y: ArrayView2<'_, T>,
        a: &[f64],
        b: &[f64],
    ) -> Result<SinkhornDivergence> {
        let (cost_xy, cost_xx, cost_yy) =
            (Cost::squared_euclidean(x, y)?, Cost::squared_euclidean(x, x)?, Cost::squared_euclidean(y, y)?);
        let xy = self.solve(&cost_xy, a, b)?;
        let same_epsilon = self.clone().epsilon(xy.report.epsilon);
        let xx = same_epsilon.solve(&cost_xx, a, a)?;
        let yy = same_epsilon.solve(&cost_yy, b, b)?;
        let mass: f64 = a.iter().sum();
        let reports = [xy.report, xx.report, yy.report];
        let [Some(dual_xy), Some(dual_xx), Some(dual_yy)] = reports.map(|report| report.dual) else {
            let why = "it is defined for balanced transport: use Marginals::Balanced";
            return Err(Error::Breakdown { what: "the Sinkhorn divergence", why });
        };
        let value = (dual_xy - 0.5 * (dual_xx + dual_yy)) / mass;
        let narrow = |z: ArrayView2<'_, T>| z.mapv(|v| v.into() as f32);
        let mut gradient = xx.barycentric(narrow(x).view())? - xy.barycentric(narrow(y).view())?;
        for (mut row, weight) in gradient.rows_mut().into_iter().zip(a) {
            row *= (2.0 * weight / mass) as f32;
        }
        Ok(SinkhornDivergence { value: value.max(0.0), gradient, reports })
    }
}
