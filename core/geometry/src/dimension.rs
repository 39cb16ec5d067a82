//! Intrinsic dimension from the distances to the two nearest neighbours (Two-NN: Facco et al. 2017, Sci. Rep.
//! 7:12140).
//!
//! The ratio `μ = r2 / r1` has the distribution function `F(μ) = 1 - μ^-d`. There are two estimators: the
//! line through the origin of the paper, `-ln(1 - F(μ)) = d ln μ` fitted to the smallest 90 % of the ratios,
//! and the maximum likelihood estimate `(n - 1) / Σ ln μ` (Denti et al. 2022), which uses all ratios and is
//! less noisy if there are no outliers.
//!
//! ```
//! use chiasm_geometry::{dimension::two_nn, neighbours::Neighbours, random::Random};
//! let mut random = Random::new(1);
//! let plane = ndarray::Array2::from_shape_simple_fn((500, 2), || random.uniform());
//! let found = two_nn(&Neighbours::new(plane.view(), 2, 0)?)?;
//! assert!((found.likelihood - 2.0).abs() < 0.4);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use crate::neighbours::Neighbours;
use crate::{Error, Result};

/// Share of the largest ratios that the line fit discards (Facco et al., section "Results").
const DISCARDED: f64 = 0.1;

/// Up to this mean logarithm the ratios are equal to one.
const EQUAL: f64 = 1e-6;

/// Both Two-NN estimates of the intrinsic dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct IntrinsicDimension {
    /// Slope of the line fitted to the smallest 90 % of the ratios, as in the paper.
    pub fit: f64,
    /// Maximum likelihood estimate from all ratios.
    pub likelihood: f64,
    /// Number of rows that were skipped because they have a duplicate (`r1 = 0`).
    pub duplicates: usize,
}

/// Returns the Two-NN estimates from at least two neighbours of each row.
///
/// # Errors
/// When there are fewer than two neighbours or fewer than ten rows without a duplicate, or all ratios are
/// one.
pub fn two_nn(neighbours: &Neighbours) -> Result<IntrinsicDimension> {
    if neighbours.distance.ncols() < 2 {
        let got = neighbours.distance.ncols().to_string();
        return Err(Error::Setting { what: "neighbours for Two-NN", expected: "at least 2".into(), got });
    }
    let ratio = |row: ndarray::ArrayView1<'_, f64>| (row[0] > 0.0).then(|| (row[1] / row[0]).ln());
    let mut logs: Vec<f64> = neighbours.distance.outer_iter().filter_map(ratio).collect();
    let n = logs.len();
    if n < 10 {
        let expected = "at least 10 rows without a duplicate".into();
        return Err(Error::Setting { what: "rows for Two-NN", expected, got: n.to_string() });
    }
    logs.sort_unstable_by(f64::total_cmp);
    let kept = ((n as f64) * (1.0 - DISCARDED)) as usize;
    let (mut squares, mut products) = (0.0, 0.0);
    for (i, log) in logs[..kept].iter().enumerate() {
        squares += log * log;
        products -= log * (1.0 - (i + 1) as f64 / n as f64).ln();
    }
    let sum: f64 = logs.iter().sum();
    // Ratios of one differ from it by rounding errors, from which a dimension above a million would follow.
    if !(squares > kept as f64 * EQUAL * EQUAL && sum > n as f64 * EQUAL) {
        return Err(Error::NoSpread("ratio of the first two neighbours' distances"));
    }
    let duplicates = neighbours.distance.nrows() - n;
    Ok(IntrinsicDimension { fit: products / squares, likelihood: (n - 1) as f64 / sum, duplicates })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every point of a lattice has neighbours at one distance only, up to rounding.
    #[test]
    fn a_lattice_has_no_spread() {
        let lattice = ndarray::Array2::from_shape_fn((64, 2), |(i, k)| {
            let place = if k == 0 { i / 8 } else { i % 8 };
            0.1 + 0.3 * place as f64
        });
        let found = two_nn(&Neighbours::new(lattice.view(), 2, 0).unwrap());
        assert!(matches!(found, Err(Error::NoSpread(_))), "{found:?}");
    }
}
