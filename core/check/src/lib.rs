//! What a learned map does to the geometry, in numbers with verdicts.
//!
//! A map is an ONNX graph with one input `x [n, d]` and one output `z [n, o]`, from wherever it came. Its
//! derivative is a graph too, so its Jacobians are exact to rounding, not estimated. [`check`] looks at it on
//! held-out points:
//!
//! ```text
//! derivative                the exact Jacobian against central differences
//! rank, condition_number    of the Jacobians, on the dimensions that the map's ends leave     spectra
//! lipschitz, local_injectivity, smoothness    how much it stretches, shrinks and bends       local
//! orientation, collision    does it fold? Signs of determinants, Newton's method             fold
//! null_space                what it cannot see of the data                                   local
//! round_trip, cycle         through its inverse or decoder, against its own floor            inverse
//! surjectivity, information, probe            its images as a cloud                          images
//! ```
//! Each check says PASS, WARN or FAIL with the number, its limits and one sentence; one that does not apply
//! says why. Nothing here evaluates a map: ONNX Runtime does, as everywhere.

mod cloud;
mod error;
mod fold;
mod images;
mod inverse;
mod lanczos;
mod local;
mod map;
mod settings;
mod spectra;
mod verdict;
mod wide;

use chiasm_geometry::spectrum::singular_values;
use chiasm_graph::Graph;
use chiasm_runtime::{Engine, SessionOptions};
use ndarray::{Array2, ArrayView2, Axis};

pub use error::{Error, Result};
pub use images::ProbeLabels;
pub use inverse::InverseSides;
pub use map::{Jacobian, Jacobians, LearnedMap};
pub use settings::{CHECKS, CheckDefinition, CheckLimits, CheckSettings, LimitKind, definition};
pub use spectra::{JacobianSpectra, SphereConstraints};
pub use verdict::{CheckResult, MapReport, SkippedCheck, Verdict, digits};

/// A map and what is known around it.
pub struct CheckInput<'a> {
    /// What it is called in the report.
    pub name: &'a str,
    /// The map.
    pub map: &'a Graph,
    /// Held-out points `[n, d]`.
    pub points: ArrayView2<'a, f32>,
    /// The way back, input `z [n, o]`, output `x [n, d]`, and which way it claims to be an inverse.
    pub inverse: Option<(&'a Graph, InverseSides)>,
    /// The cloud `[m, o]` that images should reach.
    pub targets: Option<ArrayView2<'a, f32>>,
    /// Labels of the points.
    pub labels: Option<ProbeLabels<'a>>,
    /// Dimensions that the rows it was learned from span, if that is known: it could learn nothing of the
    /// others.
    pub spanned: Option<usize>,
}

/// Checks a map; `progress` hears `(done, total)` points.
///
/// # Errors
/// When the graph is no map of rows, the points do not fit it or are not finite, or the engine refuses. A
/// graph that cannot be differentiated is no error: the checks that need its Jacobian are then skipped, with
/// the operator's name.
pub fn check(
    subject: &CheckInput<'_>,
    settings: &CheckSettings,
    engine: &Engine,
    options: &SessionOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<MapReport> {
    let map = LearnedMap::open(subject.map, engine, options)?;
    let cloud = cloud::PointCloud::new(&map, subject.points)?;
    let targets = targets(subject, &cloud)?;
    let mut findings = verdict::CheckLog::new(settings);
    let mut floor = inverse::ErrorFloor { lost: 0.0, condition: 1.0, ends: SphereConstraints::default() };
    let mut jacobian = None;
    match differential(&mut findings, &map, &cloud, subject.spanned, progress) {
        Ok((spectra, lost)) => {
            let condition = cloud::median(&spectra.condition_number);
            floor = inverse::ErrorFloor { lost, condition, ends: spectra.ends };
            jacobian = Some(spectra);
        }
        Err(Error::Graph(reason)) => skip_differential(&mut findings, &reason),
        Err(other) => return Err(other),
    }
    let home = match subject.inverse {
        Some((graph, claims)) => {
            let back = LearnedMap::open(graph, engine, options)?;
            Some(inverse::judge(&mut findings, &map, (&back, claims), &cloud, targets.as_ref(), &floor)?)
        }
        None => {
            ["round_trip", "cycle"].into_iter().for_each(|name| findings.skip(name, "there is no inverse"));
            None
        }
    };
    images::surjectivity(&mut findings, &cloud, targets.as_ref(), settings.neighbours)?;
    images::information(&mut findings, &cloud, settings)?;
    images::probe(&mut findings, subject.labels.as_ref(), home.as_ref(), &cloud);
    let order = |name: &str| CHECKS.iter().position(|check| check.name == name);
    findings.checks.sort_by_key(|check| order(check.name));
    findings.skipped.sort_by_key(|skipped| order(skipped.name));
    Ok(MapReport {
        map: subject.name.to_owned(),
        input: map.width(),
        output: cloud.z.ncols(),
        points: subject.points.nrows(),
        verdict: findings.worst(),
        jacobian,
        checks: findings.checks,
        skipped: findings.skipped,
    })
}

/// Dimensions that rows `[n, d]` span about their mean (of very many, those spread evenly): what a map can
/// learn from them.
///
/// # Errors
/// When a row is not finite.
pub fn spanned(rows: ArrayView2<'_, f32>) -> Result<usize> {
    let rows = rows.select(Axis(0), &cloud::spread(rows.nrows(), 2 * cloud::MOST)).mapv(f64::from);
    Ok(cloud::moving(&singular_values(cloud::centred(&rows).view())?))
}

/// Every check that needs the Jacobian: the spectra, and the share of the data's variance that the map cannot
/// see.
fn differential(
    findings: &mut verdict::CheckLog<'_>,
    map: &LearnedMap<'_>,
    cloud: &cloud::PointCloud,
    taught: Option<usize>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(JacobianSpectra, f64)> {
    let (d, o) = (cloud.x.ncols(), cloud.z.ncols());
    if d.min(o) > spectra::WIDE {
        return Ok((wide::look(findings, map, cloud, progress)?, 0.0));
    }
    let settings = findings.settings;
    let jacobians = map.jacobians()?;
    let places = cloud::spread(cloud.x.nrows(), settings.points.max(1));
    let done = |points: usize| progress(points, places.len());
    let spanned = cloud.spanned()?.min(taught.unwrap_or(usize::MAX));
    let mut locals = local::look(map, &jacobians, cloud, &places, settings, &done)?;
    let spectra = local::spectra(&mut locals, (d, o), spanned, settings);
    local::judge(findings, &locals, &spectra, d, o);
    fold::judge(findings, map, &jacobians, cloud, &places, &spectra)?;
    let reduces = spectra.ends.input(d) > spectra.ends.output(o);
    let lost = local::lost(&locals).filter(|_| reduces).unwrap_or_default();
    Ok((spectra, lost))
}

fn skip_differential(findings: &mut verdict::CheckLog<'_>, reason: &chiasm_graph::Error) {
    let needing = CHECKS.iter().take_while(|check| check.name != "round_trip");
    needing
        .for_each(|check| findings.skip(check.name, format!("the map cannot be differentiated: {reason}")));
}

fn targets(subject: &CheckInput<'_>, cloud: &cloud::PointCloud) -> Result<Option<Array2<f64>>> {
    let Some(targets) = subject.targets else { return Ok(None) };
    if targets.ncols() != cloud.z.ncols() {
        let expected = format!("width {} as the map's images", cloud.z.ncols());
        return Err(Error::Points { what: "targets", expected, got: targets.ncols().to_string() });
    }
    let rows = cloud::spread(targets.nrows(), cloud::MOST);
    Ok(Some(targets.select(Axis(0), &rows).mapv(f64::from)))
}
