//! Clouds as the measures want them: known to be finite, centred, in a range whose squares do not overflow.
//!
//! Measures take `f32` or `f64`: large products run in the type they are given, everything after them in
//! `f64`. Values beyond 1e6 or below 1e-6 are scaled by a power of two first, so that a cloud at 1e30 has
//! squares.

use faer::MatRef;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, parallel::prelude::*};

use crate::kernels::survey_rows;
use crate::real::Real;
use crate::{Error, Result, same};

/// Names of the two sides in errors.
pub(crate) const NAMES: [&str; 2] = ["first cloud", "second cloud"];

/// Where a cloud lies and how large it is.
pub(crate) struct Survey {
    /// The mean row in `f64`: the first row and the mean of what the others add to it, so that a constant
    /// column has its constant for a mean and no rounding passes for spread.
    pub mean: Array1<f64>,
    /// The largest magnitude.
    pub top: f64,
}

impl Survey {
    /// What values are divided by: 1 for a common range, else the power of two nearest to the largest, which
    /// rounds nothing.
    pub fn unit(&self) -> f64 {
        if self.top == 0.0 || (1e-6..1e6).contains(&self.top) { 1.0 } else { self.top.log2().round().exp2() }
    }
}

/// Surveys a cloud of at least `least` rows in one pass.
///
/// # Errors
/// When it has fewer rows, no column, a value that is not finite, or values whose sum overflows.
pub(crate) fn survey<T: Real>(side: usize, x: ArrayView2<'_, T>, least: usize) -> Result<Survey> {
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
            survey_rows(block.as_slice().unwrap_or_default(), &first, &mut sum, &mut top);
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
    Ok(Survey { mean: sum / x.nrows() as f64 + first, top })
}

/// One cloud, centred on its mean row; measures that do not see its scale take this.
pub(crate) fn centred<T: Real>(side: usize, x: ArrayView2<'_, T>, least: usize) -> Result<Array2<T>> {
    Ok(moved(x, &survey(side, x, least)?))
}

/// Both clouds of paired rows, each centred on its own mean.
pub(crate) fn paired<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    least: usize,
) -> Result<(Array2<T>, Array2<T>)> {
    same("rows of the second cloud (row i belongs to row i)", x.nrows(), y.nrows())?;
    Ok((centred(0, x, least)?, centred(1, y, least)?))
}

/// Two clouds of one space, moved and scaled alike.
pub(crate) struct Together<T> {
    pub x: Array2<T>,
    pub y: Array2<T>,
    /// What a length here must be multiplied with to be a length of the input.
    pub unit: f64,
}

/// Both clouds with the mean of their means at the origin and a common scale.
pub(crate) fn together<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    least: usize,
) -> Result<Together<T>> {
    same("width of the second cloud (this measure needs one common space)", x.ncols(), y.ncols())?;
    let (first, second) = (survey(0, x, least)?, survey(1, y, least)?);
    let common = Survey { mean: (first.mean + second.mean) / 2.0, top: first.top.max(second.top) };
    Ok(Together { x: moved(x, &common), y: moved(y, &common), unit: common.unit() })
}

/// The rows of a matrix for faer; every matrix here is in standard layout.
pub(crate) fn faer_rows<T: Real>(x: &Array2<T>) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(x.as_slice().unwrap_or_default(), x.nrows(), x.ncols())
}

fn moved<T: Real>(x: ArrayView2<'_, T>, to: &Survey) -> Array2<T> {
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
    fn huge_and_tiny_clouds_come_to_order_one() {
        let x = array![[1e30f32, 0.0], [-1e30, 2e30]];
        let both = together(x.view(), x.view(), 1).unwrap();
        assert!(both.x.iter().all(|v| v.abs() < 4.0) && both.unit > 1e29);
        let small = centred(0, (&x * 1e-30 * 1e-30).view(), 1).unwrap();
        assert!(small.iter().any(|v| v.abs() > 0.1));
    }

    #[test]
    fn refusals_name_the_cloud_and_the_row() {
        let x = array![[1.0f64, 2.0], [f64::NAN, 0.0]];
        let good = array![[1.0f64, 2.0], [0.0, 0.0]];
        let text = paired(good.view(), x.view(), 1).err().unwrap().to_string();
        assert!(text.contains("second cloud") && text.contains("row 1"), "{text}");
        let text = together(good.view(), array![[1.0]].view(), 1).err().unwrap().to_string();
        assert!(text.contains("common space"), "{text}");
        assert!(centred(0, Array2::<f32>::zeros((0, 3)).view(), 2).is_err());
    }
}
