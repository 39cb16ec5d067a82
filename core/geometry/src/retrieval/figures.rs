//! What a query's ranking is worth, and the mean over queries.

use serde::{Deserialize, Serialize};

use super::rank::Rank;
use crate::pairwise::median;
use crate::sums::harmonic;

/// Where `map@10` and `ndcg@10` stop.
const DEPTH: usize = 10;

/// One query's figures, in expectation over ties.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Place of the first right item.
    pub first: Rank,
    /// Right items in the gallery.
    pub right: usize,
    /// Mean of the precision at the place of each right item, over the whole gallery.
    pub average_precision: f64,
    /// The same of the first ten places, divided by min(10, right).
    pub average_precision_at_10: f64,
    /// Normalised discounted cumulative gain of the first ten places, a right item's gain being 1.
    pub ndcg_at_10: f64,
}

/// The figures of one direction, means over its queries (but for the median); all but `median_rank` lie in
/// [0, 1].
///
/// "Right" is any item of the query's group. With one right item a query, `map` equals `mrr`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Share of queries with a right item in the first place.
    #[serde(rename = "recall@1")]
    pub recall_at_1: f64,
    /// Share of queries with any right item among the first five, the recall of image-text retrieval
    /// (Karpathy and Fei-Fei 2015); information retrieval calls it success or accuracy at 5.
    #[serde(rename = "recall@5")]
    pub recall_at_5: f64,
    /// Share of queries with any right item among the first ten.
    #[serde(rename = "recall@10")]
    pub recall_at_10: f64,
    /// Mean of 1 / rank of the first right item.
    pub mrr: f64,
    /// Mean average precision over the whole gallery, as `sklearn.metrics.average_precision_score` has it
    /// without ties.
    pub map: f64,
    /// Mean average precision of the first ten places: precisions at the right ones, summed and divided by
    /// min(10, right), as sentence-transformers' `InformationRetrievalEvaluator` has it. (`map_cut.10` of
    /// trec_eval, which MTEB reports, divides by the number of right items, also where there are more than
    /// ten.)
    #[serde(rename = "map@10")]
    pub map_at_10: f64,
    /// Normalised discounted cumulative gain of the first ten places (Järvelin and Kekäläinen 2002): Σ 1 /
    /// log2(rank + 1) over the right ones, divided by the most that it can be. `ndcg_cut.10` of trec_eval,
    /// sentence-transformers and MTEB.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Median over queries of the expected rank of the first right item, counted from 1.
    pub median_rank: f64,
}

impl Outcome {
    /// From the places of all right items, best first; nothing where there is none.
    pub fn new(places: &[Rank]) -> Option<Self> {
        places.first().map(|&first| Self::of(first, places))
    }

    fn of(first: Rank, places: &[Rank]) -> Self {
        let right: usize = places.iter().map(|place| place.right).sum();
        let best: f64 = (1..=right.min(DEPTH)).map(discount).sum();
        Self {
            first,
            right,
            average_precision: precisions(places, usize::MAX) / right as f64,
            average_precision_at_10: precisions(places, DEPTH) / right.min(DEPTH) as f64,
            ndcg_at_10: gain(places) / best,
        }
    }
}

impl From<Rank> for Outcome {
    /// Of a query whose right items all stand in one place.
    fn from(rank: Rank) -> Self {
        Self::of(rank, &[rank])
    }
}

/// Expected sum of the precisions at the right items among the first `depth` places.
///
/// In a block of t tied items, p of them right and R right ones before it, place i (from 1) holds a right
/// item with probability p / t, and then R + 1 + (i - 1) c right ones stand so far, c = (p - 1) / (t - 1).
/// With the block behind b items the terms are p / t (c + (R + 1 - c (b + 1)) / (b + i)), whose sum over i is
/// a difference of harmonic numbers.
fn precisions(places: &[Rank], depth: usize) -> f64 {
    let mut right_before = 0;
    let mut sum = 0.0;
    for place in places.iter().take_while(|place| place.better < depth) {
        let (size, start) = (place.size(), place.better);
        let end = depth.min(start + size);
        let slope = if size > 1 { (place.right - 1) as f64 / (size - 1) as f64 } else { 0.0 };
        let rest = (right_before + 1) as f64 - slope * (start + 1) as f64;
        let terms = slope * (end - start) as f64 + rest * harmonic(start, end);
        sum += place.right as f64 / size as f64 * terms;
        right_before += place.right;
    }
    sum
}

/// Expected discounted cumulative gain of the first ten places.
fn gain(places: &[Rank]) -> f64 {
    let of_place = |place: &Rank| {
        let end = DEPTH.min(place.better + place.size());
        let discounts: f64 = (place.better + 1..=end).map(discount).sum();
        place.right as f64 / place.size() as f64 * discounts
    };
    places.iter().take_while(|place| place.better < DEPTH).map(of_place).sum()
}

/// The weight of a rank, counted from 1.
fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 1) as f64).log2()
}

impl Figures {
    /// The means over queries; NaN when there are none.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mean = |of: &dyn Fn(&Outcome) -> f64| mean(outcomes.iter().map(of), outcomes.len());
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

    /// Of queries with one right item each; NaN when there are none.
    pub fn of_ranks(ranks: &[Rank]) -> Self {
        Self::of(&ranks.iter().map(|&rank| rank.into()).collect::<Vec<_>>())
    }
}

/// Expected share of the queries with a right item among the first `k`; NaN when there are none.
pub fn recall(ranks: &[Rank], k: usize) -> f64 {
    mean(ranks.iter().map(|rank| rank.recall(k)), ranks.len())
}

/// Expected mean reciprocal rank; NaN when there are none.
pub fn reciprocal(ranks: &[Rank]) -> f64 {
    mean(ranks.iter().map(|rank| rank.reciprocal()), ranks.len())
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All orders of blocks of (wrong, right) items: lists of 0 and 1, each block's orders equally likely.
    fn orders(blocks: &[(usize, usize)]) -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        for &(wrong, right) in blocks {
            let size = wrong + right;
            let sets: Vec<Vec<u8>> = (0u32..1 << size)
                .filter(|set| set.count_ones() as usize == right)
                .map(|set| (0..size).map(|at| (set >> at & 1) as u8).collect())
                .collect();
            all = (all.iter())
                .flat_map(|o: &Vec<u8>| sets.iter().map(move |s| [&o[..], &s[..]].concat()))
                .collect();
        }
        all
    }

    /// As `sklearn.metrics.average_precision_score`, the evaluator of sentence-transformers and trec_eval say
    /// it in words.
    fn by_definition(order: &[u8], depth: usize) -> (f64, f64) {
        let right = order.iter().filter(|&&r| r == 1).count();
        let (mut hits, mut precisions, mut gain) = (0.0, 0.0, 0.0);
        for (at, _) in order.iter().enumerate().take(depth).filter(|(_, r)| **r == 1) {
            hits += 1.0;
            precisions += hits / (at + 1) as f64;
            gain += 1.0 / ((at + 2) as f64).log2();
        }
        let best: f64 = (0..right.min(depth)).map(|at| 1.0 / ((at + 2) as f64).log2()).sum();
        (precisions / right.min(depth) as f64, gain / best)
    }

    /// Means over every order of the tied items; a few thousand terms: 1e-12.
    #[test]
    fn figures_are_means_over_all_orders() {
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
            for &(wrong, right) in blocks {
                if right > 0 {
                    places.push(Rank { better: start, ties: wrong, right });
                }
                start += wrong + right;
            }
            let outcome = Outcome::new(&places).unwrap();
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
    fn the_names_are_the_fields() {
        let figures = Figures::of_ranks(&[Rank::single(0, 0), Rank::single(2, 0)]);
        let text = serde_json::to_value(figures).unwrap();
        for (name, want) in [("recall@1", 0.5), ("recall@5", 1.0), ("recall@10", 1.0), ("map@10", 2.0 / 3.0)]
        {
            assert_eq!(text[name], want, "{name}");
        }
        for (name, want) in [("mrr", 2.0 / 3.0), ("map", 2.0 / 3.0), ("median_rank", 2.0), ("ndcg@10", 0.75)]
        {
            assert!((text[name].as_f64().unwrap() - want).abs() < 1e-15, "{name}");
        }
        assert_eq!(serde_json::from_value::<Figures>(text).unwrap(), figures);
    }

    #[test]
    fn chance_is_the_figure_of_one_tie() {
        let chance = Rank { better: 0, ties: 995, right: 5 };
        // 1 - math.comb(995, 10) / math.comb(1000, 10) in Python
        assert!((chance.recall(10) - 0.049_106_295_428_319_46).abs() < 1e-15);
        assert!(Outcome::new(&[]).is_none());
    }
}
