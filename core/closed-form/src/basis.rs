//! The centred spectral basis of one modality: its mean and its principal axes.
//!
//! X - 1mᵀ = sqrt(n) U diag(sqrt w) Vᵀ. With weights p, the rows are scaled by sqrt(p) and n is the sum of p.
//! The smaller of the covariance `[d, d]` and the Gram matrix `[n, n]` is decomposed. Axes without variance
//! are dropped, so constant columns, duplicate rows and n < d need no special case.

use chiasm_geometry::linalg::{Eigen, product, symmetric_eigen};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Slice};

use crate::{Error, Result};

/// Variances below this share of the largest count as zero: they are rounding errors.
const FLOOR: f64 = 1e-10;

/// Mean, axes and variances.
#[derive(Debug, Clone)]
pub(crate) struct Basis {
    /// `[d]`.
    pub(crate) mean: Array1<f64>,
    /// `[d, r]`, orthonormal columns in descending order of variance.
    pub(crate) axes: Array2<f64>,
    /// `[r]`.
    pub(crate) variances: Array1<f64>,
}

impl Basis {
    /// Returns the mean and the first `limit` axes of `rows [n, d]`, weighted by `weights` if given.
    pub(crate) fn fit(
        name: &str,
        rows: &Array2<f64>,
        weights: Option<&Array1<f64>>,
        limit: usize,
    ) -> Result<Self> {
        let n = weights.map_or(rows.nrows() as f64, Array1::sum);
        let mean = match weights {
            None => rows.sum_axis(Axis(0)) / n,
            Some(weights) => weights.dot(rows) / n,
        };
        let mut centred = rows - &mean;
        if let Some(weights) = weights {
            centred *= &weights.mapv(f64::sqrt).insert_axis(Axis(1));
        }
        let wide = rows.ncols() > rows.nrows();
        let square = if wide { product(&centred, &centred.t())? } else { product(&centred.t(), &centred)? };
        let (values, vectors) = strongest(name, square.view(), (rows.nrows(), n), limit)?;
        let axes = if wide { product(&centred.t(), &vectors)? / values.mapv(f64::sqrt) } else { vectors };
        Ok(Self { mean, axes, variances: values / n })
    }

    /// Returns the first `limit` axes of `items` rows of this mean and scatter `[d, d]`, the sum of the outer
    /// products of the centred rows.
    pub(crate) fn of_scatter(
        name: &str,
        mean: Array1<f64>,
        scatter: ArrayView2<'_, f64>,
        items: usize,
        limit: usize,
    ) -> Result<Self> {
        let n = items as f64;
        let (values, axes) = strongest(name, scatter, (items, n), limit)?;
        Ok(Self { mean, axes, variances: values / n })
    }

    /// Coordinates `[n, r]` of rows.
    pub(crate) fn coordinates(&self, rows: &Array2<f64>) -> Result<Array2<f64>> {
        Ok(product(&(rows - &self.mean), &self.axes)?)
    }

    /// Number of axes.
    pub(crate) fn rank(&self) -> usize {
        self.variances.len()
    }
}

/// Returns at most `limit` eigenvalues of a scatter or Gram matrix that are no rounding errors, and their
/// vectors, given the number of items and the sum of their weights.
fn strongest(
    name: &str,
    square: ArrayView2<'_, f64>,
    (items, n): (usize, f64),
    limit: usize,
) -> Result<(Array1<f64>, Array2<f64>)> {
    let Eigen { values, vectors } = symmetric_eigen(square)?;
    // rounding of the mean makes equal rows differ by 1e-16
    let floor = FLOOR * values.first().map_or(0.0, |&top| top.max(1e-12 * n));
    let rank = values.iter().take_while(|&&value| value > floor).count().min(limit);
    if rank == 0 {
        let got = format!("{items} that are all alike");
        return Err(Error::data(format!("items of `{name}`"), "items that differ in direction", got));
    }
    Ok((first(values.view(), rank), columns(&vectors, rank).to_owned()))
}

/// Variances with a ridge relative to the largest, w + ridge w₁.
pub(crate) fn damped(variances: &Array1<f64>, ridge: f64) -> Array1<f64> {
    variances.mapv(|w| w + ridge * variances[0])
}

/// The first `count` entries.
pub(crate) fn first(values: ArrayView1<'_, f64>, count: usize) -> Array1<f64> {
    values.slice_axis(Axis(0), Slice::from(..count.min(values.len()))).to_owned()
}

/// The first `count` columns.
pub(crate) fn columns<'a>(matrix: &'a Array2<f64>, count: usize) -> ArrayView2<'a, f64> {
    matrix.slice_axis(Axis(1), Slice::from(..count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_geometry::random::Random;

    /// The Gram route and the covariance route must describe one cloud: same variances, same products of
    /// coordinates.
    #[test]
    fn few_rows_and_many_rows_agree_with_the_covariance() {
        let mut random = Random::new(1);
        let rows = Array2::from_shape_simple_fn((12, 40), || random.normal());
        let basis = Basis::fit("image", &rows, None, 100).unwrap();
        assert_eq!(basis.rank(), 11);
        let z = basis.coordinates(&rows).unwrap();
        let centred = &rows - &basis.mean;
        let gap = &z.dot(&z.t()) - &centred.dot(&centred.t());
        assert!(gap.iter().all(|x| x.abs() < 1e-10));
        let covariance = z.t().dot(&z) / 12.0 - Array2::from_diag(&basis.variances);
        assert!(covariance.iter().all(|x| x.abs() < 1e-10));
    }

    #[test]
    fn constant_columns_and_duplicate_rows_take_no_axis() {
        let rows = Array2::from_shape_fn((8, 5), |(i, j)| if j < 3 { 7.0 } else { ((i / 2 + j) % 3) as f64 });
        assert_eq!(Basis::fit("image", &rows, None, 100).unwrap().rank(), 2);
        let error = Basis::fit("text", &Array2::from_elem((8, 5), 0.3), None, 100).unwrap_err().to_string();
        assert!(error.contains("items of `text`") && error.contains("8 that are all alike"), "{error}");
    }

    /// Weights of 1/n stand for n copies of a row that counts once.
    #[test]
    fn a_weighted_row_is_as_good_as_one_row_for_its_copies() {
        let mut random = Random::new(2);
        for columns in [4, 40] {
            let rows = Array2::from_shape_simple_fn((9, columns), || random.normal());
            let copied = rows.select(Axis(0), &[0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8]);
            let weights = Array1::from_iter([1.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0])
                .mapv_into(f64::recip);
            let [plain, weighted] = [(&rows, None), (&copied, Some(&weights))]
                .map(|(rows, weights)| Basis::fit("image", rows, weights, 100).unwrap());
            assert!((&plain.mean - &weighted.mean).iter().all(|x| x.abs() < 1e-12));
            assert!((&plain.variances - &weighted.variances).iter().all(|x| x.abs() < 1e-10));
        }
    }
}
