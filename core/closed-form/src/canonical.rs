//! The grid of canonical correlation and its fit, shared by the linear and the kernel form.

use chiasm_parameters::{ParameterError, Parameters, PerModality};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::basis::{columns, first};
use crate::crosses::CrossCovariances;
use crate::features::FeatureSpec;
use crate::per_modality::complete;
use crate::prepared::{Prepared, prepare};
use crate::sample::{AXES, RowMeans, axes};
use crate::search::{Candidates, Choice, Fold, SearchReport, Tick, search};
use crate::spectral::{Directions, Point, join};
use crate::{Curve, FitContext, Map, Result, Views};

const RIDGES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
/// Of two modalities and few settings; more modalities take the first and the last of [`QUICK_EQUAL`].
const QUICK: [[f64; 2]; 3] = [[0.1, 0.1], [0.1, 0.03], [0.03, 0.1]];
const QUICK_EQUAL: [f64; 2] = [0.1, 0.03];
const DIMENSIONS: [usize; 5] = [32, 64, 96, 128, 192];
/// Axes of each modality at most while searching, where there are more than two.
const SEARCHED: usize = 200;
const POWERS: [f64; 3] = [0.5, 1.0, 1.5];

/// One point of the grid of canonical correlation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(deny_unknown_fields)]
pub struct Setting {
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

/// The grid, with what the user fixed; ridges in the order of the views.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) ridges: Vec<Option<f64>>,
    pub(crate) dimensions: Option<usize>,
    pub(crate) power: Option<f64>,
}

impl Grid {
    /// Every size and power with each of these lists of ridges, what is fixed kept. Ordered by ridge, so that
    /// neighbours share their decomposition.
    fn points(&self, ranks: &[usize], ridges: impl Iterator<Item = Vec<f64>>) -> Vec<Point> {
        let fixed = |ridges: Vec<f64>| -> Vec<f64> {
            self.ridges.iter().zip(ridges).map(|(fixed, ridge)| fixed.unwrap_or(ridge)).collect()
        };
        let mut ridges: Vec<Vec<f64>> = ridges.map(fixed).collect();
        ridges.dedup();
        let rank = ranks.iter().copied().min().unwrap_or(1).max(1);
        let mut sizes: Vec<usize> = DIMENSIONS.into_iter().filter(|&k| k <= rank).collect();
        if sizes.is_empty() {
            sizes.push(rank);
        }
        let sizes = self.dimensions.map_or(sizes, |k| vec![k]);
        let powers = self.power.map_or(POWERS.to_vec(), |p| vec![p]);
        let mut out = Vec::new();
        for ridges in ridges {
            for &dimensions in &sizes {
                for &power in &powers {
                    out.push(Point { ridges: ridges.clone(), dimensions, power });
                }
            }
        }
        out
    }
}

impl Candidates for Grid {
    type Setting = Point;

    /// All pairs of ridges for two modalities, equal ones for more.
    fn candidates(&self, ranks: &[usize], quick: bool) -> Vec<Point> {
        let count = self.ridges.len();
        match (count, quick) {
            (2, true) => self.points(ranks, QUICK.into_iter().map(|pair| pair.to_vec())),
            (2, false) => self.points(ranks, RIDGES.into_iter().flat_map(|a| RIDGES.map(|b| vec![a, b]))),
            (_, true) => self.points(ranks, QUICK_EQUAL.into_iter().map(|ridge| vec![ridge; count])),
            (_, false) => self.points(ranks, RIDGES.into_iter().map(|ridge| vec![ridge; count])),
        }
    }

    /// The best ridges with that of one modality varied.
    fn refinements(&self, ranks: &[usize], best: &Point) -> Vec<Point> {
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
        // with one free modality the equal ridges were all there is
        if self.ridges.iter().flatten().count() + 1 == count {
            return Vec::new();
        }
        self.points(ranks, varied)
    }

    fn scores(&self, fold: &Fold<'_>, candidates: &[Point], tick: Tick<'_>) -> Result<Vec<f64>> {
        // one decomposition sees the axes of all modalities at once, so that more of these may keep fewer
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

/// What the linear and the kernel form are asked to do.
pub(crate) struct Problem<'a> {
    pub(crate) grid: Grid,
    pub(crate) settings: Option<&'a [Setting]>,
    pub(crate) members: usize,
    /// The curves to try, by modality.
    pub(crate) curves: Vec<Vec<Curve>>,
    pub(crate) specs: Vec<FeatureSpec<'a>>,
}

/// The maps, and what was chosen.
pub(crate) struct Solution {
    pub(crate) maps: Vec<Map>,
    pub(crate) curves: PerModality<Curve>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) report: Option<SearchReport>,
}

impl Problem<'_> {
    /// Chooses what is open and fits on all training rows.
    pub(crate) fn solve(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<Solution> {
        views.check_linked()?;
        let names = views.names();
        let given: Option<Vec<Point>> = match self.settings {
            None => None,
            Some(settings) => {
                Some(settings.iter().map(|setting| setting.point(&names)).collect::<Result<_>>()?)
            }
        };
        let found = match &given {
            Some(points) if self.curves.iter().all(|list| list.len() == 1) => Choice {
                curves: self.curves.iter().map(|list| list[0]).collect(),
                ranked: points.clone(),
                report: None,
            },
            _ => search(&self.grid, views, &self.specs, &self.curves, context)?,
        };
        let mut points = given.unwrap_or_else(|| found.ranked.into_iter().take(self.members).collect());
        points.sort_by(order);
        let mut prepared = prepare(views, &self.specs, &found.curves, axes)?;
        let coordinates = |view: &mut Prepared| std::mem::take(&mut view.coordinates);
        let means: Vec<RowMeans> =
            prepared.iter_mut().map(|view| RowMeans::of(coordinates(view), &view.rows)).collect();
        let crosses = CrossCovariances::of(&means, views.anchor())?;
        let variances: Vec<&Array1<f64>> = prepared.iter().map(|view| &view.basis.variances).collect();
        let weights = join(&variances, &crosses, &points)?;
        let maps = prepared.into_iter().zip(&weights).map(|(view, weights)| view.map(weights));
        Ok(Solution {
            maps: maps.collect::<Result<_>>()?,
            curves: PerModality::each(&names, &found.curves),
            settings: points.iter().map(|point| Setting::of(point, &names)).collect(),
            report: found.report,
        })
    }
}

/// Neighbours that share their decomposition come together, and sums have one order.
fn order(a: &Point, b: &Point) -> std::cmp::Ordering {
    let key = |point: &Point| {
        let mut key = point.ridges.clone();
        key.extend([point.dimensions as f64, point.power]);
        key
    };
    let (a, b) = (key(a), key(b));
    a.iter().zip(&b).map(|(x, y)| x.total_cmp(y)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

impl Setting {
    fn of(point: &Point, names: &[&str]) -> Self {
        let ridge = PerModality::each(names, &point.ridges);
        Self { ridge, dimensions: point.dimensions, power: point.power }
    }

    fn point(&self, names: &[&str]) -> Result<Point> {
        let ridges = complete("settings.ridge", &self.ridge, names)?;
        Ok(Point { ridges, dimensions: self.dimensions, power: self.power })
    }
}

/// Fails when settings are given and the grid is too (`searched`), or when there are none in the list.
pub(crate) fn check_settings(
    settings: Option<&[Setting]>,
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
