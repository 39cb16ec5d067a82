//! Costs that mean "forbidden": infinite ones, and finite ones far above all others.
//!
//! Among double-precision numbers, costs of 1e12 and more would hide the differences of the others. They are
//! lowered to a bound that no plan reaches if it can avoid them: the potentials of an optimal plan over the
//! allowed entries differ by at most `n + m` times the range of the allowed costs. A plan of the lowered
//! costs without forbidden entries is therefore optimal for the given costs too, with the same potentials.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::simd;

/// Finite costs are forbidden only if they are above the allowed ones by at least this factor.
const GAP: f64 = 1e6;
/// Costs that one task looks at.
const PART: usize = 1 << 16;

/// Costs in which the forbidden entries are lowered.
pub(super) struct LoweredCosts {
    pub costs: Array2<f64>,
    /// The largest and the mean allowed cost.
    pub allowed: f64,
    pub mean: f64,
    /// Whether some forbidden entries are infinite.
    pub infinite: bool,
}

impl LoweredCosts {
    /// Returns whether an entry is forbidden.
    pub fn forbids(&self, source: usize, target: usize) -> bool {
        self.costs[[source, target]] > self.allowed
    }
}

/// The smallest magnitude that is not zero, the largest finite one, and whether a cost is infinite.
pub(super) struct Magnitudes {
    least: f64,
    most: f64,
    pub infinite: bool,
}

impl Magnitudes {
    pub fn of(cost: ArrayView2<'_, f64>) -> Self {
        let parts: Vec<(f64, f64, bool)> = match cost.to_slice_memory_order() {
            Some(costs) if costs.len() <= PART => vec![simd::magnitudes(costs)],
            Some(costs) => costs.par_chunks(PART).map(simd::magnitudes).collect(),
            None => cost.rows().into_iter().map(|row| simd::magnitudes(&row.to_vec())).collect(),
        };
        let none = Self { least: f64::INFINITY, most: 0.0, infinite: false };
        parts.into_iter().fold(none, |all, part| Self {
            least: all.least.min(part.0),
            most: all.most.max(part.1),
            infinite: all.infinite || part.2,
        })
    }
}

/// Lowers the forbidden entries of `cost`, with finite ones among them if `finite` is set. Returns `None` if
/// there are none, or if no entry is allowed.
pub(super) fn lowered(cost: ArrayView2<'_, f64>, sizes: &Magnitudes, finite: bool) -> Option<LoweredCosts> {
    let infinite = sizes.infinite;
    let nodes = (cost.nrows() + cost.ncols()) as f64;
    let wide = finite && sizes.most > GAP * sizes.least;
    let allowed = match wide.then(|| largest_allowed(cost, nodes)).flatten() {
        Some(allowed) => allowed,
        None if infinite => {
            let finite = cost.iter().filter(|c| c.is_finite());
            finite.fold(f64::NEG_INFINITY, |top, c| top.max(*c))
        }
        None => return None,
    };
    if allowed == f64::NEG_INFINITY {
        return None;
    }
    let low = cost.iter().fold(f64::INFINITY, |low, c| low.min(*c));
    let bound = allowed + 2.0 * nodes * (allowed - low).max(f64::MIN_POSITIVE.max(allowed.abs() * 1e-9));
    let kept = cost.iter().filter(|c| **c <= allowed);
    let (sum, count) = kept.fold((0.0, 0.0), |(sum, count), c| (sum + c, count + 1.0));
    Some(LoweredCosts { costs: cost.mapv(|c| c.min(bound)), allowed, mean: sum / count, infinite })
}

/// Returns the largest cost below a gap of magnitudes that is wide enough to call all larger costs forbidden.
fn largest_allowed(cost: ArrayView2<'_, f64>, nodes: f64) -> Option<f64> {
    let sizes = cost.iter().map(|c| c.abs()).filter(|size| *size > 0.0 && size.is_finite());
    // The smallest and the largest magnitude of each power of two.
    let mut bins = vec![(f64::INFINITY, 0.0_f64); 2048];
    for size in sizes {
        let bin = &mut bins[(size.to_bits() >> 52) as usize];
        *bin = (bin.0.min(size), bin.1.max(size));
    }
    let filled: Vec<(f64, f64)> = bins.into_iter().filter(|bin| bin.0 <= bin.1).collect();
    let wide = |pair: &&[(f64, f64)]| pair[1].0 > GAP * pair[0].1 && pair[1].0 > 8.0 * nodes * pair[0].1;
    let (below, above) =
        filled.windows(2).filter(|pair| pair[0].1 > 0.0).find(wide).map(|p| (p[0].1, p[1].0))?;
    // A large negative cost is attractive, not forbidden.
    cost.iter().all(|c| *c > -above).then_some(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn only_a_wide_gap_of_magnitudes_forbids_finite_costs() {
        let allowed = |cost: &Array2<f64>| {
            lowered(cost.view(), &Magnitudes::of(cost.view()), true).map(|found| found.allowed)
        };
        assert_eq!(allowed(&array![[1.0, 3.0], [1e12, 2.0]]), Some(3.0));
        assert_eq!(allowed(&array![[1.0, 3.0], [1e32, f64::INFINITY]]), Some(3.0));
        assert_eq!(allowed(&array![[1.0, 3.0], [1e4, 2.0]]), None);
        assert_eq!(allowed(&array![[1.0, -1e12], [1e12, 2.0]]), None);
        assert_eq!(allowed(&array![[0.0, 1e12], [1e12, 0.0]]), None, "zeros have no magnitude");
        assert_eq!(allowed(&array![[f64::INFINITY, 1.0]]), Some(1.0));
        assert_eq!(allowed(&array![[f64::INFINITY]]), None);
    }
}
