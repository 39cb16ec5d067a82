//! The test items of a run as a report shows them: raw, before and after alignment, and what they retrieve.

use super::{
    files,
    open::Run,
    relevance::{Relevance, RetrievalDirection},
};
use crate::{
    base::error::Error,
    catalog::{
        dataset::{RawItems, Split},
        raw::RawItem,
    },
    embed::{EmbeddedItems, vectors::ItemVectors},
};
use ndarray::Array2;
use std::{collections::HashMap, path::Path};

/// The test items of one modality.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TestItems {
    /// The modality.
    pub modality: String,
    /// The pooled vectors of its encoders, `[items, width]`.
    pub pooled: ItemVectors,
    /// The vectors in the shared space, `[items, k]`: unit rows, before a hubness bank.
    pub aligned: Array2<f32>,
    /// The index of the row of each item in the data, sorted in ascending order.
    pub rows: Vec<usize>,
    /// The id of the row of each item.
    pub ids: Vec<String>,
    /// The raw items. If the items of a row were averaged, the first of them.
    pub raw: Vec<RawItem>,
    /// The class of the row of each item, or its labels joined by `, `, if the recipe has such a task; `None`
    /// for a row without one that the model knows.
    pub labels: Vec<Option<String>>,
}

/// An item that a query retrieved.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RetrievedItem {
    /// Its index among the [`TestItems`] of the gallery's modality.
    pub item: usize,
    /// The dot product of its embedding and that of the query.
    pub score: f32,
    /// Whether it is relevant for the query.
    pub relevant: bool,
}

/// A query and what it retrieved.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RankedQuery {
    /// Its index among the [`TestItems`] of its modality.
    pub query: usize,
    /// The expected rank of its first relevant item, counted from 1; equal scores are in random order.
    pub rank: f64,
    /// The items with the highest scores, best first.
    pub found: Vec<RetrievedItem>,
    /// The relevant item with the highest score.
    pub relevant: RetrievedItem,
}

/// Examples of one direction of retrieval.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RetrievalExamples {
    /// The modality of the queries, and that of the gallery.
    pub direction: [String; 2],
    /// Queries whose first result is relevant, evenly spaced among all of them.
    pub right: Vec<RankedQuery>,
    /// The other queries with the highest ranks, the highest first.
    pub wrong: Vec<RankedQuery>,
    /// The number of ranked queries of either kind.
    pub counts: [usize; 2],
    /// The number of items that were tried as queries, and that of all.
    pub items: [usize; 2],
}

impl Run<'_> {
    /// Returns the folder of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the content of a text file of the run, by its path in the folder; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read or is outside the folder.
    pub fn stored_text(&self, name: &str) -> Result<Option<String>, Error> {
        if !self.folder.join(name).exists() {
            return Ok(None);
        }
        let path = files::path_in(&self.folder, name)?;
        let bytes =
            chiasm_host::read_file(&path, files::MAX_TEXT).map_err(|e| Error::io("read", &path, e))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Returns the test items of every modality, embedded by the encoders and aligned by the maps of the run.
    ///
    /// # Errors
    /// If the data or an item cannot be read.
    pub fn test_items(&self) -> Result<Vec<TestItems>, Error> {
        let (data, held_out) = (self.data()?, self.held_out()?);
        let test = data.dataset.rows_of(Split::Test);
        let of = |(at, embedded): (usize, &EmbeddedItems)| {
            let items = data.items[at].of_rows(&test);
            let shown = shown_items(&items, &embedded.rows);
            TestItems {
                modality: embedded.name.clone(),
                pooled: embedded.pooled.clone(),
                aligned: held_out.aligned[at].z.clone(),
                rows: embedded.rows.clone(),
                ids: embedded.rows.iter().map(|row| data.dataset.ids[*row].clone()).collect(),
                raw: shown.into_iter().map(|at| items.raw[at].clone()).collect(),
                labels: embedded.rows.iter().map(|row| data.task.as_ref()?.label(*row)).collect(),
            }
        };
        Ok(held_out.embedded.iter().enumerate().map(of).collect())
    }

    /// Returns for every direction at most `count` queries that retrieve a relevant item first, and as many
    /// that do not, each with its `top` results. The ranks are those of [`Run::measure`]; at most `most`
    /// evenly spaced items are tried as queries, which takes time in proportion to their number and to
    /// that of the gallery.
    ///
    /// # Errors
    /// If the data or an item cannot be read.
    pub fn retrieval_examples(
        &self,
        count: usize,
        top: usize,
        most: usize,
    ) -> Result<Vec<RetrievalExamples>, Error> {
        let aligned = &self.held_out()?.aligned;
        let relevance = Relevance::of(self.data()?, self.recipe());
        let directions = RetrievalDirection::all(aligned, &relevance);
        let of = |(_, direction): (String, RetrievalDirection<'_>)| {
            let all = direction.first.items.len();
            examples(&direction.sampled(most), all, self, count, top)
        };
        directions.into_iter().map(of).collect()
    }
}

fn examples(
    direction: &RetrievalDirection<'_>,
    all: usize,
    run: &Run<'_>,
    count: usize,
    top: usize,
) -> Result<RetrievalExamples, Error> {
    let aligned = &run.held_out()?.aligned;
    // The index of the first showing of each distinct item.
    let places = |modality: &str| -> HashMap<usize, usize> {
        let own = aligned.iter().filter(|own| own.name == modality).flat_map(|own| own.items.iter());
        let mut first = HashMap::new();
        own.enumerate().for_each(|(at, item)| {
            first.entry(*item).or_insert(at);
        });
        first
    };
    let (queries, gallery) = (places(&direction.first.name), places(&direction.second.name));
    let found = direction.outcomes()?;
    let mut ranks: Vec<(usize, f64)> = (found.queries.iter().copied())
        .zip(found.outcomes.iter().map(|outcome| outcome.first.expected()))
        .collect();
    let right: Vec<(usize, f64)> = ranks.iter().copied().filter(|(_, rank)| *rank <= 1.0).collect();
    ranks.retain(|(_, rank)| *rank > 1.0);
    ranks.sort_by(|(a, first), (b, second)| second.total_cmp(first).then(a.cmp(b)));
    let counts = [right.len(), ranks.len()];
    let shown = count.min(right.len());
    let right: Vec<(usize, f64)> = (0..shown).map(|at| right[at * right.len() / shown]).collect();
    ranks.truncate(count);
    let query = |(query, rank): (usize, f64)| {
        let results = results(direction, query, &gallery);
        let relevant = results.iter().find(|one| one.relevant).copied();
        let relevant = relevant.ok_or_else(|| Error::Internal("a query has no relevant item".to_owned()))?;
        let found = results.into_iter().take(top).collect();
        Ok(RankedQuery { query: queries[&direction.first.items[query]], rank, found, relevant })
    };
    Ok(RetrievalExamples {
        direction: [direction.first.name.clone(), direction.second.name.clone()],
        right: right.into_iter().map(query).collect::<Result<_, Error>>()?,
        wrong: ranks.into_iter().map(query).collect::<Result<_, Error>>()?,
        counts,
        items: [direction.first.items.len(), all],
    })
}

/// Returns the whole gallery for a query of a direction, best first. `places` are the indices of the distinct
/// items of the gallery.
fn results(
    direction: &RetrievalDirection<'_>,
    query: usize,
    places: &HashMap<usize, usize>,
) -> Vec<RetrievedItem> {
    let scores = direction.second.embeds.dot(&direction.first.embeds.row(query));
    let wanted = &direction.groups[0][query];
    let mut all: Vec<RetrievedItem> = (scores.iter().enumerate())
        .map(|(at, score)| RetrievedItem {
            item: places[&direction.second.items[at]],
            score: *score,
            relevant: direction.groups[1][at].iter().any(|group| wanted.contains(group)),
        })
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    all
}

/// Returns the index in `items` of the raw item of each embedded item, whose rows are `rows`: the same one,
/// or the first of the row if the items of a row were averaged.
pub(super) fn shown_items(items: &RawItems, rows: &[usize]) -> Vec<usize> {
    if items.raw.len() == rows.len() {
        return (0..rows.len()).collect();
    }
    rows.iter().map(|row| items.rows.partition_point(|other| other < row)).collect()
}
