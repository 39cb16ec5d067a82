//! Checks what a learned map does to the geometry of its data; each check has a number and a verdict.
//!
//! A map is any ONNX graph with one input `x [n, d]` and one output `z [n, o]`. Its derivative is a graph
//! too, so its Jacobians are exact to rounding. [`check`] evaluates it on held-out points:
//!
//! ```text
//! derivative                the exact Jacobian against central differences
//! rank, condition_number    of the Jacobians, relative to the attainable rank          spectra, rank
//! lipschitz, local_injectivity, smoothness    how much it stretches, shrinks and bends       local
//! orientation, collision    whether it folds: signs of determinants, Newton's method         local, fold
//! null_space                the variance of the data that it loses                           local
//! round_trip, cycle         the error of its inverse or decoder                              inverse
//! surjectivity, neighbours, information, probe    its images as a cloud                      images
//! ```
//!
//! Each check returns PASS, WARN or FAIL with its number, its limits and one sentence. A check that
//! applies but could not be made returns UNKNOWN, and one that does not apply says why. ONNX Runtime
//! evaluates the map.
//!
//! [`explain`] returns the definition, formula, source, sample and accuracy of a check, and [`page`] those of
//! all, which are also the README of this crate.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (graph, points): (chiasm_graph::Graph, ndarray::Array2<f32>) = unimplemented!();
//! use chiasm_check::{CheckInput, CheckSettings, Verdict, check};
//! use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
//!
//! let engine = Engine::open(&EngineSearch::from_environment(None))?;
//! let input = CheckInput {
//!     name: "map",
//!     map: &graph,
//!     points: points.view(),
//!     inverse: None,
//!     targets: None,
//!     labels: None,
//!     spanned: None,
//!     reached: None,
//! };
//! let report = check(&input, &CheckSettings::default(), engine, &SessionOptions::default(), &|_, _| ())?;
//! for failed in report.of(Verdict::Fail) {
//!     println!("{}: {}", failed.name, failed.meaning);
//! }
//! # Ok(()) }
//! ```

mod cloud;
mod error;
mod explained;
mod fold;
mod images;
mod inverse;
mod lanczos;
mod local;
mod map;
mod rank;
mod rows;
mod settings;
mod spectra;
mod verdict;
mod wide;

use chiasm_geometry::spectrum::singular_values;
use chiasm_graph::Graph;
use chiasm_runtime::{Engine, SessionOptions};
use ndarray::{Array2, ArrayView2, Axis};

pub use error::{Error, Result};
pub use explained::{explain, page};
pub use images::ProbeLabels;
pub use inverse::InverseSides;
pub use map::{Jacobian, Jacobians, LearnedMap};
pub use settings::{CHECKS, CheckDefinition, CheckLimits, CheckSettings, LimitKind, definition};
pub use spectra::{JacobianSpectra, SphereConstraints};
pub use verdict::{CheckResult, MapReport, SkippedCheck, Verdict, digits};

/// A map to check, and the data to check it with.
pub struct CheckInput<'a> {
    /// The map's name in the report.
    pub name: &'a str,
    /// The map.
    pub map: &'a Graph,
    /// Held-out points `[n, d]`.
    pub points: ArrayView2<'a, f32>,
    /// The inverse, with input `z [n, o]` and output `x [n, d]`, and the directions in which it sides to be
    /// one.
    pub inverse: Option<(&'a Graph, InverseSides)>,
    /// The targets `[m, o]` that the images should cover.
    pub targets: Option<ArrayView2<'a, f32>>,
    /// Labels of the points.
    pub labels: Option<ProbeLabels<'a>>,
    /// The number of dimensions that the training rows span, if known: the map could not learn about the
    /// others.
    pub spanned: Option<usize>,
    /// The number of dimensions that the rows span which the map was fitted to reach, if known: it has no
    /// reason to reach others.
    pub reached: Option<usize>,
}

/// Checks a map. `progress` is called with the number of points done and their total.
///
/// # Errors
/// When the graph is not a map of single rows, the points do not fit it or are not finite, or the engine
/// fails. A graph that cannot be differentiated is not an error: the checks that need its Jacobian are
/// UNKNOWN, and the reason names the operator.
pub fn check(
    subject: &CheckInput<'_>,
    settings: &CheckSettings,
    engine: &Engine,
    options: &SessionOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<MapReport> {
    let map = LearnedMap::open(subject.map, engine, options)?;
    let cloud = cloud::PointCloud::new(&map, subject.points)?;
    map.require_single_rows(cloud.x32.view())?;
    let targets = targets(subject, &cloud)?;
    let mut log = verdict::CheckLog::new(settings);
    let mut floor = inverse::ErrorFloor { lost: 0.0, condition: 1.0, spheres: SphereConstraints::default() };
    let mut jacobian = None;
    match check_jacobians(&mut log, &map, &cloud, subject, progress) {
        Ok((spectra, lost)) => {
            let condition = cloud::median(&spectra.condition_number);
            floor = inverse::ErrorFloor { lost, condition, spheres: spectra.spheres };
            jacobian = Some(spectra);
        }
        Err(Error::Graph(reason)) => cannot_differentiate(&mut log, &reason),
        Err(other) => return Err(other),
    }
    let reconstructed = match subject.inverse {
        Some((graph, sides)) => {
            let inverse = LearnedMap::open(graph, engine, options)?;
            inverse.require_single_rows(cloud.z.mapv(|v| v as f32).view())?;
            Some(inverse::check(&mut log, &map, (&inverse, sides), &cloud, targets.as_ref(), &floor)?)
        }
        None => {
            ["round_trip", "cycle"].into_iter().for_each(|name| log.skip(name, "there is no inverse"));
            None
        }
    };
    images::surjectivity(&mut log, &cloud, targets.as_ref(), settings.neighbours)?;
    images::neighbours(&mut log, &cloud, settings)?;
    images::information(&mut log, &cloud, settings)?;
    images::probe(&mut log, subject.labels.as_ref(), reconstructed.as_ref(), &cloud);
    let order = |name: &str| CHECKS.iter().position(|check| check.name == name);
    log.checks.sort_by_key(|check| order(check.name));
    log.skipped.sort_by_key(|skipped| order(skipped.name));
    Ok(MapReport {
        map: subject.name.to_owned(),
        input: map.width(),
        output: cloud.z.ncols(),
        points: subject.points.nrows(),
        verdict: log.worst(),
        unknown: log.not_made(),
        jacobian,
        checks: log.checks,
        skipped: log.skipped,
    })
}

/// Returns the number of dimensions that rows `[n, d]` span about their mean. Of very many rows, evenly
/// spaced ones are used.
///
/// # Errors
/// When a row is not finite.
///
/// # Examples
/// ```
/// use ndarray::array;
///
/// let rows = array![[0.0_f32, 0.0, 1.0], [1.0, 2.0, 1.0], [2.0, 4.0, 1.0]];
/// assert_eq!(chiasm_check::spanned(rows.view())?, 1);
/// # Ok::<(), chiasm_check::Error>(())
/// ```
pub fn spanned(rows: ArrayView2<'_, f32>) -> Result<usize> {
    let rows =
        rows.select(Axis(0), &rows::evenly_spaced(rows.nrows(), 2 * cloud::MAX_POINTS)).mapv(f64::from);
    Ok(cloud::count_varying(&singular_values(cloud::centred(&rows).view())?))
}

/// Runs every check that needs the Jacobian. Returns the spectra, and the fraction of the data's variance
/// that the map loses.
fn check_jacobians(
    log: &mut verdict::CheckLog<'_>,
    map: &LearnedMap<'_>,
    cloud: &cloud::PointCloud,
    subject: &CheckInput<'_>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(JacobianSpectra, f64)> {
    let (d, o) = (cloud.x.ncols(), cloud.z.ncols());
    if d.min(o) > spectra::WIDE {
        return Ok((wide::check(log, map, cloud, progress)?, 0.0));
    }
    let settings = log.settings;
    let jacobians = map.jacobians()?;
    let places = rows::evenly_spaced(cloud.x.nrows(), settings.points_of(d, o));
    let done = |points: usize| progress(points, places.len());
    let span = spectra::Span {
        spanned: cloud.spanned()?.min(subject.spanned.unwrap_or(usize::MAX)),
        reached: subject.reached.unwrap_or(usize::MAX),
    };
    let spheres = SphereConstraints::of(map, cloud.x32.view())?;
    let mut measures = local::measure(map, &jacobians, cloud, &places, (spheres, settings), &done)?;
    let spectra = local::spectra(&mut measures, (d, o), span, spheres, settings);
    local::check(log, &measures, &spectra, d, o);
    fold::check(log, map, &jacobians, cloud, &places, &spectra)?;
    let reduces = spectra.spheres.input_dims(d) > spectra.spheres.output_dims(o);
    let lost = local::variance_lost(&measures).filter(|_| reduces).unwrap_or_default();
    Ok((spectra, lost))
}

fn cannot_differentiate(log: &mut verdict::CheckLog<'_>, reason: &chiasm_graph::Error) {
    let needing = CHECKS.iter().take_while(|check| check.name != "round_trip");
    needing.for_each(|check| log.unknown(check.name, format!("the map cannot be differentiated: {reason}")));
}

fn targets(subject: &CheckInput<'_>, cloud: &cloud::PointCloud) -> Result<Option<Array2<f64>>> {
    let Some(targets) = subject.targets else { return Ok(None) };
    if targets.ncols() != cloud.z.ncols() {
        let expected = format!("width {} as the map's images", cloud.z.ncols());
        return Err(Error::Points { what: "targets", expected, got: targets.ncols().to_string() });
    }
    let rows = rows::evenly_spaced(targets.nrows(), cloud::MAX_POINTS);
    Ok(Some(targets.select(Axis(0), &rows).mapv(f64::from)))
}
