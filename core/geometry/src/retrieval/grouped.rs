//! Retrieval with groups: all gallery items of a query's group are relevant.

use ndarray::ArrayView2;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

use super::bootstrap::bootstrap_of_mean;
use super::rank::Rank;
use super::scorer::Scorer;
use super::scores::{QueryOutcome, RetrievalScores};
use crate::{Error, Result, same};

/// The items of one side: queries or gallery.
#[derive(Debug, Clone, Copy)]
pub struct RetrievalItems<'a> {
    /// The vectors `[n, d]`, one row per item.
    pub vectors: ArrayView2<'a, f32>,
    /// The group of each item, such as a row or a label. Items of the same group are relevant for each other.
    pub groups: &'a [usize],
}

/// Retrieval of the gallery items of each query's group.
///
/// With five captions per picture and the picture's row as `groups`, this is the protocol of Flickr30k and
/// COCO. With labels as `groups`, `map` is the category mAP of cross-modal retrieval. Queries run in
/// parallel; the result does not depend on the number of threads.
pub struct Retrieval<'a> {
    pub(super) scorer: Scorer<'a>,
    pub(super) queries: &'a [usize],
    pub(super) members: GroupIndex,
}

/// The results of all queries of a [`Retrieval`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RetrievalOutcomes {
    /// Results of the queries that have a relevant item in the gallery, in the order of the queries.
    pub outcomes: Vec<QueryOutcome>,
    /// Index of the query of each outcome.
    pub queries: Vec<usize>,
    /// Number of queries without a relevant item in the gallery, which are skipped.
    pub left_out: usize,
    /// Number of gallery items.
    pub gallery: usize,
}

impl<'a> Retrieval<'a> {
    /// Prepares the retrieval of `queries [q, d]` in `gallery [g, d]`.
    ///
    /// A `penalty` `[g]`, for example from [`crate::hubness`], is subtracted from the scores of each gallery
    /// item. A penalty of a query would shift all its scores and change no rank.
    ///
    /// # Errors
    /// When sizes differ, a value is not finite, or no query has a relevant item in the gallery.
    pub fn new(
        queries: RetrievalItems<'a>,
        gallery: RetrievalItems<'_>,
        penalty: Option<&[f64]>,
    ) -> Result<Self> {
        same("groups of the queries (one for each)", queries.vectors.nrows(), queries.groups.len())?;
        same("groups of the gallery (one for each item)", gallery.vectors.nrows(), gallery.groups.len())?;
        let scorer = Scorer::new(queries.vectors, gallery.vectors, penalty)?;
        let members = GroupIndex::new(gallery.groups);
        if !queries.groups.iter().any(|&group| members.of(group).is_some()) {
            return Err(Error::Setting {
                what: "retrieval",
                expected: "at least one query whose group has an item in the gallery".into(),
                got: format!("none of {} queries, {} gallery items", queries.groups.len(), members.items()),
            });
        }
        Ok(Self { scorer, queries: queries.groups, members })
    }

    /// Ranks the gallery for every query.
    pub fn outcomes(&self) -> RetrievalOutcomes {
        let found: Vec<(usize, QueryOutcome)> = (self.blocks().into_par_iter())
            .flat_map_iter(|block| {
                let scores = self.scorer.scores(block.clone());
                let found = |(query, scores): (usize, ndarray::ArrayView1<'_, f64>)| {
                    let relevant = self.members.of(self.queries[query])?;
                    Some((query, QueryOutcome::new(&self.places(query, scores.as_slice()?, relevant))?))
                };
                block.zip(scores.outer_iter()).filter_map(found).collect::<Vec<_>>()
            })
            .collect();
        let (queries, outcomes): (Vec<usize>, Vec<QueryOutcome>) = found.into_iter().unzip();
        let left_out = self.queries.len() - queries.len();
        RetrievalOutcomes { outcomes, queries, left_out, gallery: self.members.items() }
    }

    fn blocks(&self) -> Vec<Range<usize>> {
        let (step, n) = (self.scorer.step(), self.queries.len());
        (0..n).step_by(step).map(|start| start..(start + step).min(n)).collect()
    }

    /// Returns the ranks of the relevant items, best first.
    ///
    /// A window of equal scores is opened around the best relevant item that is in no window yet. Every score
    /// of the gallery is then in a window or between two windows.
    fn places(&self, query: usize, scores: &[f64], relevant: &[usize]) -> Vec<Rank> {
        let length = self.scorer.query_length(query);
        let mut own: Vec<(f64, usize)> = relevant.iter().map(|&item| (scores[item], item)).collect();
        own.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut places: Vec<Rank> = Vec::new();
        // The upper and the lower edge of each window, in descending order. A score at an edge is below it.
        let mut edges: Vec<f64> = Vec::new();
        for (score, item) in own {
            if let (Some(place), Some(&lower)) = (places.last_mut(), edges.last())
                && score > lower
            {
                place.relevant += 1;
                continue;
            }
            let slack = self.scorer.tolerance(length, item);
            edges.push(edges.last().map_or(score + slack, |&lower| lower.min(score + slack)));
            edges.push((score - slack).next_down());
            places.push(Rank::single(0, 0));
        }
        let lowest = edges.last().copied().unwrap_or(f64::INFINITY);
        let mut counts = vec![0; edges.len() + 1];
        for &score in scores {
            if score > lowest {
                counts[edges.partition_point(|&edge| edge >= score)] += 1;
            }
        }
        let mut before = 0;
        for (place, counts) in places.iter_mut().zip(counts.chunks_exact(2)) {
            place.better = before + counts[0];
            place.ties = counts[1] - place.relevant;
            before += counts[0] + counts[1];
        }
        places
    }
}

impl RetrievalOutcomes {
    /// Averages the scores over the queries that were not skipped.
    pub fn scores(&self) -> RetrievalScores {
        RetrievalScores::of(&self.outcomes)
    }

    /// Returns the expected scores of a random order of the gallery, given the number p of relevant items of
    /// each query: recall@k is the mean of `1 - C(g - p, k) / C(g, k)`.
    pub fn chance(&self) -> RetrievalScores {
        let mut known: HashMap<usize, QueryOutcome> = HashMap::new();
        let of = |outcome: &QueryOutcome| {
            let relevant = outcome.relevant;
            let random = || Rank { better: 0, ties: self.gallery - relevant, relevant }.into();
            *known.entry(relevant).or_insert_with(random)
        };
        RetrievalScores::of(&self.outcomes.iter().map(of).collect::<Vec<_>>())
    }

    /// Returns the bootstrap interval of the mean of a value per query, resampled by rows: see
    /// [`bootstrap_of_mean`].
    ///
    /// `rows` holds the row of each query of the [`Retrieval`], also if the groups are labels.
    ///
    /// # Errors
    /// When the length of `rows` differs from the number of queries, and the errors of [`bootstrap_of_mean`].
    pub fn interval(
        &self,
        rows: &[usize],
        value: impl Fn(&QueryOutcome) -> f64,
        draws: usize,
        level: f64,
        seed: u64,
    ) -> Result<(f64, f64)> {
        same("rows of the queries (one for each)", self.outcomes.len() + self.left_out, rows.len())?;
        let rows: Vec<usize> = self.queries.iter().map(|&query| rows[query]).collect();
        let values: Vec<f64> = self.outcomes.iter().map(value).collect();
        bootstrap_of_mean(&rows, &values, draws, level, seed)
    }
}

/// The gallery items of each group.
pub(super) struct GroupIndex {
    items: Vec<usize>,
    ranges: HashMap<usize, Range<usize>>,
}

impl GroupIndex {
    fn new(groups: &[usize]) -> Self {
        let mut items: Vec<usize> = (0..groups.len()).collect();
        items.sort_by_key(|&item| groups[item]);
        let mut ranges: HashMap<usize, Range<usize>> = HashMap::new();
        for (at, &item) in items.iter().enumerate() {
            ranges.entry(groups[item]).or_insert(at..at).end = at + 1;
        }
        Self { items, ranges }
    }

    /// Returns the items of a group, or `None` if there are none.
    pub fn of(&self, group: usize) -> Option<&[usize]> {
        self.ranges.get(&group).map(|range| &self.items[range.clone()])
    }

    /// Returns the number of gallery items.
    pub fn items(&self) -> usize {
        self.items.len()
    }
}
