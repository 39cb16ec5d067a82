//! Two paired sets: row `i` of one is the one right item of row `i` of the other.

use ndarray::{ArrayView2, Axis};

use super::figures::recall;
use super::rank::Rank;
use super::scorer::Scorer;
use crate::random::Random;
use crate::{Error, Result, same};

/// The place of every row's partner, in both directions; worked out on one thread, the same bits every time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    /// Of each row's partner among the columns (the first side asks).
    pub forward: Vec<Rank>,
    /// Of each column's partner among the rows (the second side asks).
    pub backward: Vec<Rank>,
}

impl Ranks {
    /// Ranks from a square score matrix `[n, n]` whose diagonal holds the true pairs; scores tie where they
    /// are the same number.
    ///
    /// # Errors
    /// When the matrix is not square or holds NaN.
    pub fn of_scores(scores: ArrayView2<'_, f32>) -> Result<Self> {
        same("columns of a score matrix", scores.nrows(), scores.ncols())?;
        if let Some(row) = scores.outer_iter().position(|row| row.iter().any(|s| s.is_nan())) {
            return Err(Error::NotFinite { what: "scores", row });
        }
        let own = scores.diag().iter().map(|&score| f64::from(score)).collect::<Vec<_>>();
        let tolerance = vec![0.0; own.len()];
        let mut count = Count::new(&own, &tolerance);
        for (row, scores) in scores.outer_iter().enumerate() {
            count.add(row, scores.iter().map(|&score| f64::from(score)));
        }
        Ok(count.ranks())
    }

    /// Ranks from embeddings `[n, d]` of both sides; the score is the dot product.
    ///
    /// # Errors
    /// When the two arrays differ in shape or a value is not finite.
    pub fn of_embeddings(first: ArrayView2<'_, f32>, second: ArrayView2<'_, f32>) -> Result<Self> {
        let nothing = vec![0.0; first.nrows()];
        Self::of_penalised(first, second, &nothing, &nothing)
    }

    /// As [`Ranks::of_embeddings`] with a penalty taken off every score of a row and of a column, as
    /// [`crate::hubness`] makes them.
    ///
    /// # Errors
    /// When sizes differ or a value is not finite.
    pub fn of_penalised(
        first: ArrayView2<'_, f32>,
        second: ArrayView2<'_, f32>,
        first_penalty: &[f64],
        second_penalty: &[f64],
    ) -> Result<Self> {
        let n = first.nrows();
        same("rows of the second side", n, second.nrows())?;
        same("penalties of the first side", n, first_penalty.len())?;
        if let Some(row) = first_penalty.iter().position(|p| !p.is_finite()) {
            return Err(Error::NotFinite { what: "penalties of the first side", row });
        }
        let scorer = Scorer::new(first, second, Some(second_penalty))?;
        let blocks = || (0..n).step_by(scorer.step()).map(|start| start..(start + scorer.step()).min(n));
        // Backward ranks need every pair's own score first; the product that gives it is the one that ranks.
        let mut own = Vec::with_capacity(n);
        for rows in blocks() {
            let scores = scorer.scores(rows.clone());
            own.extend(rows.clone().map(|row| scores[[row - rows.start, row]] - first_penalty[row]));
        }
        let tolerance: Vec<f64> = (0..n).map(|i| scorer.tolerance(scorer.query_length(i), i)).collect();
        let mut count = Count::new(&own, &tolerance);
        for rows in blocks() {
            for (row, scores) in rows.clone().zip(scorer.scores(rows).outer_iter()) {
                count.add(row, scores.iter().map(|score| score - first_penalty[row]));
            }
        }
        Ok(count.ranks())
    }

    /// The same after a seeded permutation of the second side broke the pairs: what chance gives.
    ///
    /// # Errors
    /// As [`Ranks::of_embeddings`].
    pub fn of_shuffled(first: ArrayView2<'_, f32>, second: ArrayView2<'_, f32>, seed: u64) -> Result<Self> {
        let order = Random::new(seed).permutation(second.nrows());
        Self::of_embeddings(first, second.select(Axis(0), &order).view())
    }

    /// Mean of recall@1, @2, ... @`depth` over both directions: a smoother figure than [`Ranks::rsum`] to
    /// choose by, for one query that moves by one place changes it little.
    pub fn early_recall(&self, depth: usize) -> f64 {
        let at = |k: usize| recall(&self.forward, k) + recall(&self.backward, k);
        (1..=depth).map(at).sum::<f64>() / (2 * depth) as f64
    }

    /// Sum of recall@1, @5 and @10 of both directions in percent: at most 600.
    pub fn rsum(&self) -> f64 {
        let sum = |ranks: &[Rank]| [1, 5, 10].iter().map(|&k| recall(ranks, k)).sum::<f64>();
        100.0 * (sum(&self.forward) + sum(&self.backward))
    }
}

/// Counts of better and of equal scores, gathered row by row.
struct Count<'a> {
    /// The score of each pair, and how far another may be from it to be equal.
    own: &'a [f64],
    tolerance: &'a [f64],
    forward: Vec<Rank>,
    backward: Vec<Rank>,
}

impl<'a> Count<'a> {
    fn new(own: &'a [f64], tolerance: &'a [f64]) -> Self {
        let ranks = vec![Rank::single(0, 0); own.len()];
        Self { own, tolerance, forward: ranks.clone(), backward: ranks }
    }

    fn add(&mut self, row: usize, scores: impl Iterator<Item = f64>) {
        let (mine, slack) = (self.own[row], self.tolerance[row]);
        let (mut better, mut ties) = (0, 0);
        for (column, score) in scores.enumerate() {
            let (theirs, theirs_slack) = (self.own[column], self.tolerance[column]);
            if column != row {
                better += usize::from(score > mine + slack);
                ties += usize::from(score >= mine - slack);
                let back = &mut self.backward[column];
                back.better += usize::from(score > theirs + theirs_slack);
                back.ties += usize::from(score >= theirs - theirs_slack);
            }
        }
        (self.forward[row].better, self.forward[row].ties) = (better, ties);
    }

    /// So far `ties` counts the better ones too.
    fn ranks(mut self) -> Ranks {
        for rank in self.forward.iter_mut().chain(&mut self.backward) {
            rank.ties -= rank.better;
        }
        Ranks { forward: self.forward, backward: self.backward }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::super::scorer::TIE;
    use super::*;
    use ndarray::{Array2, array};

    fn cloud(n: usize, k: usize, seed: u64) -> Array2<f32> {
        let mut random = Random::new(seed);
        Array2::from_shape_simple_fn((n, k), || random.normal() as f32)
    }

    #[test]
    fn a_small_matrix_by_hand() {
        let scores = array![[0.9f32, 0.1, 0.2], [0.8, 0.5, 0.5], [0.1, 0.7, 0.6]];
        let ranks = Ranks::of_scores(scores.view()).unwrap();
        assert_eq!(ranks.forward, [(0, 0), (1, 1), (1, 0)].map(|(better, ties)| Rank::single(better, ties)));
        assert_eq!(ranks.backward, [(0, 0), (1, 0), (0, 0)].map(|(better, ties)| Rank::single(better, ties)));
        let figures = Figures::of_ranks(&ranks.forward);
        assert!((figures.recall_at_1 - 1.0 / 3.0).abs() < 1e-12);
        assert!((figures.mrr - (1.0 + (0.5 + 1.0 / 3.0) / 2.0 + 0.5) / 3.0).abs() < 1e-12);
        assert_eq!(figures.median_rank, 2.0);
        // recall@1: 1/3 and 2/3, recall@2: (1 + 1/2 + 1) / 3 and 1
        assert!((ranks.early_recall(2) - (1.0 / 3.0 + 2.0 / 3.0 + 2.5 / 3.0 + 1.0) / 4.0).abs() < 1e-12);
    }

    /// A constant map of 20 rows scores 1/20, 5/20 and 10/20, also over the edge of a block and off by a
    /// rounding.
    #[test]
    fn a_constant_map_scores_chance() {
        let map = |n: usize| {
            Array2::from_shape_fn((n, 37), |(i, j)| {
                let value = (j as f32).sin();
                if (i + j) % 7 == 0 { value * (1.0 + f32::EPSILON) } else { value }
            })
        };
        let ranks = Ranks::of_embeddings(map(20).view(), map(20).view()).unwrap();
        assert!((ranks.rsum() - 2.0 * (5.0 + 25.0 + 50.0)).abs() < 1e-9, "{}", ranks.rsum());
        let n = 1061;
        let ranks = Ranks::of_embeddings(map(n).view(), map(n).view()).unwrap();
        assert!(ranks.forward.iter().chain(&ranks.backward).all(|&rank| rank == Rank::single(0, n - 1)));
    }

    /// Groups of equal captions: a perfect map finds each in 1 of m places.
    #[test]
    fn equal_captions_share_their_places() {
        for (m, want) in [(2, [0.5, 1.0, 1.0]), (3, [1.0 / 3.0, 1.0, 1.0]), (20, [0.05, 0.25, 0.5])] {
            let base = cloud(60 / m, 16, m as u64);
            let rows = Array2::from_shape_fn((60, 16), |(i, j)| base[[i / m, j]]);
            let ranks = Ranks::of_embeddings(rows.view(), rows.view()).unwrap();
            let got = [1, 5, 10].map(|k| recall(&ranks.forward, k));
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12), "{m}: {got:?}");
        }
    }

    /// The reference compares every pair of scores, summed one by one; no two lie at the tolerance to the
    /// last bits.
    #[test]
    fn blocks_agree_with_the_definition() {
        let n = 1031;
        let (a, b) = (cloud(n, 5, 1), cloud(n, 5, 2));
        let penalty: Vec<f64> = (0..n).map(|i| (i as f64).cos()).collect();
        let twice: Vec<f64> = penalty.iter().map(|p| 2.0 * p).collect();
        let dot = |x: &Array2<f32>, i: usize, y: &Array2<f32>, j: usize| {
            (0..5).map(|c| f64::from(x[[i, c]]) * f64::from(y[[j, c]])).sum::<f64>()
        };
        let score = |i: usize, j: usize| dot(&a, i, &b, j) - penalty[i] - twice[j];
        let rank = |i: usize, of: &dyn Fn(usize) -> f64| {
            let slack = TIE * (dot(&a, i, &a, i) * dot(&b, i, &b, i)).sqrt();
            let better = (0..n).filter(|&j| of(j) > of(i) + slack).count();
            Rank::single(better, (0..n).filter(|&j| (of(j) - of(i)).abs() <= slack).count() - 1)
        };
        let got = Ranks::of_penalised(a.view(), b.view(), &penalty, &twice).unwrap();
        for i in 0..n {
            assert_eq!(got.forward[i], rank(i, &|j| score(i, j)), "row {i}");
            assert_eq!(got.backward[i], rank(i, &|j| score(j, i)), "column {i}");
        }
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

    #[test]
    fn bad_input_is_an_error() {
        let mut a = cloud(6, 3, 1);
        assert!(Ranks::of_embeddings(a.view(), cloud(5, 3, 1).view()).is_err());
        assert!(Ranks::of_embeddings(a.view(), cloud(6, 4, 1).view()).is_err());
        assert!(Ranks::of_scores(a.view()).is_err());
        a[[4, 0]] = f32::NAN;
        let error = Ranks::of_embeddings(a.view(), cloud(6, 3, 2).view()).unwrap_err();
        assert!(error.to_string().contains("queries: row 4"), "{error}");
    }
}
