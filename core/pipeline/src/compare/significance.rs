//! Intervals and p-values of retrieval metrics, by a paired bootstrap over the test rows.
//!
//! **Statistic.** A metric is the mean over directions of the mean over queries. Every resample draws as many
//! test rows as there are, with replacement, and takes all queries of a drawn row, because they are not
//! independent. In each resample the mean of a direction is the sum of its values divided by the number of
//! its queries, so that a metric in [0, 1] stays there.
//!
//! **Interval.** The 2.5 and 97.5 % percentiles of the resampled statistic (Efron and Tibshirani 1993,
//! chapter 13).
//!
//! **p-value.** Two-sided, of the hypothesis that the difference d of two fits is zero. The same rows are
//! drawn for both. Under the hypothesis the resampled differences d* are distributed around zero as they are
//! around d, so p = (1 + number of draws with |d* - d| >= |d|) / (1 + draws) (Efron and Tibshirani 1993,
//! section 16.4; Sakai 2006 introduced the test to retrieval, with a studentised statistic). Exchanging the
//! fits changes the sign of d and d* and not p. With n rows p is at least 2^(1 - n), the smallest p-value of
//! the exact test that changes signs, so that a few rows show nothing.
//!
//! **Seeds.** With several seeds, a value is the mean over seeds, and a resample draws seeds as well as rows,
//! independently of each other (Owen 2007, the pigeonhole bootstrap, for data with two crossed factors). The
//! interval then is about other test rows and other seeds. With few seeds it is too narrow in the part that
//! stems from seeds: the variance of s of them is underestimated by the factor (s - 1) / s.
//!
//! **Several comparisons.** Holm 1979: the i-th smallest of m p-values, counted from zero, is multiplied by m
//! - i, and is at least the one before it. The probability of any false finding is then at most the level.

use crate::{base::error::Error, run::query_scores::QueryValues};
use chiasm_geometry::random::Random;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Number of bootstrap resamples: the standard error of a p-value of 0.05 is 0.0015.
pub const DRAWS: usize = 20_000;
/// The resamples of one task of a thread. Each block has a generator of its own, so that the result does not
/// depend on the number of threads.
const BLOCK: usize = 250;
/// The confidence level.
const LEVEL: f64 = 0.95;
/// Differences that are equal but for rounding are equal.
const ROUNDING: f64 = 1e-12;

/// The difference of two fits on the same queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PairedDifference {
    /// The difference of the metric.
    pub mean: f64,
    /// Its 95 % confidence interval, by a paired bootstrap over the rows of the queries.
    pub interval: [f64; 2],
    /// The two-sided p-value of the hypothesis that there is no difference, by the same bootstrap.
    pub p: f64,
}

/// What each row contributes to a metric: the number of its queries in each direction, and for each seed the
/// sum of their values.
#[derive(Debug, Clone)]
pub struct RowSums {
    /// The rows and the names of the directions.
    rows: Vec<usize>,
    directions: Vec<String>,
    seeds: usize,
    /// By row and direction.
    counts: Vec<f64>,
    /// By row, direction and seed.
    sums: Vec<f64>,
}

impl RowSums {
    /// Sums the values of each row. `None` if there are none, or if the queries of the seeds differ.
    pub fn of(seeds: &[QueryValues]) -> Option<Self> {
        let first = seeds.first().filter(|first| !first.is_empty())?;
        let rows: BTreeSet<usize> = first.values().flatten().map(|(row, _)| *row).collect();
        let places: BTreeMap<usize, usize> = rows.iter().enumerate().map(|(at, row)| (*row, at)).collect();
        let width = first.len();
        let mut counts = vec![0.0; rows.len() * width];
        let mut sums = vec![0.0; counts.len() * seeds.len()];
        for (seed, values) in seeds.iter().enumerate() {
            if !same_queries(values, first) {
                return None;
            }
            for (direction, queries) in values.values().enumerate() {
                for (row, value) in queries {
                    let at = places.get(row)? * width + direction;
                    counts[at] += if seed == 0 { 1.0 } else { 0.0 };
                    sums[at * seeds.len() + seed] += value;
                }
            }
        }
        let directions = first.keys().cloned().collect();
        Some(Self { rows: rows.into_iter().collect(), directions, seeds: seeds.len(), counts, sums })
    }

    /// Returns the difference to another metric on the same queries. A fit with one seed is compared with
    /// every seed of the other. `None` if the queries or the numbers of seeds differ.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        let seeds = self.seeds.max(other.seeds);
        let alike = |own: &Self| own.seeds == seeds || own.seeds == 1;
        let same = self.rows == other.rows && self.directions == other.directions;
        if !same || self.counts != other.counts || !alike(self) || !alike(other) {
            return None;
        }
        let of = |own: &Self, at: usize, seed: usize| own.sums[at * own.seeds + seed.min(own.seeds - 1)];
        let sums = (0..self.counts.len() * seeds).map(|index| (index / seeds, index % seeds));
        let sums = sums.map(|(at, seed)| of(self, at, seed) - of(other, at, seed)).collect();
        let (rows, directions, counts) = (self.rows.clone(), self.directions.clone(), self.counts.clone());
        Some(Self { rows, directions, seeds, counts, sums })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Returns the metric.
    pub fn value(&self) -> f64 {
        let weights = vec![1.0 / self.seeds as f64; self.seeds];
        self.mean(0..self.rows.len(), &weights, &mut vec![0.0; 2 * self.directions.len()])
    }

    /// Returns the metric of some rows, with a weight for each seed. `totals` is working memory.
    fn mean(&self, rows: impl Iterator<Item = usize>, weights: &[f64], totals: &mut [f64]) -> f64 {
        let width = self.directions.len();
        totals.fill(0.0);
        let (sums, counts) = totals.split_at_mut(width);
        for row in rows {
            for direction in 0..width {
                let at = row * width + direction;
                let own = &self.sums[at * self.seeds..(at + 1) * self.seeds];
                sums[direction] += own.iter().zip(weights).map(|(sum, weight)| sum * weight).sum::<f64>();
                counts[direction] += self.counts[at];
            }
        }
        let drawn = || sums.iter().zip(counts.iter()).filter(|(_, count)| **count > 0.0);
        drawn().map(|(sum, count)| sum / count).sum::<f64>() / drawn().count() as f64
    }

    /// Returns the metric of every resample.
    fn resampled(&self, seed: u64) -> Vec<f64> {
        let shape = [self.rows.len(), self.seeds];
        resampled(shape, seed, &|rows: &[usize], weights: &[f64]| {
            self.mean(rows.iter().copied(), weights, &mut vec![0.0; 2 * self.directions.len()])
        })
    }

    /// Returns the 95 % confidence interval of the metric.
    pub fn interval(&self, seed: u64) -> [f64; 2] {
        percentiles(self.resampled(seed))
    }

    /// Returns a difference with its interval and p-value.
    pub fn tested(&self, seed: u64) -> PairedDifference {
        tested(self.value(), self.resampled(seed), self.rows.len())
    }
}

/// Returns a statistic of every resample of the rows and seeds, whose numbers are `shape`. The statistic is
/// given the drawn rows and the weight of each seed.
pub fn resampled(
    shape: [usize; 2],
    seed: u64,
    statistic: &(dyn Fn(&[usize], &[f64]) -> f64 + Sync),
) -> Vec<f64> {
    let [count, seeds] = shape;
    let block = |block: usize| {
        let mut random = Random::new(seed.wrapping_add((block as u64) << 32));
        let mut rows = vec![0; count];
        let mut draw = move || {
            let mut weights = vec![0.0; seeds];
            for _ in 0..seeds {
                let at = if seeds == 1 { 0 } else { random.below(seeds) };
                weights[at] += 1.0 / seeds as f64;
            }
            rows.fill_with(|| random.below(count));
            statistic(&rows, &weights)
        };
        (0..BLOCK).map(|_| draw()).collect::<Vec<f64>>()
    };
    (0..DRAWS / BLOCK).into_par_iter().flat_map_iter(block).collect()
}

/// Returns a difference with its interval and p-value, from its resamples over `rows` rows.
pub fn tested(mean: f64, drawn: Vec<f64>, rows: usize) -> PairedDifference {
    let far = drawn.iter().filter(|d| (*d - mean).abs() >= mean.abs() - ROUNDING).count();
    let least = 0.5_f64.powi(i32::try_from(rows - 1).unwrap_or(i32::MAX));
    let p = (1 + far) as f64 / (1 + drawn.len()) as f64;
    PairedDifference { mean, interval: percentiles(drawn), p: p.max(least) }
}

fn same_queries(own: &QueryValues, other: &QueryValues) -> bool {
    let rows = |all: &[(usize, f64)]| all.iter().map(|(row, _)| *row).collect::<Vec<_>>();
    own.len() == other.len()
        && own.iter().zip(other).all(|((a, own), (b, other))| a == b && rows(own) == rows(other))
}

fn percentiles(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0]
        .map(|share| values.get((last * share).round() as usize).copied().unwrap_or(f64::NAN))
}

/// Returns the difference of a metric between two fits, `own - other`. Returns `None` if the queries differ.
///
/// # Errors
/// [`Error::Internal`] if there are no queries.
pub fn paired_difference(
    own: &QueryValues,
    other: &QueryValues,
    seed: u64,
) -> Result<Option<PairedDifference>, Error> {
    if !same_queries(own, other) {
        return Ok(None);
    }
    let sums = |values: &QueryValues| RowSums::of(std::slice::from_ref(values));
    let difference = sums(own).zip(sums(other)).and_then(|(own, other)| own.minus(&other));
    let difference = difference.ok_or_else(|| Error::Internal("a difference without queries".to_owned()))?;
    Ok(Some(difference.tested(seed)))
}

/// Returns the p-values of several comparisons, corrected with Holm's method, in the same order.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut before = 0.0_f64;
    for (place, at) in order.into_iter().enumerate() {
        before = before.max((p_values.len() - place) as f64 * p_values[at]).min(1.0);
        corrected[at] = before;
    }
    corrected
}

#[cfg(test)]
mod tests;
