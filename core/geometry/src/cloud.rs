//! Clouds as the measures want them: known to be finite, centred, in a range whose squares do not overflow.
//!
//! Measures take `f32` or `f64`: large products run in the type they are given, everything after them in `f64`.
//! Values beyond 1e6 or below 1e-6 are scaled by a power of two first, so that a cloud at 1e30 has squares.

use faer::{MatRef, traits::RealField};
use ndarray::{Array1, Array2, ArrayView2, Axis, NdFloat, Zip, parallel::prelude::*};

use crate::{Error, Result, same};

/// A float that a cloud may hold: `f32` or `f64`.
pub trait Real: RealField + NdFloat + Into<f64> {
    /// The nearest value of this type.
    fn of(value: f64) -> Self;
    /// The spacing of this type's numbers at one.
    const EPSILON: f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }
    const EPSILON: f64 = Self::EPSILON as f64;
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    const EPSILON: f64 = Self::EPSILON;
}

/// Names of the two sides in errors.
pub(crate) const NAMES: [&str; 2] = ["first cloud", "second cloud"];

/// Fails unless the cloud has at least `least` rows, a column, and only finite values.
pub(crate) fn check<T: Real>(what: &'static str, x: ArrayView2<'_, T>, least: usize) -> Result<()> {
    if x.nrows() < least || x.ncols() == 0 {
        let expected = format!("at least {least} rows of at least 1 number");
        return Err(Error::Setting { what, expected, got: format!("{} x {}", x.nrows(), x.ncols()) });
    }
    let bad = |row: &usize| x.row(*row).iter().any(|v| !v.is_finite());
    match (0..x.nrows()).into_par_iter().find_first(bad) {
        Some(row) => Err(Error::NotFinite { what, row }),
        None => Ok(()),
    }
}

/// One cloud, centred on its mean row; measures that do not see its scale take this.
pub(crate) fn centred<T: Real>(side: usize, x: ArrayView2<'_, T>, least: usize) -> Result<Array2<T>> {
    check(NAMES[side], x, least)?;
    let mean = mean_row(x);
    Ok(moved(x, &mean, power_of_two(largest(x))))
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

/// Both clouds with the first one's mean at the origin and a common scale.
pub(crate) fn together<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    least: usize,
) -> Result<Together<T>> {
    same("width of the second cloud (this measure needs one common space)", x.ncols(), y.ncols())?;
    check(NAMES[0], x, least)?;
    check(NAMES[1], y, least)?;
    let mean = (mean_row(x) + mean_row(y)) / 2.0;
    let unit = power_of_two(largest(x).max(largest(y)));
    Ok(Together { x: moved(x, &mean, unit), y: moved(y, &mean, unit), unit })
}

/// The mean row, summed in `f64`.
pub(crate) fn mean_row<T: Real>(x: ArrayView2<'_, T>) -> Array1<f64> {
    let blocks: Vec<Array1<f64>> = (x.axis_chunks_iter(Axis(0), 1024).into_par_iter())
        .map(|block| {
            let mut sum = Array1::zeros(x.ncols());
            block.outer_iter().for_each(|row| Zip::from(&mut sum).and(row).for_each(|s, &v| *s += v.into()));
            sum
        })
        .collect();
    let sum = blocks.into_iter().fold(Array1::zeros(x.ncols()), |sum, block| sum + block);
    sum / x.nrows() as f64
}

/// The rows of a matrix for faer; every matrix here is in standard layout.
pub(crate) fn faer_rows<T: Real>(x: &Array2<T>) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(x.as_slice().unwrap_or_default(), x.nrows(), x.ncols())
}

fn moved<T: Real>(x: ArrayView2<'_, T>, mean: &Array1<f64>, unit: f64) -> Array2<T> {
    let mut out = Array2::zeros(x.dim());
    Zip::from(out.rows_mut()).and(x.rows()).par_for_each(|mut out, row| {
        Zip::from(&mut out).and(row).and(mean).for_each(|out, &v, mean| {
            let wide: f64 = v.into();
            *out = T::of((wide - mean) / unit);
        });
    });
    out
}

fn largest<T: Real>(x: ArrayView2<'_, T>) -> f64 {
    let row_top = |row: usize| x.row(row).iter().fold(0.0f64, |top, &v| top.max(v.into().abs()));
    (0..x.nrows()).into_par_iter().map(row_top).reduce(|| 0.0, f64::max)
}

/// 1 for a common range, else the power of two nearest to the largest value: scaling by it rounds nothing.
fn power_of_two(top: f64) -> f64 {
    if top == 0.0 || (1e-6..1e6).contains(&top) { 1.0 } else { top.log2().round().exp2() }
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
