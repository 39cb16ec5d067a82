//! The rank of relevant items in a ranking with ties, and its expected scores.

use crate::harmonic::harmonic;

/// The rank of relevant items that have equal scores.
///
/// All orders of the items with equal scores are equally likely.
///
/// ```
/// use chiasm_geometry::retrieval::Rank;
/// let rank = Rank::single(0, 1); // shares the first place with one irrelevant item
/// assert_eq!((rank.recall(1), rank.reciprocal(), rank.expected()), (0.5, 0.75, 1.5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rank {
    /// Number of items with higher scores.
    pub better: usize,
    /// Number of irrelevant items with the same score.
    pub ties: usize,
    /// Number of relevant items with the same score, at least 1.
    pub relevant: usize,
}

impl Rank {
    /// Returns the rank of a single relevant item with `better` items before it and `ties` irrelevant ones at
    /// its score.
    pub fn single(better: usize, ties: usize) -> Self {
        Self { better, ties, relevant: 1 }
    }

    /// Returns the number of items with the same score.
    pub(crate) fn size(self) -> usize {
        self.ties + self.relevant
    }

    /// Returns the probability that one of the relevant items is among the first `k`.
    ///
    /// With m = k - better places for t = ties + relevant items it is 1 - C(ties, m) / C(t, m). For a single
    /// relevant item this is clip((k - better) / (ties + 1), 0, 1).
    pub fn recall(self, k: usize) -> f64 {
        let places = k.saturating_sub(self.better).min(self.size());
        if self.relevant == 1 {
            return places as f64 / self.size() as f64; // avoids the rounding error of the difference
        }
        1.0 - self.miss(places)
    }

    /// Returns the probability that the first m of the tied items are irrelevant: C(ties, m) / C(ties +
    /// relevant, m).
    fn miss(self, places: usize) -> f64 {
        if places > self.ties {
            return 0.0;
        }
        let still_wrong = |at: usize| (self.ties - at) as f64 / (self.size() - at) as f64;
        (0..places).map(still_wrong).product()
    }

    /// Returns the expectation of 1 / rank of the first relevant item, where ranks are counted from 1.
    pub fn reciprocal(self) -> f64 {
        if self.relevant == 1 {
            return harmonic(self.better, self.better + self.size()) / self.size() as f64;
        }
        let mut all_wrong = 1.0;
        let mut sum = 0.0;
        for at in 0..=self.ties {
            let here = self.relevant as f64 / (self.size() - at) as f64;
            sum += all_wrong * here / (self.better + at + 1) as f64;
            all_wrong *= 1.0 - here;
            if all_wrong < f64::EPSILON * sum {
                break;
            }
        }
        sum
    }

    /// Returns the expected rank of the first relevant item, counted from 1:
    /// `better + (t + 1) / (relevant + 1)`.
    pub fn expected(self) -> f64 {
        self.better as f64 + (self.size() + 1) as f64 / (self.relevant + 1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all orders of the tied items, as the places (from 0) of the relevant ones.
    fn orders(rank: Rank) -> Vec<Vec<usize>> {
        (0u32..1 << rank.size())
            .filter(|set| set.count_ones() as usize == rank.relevant)
            .map(|set| (0..rank.size()).filter(|at| set >> at & 1 == 1).map(|at| rank.better + at).collect())
            .collect()
    }

    /// The tolerance allows for sums of a few hundred fractions.
    #[test]
    fn expectations_are_means_over_all_orders() {
        for (better, ties, relevant) in
            (0..4).flat_map(|b| (0..6).flat_map(move |t| (1..5).map(move |r| (b, t, r))))
        {
            let rank = Rank { better, ties, relevant };
            let all = orders(rank);
            let mean = |f: &dyn Fn(usize) -> f64| all.iter().map(|o| f(o[0])).sum::<f64>() / all.len() as f64;
            for k in 1..12 {
                let want = mean(&|first| f64::from(u8::from(first < k)));
                assert!((rank.recall(k) - want).abs() < 1e-12, "{rank:?} recall@{k}");
            }
            assert!((rank.reciprocal() - mean(&|first| 1.0 / (first + 1) as f64)).abs() < 1e-12, "{rank:?}");
            assert!((rank.expected() - mean(&|first| (first + 1) as f64)).abs() < 1e-12, "{rank:?}");
        }
    }

    #[test]
    fn the_recall_of_a_single_relevant_item_is_linear() {
        for (better, ties, k) in [(0, 1, 1), (0, 2, 1), (0, 19, 5), (3, 4, 5), (7, 2, 5), (2, 0, 5)] {
            let want = ((k as f64 - better as f64) / (ties + 1) as f64).clamp(0.0, 1.0);
            assert!((Rank::single(better, ties).recall(k) - want).abs() < 1e-15);
        }
    }
}
