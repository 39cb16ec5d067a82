//! Row weights and row means of a modality, and the rows that two modalities share.
//!
//! Every row counts once, however many items it holds: an item's weight is 1/n(row) in the statistics of its
//! own modality, and a row enters the products of two modalities by the means of its items, which equals the
//! sum over its pairs weighted by 1/(n_a n_b).

use chiasm_geometry::linalg::product;
use chiasm_geometry::random::Random;
use ndarray::{Array1, Array2, Axis};

use crate::Result;
use crate::views::groups;

/// The largest number of axes of a modality in a search, and the smallest limit in a final fit.
pub(crate) const AXES: usize = 300;

/// The largest number of axes of a modality in a final fit.
pub(crate) fn axes(rows: usize) -> usize {
    (rows / 4).clamp(AXES, 1024)
}

/// Draws at most `limit` of `n` places, returned in ascending order.
pub(crate) fn subset(n: usize, limit: usize, seed: u64) -> Vec<usize> {
    if n <= limit {
        return (0..n).collect();
    }
    let mut chosen = Random::new(seed).permutation(n);
    chosen.truncate(limit);
    chosen.sort_unstable();
    chosen
}

/// The weight of each item, 1/n(row), for rows in any order; `None` when no row holds more than one.
pub(crate) fn weights(rows: &[usize]) -> Option<Array1<f64>> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let several = sorted.windows(2).any(|two| two[0] == two[1]);
    let count = |row: &usize| {
        sorted.partition_point(|other| other <= row) - sorted.partition_point(|other| other < row)
    };
    several.then(|| rows.iter().map(|row| 1.0 / count(row) as f64).collect())
}

/// The rows of the items at these places.
pub(crate) fn selected(rows: &[usize], places: &[usize]) -> Vec<usize> {
    places.iter().map(|&place| rows[place]).collect()
}

/// Counts distinct rows, which may be in any order.
pub(crate) fn distinct(rows: &[usize]) -> usize {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}

/// The mean of the items of each row.
#[derive(Debug, Clone)]
pub(crate) struct RowMeans {
    /// The distinct rows, in ascending order.
    rows: Vec<usize>,
    /// `[rows, r]`.
    means: Array2<f64>,
}

impl RowMeans {
    /// The means of `items [n, r]`, whose rows are in ascending order.
    pub(crate) fn of(items: Array2<f64>, rows: &[usize]) -> Self {
        if weights(rows).is_none() {
            return Self { rows: rows.to_vec(), means: items };
        }
        let mut means = Array2::zeros((distinct(rows), items.ncols()));
        let mut kept = Vec::new();
        for ((row, places), mut mean) in groups(rows).zip(means.outer_iter_mut()) {
            kept.push(row);
            let count = places.len() as f64;
            for place in places {
                mean += &items.row(place);
            }
            mean /= count;
        }
        Self { rows: kept, means }
    }

    /// The means of both modalities on the rows that hold both.
    pub(crate) fn shared(&self, other: &Self) -> (Array2<f64>, Array2<f64>) {
        let (mine, theirs) = matches(&self.rows, &other.rows);
        (self.means.select(Axis(0), &mine), other.means.select(Axis(0), &theirs))
    }

    /// E[a bᵀ] over the rows that hold both, and the number of those rows. Coordinates are centred over all
    /// items of a modality; where some rows lack the other one, they are centred once more over the rows that
    /// hold both.
    pub(crate) fn covariance(&self, other: &Self) -> Result<(Array2<f64>, usize)> {
        let (mut a, mut b) = self.shared(other);
        let rows = a.nrows();
        if rows > 0 && (rows < self.rows.len() || rows < other.rows.len()) {
            for part in [&mut a, &mut b] {
                let mean = part.sum_axis(Axis(0)) / rows as f64;
                *part -= &mean;
            }
        }
        Ok((product(&a.t(), &b)? / rows.max(1) as f64, rows))
    }
}

/// The means of each modality on the rows that hold all of them.
pub(crate) fn common_rows(all: &[RowMeans]) -> Vec<Array2<f64>> {
    let Some((first, rest)) = all.split_first() else { return Vec::new() };
    let held = |row: &&usize| rest.iter().all(|other| other.rows.binary_search(row).is_ok());
    let rows: Vec<usize> = first.rows.iter().filter(held).copied().collect();
    all.iter().map(|own| own.means.select(Axis(0), &matches(&own.rows, &rows).0)).collect()
}

/// Returns the places of equal entries of two ascending lists.
pub(crate) fn matches(a: &[usize], b: &[usize]) -> (Vec<usize>, Vec<usize>) {
    a.iter().enumerate().filter_map(|(i, row)| b.binary_search(row).ok().map(|j| (i, j))).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Σ over pairs of a row, weighted 1/(n_a n_b), is the product of the means.
    #[test]
    fn a_row_counts_once_however_many_items_it_holds() {
        let a = RowMeans::of(array![[1.0, 2.0], [3.0, -1.0], [5.0, 0.5]], &[2, 2, 4]);
        let b = RowMeans::of(array![[2.0], [7.0], [1.0], [4.0]], &[2, 3, 4, 4]);
        let (a, b) = a.shared(&b);
        let explicit = [[1.0, 2.0], [3.0, -1.0]].map(|x| x.map(|x| x * 2.0 / 2.0));
        let last = [5.0, 0.5].map(|x| (x * 1.0 + x * 4.0) / 2.0);
        let expected =
            array![explicit[0][0] + explicit[1][0] + last[0], explicit[0][1] + explicit[1][1] + last[1]];
        assert!((a.t().dot(&b).column(0).to_owned() - expected).iter().all(|x: &f64| x.abs() < 1e-12));
        assert_eq!(weights(&[1, 0, 1, 3]).unwrap(), array![0.5, 1.0, 0.5, 1.0]);
        assert!(weights(&[0, 1, 3]).is_none());
    }
}
