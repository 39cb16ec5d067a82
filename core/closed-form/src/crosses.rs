//! Cross-covariances of all pairs of modalities, also of those that share no row.
//!
//! The cross-covariance of two modalities that share rows is E[a bᵀ] over those rows (available cases). Two
//! modalities a, c that share no row are completed through a modality b that shares rows with both, on the
//! assumption that a and c are independent given b: C_ac = C_ab (C_b + r)⁻¹ C_bc (the covariance selection of
//! Dempster 1972, with the ridge r of b), which is R_ac = R_ab R_bc for whitened coordinates. b is the anchor
//! if it shares rows with both, else the modality with the most shared rows. Longer chains are completed link
//! by link.

use chiasm_geometry::linalg::product;
use ndarray::{Array1, Array2, Axis};

use crate::Result;
use crate::sample::RowMeans;

/// How the cross-covariance of a pair is computed.
#[derive(Debug, Clone)]
enum Link {
    /// From the rows that hold both, with their number.
    Direct(Array2<f64>, usize),
    /// Through this modality, with the smallest number of shared rows along the chain.
    Through(usize, usize),
}

/// The cross-covariances of all pairs, in the coordinates of their bases.
#[derive(Debug, Clone)]
pub(crate) struct CrossCovariances {
    /// `links[a][b]` for a < b; `None` where no chain of rows leads from one to the other.
    links: Vec<Vec<Option<Link>>>,
}

impl CrossCovariances {
    /// Computes the cross-covariances of all pairs of modalities.
    pub(crate) fn of(modalities: &[RowMeans], anchor: Option<usize>) -> Result<Self> {
        let count = modalities.len();
        let mut links = vec![vec![None; count]; count];
        for a in 0..count {
            for b in a + 1..count {
                let (covariance, rows) = modalities[a].covariance(&modalities[b])?;
                links[a][b] = (rows > 0).then_some(Link::Direct(covariance, rows));
            }
        }
        let mut crosses = Self { links };
        // each round extends chains by at most one link
        for _ in 0..count {
            let found: Vec<_> = crate::views::pairs(count)
                .filter(|&(a, c)| crosses.links[a][c].is_none())
                .filter_map(|(a, c)| Some((a, c, crosses.bridge(a, c, anchor)?)))
                .collect();
            for (a, c, link) in found {
                crosses.links[a][c] = Some(link);
            }
        }
        Ok(crosses)
    }

    /// The cross-covariances of modalities that all `rows` hold, given that of each pair `a < b`.
    pub(crate) fn complete(
        count: usize,
        rows: usize,
        covariance: impl Fn(usize, usize) -> Result<Array2<f64>>,
    ) -> Result<Self> {
        let mut links = vec![vec![None; count]; count];
        for (a, b) in crate::views::pairs(count) {
            links[a][b] = Some(Link::Direct(covariance(a, b)?, rows));
        }
        Ok(Self { links })
    }

    /// Returns the best modality to connect two others through.
    fn bridge(&self, a: usize, c: usize, anchor: Option<usize>) -> Option<Link> {
        let strength = |b: usize| self.rows(a, b).min(self.rows(b, c));
        if let Some(anchor) = anchor.filter(|&anchor| strength(anchor) > 0) {
            return Some(Link::Through(anchor, strength(anchor)));
        }
        let best = (0..self.links.len()).rev().max_by_key(|&b| strength(b))?;
        (strength(best) > 0).then(|| Link::Through(best, strength(best)))
    }

    /// Returns the number of rows that a pair is estimated from; 0 if no chain links it, or if a = b.
    fn rows(&self, a: usize, b: usize) -> usize {
        match &self.links[a.min(b)][a.max(b)] {
            Some(Link::Direct(_, rows) | Link::Through(_, rows)) => *rows,
            None => 0,
        }
    }

    /// Returns C_ab; zeros if no chain links a and b. `damped` holds each modality's variances plus its
    /// ridge.
    pub(crate) fn get(&self, a: usize, b: usize, damped: &[Array1<f64>]) -> Result<Array2<f64>> {
        if a > b {
            return Ok(self.get(b, a, damped)?.reversed_axes());
        }
        match &self.links[a][b] {
            Some(Link::Direct(covariance, _)) => Ok(covariance.clone()),
            Some(Link::Through(between, _)) => {
                let there = self.get(a, *between, damped)?;
                let back = self.get(*between, b, damped)? / damped[*between].view().insert_axis(Axis(1));
                Ok(product(&there, &back)?)
            }
            None => Ok(Array2::zeros((damped[a].len(), damped[b].len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// One coordinate each, so that correlations multiply along a chain.
    #[test]
    fn a_chain_is_completed_link_by_link_through_the_most_rows() {
        let view = |values: &[f64], rows: &[usize]| {
            RowMeans::of(Array2::from_shape_fn((values.len(), 1), |(i, _)| values[i]), rows)
        };
        let modalities = [
            view(&[1.0, -1.0], &[0, 1]),
            view(&[2.0, -2.0, 1.0, -1.0, 1.0, -1.0], &[0, 1, 2, 3, 4, 5]),
            view(&[3.0, -3.0, 2.0, -2.0, 5.0, -5.0], &[2, 3, 4, 5, 8, 9]),
            view(&[1.0, -1.0], &[8, 9]),
        ];
        let crosses = CrossCovariances::of(&modalities, None).unwrap();
        let damped = [1.0, 4.0, 8.0, 1.0].map(|w| array![w]);
        let at = |a, b| crosses.get(a, b, &damped).unwrap()[[0, 0]];
        assert_eq!((at(0, 1), at(1, 2), at(2, 3)), (2.0, 2.5, 5.0));
        assert_eq!(at(0, 2), 2.0 / 4.0 * 2.5);
        assert_eq!(at(3, 0), 2.0 / 4.0 * 2.5 / 8.0 * 5.0);
    }
}
