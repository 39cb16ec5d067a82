//! A plan between two clouds of different spaces, from the distances within each, without any pair.
//!
//! The entropic Gromov-Wasserstein plan depends on which distances are compared. The candidates are Euclidean
//! and correlation distances of unit rows, each also along the graph of the 10, 20, 35 and 50 nearest
//! neighbours, as SCOT does (Demetci et al. 2022, J. Comput. Biol. 29). They are compared by the share of the
//! objective that the plan leaves of that of the product plan, which has no unit, so the choice reads no
//! pair. The plans of all candidates whose share is within a tenth of the best are averaged if they agree
//! with the best; the choice between neighbouring candidates would be one by noise.
//!
//! Each candidate is solved from six starts. The best other optimum among them tells how much the choice of
//! the best can be trusted: nearly symmetric clouds have a mirrored matching that is nearly as good.

use chiasm_geometry::linalg::{product, unit_rows};
use chiasm_transport::{DELIBERATE_STARTS, GromovPlan, GromovWasserstein, Space, geodesic, uniform};
use ndarray::{Array2, ArrayView2, Axis};

use crate::sample::subset;
use crate::unpaired_report::MatchingReport;
use crate::{Error, Result};

/// Numbers of neighbours; `None` compares the distances themselves.
const NEIGHBOURS: [Option<usize>; 5] = [None, Some(10), Some(20), Some(35), Some(50)];
/// The regularisation, as a share of the objective of the product plan.
const EPS_SHARE: f64 = 0.05;
/// Candidates are as good as the best one if their share is within this factor.
const AS_GOOD: f64 = 1.1;
/// Plans agree if they have this part of their mass in common.
const IN_COMMON: f64 = 0.3;

/// A plan between samples of two clouds.
pub(crate) struct Matching {
    /// `[sampled items of the first, of the second]`, with sum 1.
    pub(crate) plan: Array2<f64>,
    /// The places of the sampled items of each cloud.
    pub(crate) places: [Vec<usize>; 2],
    pub(crate) report: MatchingReport,
}

/// The distances within a cloud.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    /// Of rows without their mean, which makes cosines correlations.
    correlation: bool,
    neighbours: Option<usize>,
}

/// Matches the rows of two clouds of any widths, at most `most` of each. Samples of clouds of unequal groups
/// hold different shares of the groups, which no plan can match, so `most` should be large. `tick` is called
/// with the candidates done and their number.
///
/// # Errors
/// When a solver fails, as it does where all rows of a cloud are alike, or `tick` asks to stop.
pub(crate) fn matched(
    clouds: [ArrayView2<'_, f32>; 2],
    most: usize,
    seed: u64,
    tick: &dyn Fn(usize, usize) -> Result<()>,
) -> Result<Matching> {
    let (rows, places) = sampled(clouds, most, seed);
    let candidates = candidates(&rows);
    let mut tried = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        tick(at, candidates.len())?;
        if let Some(found) = candidate.solve(&rows)? {
            tried.push((*candidate, found));
        }
    }
    tried.sort_by(|a, b| a.1.unexplained().total_cmp(&b.1.unexplained()));
    let Some((_, best)) = tried.first() else {
        return Err(Error::data("items without a partner", "items that differ in direction", "equal ones"));
    };
    let as_good = |found: &GromovPlan| {
        found.unexplained() <= AS_GOOD * best.unexplained() && in_common(&found.plan, &best.plan) > IN_COMMON
    };
    let kept = tried.iter().filter(|(_, found)| as_good(found));
    let mut plan = best.plan.mapv(f64::from);
    let mut distances = Vec::new();
    for (at, (candidate, found)) in kept.enumerate() {
        if at > 0 {
            plan += &found.plan.mapv(f64::from);
        }
        distances.push(candidate.name());
    }
    let next_best = best.next_best.filter(|_| best.unmatched > 0.0).map(|next| next / best.unmatched);
    let (unexplained, ambiguous) = (best.unexplained(), best.is_ambiguous());
    let report = MatchingReport { distances, unexplained, next_best, ambiguous };
    plan /= plan.sum();
    Ok(Matching { plan, places, report })
}

fn candidates(clouds: &[Array2<f64>; 2]) -> Vec<Candidate> {
    let rows = clouds.iter().map(Array2::nrows).min().unwrap_or(0);
    let correlated = clouds.iter().all(|cloud| cloud.ncols() > 2);
    let kinds: &[bool] = if correlated { &[false, true] } else { &[false] };
    let usable = |neighbours: &Option<usize>| neighbours.is_none_or(|k| 3 * k <= rows);
    let of_kind = |&correlation: &bool| {
        NEIGHBOURS.into_iter().filter(usable).map(move |neighbours| Candidate { correlation, neighbours })
    };
    kinds.iter().flat_map(of_kind).collect()
}

/// Rows of both clouds in double precision, and their places.
fn sampled(clouds: [ArrayView2<'_, f32>; 2], most: usize, seed: u64) -> ([Array2<f64>; 2], [Vec<usize>; 2]) {
    let places = clouds.map(|cloud| subset(cloud.nrows(), most, seed));
    let rows = |side: usize| clouds[side].select(Axis(0), &places[side]).mapv(f64::from);
    ([rows(0), rows(1)], places)
}

impl Candidate {
    fn name(self) -> String {
        let kind = if self.correlation { "correlation" } else { "euclidean" };
        self.neighbours.map_or_else(|| kind.to_owned(), |k| format!("{kind}, along {k} neighbours"))
    }

    /// Returns the plan; `None` where a cloud has no spread.
    fn solve(self, clouds: &[Array2<f64>; 2]) -> Result<Option<GromovPlan>> {
        let [x, y] = [self.distances(&clouds[0])?, self.distances(&clouds[1])?];
        let (Some((x, mean_x)), Some((y, mean_y))) = (x, y) else { return Ok(None) };
        // The objective of the product plan, for distances whose mean square is one.
        let unmatched = 2.0 - 2.0 * mean_x * mean_y;
        if unmatched < 1e-9 {
            return Ok(None);
        }
        let solver = GromovWasserstein::entropic(EPS_SHARE * unmatched).starts(DELIBERATE_STARTS);
        let solver = solver.iterations(40).tolerance(1e-3).flat_objective(1e-5);
        let (p, q) = (uniform(x.nrows()), uniform(y.nrows()));
        let (x, y) = (Space::matrix(x.view())?, Space::matrix(y.view())?);
        Ok(Some(solver.solve(&x, &y, &p, &q)?))
    }

    /// Returns the distances within a cloud, whose mean square is one, and their mean; `None` where all are
    /// zero.
    fn distances(self, cloud: &Array2<f64>) -> Result<Option<(Array2<f32>, f64)>> {
        let mut rows = cloud.clone();
        if self.correlation {
            rows.outer_iter_mut().for_each(|mut row| {
                let mean = row.sum() / row.len() as f64;
                row.mapv_inplace(|v| v - mean);
            });
        }
        let rows = unit_rows(rows);
        let cosines = product(&rows, &rows.t())?;
        let apart = |cosine: f64| {
            let distance = (1.0 - cosine).max(0.0);
            if self.correlation { distance } else { (2.0 * distance).sqrt() }
        };
        let mut distances = cosines.mapv(|cosine| apart(cosine) as f32);
        distances.diag_mut().fill(0.0);
        if let Some(k) = self.neighbours {
            distances = geodesic(distances.view(), k)?;
        }
        let count = distances.len() as f64;
        let square = distances.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>() / count;
        if square <= 0.0 {
            return Ok(None);
        }
        distances.mapv_inplace(|d| (f64::from(d) / square.sqrt()) as f32);
        let mean = distances.iter().map(|&d| f64::from(d)).sum::<f64>() / count;
        Ok(Some((distances, mean)))
    }
}

/// The mass that two plans of mass one have in common.
fn in_common(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    x.iter().zip(y).map(|(&x, &y)| f64::from(x.min(y))).sum()
}
