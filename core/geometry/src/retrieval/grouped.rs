//! Retrieval with groups: all gallery items of a query's group are relevant.

use ndarray::ArrayView2;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
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

/// The items of one side, where an item may belong to several groups, such as a picture on several rows.
#[derive(Debug, Clone, Copy)]
pub struct SharedItems<'a> {
    /// The vectors `[n, d]`, one row per item.
    pub vectors: ArrayView2<'a, f32>,
    /// The groups of each item. Items with a common group are relevant for each other.
    pub groups: &'a [Vec<usize>],
}

/// Retrieval of the gallery items of each query's group.
///
/// With five captions per picture and the picture's row as `groups`, this is the protocol of Flickr30k and
/// COCO. With labels as `groups`, `map` is the category mAP of cross-modal retrieval. Queries run in
/// parallel; the result does not depend on the number of threads.
pub struct Retrieval<'a> {
    pub(super) scorer: Scorer<'a>,
    pub(super) queries: QueryGroups<'a>,
    pub(super) members: GroupIndex,
}

/// The groups of the queries.
pub(super) enum QueryGroups<'a> {
    One(&'a [usize]),
    Several(&'a [Vec<usize>]),
}

impl QueryGroups<'_> {
    /// The groups of a query.
    pub fn of(&self, query: usize) -> &[usize] {
        match self {
            Self::One(groups) => &groups[query..=query],
            Self::Several(groups) => &groups[query],
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::One(groups) => groups.len(),
            Self::Several(groups) => groups.len(),
        }
    }
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
        same("groups of the gallery (one for each item)", gallery.vectors.nrows(), gallery.groups.len())?;
        let members = GroupIndex::new(gallery.groups.iter().copied().enumerate());
        let scorer = Scorer::new(queries.vectors, gallery.vectors, penalty)?;
        Self::checked(scorer, QueryGroups::One(queries.groups), members, queries.vectors.nrows())
    }

    /// Prepares the retrieval of `queries [q, d]` in `gallery [g, d]`, where items may belong to several
    /// groups. An item that occurs on several rows is one item here, and all its rows are its groups. As
    /// several items with equal vectors it would compete with itself.
    ///
    /// ```
    /// use chiasm_geometry::retrieval::{Retrieval, SharedItems};
    /// // One picture on the rows 0 and 1, another on row 2, and a caption on each row.
    /// let pictures = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0]];
    /// let captions = ndarray::array![[1.0_f32, 0.1], [0.9, 0.0], [0.1, 1.0]];
    /// let found = Retrieval::shared(
    ///     SharedItems { vectors: captions.view(), groups: &[vec![0], vec![1], vec![2]] },
    ///     SharedItems { vectors: pictures.view(), groups: &[vec![0, 1], vec![2]] },
    ///     None,
    /// )?
    /// .outcomes();
    /// assert_eq!((found.gallery, found.scores().recall_at_1), (2, 1.0));
    /// # Ok::<(), chiasm_geometry::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Retrieval::new`].
    pub fn shared(
        queries: SharedItems<'a>,
        gallery: SharedItems<'_>,
        penalty: Option<&[f64]>,
    ) -> Result<Self> {
        same("groups of the gallery (a list for each item)", gallery.vectors.nrows(), gallery.groups.len())?;
        let each = gallery.groups.iter().enumerate();
        let members =
            GroupIndex::new(each.flat_map(|(item, own)| own.iter().map(move |group| (item, *group))));
        let scorer = Scorer::new(queries.vectors, gallery.vectors, penalty)?;
        Self::checked(scorer, QueryGroups::Several(queries.groups), members, queries.vectors.nrows())
    }

    fn checked(
        scorer: Scorer<'a>,
        queries: QueryGroups<'a>,
        members: GroupIndex,
        vectors: usize,
    ) -> Result<Self> {
        same("groups of the queries (one entry for each)", vectors, queries.len())?;
        let found = Self { scorer, queries, members };
        if (0..vectors).all(|query| found.relevant(query).is_none()) {
            return Err(Error::Setting {
                what: "retrieval",
                expected: "at least one query whose group has an item in the gallery".into(),
                got: format!("none of {vectors} queries, {} gallery items", found.scorer.gallery()),
            });
        }
        Ok(found)
    }

    /// The gallery items that share a group with a query; `None` if there are none.
    fn relevant(&self, query: usize) -> Option<Cow<'_, [usize]>> {
        match self.queries.of(query) {
            [group] => self.members.of(*group).map(Cow::Borrowed),
            groups => {
                let items: BTreeSet<usize> =
                    groups.iter().filter_map(|group| self.members.of(*group)).flatten().copied().collect();
                (!items.is_empty()).then(|| Cow::Owned(items.into_iter().collect()))
            }
        }
    }

    /// Ranks the gallery for every query.
    pub fn outcomes(&self) -> RetrievalOutcomes {
        let found: Vec<(usize, QueryOutcome)> = (self.blocks().into_par_iter())
            .flat_map_iter(|block| {
                let scores = self.scorer.scores(block.clone());
                let found = |(query, scores): (usize, ndarray::ArrayView1<'_, f64>)| {
                    let relevant = self.relevant(query)?;
                    Some((query, QueryOutcome::new(&self.places(query, scores.as_slice()?, &relevant))?))
                };
                block.zip(scores.outer_iter()).filter_map(found).collect::<Vec<_>>()
            })
            .collect();
        let (queries, outcomes): (Vec<usize>, Vec<QueryOutcome>) = found.into_iter().unzip();
        let left_out = self.queries.len() - queries.len();
        RetrievalOutcomes { outcomes, queries, left_out, gallery: self.scorer.gallery() }
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
    /// Indexes items by pairs of an item and a group of it.
    fn new(memberships: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut pairs: Vec<(usize, usize)> = memberships.map(|(item, group)| (group, item)).collect();
        pairs.sort_unstable();
        let mut ranges: HashMap<usize, Range<usize>> = HashMap::new();
        for (at, &(group, _)) in pairs.iter().enumerate() {
            ranges.entry(group).or_insert(at..at).end = at + 1;
        }
        Self { items: pairs.into_iter().map(|(_, item)| item).collect(), ranges }
    }

    /// Returns the items of a group, or `None` if there are none.
    pub fn of(&self, group: usize) -> Option<&[usize]> {
        self.ranges.get(&group).map(|range| &self.items[range.clone()])
    }
}
