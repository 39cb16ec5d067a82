//! Products of single-precision matrices of any layout.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array2, ArrayView2};

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
