//! A radial kernel as a feature map, with which a linear method becomes a kernel method.
//!
//! k(x, l) is the mean over some widths w of exp(-w |x - l|² / s), s the mean squared distance of the
//! landmarks. The plain mean of kernels is rarely worse than a learned combination (Goenen and Alpaydin
//! 2011). With the landmarks' kernel matrix K = U diag(w) Uᵀ the features are k(x, L) U w^-1/2 over the
//! strongest components: exact when every training row is a landmark (Schoelkopf, Smola and Mueller 1998),
//! and the Nystroem map when only some are (Williams and Seeger 2001). Its graph is one layer of distances
//! and one matrix.

use chiasm_geometry::linalg::{Eigen, product, symmetric_eigen};
use chiasm_graph::{Builder, Tensor, Value};
use ndarray::{Array1, Array2, Axis};

use crate::Result;
use crate::basis::columns;
use crate::tensors::matrix;

/// Components weaker than this share of the strongest are rounding errors.
const FLOOR: f64 = 1e-9;

/// Landmarks and the projection of their kernel values.
#[derive(Debug, Clone)]
pub(crate) struct RadialKernel {
    /// `[m, d]`, transformed.
    landmarks: Array2<f64>,
    /// The kernel is the mean of exp(-rate d²) over these rates.
    rates: Vec<f64>,
    /// `[m, r]`.
    projection: Array2<f64>,
}

impl RadialKernel {
    /// The feature map over `landmarks`, at most `limit` features.
    pub(crate) fn fit(landmarks: Array2<f64>, widths: &[f64], limit: usize) -> Result<Self> {
        let distances = squared_distances(&landmarks, &landmarks)?;
        // equal landmarks have no scale; `Basis::fit` returns an error for them
        let scale = distances.mean().filter(|&mean| mean > 0.0).unwrap_or(1.0);
        let rates: Vec<f64> = widths.iter().map(|width| width / scale).collect();
        let Eigen { values, vectors } = symmetric_eigen(mean_kernel(&rates, distances).view())?;
        let rank = values.iter().take_while(|&&w| w > FLOOR * values[0]).count().min(limit);
        let roots: Array1<f64> = values.iter().take(rank).map(|w| w.sqrt()).collect();
        let projection = &columns(&vectors, rank) / &roots;
        Ok(Self { landmarks, rates, projection })
    }

    /// Features `[n, r]` of transformed rows.
    pub(crate) fn features(&self, rows: &Array2<f64>) -> Result<Array2<f64>> {
        let distances = squared_distances(rows, &self.landmarks)?;
        Ok(product(&mean_kernel(&self.rates, distances), &self.projection)?)
    }

    /// The sum of the kernels against the landmarks in a graph.
    pub(crate) fn build(&self, b: &mut Builder, x: &Value) -> Result<Value> {
        let lengths = self.landmarks.map_axis(Axis(1), |row| row.dot(&row) as f32);
        let lengths = b.constant("landmark_lengths", Tensor::f32(&[lengths.len()], lengths.to_vec())?);
        let turned = b.constant("landmarks", matrix(&(&self.landmarks.t() * -2.0))?);
        let squares = b.mul(x, x);
        let own = b.reduce_sum(&squares, &[-1], true);
        let cross = b.linear(x, &turned, Some(&lengths));
        let distances = b.add(&cross, &own);
        let distances = b.relu(&distances);
        let mut sum: Option<Value> = None;
        for &rate in &self.rates {
            let exponent = b.mul_scalar(&distances, -rate as f32);
            let kernel = b.exp(&exponent);
            sum = Some(match sum {
                Some(sum) => b.add(&sum, &kernel),
                None => kernel,
            });
        }
        // the check of the parameters refuses an empty list of widths
        Ok(sum.unwrap_or(distances))
    }

    /// Returns A and c such that (features - centre) weights = (sum of kernels) A - c.
    pub(crate) fn fold(
        &self,
        centre: &Array1<f64>,
        weights: &Array2<f64>,
    ) -> Result<(Array2<f64>, Array1<f64>)> {
        Ok((product(&self.projection, weights)? / self.rates.len() as f64, centre.dot(weights)))
    }
}

fn mean_kernel(rates: &[f64], distances: Array2<f64>) -> Array2<f64> {
    let count = rates.len() as f64;
    distances.mapv_into(|d| rates.iter().map(|rate| (-rate * d).exp()).sum::<f64>() / count)
}

fn squared_distances(a: &Array2<f64>, b: &Array2<f64>) -> Result<Array2<f64>> {
    let squares = |m: &Array2<f64>| m.map_axis(Axis(1), |row| row.dot(&row));
    let mut out = product(a, &b.t())? * -2.0;
    out += &squares(b);
    out += &squares(a).insert_axis(Axis(1));
    out.mapv_inplace(|d| d.max(0.0));
    Ok(out)
}
