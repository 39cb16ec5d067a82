//! The checks of one pass over the Jacobians: derivative, rank, stretch, orientation, null space, smoothness.
//!
//! A map to fewer dimensions cannot be injective on all of space: near every point it loses the null space of
//! its Jacobian. That is not a defect and does not fail; the check measures how much of the *data's* variance
//! lies in the null space. A rank below the attainable one is a defect of any map: it loses directions that
//! its output has room for.

use chiasm_geometry::random::Random;
use chiasm_geometry::spectrum::{orientation, singular_values};
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};

use crate::cloud::{PointCloud, median};
use crate::map::{Jacobian, Jacobians, LearnedMap};
use crate::spectra::{JacobianSpectra, PointSpectrum, Span, SphereConstraints, norm, outer, row_space};
use crate::verdict::{CheckLog, Verdict, digits};
use crate::{CheckSettings, Result, rank};

/// The most points at which the null space is compared with the data; each takes an eigendecomposition.
const NULL_SPACE_POINTS: usize = 8;
/// The step of the five-point difference, as a fraction of the distance to another point: truncation (h⁴) and
/// rounding in single precision (eps/h) both stay near 1e-5.
const STEP: f64 = 0.02;

/// The sign of a determinant is uncertain when the smallest singular value, relative to the largest, is below
/// this.
const CERTAIN_SIGN: f32 = 1e-3;
/// A finite difference that changes by more than this fraction when the step is halved is not a derivative:
/// the map bends too sharply.
const CONVERGED: f64 = 0.01;

/// The measurements at one point.
pub(crate) struct PointMeasures {
    values: Array1<f64>,
    orientation: i8,
    /// The fraction of the data's variance in the row space.
    variance_kept: Option<f64>,
    /// The relative error of the tangent map at the nearest neighbour.
    bend: Option<f64>,
    /// The relative difference between the derivative and the finite difference.
    derivative_error: Option<f64>,
    /// The number of inputs by which the derivative is not finite, and how many of them vary in the data.
    left_out: (usize, usize),
}

/// Measures the Jacobians at the points `places` of the cloud.
pub(crate) fn measure(
    map: &LearnedMap<'_>,
    jacobians: &Jacobians<'_>,
    cloud: &PointCloud,
    places: &[usize],
    (spheres, settings): (SphereConstraints, &CheckSettings),
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<PointMeasures>> {
    let varying = cloud.varying();
    let points = cloud.x32.select(Axis(0), places);
    let directions = directions(cloud, places, settings.seed);
    let (differences, changes) = central_differences(map, points.view(), &directions)?;
    let stride = places.len().div_ceil(NULL_SPACE_POINTS).max(1);
    jacobians.each(points.view(), done, |number, jacobian| {
        let Jacobian { transposed: jacobian, left_out } = jacobian;
        let place = places[number];
        let (x, z) = (cloud.x.row(place).to_owned(), cloud.z.row(place).to_owned());
        let projected = spheres.project(&jacobian, &x, &z);
        let values = singular_values(projected.view())?;
        let reduces = jacobian.ncols() <= jacobian.nrows() && number % stride == 0;
        let push = |direction: &Array1<f64>| jacobian.t().dot(direction);
        let bend = cloud.nearest(place).filter(|_| left_out.is_empty()).map(|other| {
            let moved = &cloud.z.row(other) - &z;
            norm(&(push(&(&cloud.x.row(other) - &x)) - &moved)) / norm(&moved).max(f64::MIN_POSITIVE)
        });
        let direction = directions.row(number).to_owned();
        let (analytic, numeric) = (push(&direction), differences.row(number).to_owned());
        let floor = 1e-3 * values[0] * norm(&direction);
        let off = norm(&(&analytic - &numeric)) / norm(&analytic).max(floor).max(f64::MIN_POSITIVE);
        Ok(PointMeasures {
            orientation: determinant_sign(&projected, spheres, &x, &z, values[0])?,
            variance_kept: reduces
                .then(|| variance_kept(&projected, &left_out, cloud, settings))
                .transpose()?,
            bend,
            derivative_error: (changes[number] < CONVERGED).then_some(off),
            left_out: (left_out.len(), left_out.iter().filter(|&&input| varying[input]).count()),
            values,
        })
    })
}

/// Returns the spectra of these measurements.
pub(crate) fn spectra(
    measures: &mut [PointMeasures],
    (d, o): (usize, usize),
    span: Span,
    spheres: SphereConstraints,
    settings: &CheckSettings,
) -> JacobianSpectra {
    let finite = |l: &mut PointMeasures| {
        let values = std::mem::take(&mut l.values);
        let kept = (d - l.left_out.0).min(values.len());
        let values = values.slice_axis(Axis(0), Slice::from(..kept)).to_owned();
        PointSpectrum { values, left_out: l.left_out }
    };
    JacobianSpectra::of(measures.iter_mut().map(finite).collect(), (d, o), span, spheres, settings)
}

/// Records the checks of these measurements.
pub(crate) fn check(
    log: &mut CheckLog<'_>,
    measures: &[PointMeasures],
    spectra: &JacobianSpectra,
    d: usize,
    o: usize,
) {
    check_derivative(log, measures, d);
    rank::check(log, spectra, d, o);
    check_stretch(log, spectra);
    check_orientation(log, measures, spectra, d, o);
    check_null_space(log, measures, spectra, d, o);
    let bends: Vec<f64> = measures.iter().filter_map(|l| l.bend).collect();
    if bends.is_empty() {
        log.skip("smoothness", "no point has a neighbour and a finite derivative");
    } else {
        let bend = median(&bends);
        log.record(
            "smoothness",
            bend,
            format!("a neighbour's image lies {:.0} % off the tangent map", 100.0 * bend),
        );
    }
}

fn check_derivative(log: &mut CheckLog<'_>, measures: &[PointMeasures], d: usize) {
    let derivatives: Vec<f64> = measures.iter().filter_map(|l| l.derivative_error).collect();
    let off = median(&derivatives);
    if derivatives.is_empty() {
        log.skip("derivative", "finite differences do not converge at any point: the map bends too sharply");
    } else {
        let meaning = format!(
            "the exact derivative and central differences differ by {} at the median point",
            digits(off)
        );
        log.record("derivative", off, meaning);
    }
    let left_out: usize = measures.iter().map(|l| l.left_out.0).sum();
    let share = left_out as f64 / (measures.len() * d) as f64;
    let meaning = match left_out {
        0 => "the derivative is finite by every input at every point".to_owned(),
        _ => format!(
            "the slope is infinite by {:.1} % of the inputs; the Jacobians leave them out",
            100.0 * share
        ),
    };
    log.record("differentiable", share, meaning);
}

fn check_stretch(log: &mut CheckLog<'_>, spectra: &JacobianSpectra) {
    let (stretches, margins) = (spectra.stretches(), spectra.margins());
    let most = stretches.iter().copied().fold(0.0, f64::max);
    log.record(
        "lipschitz",
        most / median(&stretches).max(f64::MIN_POSITIVE),
        format!(
            "distances grow at most {} times near any point (the Lipschitz estimate); relative to the \
             median point",
            digits(most)
        ),
    );
    let least = margins.iter().copied().fold(f64::INFINITY, f64::min);
    log.record(
        "local_injectivity",
        least / median(&margins).max(f64::MIN_POSITIVE),
        format!(
            "no attainable direction shrinks below {} times anywhere (the margin); relative to the \
             median point",
            digits(least)
        ),
    );
}

fn check_orientation(
    log: &mut CheckLog<'_>,
    measures: &[PointMeasures],
    spectra: &JacobianSpectra,
    d: usize,
    o: usize,
) {
    let spheres = spectra.spheres;
    if d != o || spheres.ignores_length != spheres.on_sphere {
        let (from, to) = (spheres.input_dims(d), spheres.output_dims(o));
        log.skip("orientation", format!("a map from {from} to {to} dimensions has no determinant"));
        return;
    }
    let ranks = measures.iter().zip(&spectra.singular_values);
    let certain = ranks.filter(|(l, values)| l.left_out.0 == 0 && has_certain_sign(values, spheres));
    let signs: Vec<i8> = certain.map(|(l, _)| l.orientation).filter(|sign| *sign != 0).collect();
    if signs.is_empty() {
        log.skip(
            "orientation",
            "the determinant nearly vanishes at every point, or a slope is infinite: it has no certain sign",
        );
        return;
    }
    let positive = signs.iter().filter(|sign| **sign > 0).count();
    let rarer = positive.min(signs.len() - positive);
    log.judge("orientation", rarer as f64 / signs.len() as f64, |verdict| match (rarer, verdict) {
        (0, _) => "the determinant has the same sign at every point: no fold was found".to_owned(),
        (n, Verdict::Pass) => {
            format!(
                "the determinant changes its sign at {n} of {} points, which the limits allow",
                signs.len()
            )
        }
        (n, _) => format!(
            "the determinant changes its sign at {n} of {} points: the map folds, since an injective \
             continuous map keeps its orientation (invariance of domain)",
            signs.len()
        ),
    });
}

fn check_null_space(
    log: &mut CheckLog<'_>,
    measures: &[PointMeasures],
    spectra: &JacobianSpectra,
    d: usize,
    o: usize,
) {
    let (from, to) = (spectra.spheres.input_dims(d), spectra.spheres.output_dims(o));
    match variance_lost(measures) {
        Some(lost) if from > to => log.record(
            "null_space",
            lost,
            format!(
                "the map keeps {to} of {from} dimensions; \
                 {:.0} % of the data's variance lies in those that it loses",
                100.0 * lost
            ),
        ),
        _ => log.skip("null_space", format!("from {from} to {to} dimensions no dimension has to be lost")),
    }
}

/// Returns the fraction of the data's variance that the map loses, averaged over the points.
pub(crate) fn variance_lost(measures: &[PointMeasures]) -> Option<f64> {
    let kept: Vec<f64> = measures.iter().filter_map(|l| l.variance_kept).collect();
    (!kept.is_empty()).then(|| (1.0 - kept.iter().sum::<f64>() / kept.len() as f64).max(0.0))
}

/// Whether a determinant is so far from zero that rounding cannot change its sign: no singular value, except
/// the one that two spheres leave out, is below a thousandth of the largest.
fn has_certain_sign(values: &[f32], spheres: SphereConstraints) -> bool {
    let weakest = values.len().checked_sub(1 + usize::from(spheres.on_sphere)).and_then(|at| values.get(at));
    values.first().zip(weakest).is_some_and(|(top, weakest)| *weakest > CERTAIN_SIGN * *top)
}

/// Returns the sign of the determinant. Between spheres it is that of the map between their tangent spaces,
/// both oriented by the outward normal: J maps x to 0 and its images are orthogonal to z, so adding the
/// rank-one map from x to z completes it.
fn determinant_sign(
    jacobian: &Array2<f64>,
    spheres: SphereConstraints,
    x: &Array1<f64>,
    z: &Array1<f64>,
    top: f64,
) -> Result<i8> {
    if jacobian.nrows() != jacobian.ncols() || spheres.ignores_length != spheres.on_sphere {
        return Ok(0);
    }
    if !spheres.on_sphere {
        return Ok(orientation(jacobian.view())?);
    }
    let scale = top / (norm(x) * norm(z));
    Ok(orientation((jacobian + &(outer(x, z) * scale)).view())?)
}

/// Returns the fraction of the data's variance that lies in the row space of a Jacobian.
fn variance_kept(
    jacobian: &Array2<f64>,
    left_out: &[usize],
    cloud: &PointCloud,
    settings: &CheckSettings,
) -> Result<f64> {
    let basis = row_space(jacobian.view(), settings.rank_tolerance)?;
    let inside = chiasm_geometry::linalg::product(&cloud.centred, &basis)?;
    let energy = |rows: &Array2<f64>| rows.iter().map(|v| v * v).sum::<f64>();
    // An input with an infinite slope is not lost.
    let steep = energy(&cloud.centred.select(Axis(1), left_out));
    Ok((energy(&inside) + steep) / energy(&cloud.centred).max(f64::MIN_POSITIVE))
}

/// Returns, for each point, the vector to another point: a direction in which the data varies. Inputs that
/// are zero at the point are kept: roots and absolute values have no derivative there.
fn directions(cloud: &PointCloud, places: &[usize], seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    let n = cloud.x.nrows();
    let mut directions = Array2::zeros((places.len(), cloud.x.ncols()));
    for (mut direction, &place) in directions.outer_iter_mut().zip(places) {
        let other = (place + 1 + random.below(n.saturating_sub(1))) % n;
        let own = cloud.x.row(place);
        direction.assign(&(&cloud.x.row(other) - &own));
        if own.iter().any(|v| *v != 0.0) {
            direction.zip_mut_with(&own, |step, at| *step = if *at == 0.0 { 0.0 } else { *step });
        }
        if direction.dot(&direction) == 0.0 {
            let size = 1.0 + norm(&cloud.x.row(place).to_owned());
            direction.mapv_inplace(|_| size * random.normal() / (cloud.x.ncols() as f64).sqrt());
        }
    }
    directions
}

/// Returns the derivatives along `directions` by the five-point rule (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) /
/// 12h, and the relative change of the three-point rule between both steps.
fn central_differences(
    map: &LearnedMap<'_>,
    points: ArrayView2<'_, f32>,
    directions: &Array2<f64>,
) -> Result<(Array2<f64>, Vec<f64>)> {
    let at = |steps: f64| {
        let moved = points.mapv(f64::from) + &(directions * (steps * STEP));
        Ok::<_, crate::Error>(map.apply(moved.mapv(|v| v as f32).view())?.mapv(f64::from))
    };
    let (near, far) = (at(1.0)? - at(-1.0)?, at(2.0)? - at(-2.0)?);
    let lengths = |rows: &Array2<f64>| rows.map_axis(Axis(1), |row| row.dot(&row).sqrt());
    let change = lengths(&(&near * 2.0 - &far)) / lengths(&far).mapv(|length| length.max(f64::MIN_POSITIVE));
    Ok(((near * 8.0 - far) / (12.0 * STEP), change.to_vec()))
}
