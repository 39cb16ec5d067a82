//! The linear algebra shared by canonical correlation in its linear and its kernel form.
//!
//! In the spectral bases of both sides (coordinates a, b with variances v, w) and with ridges r, s relative to the top
//! variance, the singular vectors of K = (v + r v₁)^-½ E[a bᵀ] (w + s w₁)^-½ are the canonical directions and its
//! singular values the (shrunken) correlations ρ. A setting keeps the first `dimensions` and weights each by ρ^power:
//! its similarity of two rows is the bilinear form aᵀ M b, M = U ρ^2power Vᵀ in the unwhitened coordinates.
//!
//! Several settings are joined by averaging their M, each scaled to unit mean similarity, and factoring the mean once
//! more by the singular value decomposition of v^½ M w^½. The result is one linear map per side, steadier than any
//! single setting, since the winner of a grid is partly luck. With one setting and no ridge it is plain CCA.

use chiasm_geometry::linalg::{Svd, product, thin_svd};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::basis::{Basis, columns, unit_rows};
use crate::error::check;
use crate::search::{Beat, Found, Half, Look, Method, Report, axes, criterion, open, search};
use crate::side::Side;
use crate::{Conduct, Curve, Error, Pairs, Result};

const RIDGES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
const QUICK: [[f64; 2]; 3] = [[0.1, 0.1], [0.1, 0.03], [0.03, 0.1]];
const DIMENSIONS: [usize; 5] = [32, 64, 96, 128, 192];
const POWERS: [f64; 3] = [0.5, 1.0, 1.5];
/// Directions of the joint form weaker than this share of the strongest are dropped: they could not be undone.
const FLOOR: f64 = 1e-6;

/// One point of the grid of canonical correlation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Ridge of the source, relative to its top variance.
    pub source_ridge: f64,
    /// Ridge of the target, relative to its top variance.
    pub target_ridge: f64,
    /// Canonical directions kept.
    pub dimensions: usize,
    /// Power of the correlation that weights each direction.
    pub power: f64,
}

/// The grid, with what the user fixed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Grid {
    pub(crate) source_ridge: Option<f64>,
    pub(crate) target_ridge: Option<f64>,
    pub(crate) dimensions: Option<usize>,
    pub(crate) power: Option<f64>,
}

/// Canonical directions of one pair of ridges in the coordinates of the bases.
struct Directions {
    source: Array2<f64>,
    target: Array2<f64>,
    correlations: Array1<f64>,
}

impl Method for Grid {
    type Setting = Setting;

    /// Ordered by ridge, so that neighbours share their decomposition.
    fn candidates(&self, ranks: [usize; 2], quick: bool) -> Vec<Setting> {
        let rank = ranks[0].min(ranks[1]).max(1);
        let ridges: Vec<[f64; 2]> = if quick {
            QUICK.to_vec()
        } else {
            RIDGES.iter().flat_map(|&a| RIDGES.map(|b| [a, b])).collect()
        };
        let fixed = |[a, b]: [f64; 2]| [self.source_ridge.unwrap_or(a), self.target_ridge.unwrap_or(b)];
        let mut ridges: Vec<[f64; 2]> = ridges.into_iter().map(fixed).collect();
        ridges.dedup();
        let mut sizes: Vec<usize> = DIMENSIONS.into_iter().filter(|&k| k <= rank).collect();
        if sizes.is_empty() {
            sizes.push(rank);
        }
        let sizes = self.dimensions.map_or(sizes, |k| vec![k]);
        let powers = self.power.map_or(POWERS.to_vec(), |p| vec![p]);
        let mut out = Vec::new();
        for [source_ridge, target_ridge] in ridges {
            for &dimensions in &sizes {
                for &power in &powers {
                    out.push(Setting { source_ridge, target_ridge, dimensions, power });
                }
            }
        }
        out
    }

    fn scores(
        &self,
        source: &Half,
        target: &Half,
        candidates: &[Setting],
        beat: Beat<'_>,
    ) -> Result<Vec<f64>> {
        let cross = cross(&source.train, &target.train)?;
        let mut out = Vec::with_capacity(candidates.len());
        for group in candidates.chunk_by(same_ridges) {
            beat()?;
            let found = directions(&source.basis, &target.basis, &cross, &group[0])?;
            let (a, b) = (product(&source.test, &found.source)?, product(&target.test, &found.target)?);
            for setting in group {
                let k = setting.dimensions.min(found.correlations.len());
                let weights = found.weights(setting);
                out.push(criterion(
                    &unit_rows(&columns(&a, k) * &weights),
                    &unit_rows(&columns(&b, k) * &weights),
                )?);
            }
        }
        Ok(out)
    }
}

impl Directions {
    fn weights(&self, setting: &Setting) -> Array1<f64> {
        self.correlations.iter().take(setting.dimensions).map(|rho| rho.powf(setting.power)).collect()
    }
}

/// The weights of both sides, `[rank, k]` each in the coordinates of its basis, of the settings' joint form.
pub(crate) fn join(
    source: &Basis,
    target: &Basis,
    coordinates: [&Array2<f64>; 2],
    settings: &[Setting],
) -> Result<[Array2<f64>; 2]> {
    let cross = cross(coordinates[0], coordinates[1])?;
    let mut form = Array2::<f64>::zeros((source.rank(), target.rank()));
    for group in settings.chunk_by(same_ridges) {
        let found = directions(source, target, &cross, &group[0])?;
        for setting in group {
            let k = setting.dimensions.min(found.correlations.len());
            let weights = found.weights(setting);
            let (a, b) = (&columns(&found.source, k) * &weights, &columns(&found.target, k) * &weights);
            let energy = |m: &Array2<f64>, basis: &Basis| (m * m).sum_axis(Axis(1)).dot(&basis.variances);
            let scale = (energy(&a, source) * energy(&b, target)).sqrt();
            if scale > 0.0 {
                form += &(product(&a, &b.t())? / scale);
            }
        }
    }
    let roots = [source.variances.mapv(f64::sqrt), target.variances.mapv(f64::sqrt)];
    let turned = form * roots[0].view().insert_axis(Axis(1)) * &roots[1];
    let Svd { u, s, v } = thin_svd(turned.view())?;
    let widest = settings.iter().map(|setting| setting.dimensions).max().unwrap_or(1);
    let k = s.iter().take_while(|&&value| value > FLOOR * s[0]).count().min(widest);
    if k == 0 {
        return Err(Error::data("paired rows", "sides that vary together", "no correlation at all"));
    }
    let half: Array1<f64> = s.iter().take(k).map(|value| value.sqrt()).collect();
    let side = |vectors: &Array2<f64>, roots: &Array1<f64>| {
        &columns(vectors, k) * &half / roots.view().insert_axis(Axis(1))
    };
    Ok([side(&u, &roots[0]), side(&v, &roots[1])])
}

/// E[a bᵀ] of training coordinates.
fn cross(source: &Array2<f64>, target: &Array2<f64>) -> Result<Array2<f64>> {
    Ok(product(&source.t(), target)? / source.nrows() as f64)
}

fn directions(source: &Basis, target: &Basis, cross: &Array2<f64>, at: &Setting) -> Result<Directions> {
    let whitening = [source.whitening(at.source_ridge), target.whitening(at.target_ridge)];
    let left = whitening[0].view().insert_axis(Axis(1));
    let Svd { u, s, v } = thin_svd((cross * &left * &whitening[1]).view())?;
    Ok(Directions { source: u * left, target: v * whitening[1].view().insert_axis(Axis(1)), correlations: s })
}

fn same_ridges(a: &Setting, b: &Setting) -> bool {
    a.source_ridge == b.source_ridge && a.target_ridge == b.target_ridge
}

/// What the linear and the kernel form are asked to do.
pub(crate) struct Task<'a> {
    pub(crate) grid: Grid,
    pub(crate) settings: Option<&'a [Setting]>,
    pub(crate) members: usize,
    pub(crate) curves: [Vec<Curve>; 2],
    pub(crate) looks: [Look<'a>; 2],
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) sides: [Side; 2],
    pub(crate) curves: [Curve; 2],
    pub(crate) settings: Vec<Setting>,
    pub(crate) report: Option<Report>,
}

impl Task<'_> {
    /// Chooses what is open and fits on all rows.
    pub(crate) fn fit(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Done> {
        let found = match self.settings {
            Some(settings) if self.curves.iter().all(|list| list.len() == 1) => Found {
                curves: [self.curves[0][0], self.curves[1][0]],
                ranked: settings.to_vec(),
                report: None,
            },
            _ => search(&self.grid, pairs, self.looks, &self.curves, conduct)?,
        };
        let mut settings = match self.settings {
            Some(settings) => settings.to_vec(),
            None => found.ranked.into_iter().take(self.members).collect(),
        };
        settings.sort_by(Setting::order);
        let limit = axes(pairs.rows());
        let [source, target] = open(pairs, self.looks, found.curves, limit)?;
        let [a, b] =
            join(&source.basis, &target.basis, [&source.coordinates, &target.coordinates], &settings)?;
        let sides = [source.side(&a)?, target.side(&b)?];
        Ok(Done { sides, curves: found.curves, settings, report: found.report })
    }
}

impl Setting {
    /// Neighbours that share their decomposition come together, and sums have one order.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let key = |s: &Self| [s.source_ridge, s.target_ridge, s.dimensions as f64, s.power];
        let (a, b) = (key(self), key(other));
        a.iter().zip(&b).map(|(x, y)| x.total_cmp(y)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_ridge("source_ridge", &Some(self.source_ridge))?;
        check_ridge("target_ridge", &Some(self.target_ridge))?;
        check("dimensions", &Some(self.dimensions), "at least 1", |&k| k > 0)?;
        check_power(&Some(self.power))
    }
}

impl Grid {
    pub(crate) fn check(&self, settings: Option<&[Setting]>, members: Option<usize>) -> Result<()> {
        check_ridge("source_ridge", &self.source_ridge)?;
        check_ridge("target_ridge", &self.target_ridge)?;
        check("dimensions", &self.dimensions, "at least 1", |&k| k > 0)?;
        check_power(&self.power)?;
        check("members", &members, "1 to 375", |m| (1..=375).contains(m))?;
        let Some(settings) = settings else { return Ok(()) };
        let alone = self.source_ridge.is_none()
            && self.target_ridge.is_none()
            && self.dimensions.is_none()
            && self.power.is_none()
            && members.is_none();
        let given = Some(settings.len());
        check(
            "settings",
            &given,
            "alone, without source_ridge, target_ridge, dimensions, power or members",
            |_| alone,
        )?;
        check("settings", &given, "at least one", |&n| n > 0)?;
        settings.iter().try_for_each(Setting::check)
    }
}

fn check_ridge(name: &'static str, value: &Option<f64>) -> Result<()> {
    check(name, value, "a number from 0 to 1000", |r| (0.0..=1000.0).contains(r))
}

fn check_power(value: &Option<f64>) -> Result<()> {
    check("power", value, "a number from 0 to 10", |p| (0.0..=10.0).contains(p))
}
