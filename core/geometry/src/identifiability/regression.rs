//! Ridge regression and kernel ridge regression, whose penalty leaves one row out in turn.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::linalg::{product, symmetric_eigen, thin_svd};
use crate::{Error, Result, squared_distances};

/// The penalties that a probe chooses from, per row that it is fitted on.
const PENALTIES: [f64; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
/// Columns whose standard deviation is below this share of the largest magnitude are constant.
const CONSTANT: f64 = 1e-12;

/// The regression with which factors are predicted from a representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Ridge regression on standardised columns (Hoerl and Kennard 1970).
    Linear,
    /// Kernel ridge regression (Saunders, Gammerman and Vovk 1998) with the Gaussian kernel
    /// `exp(-|a - b|² / (2 m²))`, centred, where m is the median distance of the rows. Its cost grows with
    /// the cube of the rows: a thousand take seconds.
    Kernel,
}

/// The mean and the standard deviation of columns; a deviation of 0 stands for a constant column.
pub(super) struct Standard {
    mean: Array1<f64>,
    pub deviation: Array1<f64>,
}

impl Standard {
    pub fn of(cloud: ArrayView2<'_, f64>) -> Self {
        let n = cloud.nrows() as f64;
        let mean = cloud.sum_axis(Axis(0)) / n;
        let deviation = cloud.columns().into_iter().zip(&mean).map(|(column, mean)| {
            let deviation = (column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            let size = column.iter().fold(0.0f64, |top, v| top.max(v.abs()));
            if deviation > CONSTANT * size { deviation } else { 0.0 }
        });
        Self { deviation: deviation.collect(), mean }
    }

    pub fn apply(&self, cloud: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut out = &cloud - &self.mean;
        for (mut column, deviation) in out.columns_mut().into_iter().zip(&self.deviation) {
            column.mapv_inplace(|v| if *deviation > 0.0 { v / deviation } else { 0.0 });
        }
        out
    }
}

/// Fits `y` on `x` and predicts the rows `new`.
pub(super) fn regress(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    new: ArrayView2<'_, f64>,
    probe: Probe,
) -> Result<Array2<f64>> {
    let scale = Standard::of(x);
    if scale.deviation.iter().all(|deviation| *deviation == 0.0) {
        return Err(Error::NoSpread("representation"));
    }
    let mean = y.sum_axis(Axis(0)) / y.nrows() as f64;
    let centred = &y - &mean;
    let slopes = match probe {
        Probe::Linear => {
            let svd = thin_svd(scale.apply(x).view())?;
            let fit = Spectral { basis: svd.u, values: &svd.s * &svd.s };
            let coefficients = fit.solve(&centred)?;
            // β = V s Uᵀ (X Xᵀ + α)⁻¹ y
            let inner = &coefficients * &svd.s.view().insert_axis(Axis(1));
            product(&scale.apply(new), &product(&svd.v, &inner)?)?
        }
        Probe::Kernel => {
            let kernel = CentredKernel::new(x)?;
            let eigen = symmetric_eigen(kernel.fitted.view())?;
            let fit = Spectral { values: eigen.values.mapv(|v| v.max(0.0)), basis: eigen.vectors };
            let weights = product(&fit.basis, &fit.solve(&centred)?)?;
            product(&kernel.of(new)?, &weights)?
        }
    };
    Ok(slopes + mean)
}

/// A symmetric matrix `K = basis diag(values) basisᵀ` over the fitted rows.
struct Spectral {
    basis: Array2<f64>,
    values: Array1<f64>,
}

impl Spectral {
    /// Returns `diag(1 / (values + α)) basisᵀ y` for the penalty α with the smallest leave-one-out error. The
    /// columns of `y` have mean 0.
    fn solve(&self, y: &Array2<f64>) -> Result<Array2<f64>> {
        let n = y.nrows() as f64;
        let inner = product(&self.basis.t(), y)?;
        let weighted = |weights: &Array1<f64>| &inner * &weights.view().insert_axis(Axis(1));
        let mut best = (f64::INFINITY, PENALTIES[0]);
        for penalty in PENALTIES.map(|share| share * n) {
            let shrink = self.values.mapv(|value| value / (value + penalty));
            let fitted = product(&self.basis, &weighted(&shrink))?;
            // The intercept adds 1 / n to the diagonal of the hat matrix.
            let hat = (&self.basis * &self.basis).dot(&shrink) + 1.0 / n;
            let errors = (y - &fitted) / &hat.mapv(|h| (1.0 - h).max(1e-12)).insert_axis(Axis(1));
            let error = errors.mapv(|e| e * e).sum();
            if error < best.0 {
                best = (error, penalty);
            }
        }
        Ok(weighted(&self.values.mapv(|value| 1.0 / (value + best.1))))
    }
}

/// A Gaussian kernel over fitted rows, centred in its feature space (Schölkopf, Smola and Müller 1998).
struct CentredKernel<'a> {
    rows: ArrayView2<'a, f64>,
    gamma: f64,
    /// The mean of the kernel over the fitted rows, for each of them, and over all pairs.
    means: Array1<f64>,
    mean: f64,
    fitted: Array2<f64>,
}

impl<'a> CentredKernel<'a> {
    fn new(rows: ArrayView2<'a, f64>) -> Result<Self> {
        let squares = squared_distances(rows, rows)?;
        let n = rows.nrows();
        let pairs = (0..n).flat_map(|i| (0..i).map(move |j| [i, j]));
        let mut apart: Vec<f64> = pairs.map(|pair| squares[pair]).collect();
        let middle = apart.len() / 2;
        let (_, median, _) = apart.select_nth_unstable_by(middle, f64::total_cmp);
        if *median <= 0.0 {
            return Err(Error::NoSpread("representation"));
        }
        let gamma = 0.5 / *median;
        let raw = squares.mapv(|square| (-gamma * square).exp());
        let means = raw.sum_axis(Axis(0)) / n as f64;
        let mean = means.sum() / n as f64;
        let fitted = centre(raw, &means, mean);
        Ok(Self { rows, gamma, means, mean, fitted })
    }

    /// Returns the centred kernel between new rows and the fitted ones.
    fn of(&self, new: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        let raw = squared_distances(new, self.rows)?.mapv(|square| (-self.gamma * square).exp());
        Ok(centre(raw, &self.means, self.mean))
    }
}

/// Subtracts from a kernel matrix the mean of every row and of every fitted row, and adds the mean of all.
fn centre(raw: Array2<f64>, means: &Array1<f64>, mean: f64) -> Array2<f64> {
    let own = raw.sum_axis(Axis(1)) / raw.ncols() as f64;
    raw - means - &own.insert_axis(Axis(1)) + mean
}
