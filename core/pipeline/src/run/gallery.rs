//! The items of one modality and their embeddings, searched exactly: the product of a block of vectors with
//! the query at a time, and the best of each block. With a copy of the vectors in 8 bits, only those that may
//! be among the best are multiplied in full.

use crate::{base::error::Error, catalog::raw::RawItem};
use chiasm_geometry::rounded::{RoundedRows, RoundedVector};
use ndarray::{Array2, ArrayView1, Axis};
use rayon::prelude::*;
use std::{cmp::Ordering, collections::BinaryHeap, ops::Range};

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
    rounded: Option<RoundedRows>,
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
    /// Makes a gallery. `raw` is empty if the raw items are not known.
    pub fn new(modality: String, ids: Vec<String>, raw: Vec<RawItem>, embeds: Array2<f32>) -> Self {
        Self { modality, ids, raw, embeds, rounded: None }
    }

    /// Makes searches faster and their results no other, with a copy of the embeddings in 8 bits. That takes
    /// as long as some searches, and a quarter of the memory of the embeddings more.
    #[must_use]
    pub fn prepared(mut self) -> Self {
        self.rounded = (self.embeds.ncols() > 0).then(|| RoundedRows::new(self.embeds.view()));
        self
    }

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
        let best: Vec<(usize, f32)> = match &self.rounded {
            Some(rounded) => {
                let items = candidates(rounded, rows, query, top);
                items.into_par_iter().map(|item| (item, self.embeds.row(item).dot(&query))).collect()
            }
            None => in_blocks(rows, |rows| {
                let scores = self.embeds.slice_axis(Axis(0), rows.clone().into()).dot(&query);
                let best = best_of(rows.zip(scores), top);
                best.into_iter().map(|Ranked(hit)| (hit.item, hit.score)).collect()
            }),
        };
        let mut best = best_of(best.into_iter(), top);
        best.sort();
        Ok(best.into_iter().map(|Ranked(hit)| hit).collect())
    }
}

/// Returns the items whose scores may be among the `top` highest: those whose interval reaches as high as
/// that many intervals begin.
fn candidates(rounded: &RoundedRows, rows: usize, query: ArrayView1<'_, f32>, top: usize) -> Vec<usize> {
    let vector = RoundedVector::new(query);
    let intervals: Vec<(usize, (f32, f32))> = in_blocks(rows, |rows| {
        let intervals = rounded.products(rows.clone(), &vector);
        let needed = highest(intervals.iter().map(|own| own.0), top);
        rows.zip(intervals).filter(|(_, own)| own.1 >= needed).collect()
    });
    let needed = highest(intervals.iter().map(|(_, own)| own.0), top);
    intervals.into_iter().filter(|(_, own)| own.1 >= needed).map(|(item, _)| item).collect()
}

/// Returns the least of the `top` highest values, or minus infinity if there are fewer.
fn highest(values: impl Iterator<Item = f32>, top: usize) -> f32 {
    let best = best_of(values.enumerate(), top);
    let least = best.iter().map(|Ranked(hit)| hit.score).min_by(f32::total_cmp);
    least.filter(|_| best.len() == top).unwrap_or(f32::NEG_INFINITY)
}

/// Joins what is found in each block of rows.
fn in_blocks<T: Send>(rows: usize, find: impl Fn(Range<usize>) -> Vec<T> + Sync) -> Vec<T> {
    let starts = (0..rows).into_par_iter().step_by(BLOCK);
    starts.flat_map_iter(|start| find(start..(start + BLOCK).min(rows))).collect()
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
    use chiasm_geometry::random::Random;
    use ndarray::Array1;

    fn gallery(rows: usize, width: usize) -> Gallery {
        // Few distinct values, so that many scores are equal.
        let value = |(row, column): (usize, usize)| ((row * 31 + column * 17) % 13) as f32 - 6.0;
        let embeds = Array2::from_shape_fn((rows, width), value);
        let ids = (0..rows).map(|row| row.to_string()).collect();
        Gallery::new("a".to_owned(), ids, Vec::new(), embeds)
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
            let prepared: Vec<(usize, f32)> = (gallery.prepared().search(query.view(), 40).unwrap().iter())
                .map(|hit| (hit.item, hit.score))
                .collect();
            assert_eq!(prepared, found);
        }
    }

    /// Without the copy in 8 bits every row is multiplied in full, so the hits and scores have to be the
    /// same: the sums are taken in the same order. Rows near one another, equal rows and a NaN are among
    /// them.
    #[test]
    fn a_prepared_gallery_finds_the_same_items_with_the_same_scores() {
        let mut random = Random::new(3);
        let centres = Array2::from_shape_fn((20, 96), |_| random.normal());
        let mut embeds = Array2::from_shape_fn((2 * BLOCK + 100, 96), |(row, column)| {
            let near = if row % 3 == 0 { 1e-4 } else { 0.3 };
            ((centres[[row % 20, column]] + near * random.normal()) / 10.0) as f32
        });
        let first = embeds.row(0).to_owned();
        embeds.slice_axis_mut(Axis(0), (500..600).into()).assign(&first);
        for nan in [false, true] {
            if nan {
                embeds[[BLOCK + 5, 7]] = f32::NAN;
            }
            let ids = (0..embeds.nrows()).map(|row| row.to_string()).collect();
            let plain = Gallery::new("a".to_owned(), ids, Vec::new(), embeds.clone());
            let prepared = plain.clone().prepared();
            for top in [1, 10, 1000, BLOCK + 1, embeds.nrows()] {
                let other = Array1::from_shape_fn(96, |_| random.normal() as f32);
                for query in [first.clone(), other, Array1::zeros(96)] {
                    let bits = |gallery: &Gallery| -> Vec<(usize, u32)> {
                        let hits = gallery.search(query.view(), top).unwrap();
                        hits.iter().map(|hit| (hit.item, hit.score.to_bits())).collect()
                    };
                    assert_eq!(bits(&plain), bits(&prepared), "{top}");
                }
            }
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
