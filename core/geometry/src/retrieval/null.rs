//! What a figure would be if the rows of the two sides had nothing to do with each other: a permutation null.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::grouped::Retrieval;
use super::rank::Rank;
use crate::random::Random;
use crate::{Error, Result, same};

/// Queries that are looked at; of more, whole rows are drawn until the next would exceed it.
const QUERIES: usize = 1000;
/// A permuted figure that falls short of the true one by less than this is as large: sums in another order.
const SLACK: f64 = 1e-12;

/// A figure beside its permutation null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PermutationNull {
    /// The figure of the queries that were looked at, rows paired as they are.
    pub value: f64,
    /// Mean over the permutations.
    pub mean: f64,
    /// Standard deviation over the permutations.
    pub sd: f64,
    /// `(1 + permutations with at least that figure) / (1 + permutations)` (Phipson and Smyth 2010).
    pub p_value: f64,
    /// Permutations.
    pub permutations: usize,
    /// Queries that were looked at.
    pub queries: usize,
}

/// A row that asks: its group and its queries.
struct Row {
    group: usize,
    queries: Vec<usize>,
}

impl Retrieval<'_> {
    /// The mean over queries of a statistic of the first right item (`|rank| rank.recall(10)`,
    /// `Rank::reciprocal`), beside what it is when a permutation of the rows says which group each row looks
    /// for.
    ///
    /// `rows` is the row that each query belongs to; queries of one row move together. Rows without a right
    /// item in the gallery take no part. At most 1000 queries are looked at, drawn by whole rows with `seed`;
    /// each is ranked once, against every group, after which a permutation is a look-up.
    ///
    /// # Errors
    /// When `rows` is not one a query, the queries of a row have different groups, or there are no
    /// permutations.
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
        let looked_at: Vec<usize> = order.iter().take_while(fits).copied().collect();
        // a single row of more queries than that is taken whole
        let looked_at = if looked_at.is_empty() { order[..1].to_vec() } else { looked_at };
        let mut orders = vec![looked_at.clone()];
        for _ in 0..permutations {
            // The first places of a Fisher-Yates shuffle are a uniform draw without replacement.
            for at in 0..looked_at.len() {
                let from = at + random.below(order.len() - at);
                order.swap(at, from);
            }
            orders.push(order[..looked_at.len()].to_vec());
        }
        let values = self.permuted(&rows, &looked_at, &orders, &statistic);
        let queries = looked_at.iter().map(|&row| rows[row].queries.len()).sum();
        Ok(beside(&values, queries))
    }

    /// The rows whose group has gallery items, by their number.
    fn rows(&self, rows: &[usize]) -> Result<Vec<Row>> {
        same("rows of the queries (one for each)", self.queries.len(), rows.len())?;
        let mut found: BTreeMap<usize, Row> = BTreeMap::new();
        for (query, (&row, &group)) in rows.iter().zip(self.queries).enumerate() {
            if self.members.of(group).is_none() {
                continue;
            }
            let known = found.entry(row).or_insert(Row { group, queries: Vec::new() });
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

    /// The mean statistic for every order: row `looked_at[i]` looks for the group of row `order[i]`.
    fn permuted(
        &self,
        rows: &[Row],
        looked_at: &[usize],
        orders: &[Vec<usize>],
        statistic: &(dyn Fn(Rank) -> f64 + Sync),
    ) -> Vec<f64> {
        let mut groups: Vec<usize> = rows.iter().map(|row| row.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let place = |row: &Row| groups.binary_search(&row.group).unwrap_or_default();
        let places: Vec<usize> = rows.iter().map(place).collect();
        // queries with their row's place in the orders
        let queries: Vec<(usize, usize)> = (looked_at.iter().enumerate())
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

    /// The place of the first right item of a query, for each group that could be the right one.
    fn firsts(&self, query: usize, scores: &[f64], groups: &[usize]) -> Vec<Rank> {
        let length = self.scorer.query_length(query);
        let mut sorted = scores.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let first = |group: &usize| {
            let right = self.members.of(*group).unwrap_or_default();
            let best = right.iter().copied().max_by(|&a, &b| scores[a].total_cmp(&scores[b]))?;
            let (score, slack) = (scores[best], self.scorer.tolerance(length, best));
            let better = sorted.partition_point(|&other| other > score + slack);
            let end = sorted.partition_point(|&other| other >= score - slack);
            let tied_right = right.iter().filter(|&&item| scores[item] >= score - slack).count();
            Some(Rank { better, ties: end - better - tied_right, right: tied_right })
        };
        groups.iter().filter_map(first).collect()
    }
}

/// The first value is the true one, the others are permuted.
fn beside(values: &[f64], queries: usize) -> PermutationNull {
    let (value, null) = (values[0], &values[1..]);
    let n = null.len() as f64;
    let mean = null.iter().sum::<f64>() / n;
    let sd = (null.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    let as_large = null.iter().filter(|v| **v >= value - SLACK).count();
    let p_value = (1 + as_large) as f64 / (1.0 + n);
    PermutationNull { value, mean, sd, p_value, permutations: null.len(), queries }
}
