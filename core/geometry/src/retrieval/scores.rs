//! Scores of the ranking of a query, and their means over queries.

use serde::{Deserialize, Serialize};

use super::rank::Rank;
use crate::harmonic::harmonic;
use crate::pairwise::median;

/// Number of ranks that `map@10` and `ndcg@10` consider.
const DEPTH: usize = 10;

/// Scores of one query, in expectation over ties.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct QueryOutcome {
    /// Rank of the first relevant item.
    pub first: Rank,
    /// Number of relevant items in the gallery.
    pub relevant: usize,
    /// Average precision over the whole gallery: the mean of the precision at the rank of each relevant item.
    pub average_precision: f64,
    /// Average precision of the first ten ranks, divided by min(10, relevant).
    pub average_precision_at_10: f64,
    /// Normalised discounted cumulative gain of the first ten ranks with binary relevance.
    pub ndcg_at_10: f64,
}

/// Scores of one retrieval direction: means over its queries, except for the median rank. All but
/// `median_rank` are in [0, 1].
///
/// All items of the query's group are relevant. With one relevant item per query, `map` equals `mrr`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetrievalScores {
    /// Share of queries with a relevant item in the first place.
    #[serde(rename = "recall@1")]
    pub recall_at_1: f64,
    /// Share of queries with any relevant item among the first five: recall@5 of image-text retrieval
    /// (Karpathy and Fei-Fei 2015), called success@5 or accuracy@5 in information retrieval.
    #[serde(rename = "recall@5")]
    pub recall_at_5: f64,
    /// Share of queries with any relevant item among the first ten.
    #[serde(rename = "recall@10")]
    pub recall_at_10: f64,
    /// Mean reciprocal rank of the first relevant item.
    pub mrr: f64,
    /// Mean average precision over the whole gallery; without ties as in
    /// `sklearn.metrics.average_precision_score`.
    pub map: f64,
    /// Mean average precision of the first ten ranks, divided by min(10, relevant items) as in the
    /// `InformationRetrievalEvaluator` of sentence-transformers. (`map_cut.10` of trec_eval, which MTEB
    /// reports, divides by the number of relevant items.)
    #[serde(rename = "map@10")]
    pub map_at_10: f64,
    /// Normalised discounted cumulative gain of the first ten ranks (Järvelin and Kekäläinen 2002): Σ 1 /
    /// log2(rank + 1) over the relevant items, divided by its maximum. `ndcg_cut.10` of trec_eval,
    /// sentence-transformers and MTEB.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Median over queries of the expected rank of the first relevant item, counted from 1.
    pub median_rank: f64,
}

impl QueryOutcome {
    /// Computes the scores from the ranks of all relevant items, best first. Returns `None` if there are
    /// none.
    pub fn new(places: &[Rank]) -> Option<Self> {
        places.first().map(|&first| Self::of(first, places))
    }

    fn of(first: Rank, places: &[Rank]) -> Self {
        let relevant: usize = places.iter().map(|place| place.relevant).sum();
        let best: f64 = (1..=relevant.min(DEPTH)).map(discount).sum();
        Self {
            first,
            relevant,
            average_precision: precisions(places, usize::MAX) / relevant as f64,
            average_precision_at_10: precisions(places, DEPTH) / relevant.min(DEPTH) as f64,
            ndcg_at_10: gain(places) / best,
        }
    }
}

impl From<Rank> for QueryOutcome {
    /// The scores of a query whose relevant items all have the same score.
    fn from(rank: Rank) -> Self {
        Self::of(rank, &[rank])
    }
}

/// Returns the expected sum of the precisions at the relevant items among the first `depth` ranks.
///
/// Consider a block of t tied items after b others, with p relevant items in the block and R before it. Place
/// i of the block (from 1) holds a relevant item with probability p / t, and then R + 1 + (i - 1) c relevant
/// items are expected up to it, where c = (p - 1) / (t - 1). The terms p / t (c + (R + 1 - c (b + 1)) / (b +
/// i)) sum to a difference of harmonic numbers.
fn precisions(places: &[Rank], depth: usize) -> f64 {
    let mut relevant_before = 0;
    let mut sum = 0.0;
    for place in places.iter().take_while(|place| place.better < depth) {
        let (size, start) = (place.size(), place.better);
        let end = depth.min(start + size);
        let slope = if size > 1 { (place.relevant - 1) as f64 / (size - 1) as f64 } else { 0.0 };
        let rest = (relevant_before + 1) as f64 - slope * (start + 1) as f64;
        let terms = slope * (end - start) as f64 + rest * harmonic(start, end);
        sum += place.relevant as f64 / size as f64 * terms;
        relevant_before += place.relevant;
    }
    sum
}

/// Returns the expected discounted cumulative gain of the first ten ranks.
fn gain(places: &[Rank]) -> f64 {
    let of_place = |place: &Rank| {
        let end = DEPTH.min(place.better + place.size());
        let discounts: f64 = (place.better + 1..=end).map(discount).sum();
        place.relevant as f64 / place.size() as f64 * discounts
    };
    places.iter().take_while(|place| place.better < DEPTH).map(of_place).sum()
}

/// Returns the discount of a rank, counted from 1.
fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 1) as f64).log2()
}

impl RetrievalScores {
    /// Averages the scores of queries; NaN if there are none.
    pub fn of(outcomes: &[QueryOutcome]) -> Self {
        let mean = |of: &dyn Fn(&QueryOutcome) -> f64| mean(outcomes.iter().map(of), outcomes.len());
        let mut ranks: Vec<f64> = outcomes.iter().map(|outcome| outcome.first.expected()).collect();
        Self {
            recall_at_1: mean(&|outcome| outcome.first.recall(1)),
            recall_at_5: mean(&|outcome| outcome.first.recall(5)),
            recall_at_10: mean(&|outcome| outcome.first.recall(10)),
            mrr: mean(&|outcome| outcome.first.reciprocal()),
            map: mean(&|outcome| outcome.average_precision),
            map_at_10: mean(&|outcome| outcome.average_precision_at_10),
            ndcg_at_10: mean(&|outcome| outcome.ndcg_at_10),
            median_rank: if ranks.is_empty() { f64::NAN } else { median(&mut ranks) },
        }
    }

    /// Averages the scores of queries with one relevant item each; NaN if there are none.
    pub fn of_ranks(ranks: &[Rank]) -> Self {
        Self::of(&ranks.iter().map(|&rank| rank.into()).collect::<Vec<_>>())
    }
}

/// Returns the expected share of queries with a relevant item among the first `k`, or NaN if there are no
/// queries.
pub fn recall(ranks: &[Rank], k: usize) -> f64 {
    mean(ranks.iter().map(|rank| rank.recall(k)), ranks.len())
}

/// Returns the expected mean reciprocal rank, or NaN if there are no queries.
pub fn reciprocal(ranks: &[Rank]) -> f64 {
    mean(ranks.iter().map(|rank| rank.reciprocal()), ranks.len())
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all equally likely orders of blocks of (irrelevant, relevant) tied items, as lists of 0 and 1.
    fn orders(blocks: &[(usize, usize)]) -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        for &(wrong, relevant) in blocks {
            let size = wrong + relevant;
            let sets: Vec<Vec<u8>> = (0u32..1 << size)
                .filter(|set| set.count_ones() as usize == relevant)
                .map(|set| (0..size).map(|at| (set >> at & 1) as u8).collect())
                .collect();
            all = (all.iter())
                .flat_map(|o: &Vec<u8>| sets.iter().map(move |s| [&o[..], &s[..]].concat()))
                .collect();
        }
        all
    }

    /// Average precision and NDCG by the definitions of scikit-learn, sentence-transformers and trec_eval.
    fn by_definition(order: &[u8], depth: usize) -> (f64, f64) {
        let relevant = order.iter().filter(|&&r| r == 1).count();
        let (mut hits, mut precisions, mut gain) = (0.0, 0.0, 0.0);
        for (at, _) in order.iter().enumerate().take(depth).filter(|(_, r)| **r == 1) {
            hits += 1.0;
            precisions += hits / (at + 1) as f64;
            gain += 1.0 / ((at + 2) as f64).log2();
        }
        let best: f64 = (0..relevant.min(depth)).map(|at| 1.0 / ((at + 2) as f64).log2()).sum();
        (precisions / relevant.min(depth) as f64, gain / best)
    }

    /// The tolerance allows for sums of a few thousand terms.
    #[test]
    fn scores_are_means_over_all_orders() {
        let cases: [&[(usize, usize)]; 6] = [
            &[(0, 1)],
            &[(3, 2), (2, 0), (1, 3)],
            &[(4, 0), (0, 2), (5, 1)],
            &[(2, 0), (6, 4)],
            &[(9, 0), (3, 2), (2, 2)],
            &[(0, 12), (2, 1)],
        ];
        for blocks in cases {
            let mut places = Vec::new();
            let mut start = 0;
            for &(wrong, relevant) in blocks {
                if relevant > 0 {
                    places.push(Rank { better: start, ties: wrong, relevant });
                }
                start += wrong + relevant;
            }
            let outcome = QueryOutcome::new(&places).unwrap();
            let all = orders(blocks);
            let mean = |f: &dyn Fn(&[u8]) -> f64| all.iter().map(|o| f(o)).sum::<f64>() / all.len() as f64;
            let close =
                |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{blocks:?}: {got}, {want}");
            close(outcome.average_precision, mean(&|o| by_definition(o, o.len()).0));
            close(outcome.average_precision_at_10, mean(&|o| by_definition(o, 10).0));
            close(outcome.ndcg_at_10, mean(&|o| by_definition(o, 10).1));
        }
    }

    #[test]
    fn serialised_scores_have_the_usual_names() {
        let figures = RetrievalScores::of_ranks(&[Rank::single(0, 0), Rank::single(2, 0)]);
        let text = serde_json::to_value(figures).unwrap();
        for (name, want) in [("recall@1", 0.5), ("recall@5", 1.0), ("recall@10", 1.0), ("map@10", 2.0 / 3.0)]
        {
            assert_eq!(text[name], want, "{name}");
        }
        for (name, want) in [("mrr", 2.0 / 3.0), ("map", 2.0 / 3.0), ("median_rank", 2.0), ("ndcg@10", 0.75)]
        {
            assert!((text[name].as_f64().unwrap() - want).abs() < 1e-15, "{name}");
        }
        assert_eq!(serde_json::from_value::<RetrievalScores>(text).unwrap(), figures);
    }

    #[test]
    fn chance_is_the_score_of_a_single_tie() {
        let chance = Rank { better: 0, ties: 995, relevant: 5 };
        // 1 - math.comb(995, 10) / math.comb(1000, 10) in Python
        assert!((chance.recall(10) - 0.049_106_295_428_319_46).abs() < 1e-15);
        assert!(QueryOutcome::new(&[]).is_none());
    }
}
