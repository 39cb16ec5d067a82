//! The items of one modality and their embeddings, searched exactly: the product of a block of vectors with
//! the query at a time, and the best of each block.

use crate::{base::error::Error, catalog::raw::RawItem};
use ndarray::{Array2, ArrayView1, Axis};
use rayon::prelude::*;
use std::{cmp::Ordering, collections::BinaryHeap};

/// The rows of a block.
const BLOCK: usize = 4096;

/// The items of one modality and their embeddings, to be searched.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// The modality.
    pub modality: String,
    /// The id of each item, or of its row.
    pub ids: Vec<String>,
    /// The raw items, if they are known.
    pub raw: Vec<RawItem>,
    /// The embeddings, `[items, width]`, whose dot product with that of a query is the score.
    pub embeds: Array2<f32>,
}

/// An item found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GalleryHit {
    /// Its place in the gallery.
    pub item: usize,
    /// The dot product of its embedding and the query.
    pub score: f32,
}

impl Gallery {
    /// Returns the `top` items with the highest scores, best first; of equal scores the first items.
    ///
    /// # Errors
    /// If the query has another width, or a number that is not finite.
    pub fn search(&self, query: ArrayView1<'_, f32>, top: usize) -> Result<Vec<GalleryHit>, Error> {
        let refused = |message| {
            Error::input("chiasm::search::query", message, "give a vector of the shared space of this run")
        };
        let (rows, width) = self.embeds.dim();
        if query.len() != width {
            return Err(refused(format!(
                "the vectors of {:?} have {width} numbers, and the query has {}",
                self.modality,
                query.len()
            )));
        }
        if let Some(other) = query.iter().find(|value| !value.is_finite()) {
            return Err(refused(format!("the query holds {other}: its numbers must be finite")));
        }
        let top = top.min(rows);
        let best: Vec<Ranked> = (0..rows.div_ceil(BLOCK))
            .into_par_iter()
            .flat_map_iter(|block| {
                let rows = block * BLOCK..((block + 1) * BLOCK).min(rows);
                let scores = self.embeds.slice_axis(Axis(0), rows.into()).dot(&query);
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
        let ranked = Ranked(GalleryHit { item, score });
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
struct Ranked(GalleryHit);

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
        let embeds = Array2::from_shape_fn((rows, width), value);
        let ids = (0..rows).map(|row| row.to_string()).collect();
        Gallery { modality: "a".to_owned(), ids, raw: Vec::new(), embeds }
    }

    /// Compared with sorting all scores, which small whole numbers make exact.
    #[test]
    fn the_best_of_all_blocks_are_found_and_ties_keep_their_order() {
        for rows in [0, 1, 5, BLOCK, 3 * BLOCK + 7] {
            let gallery = gallery(rows, 3);
            let query = Array1::from(vec![1.0, -2.0, 3.0]);
            let mut all: Vec<(usize, f32)> = (gallery.embeds.outer_iter().enumerate())
                .map(|(at, row)| (at, row[0] - 2.0 * row[1] + 3.0 * row[2]))
                .collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let found = gallery.search(query.view(), 40).unwrap();
            let found: Vec<(usize, f32)> = found.iter().map(|hit| (hit.item, hit.score)).collect();
            assert_eq!(found, all[..rows.min(40)]);
        }
    }

    #[test]
    fn a_query_of_another_width_or_with_nan_is_refused() {
        let refused = gallery(5, 3).search(Array1::zeros(4).view(), 1).unwrap_err().to_string();
        assert!(refused.contains("have 3 numbers, and the query has 4"), "{refused}");
        let refused = gallery(5, 3).search(Array1::from(vec![0.0, f32::NAN, 0.0]).view(), 1).unwrap_err();
        assert!(refused.to_string().contains("holds NaN"), "{refused}");
    }

    #[test]
    fn more_items_than_there_are_may_be_asked_for() {
        assert_eq!(gallery(5, 3).search(Array1::ones(3).view(), usize::MAX).unwrap().len(), 5);
    }
}
