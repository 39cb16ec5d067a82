//! Scores of queries against a whole gallery, in double precision.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array2, ArrayView2};

use crate::linalg::finite;
use crate::{Error, Result, same};

/// Scores that differ by less than this share of the product of the two vectors' lengths are equal: eight
/// units of single precision.
///
/// Rounding the entries of two vectors to single precision changes their dot product by at most one unit
/// (2^-23), and computing the vectors in single precision by a few more. Scores of items that a model can
/// distinguish differ by far more.
pub const TIE: f64 = 8.0 * f32::EPSILON as f64;
/// Number of scores that a thread computes at a time (4 MiB), but at least those of a few queries.
const SCORES: usize = 1 << 19;

/// Checked queries and gallery.
pub(super) struct Scorer<'a> {
    queries: ArrayView2<'a, f32>,
    gallery: Array2<f64>,
    penalty: Vec<f64>,
    /// Lengths of the gallery vectors.
    lengths: Vec<f64>,
}

impl<'a> Scorer<'a> {
    /// Checks `queries [q, d]`, `gallery [g, d]` and the `penalty [g]` that is subtracted from the scores of
    /// each gallery item.
    pub fn new(
        queries: ArrayView2<'a, f32>,
        gallery: ArrayView2<'_, f32>,
        penalty: Option<&[f64]>,
    ) -> Result<Self> {
        same(
            "width of the gallery vectors (must equal that of the queries)",
            queries.ncols(),
            gallery.ncols(),
        )?;
        finite("queries", queries)?;
        finite("gallery", gallery)?;
        let penalty = penalty.map_or_else(|| vec![0.0; gallery.nrows()], <[f64]>::to_vec);
        same("penalties of the gallery (one for each item)", gallery.nrows(), penalty.len())?;
        if let Some(row) = penalty.iter().position(|p| !p.is_finite()) {
            return Err(Error::NotFinite { what: "penalties of the gallery", row });
        }
        let lengths = gallery.outer_iter().map(|row| length(row.iter())).collect();
        let gallery = Array2::from_shape_fn(gallery.dim(), |at| f64::from(gallery[at]));
        Ok(Self { queries, gallery, penalty, lengths })
    }

    /// Returns the number of gallery items.
    pub fn gallery(&self) -> usize {
        self.gallery.nrows()
    }

    /// Returns the number of queries to score at a time.
    pub fn step(&self) -> usize {
        (SCORES / self.gallery.nrows().max(1)).clamp(8, 256)
    }

    /// Returns the scores of some queries, one row of `g` scores each.
    pub fn scores(&self, queries: impl ExactSizeIterator<Item = usize>) -> Array2<f64> {
        let rows = queries.len();
        let mut wide = Vec::with_capacity(rows * self.queries.ncols());
        for query in queries {
            wide.extend(self.queries.row(query).iter().map(|&v| f64::from(v)));
        }
        self.product(&wide, rows)
    }

    fn product(&self, queries: &[f64], rows: usize) -> Array2<f64> {
        let (items, width) = self.gallery.dim();
        let mut scores = vec![0.0; rows * items];
        let out = MatMut::from_row_major_slice_mut(&mut scores, rows, items);
        let queries = MatRef::from_row_major_slice(queries, rows, width);
        let gallery = MatRef::from_row_major_slice(self.gallery.as_slice().unwrap_or_default(), items, width);
        matmul(out, Accum::Replace, queries, gallery.transpose(), 1.0, Par::Seq);
        for row in scores.chunks_exact_mut(items.max(1)) {
            row.iter_mut().zip(&self.penalty).for_each(|(score, penalty)| *score -= penalty);
        }
        Array2::from_shape_vec((rows, items), scores).unwrap_or_default()
    }

    /// Returns the difference up to which scores are equal to that of the relevant item `relevant`.
    ///
    /// Uses the length of the relevant item for both, since items that are equal up to rounding have equal
    /// lengths.
    pub fn tolerance(&self, query_length: f64, relevant: usize) -> f64 {
        TIE * query_length * self.lengths[relevant]
    }

    /// Returns the length of a query vector.
    pub fn query_length(&self, query: usize) -> f64 {
        length(self.queries.row(query).iter())
    }
}

fn length<'a>(vector: impl Iterator<Item = &'a f32>) -> f64 {
    vector.map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}
