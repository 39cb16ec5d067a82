//! Retrieval between two paired sets: row `i` of one side belongs to row `i` of the other.
//!
//! Scores are dot products of embeddings, worked out in blocks so that memory stays linear in the number of items.
//! Ties take the middle rank, so a constant map scores chance and never a perfect or a zero recall. Scores are summed
//! in double precision and compared in single precision: equal embeddings then tie wherever they stand in a block.

use ndarray::{Array2, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::linalg::product;
use crate::random::Random;
use crate::{Error, Result, same};

/// Rows of the score matrix held at a time.
const BLOCK: usize = 512;

/// Zero-based mid-ranks of the true partner: 0 is best, ties count half.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranks {
    /// Of each row's partner among the columns (first side asks).
    pub forward: Vec<f64>,
    /// Of each column's partner among the rows (second side asks).
    pub backward: Vec<f64>,
}

/// The usual figures of one direction, as fractions of the queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// Partner ranked first.
    #[serde(rename = "recall@1")]
    pub recall_at_1: f64,
    /// Partner among the first five.
    #[serde(rename = "recall@5")]
    pub recall_at_5: f64,
    /// Partner among the first ten.
    #[serde(rename = "recall@10")]
    pub recall_at_10: f64,
    /// Mean of 1 / rank, ranks counted from 1.
    pub mrr: f64,
    /// Median rank, counted from 1.
    pub median_rank: f64,
}

impl Ranks {
    /// Ranks from a square score matrix `[n, n]` whose diagonal holds the true pairs.
    ///
    /// # Errors
    /// When the matrix is not square or holds NaN.
    pub fn of_scores(scores: ArrayView2<'_, f32>) -> Result<Self> {
        let n = scores.nrows();
        same("columns of a score matrix", n, scores.ncols())?;
        let own: Vec<f32> = scores.diag().to_vec();
        let mut count = Count::new(own);
        count.add(0, scores)?;
        Ok(count.ranks())
    }

    /// Ranks from embeddings `[n, k]` of both sides; the score is the dot product.
    ///
    /// # Errors
    /// When the two arrays differ in shape or a score is NaN.
    pub fn of_embeddings(first: ArrayView2<'_, f32>, second: ArrayView2<'_, f32>) -> Result<Self> {
        let nothing = vec![0.0; first.nrows()];
        Self::of_penalised(first, second, &nothing, &nothing)
    }

    /// As [`Ranks::of_embeddings`] with a penalty taken off every score of a row and of a column, as
    /// [`crate::hubness`] makes them.
    ///
    /// # Errors
    /// When sizes differ or a score is NaN.
    pub fn of_penalised(
        first: ArrayView2<'_, f32>,
        second: ArrayView2<'_, f32>,
        first_penalty: &[f64],
        second_penalty: &[f64],
    ) -> Result<Self> {
        let n = first.nrows();
        same("rows of the second side", n, second.nrows())?;
        same("penalties of the first side", n, first_penalty.len())?;
        same("penalties of the second side", n, second_penalty.len())?;
        let (first, second) = (first.mapv(f64::from), second.mapv(f64::from));
        let score =
            |dot: f64, row: usize, column: usize| (dot - first_penalty[row] - second_penalty[column]) as f32;
        let block = |start: usize, columns: (usize, usize)| -> Result<Array2<f32>> {
            let rows = first.slice_axis(Axis(0), Slice::from(start..(start + BLOCK).min(n)));
            let partners = second.slice_axis(Axis(0), Slice::from(columns.0..columns.1));
            let dots = product(&rows, &partners.t())?;
            Ok(Array2::from_shape_fn(dots.dim(), |(i, j)| score(dots[[i, j]], start + i, columns.0 + j)))
        };
        let starts = (0..n).step_by(BLOCK);
        let mut own = Vec::with_capacity(n);
        for start in starts.clone() {
            own.extend(block(start, (start, (start + BLOCK).min(n)))?.diag());
        }
        let mut count = Count::new(own);
        for start in starts {
            count.add(start, block(start, (0, n))?.view())?;
        }
        Ok(count.ranks())
    }

    /// The same figures after breaking the pairs with a seeded permutation of the second side: what chance gives.
    ///
    /// # Errors
    /// As [`Ranks::of_embeddings`].
    pub fn of_shuffled(first: ArrayView2<'_, f32>, second: ArrayView2<'_, f32>, seed: u64) -> Result<Self> {
        let order = Random::new(seed).permutation(second.nrows());
        Self::of_embeddings(first, second.select(Axis(0), &order).view())
    }

    /// Mean of recall@1, @2, ... @`depth` over both directions: a smoother figure than [`Ranks::rsum`] to choose by,
    /// for one query moving one place does not jump it.
    pub fn early_recall(&self, depth: usize) -> f64 {
        let hits = |rank: &f64| (depth as f64 - rank.floor()).max(0.0);
        let sum: f64 = self.forward.iter().chain(&self.backward).map(hits).sum();
        sum / (depth * 2 * self.forward.len()) as f64
    }

    /// Sum of recall@1, @5 and @10 of both directions in percent: at most 600.
    pub fn rsum(&self) -> f64 {
        let sum = |ranks: &[f64]| [1, 5, 10].iter().map(|&k| recall(ranks, k)).sum::<f64>();
        100.0 * (sum(&self.forward) + sum(&self.backward))
    }
}

/// The figures of one direction.
pub fn direction(ranks: &[f64]) -> Direction {
    let mut sorted = ranks.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
    Direction {
        recall_at_1: recall(ranks, 1),
        recall_at_5: recall(ranks, 5),
        recall_at_10: recall(ranks, 10),
        mrr: reciprocal(ranks),
        median_rank: 1.0 + (middle(sorted.len().saturating_sub(1) / 2) + middle(sorted.len() / 2)) / 2.0,
    }
}

/// Fraction of the queries whose partner is among the first `k`.
pub fn recall(ranks: &[f64], k: usize) -> f64 {
    mean(ranks.iter().map(|&rank| f64::from(rank < k as f64)), ranks.len())
}

/// Mean reciprocal rank.
pub fn reciprocal(ranks: &[f64]) -> f64 {
    mean(ranks.iter().map(|rank| 1.0 / (1.0 + rank)), ranks.len())
}

/// Percentile bootstrap interval of a statistic over cases, such as the ranks of queries (Efron 1979).
///
/// `statistic` gets a resample of `cases`; `level` is the coverage, 0.95 for instance.
///
/// # Errors
/// When there are no cases or no draws, or `level` is not inside (0, 1).
pub fn bootstrap<T: Copy>(
    cases: &[T],
    statistic: impl Fn(&[T]) -> f64,
    draws: usize,
    level: f64,
    seed: u64,
) -> Result<(f64, f64)> {
    let bad =
        |what, expected: &str, got: String| Err(Error::Setting { what, expected: expected.into(), got });
    if cases.is_empty() || draws == 0 {
        return bad("bootstrap", "at least one case and one draw", format!("{} and {draws}", cases.len()));
    }
    if !(level > 0.0 && level < 1.0) {
        return bad("bootstrap level", "a number inside (0, 1)", level.to_string());
    }
    let mut random = Random::new(seed);
    let mut sample = cases.to_vec();
    let mut values: Vec<f64> = (0..draws)
        .map(|_| {
            sample.iter_mut().for_each(|case| *case = cases[random.below(cases.len())]);
            statistic(&sample)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((draws - 1) as f64 * q).round() as usize];
    Ok((at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)))
}

/// Counts of better and of equal scores, gathered block by block.
struct Count {
    own: Vec<f32>,
    better: [Vec<f64>; 2],
}

impl Count {
    fn new(own: Vec<f32>) -> Self {
        let zeros = vec![0.0; own.len()];
        Self { own, better: [zeros.clone(), zeros] }
    }

    fn add(&mut self, start: usize, block: ArrayView2<'_, f32>) -> Result<()> {
        for (i, row) in block.outer_iter().enumerate() {
            let row_index = start + i;
            let mine = self.own[row_index];
            for (column, &score) in row.iter().enumerate() {
                if score.is_nan() {
                    return Err(Error::NotFinite { what: "scores", row: row_index });
                }
                if column != row_index {
                    self.better[0][row_index] += half_steps(score, mine);
                    self.better[1][column] += half_steps(score, self.own[column]);
                }
            }
        }
        Ok(())
    }

    fn ranks(self) -> Ranks {
        let [forward, backward] = self.better;
        Ranks { forward, backward }
    }
}

/// 1 for a better score, a half for an equal one, 0 for a worse one.
fn half_steps(score: f32, own: f32) -> f64 {
    0.5 * (f64::from(score > own) + f64::from(score >= own))
}

fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn cloud(n: usize, k: usize, seed: u64) -> Array2<f32> {
        let mut random = Random::new(seed);
        Array2::from_shape_simple_fn((n, k), || random.normal() as f32)
    }

    #[test]
    fn a_small_matrix_by_hand() {
        let scores = array![[0.9f32, 0.1, 0.2], [0.8, 0.5, 0.5], [0.1, 0.7, 0.6]];
        let ranks = Ranks::of_scores(scores.view()).unwrap();
        assert_eq!(ranks.forward, [0.0, 1.5, 1.0]);
        assert_eq!(ranks.backward, [0.0, 1.0, 0.0]);
        let figures = direction(&ranks.forward);
        assert!((figures.recall_at_1 - 1.0 / 3.0).abs() < 1e-12);
        assert!((figures.mrr - (1.0 + 1.0 / 2.5 + 0.5) / 3.0).abs() < 1e-12);
        assert_eq!(figures.median_rank, 2.0);
        let by_recall = |k| (recall(&ranks.forward, k) + recall(&ranks.backward, k)) / 2.0;
        assert!((ranks.early_recall(2) - (by_recall(1) + by_recall(2)) / 2.0).abs() < 1e-12);
    }

    /// A constant map knows nothing: every partner gets the middle rank, over a block's edge too.
    #[test]
    fn a_constant_map_takes_the_middle_rank() {
        let n = BLOCK + 89;
        let same_row = Array2::from_shape_fn((n, 37), |(_, j)| (j as f32).sin());
        let ranks = Ranks::of_embeddings(same_row.view(), same_row.view()).unwrap();
        assert!(ranks.forward.iter().chain(&ranks.backward).all(|&r| r == (n - 1) as f64 / 2.0));
        assert_eq!(ranks.rsum(), 0.0);
    }

    #[test]
    fn blocks_agree_with_the_whole_matrix() {
        let n = 2 * BLOCK + 7;
        let (a, b) = (cloud(n, 5, 1), cloud(n, 5, 2));
        let penalty: Vec<f64> = (0..n).map(|i| (i as f64).cos()).collect();
        let scores = Array2::from_shape_fn((n, n), |(i, j)| {
            let dot: f64 = (0..5).map(|c| f64::from(a[[i, c]]) * f64::from(b[[j, c]])).sum();
            (dot - penalty[i] - 2.0 * penalty[j]) as f32
        });
        let twice: Vec<f64> = penalty.iter().map(|p| 2.0 * p).collect();
        let blocked = Ranks::of_penalised(a.view(), b.view(), &penalty, &twice).unwrap();
        assert_eq!(blocked, Ranks::of_scores(scores.view()).unwrap());
    }

    #[test]
    fn a_perfect_map_scores_600_and_its_shuffle_chance() {
        let mut a = cloud(400, 16, 3);
        a.outer_iter_mut().for_each(|mut row| row /= row.dot(&row).sqrt());
        assert_eq!(Ranks::of_embeddings(a.view(), a.view()).unwrap().rsum(), 600.0);
        let control = Ranks::of_shuffled(a.view(), a.view(), 5).unwrap().rsum();
        // chance is 2 * 16 / 400 * 100 = 8; the standard error of 800 queries is about 2, four are allowed
        assert!(control < 16.0, "{control}");
    }

    /// The interval of a mean of n zero-one values has the half width 1.96 sqrt(p (1 - p) / n) = 0.069 here.
    #[test]
    fn bootstrap_covers_as_the_normal_theory_says() {
        let ranks: Vec<f64> = (0..200).map(|i| f64::from(i % 2)).collect();
        let (low, high) = bootstrap(&ranks, |r| recall(r, 1), 2000, 0.95, 1).unwrap();
        assert!((low - 0.431).abs() < 0.015 && (high - 0.569).abs() < 0.015, "{low} {high}");
        assert_eq!(bootstrap(&ranks, reciprocal, 50, 0.9, 4), bootstrap(&ranks, reciprocal, 50, 0.9, 4));
        assert!(bootstrap(&[], reciprocal, 10, 0.95, 0).is_err());
        assert!(bootstrap(&ranks, reciprocal, 10, 1.0, 0).is_err());
    }

    #[test]
    fn bad_input_is_an_error() {
        let mut a = cloud(6, 3, 1);
        assert!(Ranks::of_embeddings(a.view(), cloud(5, 3, 1).view()).is_err());
        assert!(Ranks::of_embeddings(a.view(), cloud(6, 4, 1).view()).is_err());
        assert!(Ranks::of_scores(a.view()).is_err());
        a[[4, 0]] = f32::NAN;
        assert!(Ranks::of_embeddings(a.view(), cloud(6, 3, 2).view()).is_err());
    }
}
