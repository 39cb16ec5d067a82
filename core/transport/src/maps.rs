//! Maps that extend a transport plan to points outside the problem.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{Cost, Coupling, ExactPlan, Result, cost::finite, same};

/// The entropic map, an attention layer `T(x) = softmax(x keys^T + bias) values`.
///
/// `T(x) = sum_j softmax_j((g_j - |x - y_j|^2) / epsilon + ln b_j) y_j` (Seguy et al. 2018; Pooladian and
/// Niles-Weed 2021, arXiv 2109.12004). The term `|x|^2` is the same for all j and cancels. At the points of
/// the problem the map gives the barycentric targets of the plan.
///
/// ```
/// use chiasm_transport::{Cost, Sinkhorn, uniform};
/// let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0]];
/// let y = ndarray::array![[0.0_f32, 1.0], [1.0, 1.0], [2.0, 1.0]];
/// let cost = Cost::squared_euclidean(x.view(), y.view())?;
/// let map = Sinkhorn::new(0.1).solve(&cost, &uniform(2), &uniform(3))?.forward_map(y.view())?;
/// assert_eq!((map.keys.dim(), map.bias.len(), map.values.dim()), ((3, 2), 3, (3, 2)));
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EntropicMap {
    /// `2 y / epsilon`, `[m, d]`.
    pub keys: Array2<f32>,
    /// `(g - |y|^2) / epsilon + ln b`, shifted so that its largest entry is zero; `[m]`. The entry of a point
    /// without weight is `-1e30`.
    pub bias: Array1<f32>,
    /// The images of the target points, `[m, v]`; `y` unless replaced.
    pub values: Array2<f32>,
}

impl EntropicMap {
    /// Builds the map to the target points `y[m, d]` of a squared Euclidean problem, from their weights
    /// `b[m]` and dual potential `g[m]`.
    ///
    /// # Errors
    /// When `b` or `g` has another length than `y` has rows.
    pub fn new(y: ArrayView2<'_, f32>, b: &[f64], g: &Array1<f64>, epsilon: f64) -> Result<Self> {
        same("target weights", y.nrows(), b.len())?;
        same("target potential", y.nrows(), g.len())?;
        let score = |j: usize| {
            let square: f64 = y.row(j).iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            (g[j] - square) / epsilon + b[j].ln()
        };
        let bias: Array1<f64> = (0..y.nrows()).map(score).collect();
        let top = bias.iter().fold(f64::NEG_INFINITY, |top, &v| top.max(v));
        Ok(Self {
            keys: y.mapv(|v| (2.0 * f64::from(v) / epsilon) as f32),
            bias: bias.mapv(|v| (v - top).max(-1e30) as f32),
            values: y.to_owned(),
        })
    }
}

impl Coupling<'_> {
    /// Returns the map from source to target, given the target points `y[m, d]` of a squared Euclidean
    /// problem.
    ///
    /// Points far from the origin lose digits in `keys`: centre both clouds first.
    ///
    /// # Errors
    /// When `y` does not have one row per target point.
    pub fn forward_map(&self, y: ArrayView2<'_, f32>) -> Result<EntropicMap> {
        let (_, b) = self.weights();
        same("rows of the target points", b.len(), y.nrows())?;
        EntropicMap::new(y, b, &self.target_potential(), self.report.epsilon)
    }

    /// Returns the map from target to source, given the source points `x[n, d]` of a squared Euclidean
    /// problem.
    ///
    /// # Errors
    /// When `x` does not have one row per source point.
    pub fn backward_map(&self, x: ArrayView2<'_, f32>) -> Result<EntropicMap> {
        let (a, _) = self.weights();
        same("rows of the source points", a.len(), x.nrows())?;
        EntropicMap::new(x, a, &self.source_potential(), self.report.epsilon)
    }

    /// Returns the images `[k, v]` of points under the entropic map, given their costs `[k, m]` to the
    /// targets and the target points `y[m, v]`.
    ///
    /// `T(x) = sum_j softmax_j((g_j - c(x, y_j)) / epsilon + ln b_j) y_j`, as [`EntropicMap`], but for any
    /// cost and in the log domain. For the costs of the problem itself these are the barycentric targets of
    /// the plan (Ferradans et al. 2014, section 4.1; Perrot et al. 2016, section 2), also those of unbalanced
    /// and partial plans; a source without mass has the image that it would have with a little. Blocks of the
    /// kernel are computed anew, so memory is linear in the points.
    ///
    /// ```
    /// use chiasm_transport::{Cost, Sinkhorn, uniform};
    /// let x = ndarray::array![[0.0, 0.0], [1.0, 0.0]];
    /// let y = ndarray::array![[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]];
    /// let cost = Cost::squared_euclidean(x.view(), y.view())?;
    /// let coupling = Sinkhorn::new(0.1).solve(&cost, &uniform(2), &uniform(3))?;
    /// let new = ndarray::array![[0.5, 0.0]];
    /// let image = coupling.extend(&Cost::squared_euclidean(new.view(), y.view())?, y.view())?;
    /// assert!((image[[0, 0]] - 1.0).abs() < 1e-3); // half way, by symmetry
    /// # Ok::<(), chiasm_transport::Error>(())
    /// ```
    ///
    /// # Errors
    /// When `cost` or `y` is of another number of targets, or `y` is not finite.
    pub fn extend(&self, cost: &Cost<'_>, y: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        let (_, b) = self.weights();
        let (k, m) = cost.shape();
        same("columns of the costs", b.len(), m)?;
        same("rows of the target points", m, y.nrows())?;
        finite("target points", y, f64::is_finite)?;
        let epsilon = self.report.epsilon;
        let refined = cost.refined(epsilon, REFINED);
        let cost = refined.as_ref().unwrap_or(cost);
        let scores: Vec<f64> = (self.target_potential().iter().zip(b).enumerate())
            .map(|(j, (g, b))| g / epsilon + b.ln() + cost.target_offset(j, epsilon))
            .collect();
        let step = (BLOCK / m).max(1);
        let mut images = Array2::zeros((k, y.ncols()));
        images.axis_chunks_iter_mut(Axis(0), step).into_par_iter().enumerate().for_each(
            |(block, mut out)| {
                let first = block * step;
                let mut exponents = vec![0.0_f32; out.nrows() * m];
                cost.exponents(first..first + out.nrows(), epsilon, &mut exponents);
                let mut shares = Array2::zeros((out.nrows(), m));
                for (mut shares, exponents) in shares.rows_mut().into_iter().zip(exponents.chunks(m)) {
                    shares
                        .iter_mut()
                        .zip(exponents)
                        .zip(&scores)
                        .for_each(|((s, &e), g)| *s = f64::from(e) + g);
                    let top = shares.iter().fold(f64::NEG_INFINITY, |top, &s| top.max(s));
                    shares.mapv_inplace(|s| (s - top).exp());
                    let sum = shares.sum();
                    shares /= sum;
                }
                out.assign(&shares.dot(&y));
            },
        );
        Ok(images)
    }
}

/// Largest number of costs in a block of new points, for each thread.
const BLOCK: usize = 1 << 19;
/// Memory for costs in double precision, where single precision is too coarse for epsilon.
const REFINED: usize = 2 << 30;

impl ExactPlan {
    /// Returns the mass that each source point sends, `[n]`.
    pub fn source_mass(&self) -> Array1<f64> {
        let mut mass = Array1::zeros(self.source_potential.len());
        self.entries.iter().for_each(|entry| mass[entry.source] += entry.mass);
        mass
    }

    /// Returns the barycentric targets `T[i] = sum_j P_ij y_j / sum_j P_ij`, `[n, d]`, given the target
    /// points `y[m, d]`, from the entries that are not zero. A row without mass gives zeros.
    ///
    /// # Errors
    /// When `y` does not have one row per target point.
    pub fn barycentric(&self, y: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        same("rows of the target points", self.target_potential.len(), y.nrows())?;
        let mass = self.source_mass();
        let mut images = Array2::zeros((mass.len(), y.ncols()));
        for entry in self.entries.iter().filter(|entry| entry.mass > 0.0) {
            images.row_mut(entry.source).scaled_add(entry.mass / mass[entry.source], &y.row(entry.target));
        }
        Ok(images)
    }
}

/// Returns the barycentric targets `T[i] = sum_j P_ij y_j / sum_j P_ij` of a dense plan `P[n, m]`, given the
/// target points `y[m, d]`. A row without mass gives zeros.
///
/// # Errors
/// When `y` does not have one row per column of the plan.
pub fn barycentric(plan: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    same("rows of the target points", plan.ncols(), y.nrows())?;
    let sums = plan.sum_axis(Axis(1)).mapv(|s| if s > 0.0 { s } else { 1.0 });
    Ok(plan.dot(&y) / &sums.insert_axis(Axis(1)))
}

/// Returns for each row of `x[n, d]` the nearest row of `known[m, d]`, the first of equally near ones.
///
/// Takes `O(n m d)` time and `O(n)` memory.
///
/// # Errors
/// When the numbers of columns differ, or an array is empty or not finite.
pub fn nearest_rows(known: ArrayView2<'_, f64>, x: ArrayView2<'_, f64>) -> Result<Vec<usize>> {
    same("columns of the points to move", known.ncols(), x.ncols())?;
    finite("known points", known, f64::is_finite)?;
    finite("points to move", x, f64::is_finite)?;
    let (known, x) = (known.as_standard_layout(), x.as_standard_layout());
    let (known, d) = (known.as_slice().unwrap_or_default(), x.ncols());
    let nearest = |row: &[f64]| {
        let distances = known.chunks(d).map(|other| square_distance(row, other)).enumerate();
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(i, _)| i)
    };
    Ok(x.as_slice().unwrap_or_default().par_chunks(d).map(nearest).collect())
}

/// The squared distance of two points, in independent lanes so that the loop vectorises.
fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|k| sums[k] += (a[k] - b[k]) * (a[k] - b[k]));
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f64>() + rest
}

/// Extends a map that is known at some points: each row of `x[n, d]` moves as its nearest known point does.
///
/// `T(x) = x + T(x_i) - x_i` for the nearest `x_i` in `known[m, d]`, whose image is the same row of
/// `images[m, d]` (Ferradans et al. 2014, section 4.2; `transform` in POT). Of equally near points the first
/// one is used. The map interpolates the known images and is discontinuous where the nearest point changes;
/// [`EntropicMap`] and [`crate::GaussianMap`] are smooth. Takes `O(n m d)` time and `O(n d)` memory.
///
/// ```
/// use chiasm_transport::shift_by_nearest;
/// let known = ndarray::array![[0.0, 0.0], [4.0, 4.0]];
/// let images = ndarray::array![[10.0, 0.0], [4.0, 3.0]];
/// let moved = shift_by_nearest(known.view(), images.view(), ndarray::array![[1.0, 1.0]].view())?;
/// assert_eq!(moved, ndarray::array![[11.0, 1.0]]);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When the shapes do not match, or an array is empty or not finite.
pub fn shift_by_nearest(
    known: ArrayView2<'_, f64>,
    images: ArrayView2<'_, f64>,
    x: ArrayView2<'_, f64>,
) -> Result<Array2<f64>> {
    same("rows of the images", known.nrows(), images.nrows())?;
    same("columns of the images", known.ncols(), images.ncols())?;
    finite("images of the known points", images, f64::is_finite)?;
    let nearest = nearest_rows(known, x)?;
    Ok(images.select(Axis(0), &nearest) + (&x - &known.select(Axis(0), &nearest)))
}
