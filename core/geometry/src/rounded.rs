//! Rows rounded to 8 bits: intervals that hold their products with a vector, from a quarter of the memory.

use ndarray::{ArrayView1, ArrayView2, Axis};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// The largest magnitude of a rounded number.
const LARGEST: f64 = 127.0;

/// Rows whose numbers are rounded to 8 bits, with a scale for each row.
#[derive(Debug, Clone)]
pub struct RoundedRows {
    width: usize,
    numbers: Vec<i8>,
    rows: Vec<Rounding>,
}

/// What rounding did to a vector: it is `scale * numbers`, plus a rest of the length `error`.
#[derive(Debug, Clone, Copy)]
struct Rounding {
    scale: f64,
    /// The length of `scale * numbers`.
    length: f64,
    error: f64,
}

/// A vector that rounded rows are multiplied with.
#[derive(Debug, Clone)]
pub struct RoundedVector {
    numbers: Vec<i16>,
    rounding: Rounding,
}

impl RoundedRows {
    /// Rounds rows, `[rows, width]`.
    pub fn new(rows: ArrayView2<'_, f32>) -> Self {
        let width = rows.ncols();
        let mut numbers = vec![0; rows.len()];
        let rounded: Vec<Rounding> = (numbers.par_chunks_exact_mut(width.max(1)))
            .zip(rows.axis_iter(Axis(0)))
            .map(|(numbers, row)| round(row, LARGEST, |at, value| numbers[at] = value as i8))
            .collect();
        Self { width, numbers, rows: rounded }
    }

    /// Returns an interval for each row of a range that holds its product with the vector, whether computed
    /// exactly or in single precision. The vector has the width of the rows.
    ///
    /// With `x = x' + d` and `v = v' + e`, where x' and v' are rounded, `<x, v> - <x', v'>` is `<d, v> +
    /// <x', e>`, which is at most `|d||v| + |x'||e|` (Cauchy and Schwarz). A sum of n products in single
    /// precision is off by at most `n u |x||v|` to first order, u = 2^-24; the interval allows for four
    /// times that.
    pub fn products(&self, rows: Range<usize>, vector: &RoundedVector) -> Vec<(f32, f32)> {
        let numbers = &self.numbers[rows.start * self.width..rows.end * self.width];
        let mut sums = vec![0; rows.len()];
        Arch::new().dispatch(Products { numbers, vector: &vector.numbers, sums: &mut sums });
        let own = vector.rounding;
        let (length, relative) = (own.length + own.error, 2.0 * self.width as f64 * f64::from(f32::EPSILON));
        let interval = |(row, sum): (&Rounding, i32)| {
            let middle = row.scale * own.scale * f64::from(sum);
            let most =
                row.error * length + row.length * own.error + relative * (row.length + row.error) * length;
            // Infinity times zero: nothing is known.
            let most = if most.is_nan() { f64::INFINITY } else { most };
            ((middle - most) as f32, (middle + most) as f32)
        };
        self.rows[rows].iter().zip(sums).map(interval).collect()
    }
}

impl RoundedVector {
    /// Rounds a vector to at most 16 bits: to fewer if a sum of `width` products would not fit into 32 bits.
    pub fn new(vector: ArrayView1<'_, f32>) -> Self {
        let fits = i32::MAX as usize / (LARGEST as usize * vector.len().max(1));
        let mut numbers = vec![0; vector.len()];
        let largest = fits.min(i16::MAX as usize) as f64;
        let rounding = round(vector, largest, |at, value| numbers[at] = value as i16);
        Self { numbers, rounding }
    }
}

/// Rounds a vector to whole numbers of a magnitude of at most `largest`. Of a vector that is not finite, or
/// if `largest` is zero, nothing is kept.
fn round(vector: ArrayView1<'_, f32>, largest: f64, mut keep: impl FnMut(usize, f64)) -> Rounding {
    let top = vector.iter().fold(0.0, |top: f64, value| top.max(f64::from(value.abs())));
    let scale = top / largest;
    if !vector.iter().all(|value| value.is_finite()) || !scale.is_finite() || scale == 0.0 {
        let error = if vector.iter().all(|value| *value == 0.0) { 0.0 } else { f64::INFINITY };
        return Rounding { scale: 0.0, length: 0.0, error };
    }
    let (mut length, mut error) = (0.0, 0.0);
    for (at, value) in vector.iter().enumerate() {
        let value = f64::from(*value);
        let number = (value / scale).round();
        keep(at, number);
        length += (scale * number).powi(2);
        error += (value - scale * number).powi(2);
    }
    Rounding { scale, length: length.sqrt(), error: error.sqrt() }
}

/// The products of rows with a vector, compiled for the widest vectors of the machine.
struct Products<'a> {
    numbers: &'a [i8],
    vector: &'a [i16],
    sums: &'a mut [i32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, sum) in self.numbers.chunks_exact(self.vector.len().max(1)).zip(self.sums) {
            for (number, other) in row.iter().zip(self.vector) {
                // It cannot wrap: `RoundedVector::new` sees to that. A checked addition would be slower.
                *sum = sum.wrapping_add(i32::from(*number) * i32::from(*other));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use ndarray::{Array1, Array2};

    /// The reference is the product in double precision. Rows of very different lengths, of zeros, and with
    /// one large number are among them. The width of the interval is compared with its formula: numbers are
    /// off by at most half a step, so a row by at most half a step times the root of the width.
    #[test]
    fn intervals_hold_the_products_and_are_narrow() {
        let mut random = Random::new(7);
        for width in [1, 2, 31, 384, 1030] {
            let mut rows = Array2::from_shape_fn((50, width), |(row, _)| {
                random.normal() as f32 * 10f32.powi(row as i32 % 9 - 4)
            });
            rows.row_mut(3).fill(0.0);
            rows[[4, 0]] = 1e3;
            let vector = Array1::from_shape_fn(width, |_| random.normal() as f32);
            let rounded = RoundedRows::new(rows.view());
            let intervals = rounded.products(10..50, &RoundedVector::new(vector.view()));
            assert_eq!(intervals.len(), 40);
            let all = rounded.products(0..50, &RoundedVector::new(vector.view()));
            assert_eq!(intervals, all[10..]);
            let length = vector.mapv(f64::from).pow2().sum().sqrt();
            for (row, (low, high)) in rows.outer_iter().zip(all) {
                let exact = row.mapv(f64::from).dot(&vector.mapv(f64::from));
                assert!(f64::from(low) <= exact && exact <= f64::from(high), "{low} {exact} {high}");
                let single = row.dot(&vector);
                assert!(low <= single && single <= high, "{low} {single} {high}");
                let top = row.iter().fold(0.0f32, |top, value| top.max(value.abs()));
                let step = f64::from(top) / LARGEST * (width as f64).sqrt();
                assert!(f64::from(high - low) <= 1.5 * step * length, "{low} {high}");
            }
        }
    }

    #[test]
    fn of_rows_that_are_not_finite_nothing_is_known() {
        let rows = ndarray::array![[f32::NAN, 1.0], [f32::INFINITY, 0.0], [1.0, 0.0]];
        let vector = RoundedVector::new(ndarray::array![0.0, 0.0].view());
        let got = RoundedRows::new(rows.view()).products(0..3, &vector);
        assert_eq!(got, [(f32::NEG_INFINITY, f32::INFINITY), (f32::NEG_INFINITY, f32::INFINITY), (0.0, 0.0)]);
    }
}
