//! Second moments of paired clouds in one pass: `XᵀX`, `YᵀY` and `XᵀY` of centred rows, and the squared
//! lengths of the rows.
//!
//! Each thread centres and multiplies a block of rows in its cache, so no centred copy of a cloud is written
//! to memory. Sums within a block are in the precision of the clouds, sums over blocks in `f64`.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use ndarray::ArrayView2;
use rayon::prelude::*;
use std::ops::Range;

use crate::cloud::{CloudStats, cloud_stats};
use crate::kernels::centre;
use crate::real::Real;
use crate::{Result, same};

/// Rows that are centred and multiplied at a time.
const BLOCK: usize = 2048;
/// Rows of a symmetric product that are computed at a time.
const PANEL: usize = 128;

/// Second moments of paired clouds.
pub(crate) struct SecondMoments {
    /// `XᵀX`, both triangles; empty unless requested.
    pub xx: Mat<f64>,
    /// `YᵀY`, likewise.
    pub yy: Mat<f64>,
    /// `XᵀY`
    pub xy: Mat<f64>,
    /// Squared lengths of the centred rows of each cloud.
    pub squares: [Vec<f64>; 2],
}

/// Computes the moments of paired rows, with `XᵀX` and `YᵀY` if `own` is set. Clouds are scaled as described
/// in [`crate::cloud`].
///
/// # Errors
/// When the numbers of rows differ or are below `least`, or a value is not finite.
pub(crate) fn moments<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    least: usize,
    own: bool,
) -> Result<SecondMoments> {
    same("rows of the second cloud (row i belongs to row i)", x.nrows(), y.nrows())?;
    let stats = [cloud_stats(0, x, least)?, cloud_stats(1, y, least)?];
    let (x, y) = (x.as_standard_layout(), y.as_standard_layout());
    let clouds = [x.as_slice().unwrap_or_default(), y.as_slice().unwrap_or_default()];
    let part = x.nrows().div_ceil(rayon::current_num_threads()).max(1);
    let parts: Vec<Range<usize>> =
        (0..x.nrows()).step_by(part).map(|start| start..(start + part).min(x.nrows())).collect();
    let parts: Vec<PartialMoments<T>> = parts
        .into_par_iter()
        .map(|rows| {
            let mut part = PartialMoments::new([x.ncols(), y.ncols()], own);
            for start in rows.clone().step_by(BLOCK) {
                part.take(start..(start + BLOCK).min(rows.end), clouds, &stats);
            }
            part
        })
        .collect();
    let total = parts
        .into_iter()
        .reduce(PartialMoments::and)
        .unwrap_or_else(|| PartialMoments::new([x.ncols(), y.ncols()], own));
    let [xx, yy, xy] = total.sums;
    let whole = |m: Mat<f64>| Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i.min(j), i.max(j))]);
    Ok(SecondMoments { xx: whole(xx), yy: whole(yy), xy, squares: total.squares })
}

/// The sums of one thread and its buffers.
struct PartialMoments<T> {
    widths: [usize; 2],
    centred: [Vec<T>; 2],
    products: [Mat<T>; 3],
    sums: [Mat<f64>; 3],
    squares: [Vec<f64>; 2],
}

impl<T: Real> PartialMoments<T> {
    fn new(widths: [usize; 2], own: bool) -> Self {
        let [a, b] = widths;
        let sizes = if own { [(a, a), (b, b), (a, b)] } else { [(0, 0), (0, 0), (a, b)] };
        Self {
            widths,
            centred: widths.map(|width| vec![T::of(0.0); BLOCK * width]),
            products: sizes.map(|(rows, columns)| Mat::zeros(rows, columns)),
            sums: sizes.map(|(rows, columns)| Mat::zeros(rows, columns)),
            squares: [Vec::new(), Vec::new()],
        }
    }

    fn take(&mut self, rows: Range<usize>, clouds: [&[T]; 2], stats: &[CloudStats; 2]) {
        for side in 0..2 {
            let width = self.widths[side];
            let given = &clouds[side][rows.start * width..rows.end * width];
            let mean = stats[side].mean.as_slice().unwrap_or_default();
            let factor = 1.0 / stats[side].unit();
            centre(given, mean, factor, &mut self.centred[side], &mut self.squares[side]);
        }
        let block = |side: usize| {
            let filled = &self.centred[side][..rows.len() * self.widths[side]];
            MatRef::from_row_major_slice(filled, rows.len(), self.widths[side])
        };
        let (x, y) = (block(0), block(1));
        let [xx, yy, xy] = &mut self.products;
        for (own, cloud) in [(xx, x), (yy, y)] {
            // The upper triangle in panels of rows, each starting at its diagonal.
            for from in (0..own.nrows()).step_by(PANEL) {
                let height = PANEL.min(own.nrows() - from);
                let (left, right) = (cloud.subcols(from, height), cloud.subcols(from, own.nrows() - from));
                let panel = own.as_mut().submatrix_mut(from, from, height, right.ncols());
                matmul(panel, Accum::Replace, left.transpose(), right, T::of(1.0), Par::Seq);
            }
        }
        matmul(xy.as_mut(), Accum::Replace, x.transpose(), y, T::of(1.0), Par::Seq);
        for (place, (sum, product)) in self.sums.iter_mut().zip(&self.products).enumerate() {
            for (j, (sum, product)) in sum.col_iter_mut().zip(product.col_iter()).enumerate() {
                // For the symmetric products, down to the end of the panel of the diagonal.
                let rows =
                    if place < 2 { product.nrows().min((j / PANEL + 1) * PANEL) } else { product.nrows() };
                let (sum, product) = (sum.subrows_mut(0, rows), product.subrows(0, rows));
                sum.iter_mut().zip(product.iter()).for_each(|(sum, &value)| *sum += value.into());
            }
        }
    }

    fn and(mut self, next: Self) -> Self {
        for (sum, more) in self.sums.iter_mut().zip(&next.sums) {
            *sum += more;
        }
        for (squares, more) in self.squares.iter_mut().zip(next.squares) {
            squares.extend(more);
        }
        self
    }
}
