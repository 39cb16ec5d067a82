//! Products of single-precision matrices of any layout.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView2, Zip};

/// `factor * a b` on all threads.
pub(super) fn product(factor: f32, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let shape = out.dim();
    if let Some(slice) = out.as_slice_mut() {
        let out = MatMut::from_row_major_slice_mut(slice, shape.0, shape.1);
        let (a, b) = (a.laid_out(), b.laid_out());
        matmul(out, Accum::Replace, a.faer(), b.faer(), factor, Par::rayon(0));
    }
    out
}

/// A matrix as faer sees it without a copy: its memory row after row, or that of its transpose.
struct Laid<'a> {
    memory: ndarray::CowArray<'a, f32, ndarray::Ix2>,
    transposed: bool,
}

trait Lay<'a> {
    fn laid_out(self) -> Laid<'a>;
}

impl<'a> Lay<'a> for ArrayView2<'a, f32> {
    fn laid_out(self) -> Laid<'a> {
        let transposed = !self.is_standard_layout() && self.t().is_standard_layout();
        let view = if transposed { self.reversed_axes() } else { self };
        let memory = if view.is_standard_layout() {
            view.into()
        } else {
            view.as_standard_layout().into_owned().into()
        };
        Laid { memory, transposed }
    }
}

impl Laid<'_> {
    fn faer(&self) -> MatRef<'_, f32> {
        let (rows, columns) = self.memory.dim();
        let view = MatRef::from_row_major_slice(self.memory.as_slice().unwrap_or_default(), rows, columns);
        if self.transposed { view.transpose() } else { view }
    }
}

/// `sum x y`, rows in single precision lanes, their sum in double.
pub(super) fn dot(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let rows = Zip::from(x.rows()).and(y.rows());
    let sums: Array1<f64> =
        rows.par_map_collect(|x, y| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum());
    sums.sum()
}

/// A number in [0, 1) that looks random (splitmix64).
pub(super) fn unit_hash(i: u64, seed: u64) -> f64 {
    let mut z =
        i.wrapping_add(seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
