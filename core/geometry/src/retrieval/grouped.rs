//! Queries and a gallery of any sizes: every gallery item of a query's group is right for it.

use ndarray::ArrayView2;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

use super::figures::{Figures, Outcome};
use super::rank::Rank;
use super::resample::bootstrap_of_mean;
use super::scorer::Scorer;
use crate::{Error, Result, same};

/// Items of one side: their vectors `[n, d]` and what each belongs to, a row or a label.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    /// One row each.
    pub vectors: ArrayView2<'a, f32>,
    /// Items of one group are right for each other.
    pub groups: &'a [usize],
}

/// Queries that each look for the gallery items of their group.
///
/// Five captions a picture, `groups` being the picture's row, are the protocol of Flickr30k and COCO;
/// `groups` being labels, `map` is the category mAP of cross-modal retrieval. Queries are spread over all
/// threads; the result does not depend on how many there are.
pub struct Retrieval<'a> {
    pub(super) scorer: Scorer<'a>,
    pub(super) queries: &'a [usize],
    pub(super) members: Members,
}

/// What the queries of a [`Retrieval`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcomes {
    /// One for every query that has a right item in the gallery, in the order of the queries.
    pub outcomes: Vec<Outcome>,
    /// The query of each outcome, counted from 0.
    pub queries: Vec<usize>,
    /// Queries without a right item in the gallery, which are left out.
    pub left_out: usize,
    /// Items of the gallery.
    pub gallery: usize,
}

impl<'a> Retrieval<'a> {
    /// `queries [q, d]` and `gallery [g, d]`. A `penalty` `[g]` is taken off every score of a gallery item,
    /// as [`crate::hubness`] makes them; a penalty of a query would move all of its scores alike and change
    /// no rank.
    ///
    /// # Errors
    /// When sizes differ, a value is not finite, or no query has a right item in the gallery.
    pub fn new(queries: Items<'a>, gallery: Items<'_>, penalty: Option<&[f64]>) -> Result<Self> {
        same("groups of the queries (one for each)", queries.vectors.nrows(), queries.groups.len())?;
        same("groups of the gallery (one for each item)", gallery.vectors.nrows(), gallery.groups.len())?;
        let scorer = Scorer::new(queries.vectors, gallery.vectors, penalty)?;
        let members = Members::new(gallery.groups);
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
    pub fn outcomes(&self) -> Outcomes {
        let found: Vec<(usize, Outcome)> = (self.blocks().into_par_iter())
            .flat_map_iter(|block| {
                let scores = self.scorer.scores(block.clone());
                let found = |(query, scores): (usize, ndarray::ArrayView1<'_, f64>)| {
                    let right = self.members.of(self.queries[query])?;
                    Some((query, Outcome::new(&self.places(query, scores.as_slice()?, right))?))
                };
                block.zip(scores.outer_iter()).filter_map(found).collect::<Vec<_>>()
            })
            .collect();
        let (queries, outcomes): (Vec<usize>, Vec<Outcome>) = found.into_iter().unzip();
        let left_out = self.queries.len() - queries.len();
        Outcomes { outcomes, queries, left_out, gallery: self.members.items() }
    }

    fn blocks(&self) -> Vec<Range<usize>> {
        let (step, n) = (self.scorer.step(), self.queries.len());
        (0..n).step_by(step).map(|start| start..(start + step).min(n)).collect()
    }

    /// The places of the right items, best first.
    ///
    /// A window of equal scores opens around the best right item that lies in none yet. Every score of the
    /// gallery then falls into a window or between two of them.
    fn places(&self, query: usize, scores: &[f64], right: &[usize]) -> Vec<Rank> {
        let length = self.scorer.query_length(query);
        let mut own: Vec<(f64, usize)> = right.iter().map(|&item| (scores[item], item)).collect();
        own.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut places: Vec<Rank> = Vec::new();
        // The upper and the lower edge of each window, descending; scores at or below an edge have passed it.
        let mut edges: Vec<f64> = Vec::new();
        for (score, item) in own {
            if let (Some(place), Some(&lower)) = (places.last_mut(), edges.last())
                && score > lower
            {
                place.right += 1;
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
            place.ties = counts[1] - place.right;
            before += counts[0] + counts[1];
        }
        places
    }
}

impl Outcomes {
    /// The figures: means over the queries that were not left out.
    pub fn figures(&self) -> Figures {
        Figures::of(&self.outcomes)
    }

    /// The figures of a random order of the gallery, given how many right items each query has: recall@k is
    /// the mean of `1 - C(g - p, k) / C(g, k)`.
    pub fn chance(&self) -> Figures {
        let mut known: HashMap<usize, Outcome> = HashMap::new();
        let of = |outcome: &Outcome| {
            let right = outcome.right;
            let random = || Rank { better: 0, ties: self.gallery - right, right }.into();
            *known.entry(right).or_insert_with(random)
        };
        Figures::of(&self.outcomes.iter().map(of).collect::<Vec<_>>())
    }

    /// Bootstrap interval of the mean of a value of each query, `rows` being the row that each query of the
    /// [`Retrieval`] belongs to, also where the groups are labels: see [`bootstrap_of_mean`].
    ///
    /// # Errors
    /// When `rows` is shorter than the queries, or as [`bootstrap_of_mean`].
    pub fn interval(
        &self,
        rows: &[usize],
        value: impl Fn(&Outcome) -> f64,
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

/// The gallery's items, group after group.
pub(super) struct Members {
    items: Vec<usize>,
    ranges: HashMap<usize, Range<usize>>,
}

impl Members {
    fn new(groups: &[usize]) -> Self {
        let mut items: Vec<usize> = (0..groups.len()).collect();
        items.sort_by_key(|&item| groups[item]);
        let mut ranges: HashMap<usize, Range<usize>> = HashMap::new();
        for (at, &item) in items.iter().enumerate() {
            ranges.entry(groups[item]).or_insert(at..at).end = at + 1;
        }
        Self { items, ranges }
    }

    /// The items of a group; none where the gallery has none.
    pub fn of(&self, group: usize) -> Option<&[usize]> {
        self.ranges.get(&group).map(|range| &self.items[range.clone()])
    }

    pub fn items(&self) -> usize {
        self.items.len()
    }
}
