//! Scores of some queries against a whole gallery, in double precision.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array2, ArrayView2};

use crate::linalg::finite;
use crate::{Error, Result, same};

/// Scores closer than this share of the product of the two vectors' lengths are equal: eight units of single
/// precision.
///
/// Rounding the entries of two vectors moves their product by at most one unit (2^-23), and computing them in
/// single precision (a product over some hundred terms, and a division by the length) by a few more. Scores
/// of items that differ in anything that a model sees are apart by far more.
pub const TIE: f64 = 8.0 * f32::EPSILON as f64;
/// Scores held at a time by one thread, unless a few queries already have more: 4 MiB.
const SCORES: usize = 1 << 19;

/// Queries and gallery, finite and of one width.
pub(super) struct Scorer<'a> {
    queries: ArrayView2<'a, f32>,
    gallery: Array2<f64>,
    penalty: Vec<f64>,
    /// Lengths of the gallery's vectors.
    lengths: Vec<f64>,
}

impl<'a> Scorer<'a> {
    /// `queries [q, d]`, `gallery [g, d]`, and what is taken off every score of a gallery item, `[g]`.
    pub fn new(
        queries: ArrayView2<'a, f32>,
        gallery: ArrayView2<'_, f32>,
        penalty: Option<&[f64]>,
    ) -> Result<Self> {
        same("width of the gallery's vectors (the queries' is expected)", queries.ncols(), gallery.ncols())?;
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

    /// Queries that are scored at a time.
    pub fn step(&self) -> usize {
        (SCORES / self.gallery.nrows().max(1)).clamp(8, 256)
    }

    /// Scores of some queries, a row of the gallery's size each.
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

    /// How far scores may be from that of a right item to be equal to it.
    pub fn tolerance(&self, query_length: f64, right: usize) -> f64 {
        TIE * query_length * self.lengths[right]
    }

    /// The length of a query's vector.
    pub fn query_length(&self, query: usize) -> f64 {
        length(self.queries.row(query).iter())
    }
}

fn length<'a>(vector: impl Iterator<Item = &'a f32>) -> f64 {
    vector.map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}
