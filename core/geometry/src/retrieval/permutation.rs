//! Permutation null of a retrieval score: its distribution if the rows of both sides were unrelated.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::grouped::Retrieval;
use super::rank::Rank;
use crate::random::Random;
use crate::{Error, Result, same};

/// Maximum number of queries. If there are more, whole rows are drawn at random up to this number.
const QUERIES: usize = 1000;
/// Scores that differ by less are equal up to the order of summation.
const SLACK: f64 = 1e-12;

/// A retrieval score and its permutation null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PermutationNull {
    /// The score of the sampled queries with the true pairing.
    pub value: f64,
    /// Mean over the permutations.
    pub mean: f64,
    /// Standard deviation over the permutations.
    pub sd: f64,
    /// `(1 + permutations with at least that score) / (1 + permutations)` (Phipson and Smyth 2010).
    pub p_value: f64,
    /// Number of permutations.
    pub permutations: usize,
    /// Number of sampled queries.
    pub queries: usize,
}

/// The group and the queries of a row.
struct QueryRow {
    group: usize,
    queries: Vec<usize>,
}

impl Retrieval<'_> {
    /// Computes the mean over queries of a statistic of the first relevant item, such as
    /// `|rank| rank.recall(10)` or `Rank::reciprocal`, and its distribution when the groups of the rows are
    /// permuted.
    ///
    /// `rows` holds the row of each query; queries of one row are permuted together. Rows without a relevant
    /// item in the gallery are skipped. At most 1000 queries are used, drawn by whole rows. Each is ranked
    /// once against all groups, so a permutation needs only look-ups.
    ///
    /// # Errors
    /// When the length of `rows` differs from the number of queries, the queries of a row have different
    /// groups, or `permutations` is 0.
    pub fn permutation_null(
        &self,
        rows: &[usize],
        statistic: impl Fn(Rank) -> f64 + Sync,
        permutations: usize,
        seed: u64,
    ) -> Result<PermutationNull> {
        if permutations == 0 {
            let expected = "at least one permutation".into();
            return Err(Error::Setting { what: "permutation null", expected, got: "0".into() });
        }
        let rows = self.rows(rows)?;
        let mut random = Random::new(seed);
        let mut order = random.permutation(rows.len());
        let mut queries = 0;
        let fits = |row: &&usize| {
            queries += rows[**row].queries.len();
            queries <= QUERIES
        };
        let sampled: Vec<usize> = order.iter().take_while(fits).copied().collect();
        // At least one row is used, however many queries it has.
        let sampled = if sampled.is_empty() { order[..1].to_vec() } else { sampled };
        let mut orders = vec![sampled.clone()];
        for _ in 0..permutations {
            // The first places of a Fisher-Yates shuffle are a uniform draw without replacement.
            for at in 0..sampled.len() {
                let from = at + random.below(order.len() - at);
                order.swap(at, from);
            }
            orders.push(order[..sampled.len()].to_vec());
        }
        let values = self.permuted(&rows, &sampled, &orders, &statistic);
        let queries = sampled.iter().map(|&row| rows[row].queries.len()).sum();
        Ok(compare_with_null(&values, queries))
    }

    /// Returns the rows whose group has gallery items, in ascending order.
    fn rows(&self, rows: &[usize]) -> Result<Vec<QueryRow>> {
        same("rows of the queries (one for each)", self.queries.len(), rows.len())?;
        let mut found: BTreeMap<usize, QueryRow> = BTreeMap::new();
        for (query, &row) in rows.iter().enumerate() {
            let [group] = *self.queries.of(query) else {
                return Err(Error::Setting {
                    what: "permutation null",
                    expected: "queries of one group each".into(),
                    got: format!("{} groups for query {query}", self.queries.of(query).len()),
                });
            };
            if self.members.of(group).is_none() {
                continue;
            }
            let known = found.entry(row).or_insert(QueryRow { group, queries: Vec::new() });
            if known.group != group {
                return Err(Error::Setting {
                    what: "permutation null",
                    expected: "one group for all queries of a row".into(),
                    got: format!("groups {} and {group} for queries of row {row}", known.group),
                });
            }
            known.queries.push(query);
        }
        Ok(found.into_values().collect())
    }

    /// Returns the mean statistic for every order: row `sampled[i]` searches the group of row `order[i]`.
    fn permuted(
        &self,
        rows: &[QueryRow],
        sampled: &[usize],
        orders: &[Vec<usize>],
        statistic: &(dyn Fn(Rank) -> f64 + Sync),
    ) -> Vec<f64> {
        let mut groups: Vec<usize> = rows.iter().map(|row| row.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let place = |row: &QueryRow| groups.binary_search(&row.group).unwrap_or_default();
        let places: Vec<usize> = rows.iter().map(place).collect();
        // Queries with the place of their row in the orders.
        let queries: Vec<(usize, usize)> = (sampled.iter().enumerate())
            .flat_map(|(at, &row)| rows[row].queries.iter().map(move |&query| (at, query)))
            .collect();
        let of_block = |block: &[(usize, usize)]| {
            let mut sums = vec![0.0; orders.len()];
            let scores = self.scorer.scores(block.iter().map(|&(_, query)| query));
            for (&(at, query), scores) in block.iter().zip(scores.outer_iter()) {
                let values: Vec<f64> =
                    self.firsts(query, &scores.to_vec(), &groups).into_iter().map(statistic).collect();
                sums.iter_mut().zip(orders).for_each(|(sum, order)| *sum += values[places[order[at]]]);
            }
            sums
        };
        let parts: Vec<Vec<f64>> = queries.par_chunks(self.scorer.step()).map(of_block).collect();
        let total = |order: usize| parts.iter().map(|part| part[order]).sum::<f64>();
        (0..orders.len()).map(|order| total(order) / queries.len() as f64).collect()
    }

    /// Returns the rank of the first relevant item of a query, for each group that could be the relevant one.
    fn firsts(&self, query: usize, scores: &[f64], groups: &[usize]) -> Vec<Rank> {
        let length = self.scorer.query_length(query);
        let mut sorted = scores.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let first = |group: &usize| {
            let relevant = self.members.of(*group).unwrap_or_default();
            let best = relevant.iter().copied().max_by(|&a, &b| scores[a].total_cmp(&scores[b]))?;
            let (score, slack) = (scores[best], self.scorer.tolerance(length, best));
            let better = sorted.partition_point(|&other| other > score + slack);
            let end = sorted.partition_point(|&other| other >= score - slack);
            let tied_relevant = relevant.iter().filter(|&&item| scores[item] >= score - slack).count();
            Some(Rank { better, ties: end - better - tied_relevant, relevant: tied_relevant })
        };
        groups.iter().filter_map(first).collect()
    }
}

/// Compares the first value with the others, which are permuted.
fn compare_with_null(values: &[f64], queries: usize) -> PermutationNull {
    let (value, null) = (values[0], &values[1..]);
    let n = null.len() as f64;
    let mean = null.iter().sum::<f64>() / n;
    let sd = (null.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    let as_large = null.iter().filter(|v| **v >= value - SLACK).count();
    let p_value = (1 + as_large) as f64 / (1.0 + n);
    PermutationNull { value, mean, sd, p_value, permutations: null.len(), queries }
}
