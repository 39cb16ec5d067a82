//! Preparation of clouds: checks that values are finite, centring, and scaling so that squares do not
//! overflow.
//!
//! Measures take `f32` or `f64`. Large products are computed in the type of the input, everything else in
//! `f64`. If the largest magnitude is above 1e6 or below 1e-6, the cloud is scaled by a power of two first.
//! A centred cloud keeps the rows as they were given, because centring rounds them if one row is far away.

use faer::MatRef;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, parallel::prelude::*};
use std::borrow::Cow;

use crate::kernels::accumulate_rows;
use crate::real::Real;
use crate::{Error, Result, same};

/// Names of the two sides in errors.
pub(crate) const NAMES: [&str; 2] = ["first cloud", "second cloud"];

/// The mean and the magnitude of a cloud.
pub(crate) struct CloudStats {
    /// The mean row in `f64`, computed as the first row plus the mean of the differences to it. The mean of a
    /// constant column is therefore exact.
    pub mean: Array1<f64>,
    /// The largest magnitude of a value.
    pub top: f64,
}

impl CloudStats {
    /// Returns the divisor of the values: 1 for ordinary magnitudes, otherwise the power of two nearest to
    /// the largest magnitude. Dividing by it causes no rounding.
    pub fn unit(&self) -> f64 {
        if self.top == 0.0 || (1e-6..1e6).contains(&self.top) { 1.0 } else { self.top.log2().round().exp2() }
    }
}

/// Computes the statistics of a cloud of at least `least` rows in one pass.
///
/// # Errors
/// When the cloud has fewer rows or no columns, a value is not finite, or a sum overflows.
pub(crate) fn cloud_stats<T: Real>(side: usize, x: ArrayView2<'_, T>, least: usize) -> Result<CloudStats> {
    let what = NAMES[side];
    if x.nrows() < least || x.ncols() == 0 {
        let expected = format!("at least {least} rows of at least 1 number");
        return Err(Error::Setting { what, expected, got: format!("{} x {}", x.nrows(), x.ncols()) });
    }
    let first = x.row(0).to_vec();
    let blocks: Vec<(Vec<f64>, Vec<T>)> = (x.axis_chunks_iter(Axis(0), 1024).into_par_iter())
        .map(|block| {
            let (mut sum, mut top) = (vec![0.0; x.ncols()], vec![T::of(0.0); x.ncols()]);
            let block = block.as_standard_layout();
            accumulate_rows(block.as_slice().unwrap_or_default(), &first, &mut sum, &mut top);
            (sum, top)
        })
        .collect();
    let top = blocks.iter().flat_map(|block| &block.1).fold(0.0f64, |top, &v| top.max(v.into()));
    let sum = blocks.into_iter().fold(Array1::zeros(x.ncols()), |sum, block| sum + Array1::from(block.0));
    if !sum.iter().all(|v: &f64| v.is_finite()) {
        let bad = x.outer_iter().position(|row| row.iter().any(|v| !v.is_finite()));
        let overflow =
            || Error::Setting { what, expected: "values below 1e300".into(), got: format!("{top:e}") };
        return Err(bad.map_or_else(overflow, |row| Error::NotFinite { what, row }));
    }
    let first: Array1<f64> = first.into_iter().map(Into::into).collect();
    Ok(CloudStats { mean: sum / x.nrows() as f64 + first, top })
}

/// A cloud after a shift and a scaling.
pub(crate) struct Cloud<'a, T: Real> {
    /// The shifted rows, divided by `unit`, in standard layout.
    pub rows: Array2<T>,
    /// The rows before that, one after the other.
    given: Cow<'a, [T]>,
    /// Factor that converts lengths to those of the input.
    pub unit: f64,
}

impl<'a, T: Real> Cloud<'a, T> {
    fn new(x: ArrayView2<'a, T>, to: &CloudStats) -> Self {
        let given = x.to_slice().map_or_else(|| x.iter().copied().collect(), Cow::Borrowed);
        Self { rows: moved(x, to), given, unit: to.unit() }
    }

    /// Returns some of the rows.
    pub fn select(&self, rows: &[usize]) -> Cloud<'static, T> {
        Cloud {
            rows: self.rows.select(Axis(0), rows),
            given: rows.iter().flat_map(|&row| self.given(row)).copied().collect(),
            unit: self.unit,
        }
    }

    /// Returns a row as it was given.
    pub fn given(&self, row: usize) -> &[T] {
        let d = self.rows.ncols();
        &self.given[row * d..(row + 1) * d]
    }
}

/// Returns a cloud centred on its mean and scaled; for measures that do not depend on the scale.
pub(crate) fn centred<T: Real>(side: usize, x: ArrayView2<'_, T>, least: usize) -> Result<Cloud<'_, T>> {
    Ok(Cloud::new(x, &cloud_stats(side, x, least)?))
}

/// Returns two clouds of paired rows, each centred on its own mean and scaled.
pub(crate) fn paired<'a, T: Real>(
    x: ArrayView2<'a, T>,
    y: ArrayView2<'a, T>,
    least: usize,
) -> Result<(Cloud<'a, T>, Cloud<'a, T>)> {
    same("rows of the second cloud (row i belongs to row i)", x.nrows(), y.nrows())?;
    Ok((centred(0, x, least)?, centred(1, y, least)?))
}

/// Two clouds of one space after a common shift and scaling.
pub(crate) struct CommonFrame<'a, T: Real> {
    pub x: Cloud<'a, T>,
    pub y: Cloud<'a, T>,
    /// Factor that converts lengths to those of the input.
    pub unit: f64,
}

/// Shifts and scales two clouds of one space, so that the mean of their means is the origin.
pub(crate) fn common_frame<'a, T: Real>(
    x: ArrayView2<'a, T>,
    y: ArrayView2<'a, T>,
    least: usize,
) -> Result<CommonFrame<'a, T>> {
    same("width of the second cloud (this measure needs one common space)", x.ncols(), y.ncols())?;
    let (first, second) = (cloud_stats(0, x, least)?, cloud_stats(1, y, least)?);
    let common = CloudStats { mean: (first.mean + second.mean) / 2.0, top: first.top.max(second.top) };
    Ok(CommonFrame { x: Cloud::new(x, &common), y: Cloud::new(y, &common), unit: common.unit() })
}

/// Returns a faer view of a matrix in standard layout.
pub(crate) fn faer_rows<T: Real>(x: &Array2<T>) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(x.as_slice().unwrap_or_default(), x.nrows(), x.ncols())
}

fn moved<T: Real>(x: ArrayView2<'_, T>, to: &CloudStats) -> Array2<T> {
    let mut out = Array2::zeros(x.dim());
    let factor = 1.0 / to.unit();
    Zip::from(out.rows_mut()).and(x.rows()).par_for_each(|mut out, row| {
        Zip::from(&mut out).and(row).and(&to.mean).for_each(|out, &v, mean| {
            let wide: f64 = v.into();
            *out = T::of((wide - mean) * factor);
        });
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn huge_and_tiny_clouds_are_scaled_to_order_one() {
        let x = array![[1e30f32, 0.0], [-1e30, 2e30]];
        let both = common_frame(x.view(), x.view(), 1).unwrap();
        assert!(both.x.rows.iter().all(|v| v.abs() < 4.0) && both.unit > 1e29);
        let tiny = &x * 1e-30 * 1e-30;
        let small = centred(0, tiny.view(), 1).unwrap();
        assert!(small.rows.iter().any(|v| v.abs() > 0.1));
    }

    #[test]
    fn errors_name_the_cloud_and_the_row() {
        let x = array![[1.0f64, 2.0], [f64::NAN, 0.0]];
        let good = array![[1.0f64, 2.0], [0.0, 0.0]];
        let text = paired(good.view(), x.view(), 1).err().unwrap().to_string();
        assert!(text.contains("second cloud") && text.contains("row 1"), "{text}");
        let text = common_frame(good.view(), array![[1.0]].view(), 1).err().unwrap().to_string();
        assert!(text.contains("common space"), "{text}");
        assert!(centred(0, Array2::<f32>::zeros((0, 3)).view(), 2).is_err());
    }
}
