//! The search grid of canonical correlation and its fit, shared by the linear and the kernel form.

use chiasm_parameters::{ParameterError, Parameters, PerModality};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::basis::{columns, first};
use crate::crosses::CrossCovariances;
use crate::features::FeatureSpec;
use crate::per_modality::complete;
use crate::sample::{AXES, RowMeans, axes};
use crate::search::{Fold, SearchMethod, SearchReport, SearchResult, Tick, search};
use crate::source::Source;
use crate::spectral::{CcaCandidate, Directions, join};
use crate::{Curve, FitContext, Map, Result};

const RIDGES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
/// Ridges of two modalities in a quick search.
const QUICK: [[f64; 2]; 3] = [[0.1, 0.1], [0.1, 0.03], [0.03, 0.1]];
/// Ridges of more modalities in a quick search, equal for all.
const QUICK_EQUAL: [f64; 2] = [0.1, 0.03];
const DIMENSIONS: [usize; 5] = [32, 64, 96, 128, 192];
/// The largest number of axes of each modality in a search, if there are more than two modalities.
const SEARCHED: usize = 200;
const POWERS: [f64; 3] = [0.5, 1.0, 1.5];

/// One point of the grid of canonical correlation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(deny_unknown_fields)]
pub struct CcaSetting {
    /// Ridge relative to the largest variance of the modality.
    #[parameter(default = 0.1.into(), range = 0..=1000)]
    pub ridge: PerModality<f64>,
    /// Number of canonical directions kept.
    #[parameter(default = 64, range = 1..)]
    pub dimensions: usize,
    /// Power of the correlation that weights each direction.
    #[parameter(default = 1.0, range = 0..=10)]
    pub power: f64,
}

/// The grid, with the values that the user fixed; ridges in the order of the views.
#[derive(Debug, Clone)]
pub(crate) struct CcaGrid {
    pub(crate) ridges: Vec<Option<f64>>,
    pub(crate) dimensions: Option<usize>,
    pub(crate) power: Option<f64>,
}

impl CcaGrid {
    /// Combines each list of ridges with every number of dimensions, up to all, and every power; fixed values
    /// are kept.
    /// Ordered by ridges, so that consecutive candidates share their decomposition.
    fn points(&self, ranks: &[usize], ridges: impl Iterator<Item = Vec<f64>>) -> Vec<CcaCandidate> {
        let fixed = |ridges: Vec<f64>| -> Vec<f64> {
            self.ridges.iter().zip(ridges).map(|(fixed, ridge)| fixed.unwrap_or(ridge)).collect()
        };
        let mut ridges: Vec<Vec<f64>> = ridges.map(fixed).collect();
        ridges.dedup();
        let rank = ranks.iter().copied().min().unwrap_or(1).max(1);
        let sizes: Vec<usize> = DIMENSIONS.into_iter().filter(|&k| k < rank).chain([rank]).collect();
        let sizes = self.dimensions.map_or(sizes, |k| vec![k]);
        let powers = self.power.map_or(POWERS.to_vec(), |p| vec![p]);
        let mut out = Vec::new();
        for ridges in ridges {
            for &dimensions in &sizes {
                for &power in &powers {
                    out.push(CcaCandidate { ridges: ridges.clone(), dimensions, power });
                }
            }
        }
        out
    }
}

impl SearchMethod for CcaGrid {
    type Candidate = CcaCandidate;

    /// All pairs of ridges for two modalities, equal ones for more.
    fn candidates(&self, ranks: &[usize], quick: bool) -> Vec<CcaCandidate> {
        let count = self.ridges.len();
        match (count, quick) {
            (2, true) => self.points(ranks, QUICK.into_iter().map(|pair| pair.to_vec())),
            (2, false) => self.points(ranks, RIDGES.into_iter().flat_map(|a| RIDGES.map(|b| vec![a, b]))),
            (_, true) => self.points(ranks, QUICK_EQUAL.into_iter().map(|ridge| vec![ridge; count])),
            (_, false) => self.points(ranks, RIDGES.into_iter().map(|ridge| vec![ridge; count])),
        }
    }

    /// Varies the best ridges in one modality at a time.
    fn refinements(&self, ranks: &[usize], best: &CcaCandidate) -> Vec<CcaCandidate> {
        let count = self.ridges.len();
        if count == 2 {
            return Vec::new();
        }
        let free = (0..count).filter(|&at| self.ridges[at].is_none());
        let varied = free.flat_map(|at| {
            RIDGES.into_iter().filter(move |ridge| *ridge != best.ridges[at]).map(move |ridge| {
                let mut ridges = best.ridges.clone();
                ridges[at] = ridge;
                ridges
            })
        });
        // with one free modality the first candidates already had all its ridges
        if self.ridges.iter().flatten().count() + 1 == count {
            return Vec::new();
        }
        self.points(ranks, varied)
    }

    fn scores(&self, fold: &Fold<'_>, candidates: &[CcaCandidate], tick: Tick<'_>) -> Result<Vec<f64>> {
        // one decomposition covers the axes of all modalities, so with more than two each keeps fewer
        let most = if fold.views.len() == 2 { AXES } else { SEARCHED };
        let views = || fold.views.iter();
        let variances: Vec<Array1<f64>> =
            views().map(|view| first(view.basis.variances.view(), most)).collect();
        let variances: Vec<&Array1<f64>> = variances.iter().collect();
        let kept = |rows: &Array2<f64>| columns(rows, most.min(rows.ncols())).to_owned();
        let means: Vec<RowMeans> = views().map(|view| RowMeans::of(kept(&view.train), &view.rows)).collect();
        let tests: Vec<Array2<f64>> = views().map(|view| kept(&view.test)).collect();
        let crosses = CrossCovariances::of(&means, fold.anchor)?;
        let widest = candidates.iter().map(|point| point.dimensions).max().unwrap_or(1);
        let mut out = Vec::with_capacity(candidates.len());
        for group in candidates.chunk_by(|a, b| a.ridges == b.ridges) {
            tick()?;
            let found = Directions::of(&variances, &crosses, &group[0].ridges, widest)?;
            let images = found.images(&tests)?;
            for point in group {
                out.push(fold.criterion(&found.weighted(&images, point))?);
            }
        }
        Ok(out)
    }
}

/// A fit of canonical correlation, in its linear or kernel form.
pub(crate) struct CcaProblem<'a> {
    pub(crate) grid: CcaGrid,
    pub(crate) settings: Option<&'a [CcaSetting]>,
    pub(crate) members: usize,
    /// The curves to try, by modality.
    pub(crate) curves: Vec<Vec<Curve>>,
    pub(crate) specs: Vec<FeatureSpec<'a>>,
}

/// The fitted maps and the chosen parameters.
pub(crate) struct CcaSolution {
    pub(crate) maps: Vec<Map>,
    pub(crate) curves: PerModality<Curve>,
    pub(crate) settings: Vec<CcaSetting>,
    pub(crate) report: Option<SearchReport>,
}

impl CcaProblem<'_> {
    /// Chooses what is not given and fits on all training rows.
    pub(crate) fn solve(&self, source: &Source<'_, '_>, context: FitContext<'_>) -> Result<CcaSolution> {
        let views = source.views;
        views.check_linked()?;
        let names = views.names();
        let given: Option<Vec<CcaCandidate>> = match self.settings {
            None => None,
            Some(settings) => {
                Some(settings.iter().map(|setting| setting.point(&names)).collect::<Result<_>>()?)
            }
        };
        let found = match &given {
            Some(points) if self.curves.iter().all(|list| list.len() == 1) => SearchResult {
                curves: self.curves.iter().map(|list| list[0]).collect(),
                ranked: points.clone(),
                report: None,
            },
            _ => search(&self.grid, views, &self.specs, &self.curves, context)?,
        };
        let mut points = given.unwrap_or_else(|| found.ranked.into_iter().take(self.members).collect());
        points.sort_by(order);
        let summary = source.summary(&self.specs, &found.curves, axes)?;
        let weights = join(&summary.variances(), &summary.crosses, &points)?;
        Ok(CcaSolution {
            maps: summary.maps(weights.into_iter().map(Some))?,
            curves: PerModality::each(&names, &found.curves),
            settings: points.iter().map(|point| CcaSetting::of(point, &names)).collect(),
            report: found.report,
        })
    }
}

/// Orders candidates so that those with equal ridges are adjacent and sums have a fixed order.
fn order(a: &CcaCandidate, b: &CcaCandidate) -> std::cmp::Ordering {
    let key = |point: &CcaCandidate| {
        let mut key = point.ridges.clone();
        key.extend([point.dimensions as f64, point.power]);
        key
    };
    let (a, b) = (key(a), key(b));
    a.iter().zip(&b).map(|(x, y)| x.total_cmp(y)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

impl CcaSetting {
    fn of(point: &CcaCandidate, names: &[&str]) -> Self {
        let ridge = PerModality::each(names, &point.ridges);
        Self { ridge, dimensions: point.dimensions, power: point.power }
    }

    fn point(&self, names: &[&str]) -> Result<CcaCandidate> {
        let ridges = complete("settings.ridge", &self.ridge, names)?;
        Ok(CcaCandidate { ridges, dimensions: self.dimensions, power: self.power })
    }
}

/// Fails if settings are given beside values of the grid (`searched`), or if their list is empty.
pub(crate) fn check_settings(
    settings: Option<&[CcaSetting]>,
    searched: bool,
) -> std::result::Result<(), ParameterError> {
    let Some(settings) = settings else { return Ok(()) };
    let count = || format!("{} settings", settings.len());
    if searched {
        let expected = "no settings beside ridge, dimensions or power, which they hold";
        return Err(ParameterError::new("settings", expected, count()));
    }
    if settings.is_empty() {
        return Err(ParameterError::new("settings", "at least one", count()));
    }
    settings.iter().try_for_each(Parameters::check)
}
