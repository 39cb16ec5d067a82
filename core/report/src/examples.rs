//! What the merged model gets right and wrong: queries with their results.

use crate::sample::{ItemSample, Place, ShownItem};
use chiasm_pipeline::{RankedQuery, RetrievalExamples, RetrievedItem, TestItems};
use serde::Serialize;

/// The number of queries of each kind in each direction, and the number of results of each.
pub const QUERIES: usize = 4;
pub const RESULTS: usize = 3;
/// The most items of each direction that are tried as queries.
pub const RANKED: usize = 5_000;

/// The examples of one direction.
#[derive(Debug, Clone, Serialize)]
pub struct DirectionExamples {
    pub name: String,
    pub right: Vec<Example>,
    pub wrong: Vec<Example>,
    /// The number of ranked queries of either kind.
    pub counts: [usize; 2],
    /// The number of items that were tried as queries, and that of all, if it is larger.
    pub sampled: Option<[usize; 2]>,
}

/// One query and what it retrieved.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    pub query: ShownItem,
    pub rank: String,
    pub found: Vec<Hit>,
    /// The relevant item with the highest score, if it is not among those found.
    pub missed: Option<Hit>,
}

/// One result.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    pub item: ShownItem,
    pub score: String,
    pub relevant: bool,
}

/// Returns the places of all items of the examples.
pub fn places(test: &[TestItems], all: &[RetrievalExamples]) -> Vec<Place> {
    let mut places = Vec::new();
    for examples in all {
        let Some([first, second]) = modalities(test, examples) else { continue };
        for query in examples.right.iter().chain(&examples.wrong) {
            places.push((first, query.query));
            places.extend(query.found.iter().chain([&query.relevant]).map(|one| (second, one.item)));
        }
    }
    places
}

/// Returns the examples as the page shows them.
pub fn examples(
    test: &[TestItems],
    all: &[RetrievalExamples],
    sample: &ItemSample,
) -> Vec<DirectionExamples> {
    let of = |examples: &RetrievalExamples| {
        let [first, second] = modalities(test, examples)?;
        let shown = |queries: &[RankedQuery]| {
            queries.iter().filter_map(|query| example(query, [first, second], sample)).collect()
        };
        Some(DirectionExamples {
            name: examples.direction.join("->"),
            right: shown(&examples.right),
            wrong: shown(&examples.wrong),
            counts: examples.counts,
            sampled: Some(examples.items).filter(|[tried, all]| tried < all),
        })
    };
    all.iter().filter_map(of).collect()
}

fn example(query: &RankedQuery, [first, second]: [usize; 2], sample: &ItemSample) -> Option<Example> {
    let hit = |one: &RetrievedItem| {
        let item = sample.item((second, one.item))?.clone();
        Some(Hit { item, score: format!("{:.3}", one.score), relevant: one.relevant })
    };
    let among = query.found.iter().any(|one| one.relevant);
    Some(Example {
        query: sample.item((first, query.query))?.clone(),
        rank: rank(query.rank),
        found: query.found.iter().filter_map(hit).collect(),
        missed: if among { None } else { hit(&query.relevant) },
    })
}

/// Formats a rank, which is not whole if scores are equal.
fn rank(rank: f64) -> String {
    if rank.fract() == 0.0 { format!("{rank:.0}") } else { format!("{rank:.1}") }
}

fn modalities(test: &[TestItems], examples: &RetrievalExamples) -> Option<[usize; 2]> {
    let place = |name: &String| test.iter().position(|own| own.modality == *name);
    let [first, second] = &examples.direction;
    Some([place(first)?, place(second)?])
}
