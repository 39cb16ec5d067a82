//! Retrieval of paired sets: row `i` of one is the only relevant item of row `i` of the other.

use ndarray::{ArrayView2, Axis};

use super::rank::Rank;
use super::scorer::Scorer;
use super::scores::recall;
use crate::random::Random;
use crate::{Error, Result, same};

/// The rank of every row's partner in both directions, computed on one thread.
///
/// ```
/// use chiasm_geometry::retrieval::Ranks;
/// let x = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0]];
/// let ranks = Ranks::of_embeddings(x.view(), x.view())?;
/// assert_eq!((ranks.forward[0].better, ranks.rsum()), (0, 600.0));
/// # Ok::<(), chiasm_geometry::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ranks {
    /// Rank of each row's partner with the first side as queries.
    pub forward: Vec<Rank>,
    /// Rank of each row's partner with the second side as queries.
    pub backward: Vec<Rank>,
}

impl Ranks {
    /// Computes ranks from a square score matrix `[n, n]` with the true pairs on the diagonal. Only equal
    /// numbers tie.
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
        let mut count = RankCounter::new(&own, &tolerance);
        for (row, scores) in scores.outer_iter().enumerate() {
            count.add(row, scores.iter().map(|&score| f64::from(score)));
        }
        Ok(count.ranks())
    }

    /// Computes ranks from the embeddings `[n, d]` of both sides; scores are dot products.
    ///
    /// # Errors
    /// When the two arrays differ in shape or a value is not finite.
    pub fn of_embeddings(first: ArrayView2<'_, f32>, second: ArrayView2<'_, f32>) -> Result<Self> {
        let nothing = vec![0.0; first.nrows()];
        Self::of_penalised(first, second, &nothing, &nothing)
    }

    /// Like [`Ranks::of_embeddings`], with penalties `[n]` subtracted from the scores of each item, for
    /// example from [`crate::hubness`].
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
        // Backward ranks need the scores of all pairs first. They are computed by the same products as the
        // ranks, so that they are bit-identical.
        let mut own = Vec::with_capacity(n);
        for rows in blocks() {
            let scores = scorer.scores(rows.clone());
            own.extend(rows.clone().map(|row| scores[[row - rows.start, row]] - first_penalty[row]));
        }
        let tolerance: Vec<f64> = (0..n).map(|i| scorer.tolerance(scorer.query_length(i), i)).collect();
        let mut count = RankCounter::new(&own, &tolerance);
        for rows in blocks() {
            for (row, scores) in rows.clone().zip(scorer.scores(rows).outer_iter()) {
                count.add(row, scores.iter().map(|score| score - first_penalty[row]));
            }
        }
        Ok(count.ranks())
    }

    /// Like [`Ranks::of_embeddings`] after a random permutation of the second side, for comparison with
    /// chance.
    ///
    /// # Errors
    /// The errors of [`Ranks::of_embeddings`].
    pub fn of_shuffled(first: ArrayView2<'_, f32>, second: ArrayView2<'_, f32>, seed: u64) -> Result<Self> {
        let order = Random::new(seed).permutation(second.nrows());
        Self::of_embeddings(first, second.select(Axis(0), &order).view())
    }

    /// Returns the mean of recall@1, @2, ... @`depth` over both directions. As a criterion for model
    /// selection it is smoother than [`Ranks::rsum`].
    pub fn early_recall(&self, depth: usize) -> f64 {
        let at = |k: usize| recall(&self.forward, k) + recall(&self.backward, k);
        (1..=depth).map(at).sum::<f64>() / (2 * depth) as f64
    }

    /// Returns the sum of recall@1, @5 and @10 over both directions in per cent, at most 600.
    pub fn rsum(&self) -> f64 {
        let sum = |ranks: &[Rank]| [1, 5, 10].iter().map(|&k| recall(ranks, k)).sum::<f64>();
        100.0 * (sum(&self.forward) + sum(&self.backward))
    }
}

/// Counts better and equal scores, row by row.
struct RankCounter<'a> {
    /// The score of each pair, and the difference up to which other scores are equal to it.
    own: &'a [f64],
    tolerance: &'a [f64],
    forward: Vec<Rank>,
    backward: Vec<Rank>,
}

impl<'a> RankCounter<'a> {
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

    /// Returns the ranks. Until here, `ties` also counts the better scores.
    fn ranks(mut self) -> Ranks {
        for rank in self.forward.iter_mut().chain(&mut self.backward) {
            rank.ties -= rank.better;
        }
        Ranks { forward: self.forward, backward: self.backward }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scorer::TIE;
    use super::super::scores::RetrievalScores;
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
        let figures = RetrievalScores::of_ranks(&ranks.forward);
        assert!((figures.recall_at_1 - 1.0 / 3.0).abs() < 1e-12);
        assert!((figures.mrr - (1.0 + (0.5 + 1.0 / 3.0) / 2.0 + 0.5) / 3.0).abs() < 1e-12);
        assert_eq!(figures.median_rank, 2.0);
        // recall@1: 1/3 and 2/3, recall@2: (1 + 1/2 + 1) / 3 and 1
        assert!((ranks.early_recall(2) - (1.0 / 3.0 + 2.0 / 3.0 + 2.5 / 3.0 + 1.0) / 4.0).abs() < 1e-12);
    }

    /// A constant map of 20 rows has the recalls 1/20, 5/20 and 10/20, also with rounding errors and with
    /// several blocks.
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

    /// With groups of m equal vectors a perfect map ranks each of them uniformly among the first m places.
    #[test]
    fn equal_vectors_share_their_places() {
        for (m, want) in [(2, [0.5, 1.0, 1.0]), (3, [1.0 / 3.0, 1.0, 1.0]), (20, [0.05, 0.25, 0.5])] {
            let base = cloud(60 / m, 16, m as u64);
            let rows = Array2::from_shape_fn((60, 16), |(i, j)| base[[i / m, j]]);
            let ranks = Ranks::of_embeddings(rows.view(), rows.view()).unwrap();
            let got = [1, 5, 10].map(|k| recall(&ranks.forward, k));
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12), "{m}: {got:?}");
        }
    }

    /// The reference compares all pairs of scores, computed directly.
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
    fn a_perfect_map_has_an_rsum_of_600_and_a_shuffled_one_chance() {
        let mut a = cloud(400, 16, 3);
        a.outer_iter_mut().for_each(|mut row| row /= row.dot(&row).sqrt());
        assert_eq!(Ranks::of_embeddings(a.view(), a.view()).unwrap().rsum(), 600.0);
        let control = Ranks::of_shuffled(a.view(), a.view(), 5).unwrap().rsum();
        // Chance is 2 * 16 / 400 * 100 = 8, with a standard error of about 2 for 800 queries; four are
        // allowed.
        assert!(control < 16.0, "{control}");
    }

    #[test]
    fn invalid_input_is_an_error() {
        let mut a = cloud(6, 3, 1);
        assert!(Ranks::of_embeddings(a.view(), cloud(5, 3, 1).view()).is_err());
        assert!(Ranks::of_embeddings(a.view(), cloud(6, 4, 1).view()).is_err());
        assert!(Ranks::of_scores(a.view()).is_err());
        a[[4, 0]] = f32::NAN;
        let error = Ranks::of_embeddings(a.view(), cloud(6, 3, 2).view()).unwrap_err();
        assert!(error.to_string().contains("queries: row 4"), "{error}");
    }
}
