//! Intrinsic dimension from the distances to the first two neighbours (Two-NN: Facco et al. 2017, Sci. Rep.
//! 7:12140).
//!
//! `μ = r2 / r1` follows `1 - μ^-d`. Two estimators are in use: the paper's line through the origin, `-ln(1 -
//! F(μ)) = d ln μ` over the smallest 90 % of the ratios, and the likelihood's maximum `(n - 1) / Σ ln μ`
//! (Denti et al. 2022), which uses all of them and is the less noisy where no point is an outlier.

use crate::neighbours::Neighbours;
use crate::{Error, Result};

/// Share of the ratios that the fit leaves out at the top (Facco et al., section "Results").
const DISCARDED: f64 = 0.1;

/// Both estimates; a number of dimensions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dimension {
    /// The line fitted to the smallest 90 % of the ratios, as in the paper.
    pub fit: f64,
    /// The maximum of the likelihood over all ratios.
    pub likelihood: f64,
    /// Rows left out because they have a duplicate (`r1 = 0`).
    pub duplicates: usize,
}

/// Two-NN estimates from at least two neighbours of each row.
///
/// # Errors
/// When there are fewer than two neighbours, or fewer than ten rows without a duplicate, or all ratios are
/// one.
pub fn two_nn(neighbours: &Neighbours) -> Result<Dimension> {
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
    if !(squares > 0.0 && sum > 0.0) {
        return Err(Error::NoSpread("ratio of the first two neighbours' distances"));
    }
    let duplicates = neighbours.distance.nrows() - n;
    Ok(Dimension { fit: products / squares, likelihood: (n - 1) as f64 / sum, duplicates })
}
