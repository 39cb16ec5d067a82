//! Exact search: the product of a block of vectors with the query at a time, and the best of each block.

use crate::api_error::ApiError;
use chiasm_pipeline::{Error, RawItem, Run, read_vectors};
use ndarray::{Array2, ArrayView1, Axis};
use rayon::prelude::*;
use std::{cmp::Ordering, collections::BinaryHeap, path::Path};

/// The rows of a block.
const BLOCK: usize = 4096;

/// The items of one modality that are searched.
pub struct Gallery {
    pub modality: String,
    pub ids: Vec<String>,
    /// The raw items, if they are known.
    pub raw: Vec<RawItem>,
    /// The vectors, `[items, width]`; the dot product with the query is the score.
    pub vectors: Array2<f32>,
}

/// An item found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its place in the gallery.
    pub item: usize,
    pub score: f32,
}

/// Returns the galleries of a run: those of a file, or its test items.
///
/// # Errors
/// If the file or the data of the run cannot be read.
pub fn galleries(run: &Run<'_>, file: Option<&Path>) -> Result<Vec<Gallery>, Error> {
    let Some(file) = file else {
        let of = |own: chiasm_pipeline::Gallery| Gallery {
            modality: own.modality,
            ids: own.ids,
            raw: own.raw,
            vectors: own.embeds,
        };
        return Ok(run.galleries()?.into_iter().map(of).collect());
    };
    let mut found = Vec::new();
    for modality in &run.manifest.modalities {
        if let Some(stored) = read_vectors(file, &modality.output)? {
            let (ids, vectors) = (stored.ids, stored.vectors);
            found.push(Gallery { modality: modality.name.clone(), ids, raw: Vec::new(), vectors });
        }
        if file.extension().is_some_and(|extension| extension == "npy") {
            // An .npy file has one matrix, which items of every modality are compared with.
            found.iter_mut().for_each(|only| only.modality = "vectors".to_owned());
            break;
        }
    }
    if found.is_empty() {
        let message = format!("{} has no column of embeddings of the run", file.display());
        let help = "give a file that `chiasm run RUN --input ROWS -o OUT.parquet` wrote, or an .npy file";
        return Err(Error::input("chiasm::serve::index", message, help));
    }
    Ok(found)
}

impl Gallery {
    /// Returns the `top` items with the highest scores, best first; of equal scores the first items.
    ///
    /// # Errors
    /// If the query has another width.
    pub fn search(&self, query: ArrayView1<'_, f32>, top: usize) -> Result<Vec<Hit>, ApiError> {
        let (expected, got) = (self.vectors.ncols(), query.len());
        if expected != got {
            return Err(ApiError::bad(format!(
                "the vectors of {:?} have {expected} numbers, and the query has {got}",
                self.modality
            )));
        }
        let best: Vec<Ranked> = (0..self.vectors.nrows().div_ceil(BLOCK))
            .into_par_iter()
            .flat_map_iter(|block| {
                let rows = block * BLOCK..((block + 1) * BLOCK).min(self.vectors.nrows());
                let scores = self.vectors.slice_axis(Axis(0), rows.into()).dot(&query);
                best_of(scores.iter().enumerate().map(|(at, score)| (block * BLOCK + at, *score)), top)
            })
            .collect();
        let mut best = best_of(best.into_iter().map(|Ranked(hit)| (hit.item, hit.score)), top);
        best.sort();
        Ok(best.into_iter().map(|Ranked(hit)| hit).collect())
    }
}

/// Returns the `top` best, in any order.
fn best_of(all: impl Iterator<Item = (usize, f32)>, top: usize) -> Vec<Ranked> {
    let mut heap = BinaryHeap::with_capacity(top + 1);
    for (item, score) in all {
        let ranked = Ranked(Hit { item, score });
        if heap.len() < top {
            heap.push(ranked);
        } else if heap.peek().is_some_and(|worst| ranked < *worst) {
            heap.pop();
            heap.push(ranked);
        }
    }
    heap.into_vec()
}

/// A hit in the order of results: the best is the least.
struct Ranked(Hit);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.score.total_cmp(&self.0.score).then(self.0.item.cmp(&other.0.item))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

    fn gallery(rows: usize, width: usize) -> Gallery {
        // Few distinct values, so that many scores are equal.
        let value = |(row, column): (usize, usize)| ((row * 31 + column * 17) % 13) as f32 - 6.0;
        let vectors = Array2::from_shape_fn((rows, width), value);
        let ids = (0..rows).map(|row| row.to_string()).collect();
        Gallery { modality: "a".to_owned(), ids, raw: Vec::new(), vectors }
    }

    /// Compared with sorting all scores, which small whole numbers make exact.
    #[test]
    fn the_best_of_all_blocks_are_found_and_ties_keep_their_order() {
        for rows in [0, 1, 5, BLOCK, 3 * BLOCK + 7] {
            let gallery = gallery(rows, 3);
            let query = Array1::from(vec![1.0, -2.0, 3.0]);
            let mut all: Vec<(usize, f32)> = (gallery.vectors.outer_iter().enumerate())
                .map(|(at, row)| (at, row[0] - 2.0 * row[1] + 3.0 * row[2]))
                .collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let found = gallery.search(query.view(), 40).unwrap();
            let found: Vec<(usize, f32)> = found.iter().map(|hit| (hit.item, hit.score)).collect();
            assert_eq!(found, all[..rows.min(40)]);
        }
    }

    #[test]
    fn a_query_of_another_width_is_refused() {
        let refused = gallery(5, 3).search(Array1::zeros(4).view(), 1).unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(refused.message.contains("have 3 numbers, and the query has 4"));
    }
}
