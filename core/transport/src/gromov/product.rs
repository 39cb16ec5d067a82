//! Products of single-precision matrices of any layout, and hashed random numbers.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array2, ArrayView2};

use crate::tasks::ONE_TASK;

/// Multiplications of a product that take about as long as looking at one number of a plan.
const PRODUCTS: usize = 32;

/// Returns `factor * a b`, computed on all threads if it is large.
pub(super) fn product(factor: f32, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let (shape, inner) = (out.dim(), a.ncols());
    if let Some(slice) = out.as_slice_mut() {
        let out = MatMut::from_row_major_slice_mut(slice, shape.0, shape.1);
        let (a, b) = (RowMajor::new(a), RowMajor::new(b));
        let alone = shape.0 * shape.1 * inner <= PRODUCTS * ONE_TASK;
        let threads = if alone { Par::Seq } else { Par::rayon(0) };
        matmul(out, Accum::Replace, a.faer(), b.faer(), factor, threads);
    }
    out
}

/// A matrix, or its transpose, in row-major layout. Copies only if neither is.
struct RowMajor<'a> {
    memory: ndarray::CowArray<'a, f32, ndarray::Ix2>,
    transposed: bool,
}

impl<'a> RowMajor<'a> {
    fn new(matrix: ArrayView2<'a, f32>) -> Self {
        let transposed = !matrix.is_standard_layout() && matrix.t().is_standard_layout();
        let view = if transposed { matrix.reversed_axes() } else { matrix };
        let memory = if view.is_standard_layout() {
            view.into()
        } else {
            view.as_standard_layout().into_owned().into()
        };
        Self { memory, transposed }
    }
    fn faer(&self) -> MatRef<'_, f32> {
        let (rows, columns) = self.memory.dim();
        let view = MatRef::from_row_major_slice(self.memory.as_slice().unwrap_or_default(), rows, columns);
        if self.transposed { view.transpose() } else { view }
    }
}

/// Returns a pseudo-random number in [0, 1) for the pair `(i, seed)`, by hashing it (SplitMix64).
pub(super) fn unit_hash(i: u64, seed: u64) -> f64 {
    let mut z =
        i.wrapping_add(seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
