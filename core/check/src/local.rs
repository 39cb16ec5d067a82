//! What one pass over the Jacobians tells: rank, stretch, smoothness, what the map cannot see, and whether
//! the derivative is that of the map.
//!
//! A map to fewer dimensions cannot be injective on all of space: near every point it is blind to the null
//! space of its Jacobian. That is no defect, so it does not fail; what counts is how much of the *data's*
//! variance lies there, which is measured. A rank below the attainable one is a defect of any map: it is
//! blind to directions that it had room for.

use chiasm_geometry::random::Random;
use chiasm_geometry::spectrum::{orientation, singular_values};
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};

use crate::cloud::{PointCloud, median};
use crate::map::{Jacobian, Jacobians, LearnedMap};
use crate::spectra::{JacobianSpectra, SphereConstraints, norm, seen};
use crate::verdict::{CheckLog, digits};
use crate::{CheckSettings, Result};

/// Points at which the null space is held against the data: each takes an eigendecomposition with vectors.
const NULL_SPACE_POINTS: usize = 8;
/// Step of the five-point difference, as a share of the way to another point: truncation (h⁴) and the
/// rounding of single precision (eps/h) both stay near 1e-5.
const STEP: f64 = 0.02;

/// A weaker direction, relative to the strongest, leaves the sign of a determinant open.
const CLEAR: f32 = 1e-3;
/// Differences that change by more than this share when their step is halved have met a bend, and tell no
/// derivative.
const SETTLED: f64 = 0.01;

/// What was seen at one point.
pub(crate) struct PointMeasures {
    values: Array1<f64>,
    ends: SphereConstraints,
    orientation: i8,
    /// Share of the data's variance in the row space.
    seen: Option<f64>,
    /// Error of the tangent map at the nearest neighbour.
    bend: Option<f64>,
    /// Difference of the derivative to the finite difference.
    derivative: Option<f64>,
    /// Inputs by which the derivative is not finite.
    left_out: usize,
}

/// The pass over the Jacobians at `places` of the cloud.
pub(crate) fn look(
    map: &LearnedMap<'_>,
    jacobians: &Jacobians<'_>,
    cloud: &PointCloud,
    places: &[usize],
    settings: &CheckSettings,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<PointMeasures>> {
    let points = cloud.x32.select(Axis(0), places);
    let ways = ways(cloud, places, settings.seed);
    let (differences, unsettled) = central_differences(map, points.view(), &ways)?;
    let stride = places.len().div_ceil(NULL_SPACE_POINTS).max(1);
    jacobians.each(points.view(), done, |number, jacobian| {
        let Jacobian { transposed: jacobian, left_out } = jacobian;
        let place = places[number];
        let (x, z) = (cloud.x.row(place).to_owned(), cloud.z.row(place).to_owned());
        let values = singular_values(jacobian.view())?;
        let ends = SphereConstraints::at(jacobian.view(), &x, &z, values[0]);
        let reduces = jacobian.ncols() <= jacobian.nrows() && number % stride == 0;
        let push = |way: &Array1<f64>| jacobian.t().dot(way);
        let bend = cloud.nearest(place).filter(|_| left_out.is_empty()).map(|other| {
            let moved = &cloud.z.row(other) - &z;
            norm(&(push(&(&cloud.x.row(other) - &x)) - &moved)) / norm(&moved).max(f64::MIN_POSITIVE)
        });
        let way = ways.row(number).to_owned();
        let (analytic, numeric) = (push(&way), differences.row(number).to_owned());
        let floor = 1e-3 * values[0] * norm(&way);
        let off = norm(&(&analytic - &numeric)) / norm(&analytic).max(floor).max(f64::MIN_POSITIVE);
        Ok(PointMeasures {
            orientation: oriented(&jacobian, ends, &x, &z, values[0])?,
            seen: reduces.then(|| variance_seen(&jacobian, &left_out, cloud, settings)).transpose()?,
            bend,
            derivative: (left_out.is_empty() && unsettled[number] < SETTLED).then_some(off),
            left_out: left_out.len(),
            values,
            ends,
        })
    })
}

/// The spectra of what was seen, with the ends that all points share.
pub(crate) fn spectra(
    locals: &mut [PointMeasures],
    (d, o): (usize, usize),
    spanned: usize,
    settings: &CheckSettings,
) -> JacobianSpectra {
    let ends = SphereConstraints::shared(locals.iter().map(|l| l.ends));
    let finite = |l: &mut PointMeasures| {
        let values = std::mem::take(&mut l.values);
        let kept = (d - l.left_out).min(values.len());
        values.slice_axis(Axis(0), Slice::from(..kept)).to_owned()
    };
    let values = locals.iter_mut().map(finite).collect();
    JacobianSpectra::of(values, (d, o), spanned, ends, settings)
}

/// Judges what was seen.
pub(crate) fn judge(
    findings: &mut CheckLog<'_>,
    locals: &[PointMeasures],
    spectra: &JacobianSpectra,
    d: usize,
    o: usize,
) {
    judge_derivative(findings, locals, d);
    judge_rank(findings, spectra, d, o);
    judge_stretch(findings, spectra);
    judge_orientation(findings, locals, spectra, d, o);
    judge_null_space(findings, locals, spectra, d, o);
    let bends: Vec<f64> = locals.iter().filter_map(|l| l.bend).collect();
    if bends.is_empty() {
        findings.skip("smoothness", "no point has a neighbour and a finite derivative");
    } else {
        let bend = median(&bends);
        findings.judge(
            "smoothness",
            bend,
            format!("a neighbour's image lies {:.0} % off the tangent map", 100.0 * bend),
        );
    }
}

fn judge_derivative(findings: &mut CheckLog<'_>, locals: &[PointMeasures], d: usize) {
    let derivatives: Vec<f64> = locals.iter().filter_map(|l| l.derivative).collect();
    let off = median(&derivatives);
    if derivatives.is_empty() {
        findings.skip(
            "derivative",
            "at every point a slope is infinite, or the map bends too sharply for differences to tell",
        );
    } else {
        let meaning = format!(
            "the exact derivative and central differences differ by {} at the median point",
            digits(off)
        );
        findings.judge("derivative", off, meaning);
    }
    let left_out: usize = locals.iter().map(|l| l.left_out).sum();
    let share = left_out as f64 / (locals.len() * d) as f64;
    let meaning = match left_out {
        0 => "the derivative is finite by every input at every point".to_owned(),
        _ => format!(
            "the slope is infinite by {:.1} % of the inputs; the Jacobians are those by the others",
            100.0 * share
        ),
    };
    findings.judge("differentiable", share, meaning);
}

fn judge_rank(findings: &mut CheckLog<'_>, spectra: &JacobianSpectra, d: usize, o: usize) {
    let attainable = spectra.attainable_rank;
    let values = spectra.rank.iter().zip(&spectra.singular_values);
    let short = values.filter(|(rank, values)| **rank < attainable.min(values.len())).count();
    let share = short as f64 / spectra.rank.len().max(1) as f64;
    let least = spectra.rank.iter().min().copied().unwrap_or_default();
    let why = why(spectra.ends, d, o);
    let meaning = if short == 0 {
        format!("the rank is {attainable} at every point, all that {why} allows")
    } else {
        let points = spectra.rank.len();
        format!(
            "at {short} of {points} points the rank is short, down to {least} of {attainable} ({why}): \
             directions are lost"
        )
    };
    findings.judge("rank", share, meaning);
    let condition = median(&spectra.condition_number);
    let volume = median(&spectra.log_volume);
    let meaning = format!(
        "the strongest direction is stretched {} times more than the weakest; log-volume {}",
        digits(condition),
        digits(volume)
    );
    findings.judge("condition_number", condition, meaning);
}

fn judge_stretch(findings: &mut CheckLog<'_>, spectra: &JacobianSpectra) {
    let (stretches, margins) = (spectra.stretches(), spectra.margins());
    let most = stretches.iter().copied().fold(0.0, f64::max);
    findings.judge(
        "lipschitz",
        most / median(&stretches).max(f64::MIN_POSITIVE),
        format!(
            "distances grow at most {} times near any point (the Lipschitz estimate); relative to the \
             median point",
            digits(most)
        ),
    );
    let least = margins.iter().copied().fold(f64::INFINITY, f64::min);
    findings.judge(
        "local_injectivity",
        least / median(&margins).max(f64::MIN_POSITIVE),
        format!(
            "no attainable direction shrinks below {} times anywhere (the margin); relative to the \
             median point",
            digits(least)
        ),
    );
}

fn judge_orientation(
    findings: &mut CheckLog<'_>,
    locals: &[PointMeasures],
    spectra: &JacobianSpectra,
    d: usize,
    o: usize,
) {
    let ends = spectra.ends;
    if d != o || ends.ignores_length != ends.on_sphere {
        let (from, to) = (ends.input(d), ends.output(o));
        findings.skip("orientation", format!("a map from {from} to {to} dimensions has no determinant"));
        return;
    }
    let ranks = locals.iter().zip(&spectra.singular_values);
    let clear = ranks.filter(|(l, values)| l.ends == ends && clear(values, ends));
    let signs: Vec<i8> = clear.map(|(l, _)| l.orientation).filter(|sign| *sign != 0).collect();
    if signs.is_empty() {
        findings
            .skip("orientation", "the determinant nearly vanishes at every point: its sign tells nothing");
        return;
    }
    let positive = signs.iter().filter(|sign| **sign > 0).count();
    let rarer = positive.min(signs.len() - positive);
    let meaning = match rarer {
        0 => "the determinant has one sign at every point: no sign of a fold".to_owned(),
        n => format!(
            "the determinant changes its sign at {n} of {} points: the map folds, for an injective \
             continuous map keeps its \
             orientation (invariance of domain)",
            signs.len()
        ),
    };
    findings.judge("orientation", rarer as f64 / signs.len() as f64, meaning);
}

fn judge_null_space(
    findings: &mut CheckLog<'_>,
    locals: &[PointMeasures],
    spectra: &JacobianSpectra,
    d: usize,
    o: usize,
) {
    let (from, to) = (spectra.ends.input(d), spectra.ends.output(o));
    match lost(locals) {
        Some(lost) if from > to => findings.judge(
            "null_space",
            lost,
            format!(
                "the map keeps {to} of {from} dimensions; \
                 {:.0} % of the data's variance lies in those it cannot see",
                100.0 * lost
            ),
        ),
        _ => findings.skip("null_space", format!("from {from} to {to} dimensions nothing has to be lost")),
    }
}

/// Share of the data's variance that the map cannot see, mean of the points looked at.
pub(crate) fn lost(locals: &[PointMeasures]) -> Option<f64> {
    let seen: Vec<f64> = locals.iter().filter_map(|l| l.seen).collect();
    (!seen.is_empty()).then(|| (1.0 - seen.iter().sum::<f64>() / seen.len() as f64).max(0.0))
}

/// Where the attainable rank comes from, in words.
fn why(ends: SphereConstraints, d: usize, o: usize) -> String {
    let mut said = format!("a map from {d} to {o} dimensions");
    match (ends.ignores_length, ends.on_sphere) {
        (true, true) => said.push_str(" that ignores its input's length and ends on a sphere"),
        (true, false) => said.push_str(" that ignores its input's length"),
        (false, true) => said.push_str(" that ends on a sphere"),
        (false, false) => {}
    }
    said
}

/// Whether a determinant is far enough from zero for its sign to mean something: no direction, but the one
/// that two spheres leave out, is weaker than a thousandth of the strongest, which rounding could not turn.
fn clear(values: &[f32], ends: SphereConstraints) -> bool {
    let weakest = values.len().checked_sub(1 + usize::from(ends.on_sphere)).and_then(|at| values.get(at));
    values.first().zip(weakest).is_some_and(|(top, weakest)| *weakest > CLEAR * *top)
}

/// The sign of the determinant; between spheres, that of the map between their tangent spaces, both oriented
/// by the outward normal: J takes x to 0 and ends orthogonal to z, so adding the step from x to z fills in
/// the missing block.
fn oriented(
    jacobian: &Array2<f64>,
    ends: SphereConstraints,
    x: &Array1<f64>,
    z: &Array1<f64>,
    top: f64,
) -> Result<i8> {
    if jacobian.nrows() != jacobian.ncols() || ends.ignores_length != ends.on_sphere {
        return Ok(0);
    }
    if !ends.on_sphere {
        return Ok(orientation(jacobian.view())?);
    }
    let scale = top / (norm(x) * norm(z));
    let outward = Array2::from_shape_fn(jacobian.dim(), |(i, j)| scale * x[i] * z[j]);
    Ok(orientation((jacobian + &outward).view())?)
}

fn variance_seen(
    jacobian: &Array2<f64>,
    left_out: &[usize],
    cloud: &PointCloud,
    settings: &CheckSettings,
) -> Result<f64> {
    let basis = seen(jacobian.view(), settings.rank_tolerance)?;
    let inside = chiasm_geometry::linalg::product(&cloud.centred, &basis)?;
    let energy = |rows: &Array2<f64>| rows.iter().map(|v| v * v).sum::<f64>();
    // an input of infinite slope is not lost
    let steep = energy(&cloud.centred.select(Axis(1), left_out));
    Ok((energy(&inside) + steep) / energy(&cloud.centred).max(f64::MIN_POSITIVE))
}

/// For each point, the way to another one: directions in which the data really varies, not noise.
fn ways(cloud: &PointCloud, places: &[usize], seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    let n = cloud.x.nrows();
    let mut ways = Array2::zeros((places.len(), cloud.x.ncols()));
    for (mut way, &place) in ways.outer_iter_mut().zip(places) {
        let other = (place + 1 + random.below(n.saturating_sub(1))) % n;
        way.assign(&(&cloud.x.row(other) - &cloud.x.row(place)));
        if way.dot(&way) == 0.0 {
            let size = 1.0 + norm(&cloud.x.row(place).to_owned());
            way.mapv_inplace(|_| size * random.normal() / (cloud.x.ncols() as f64).sqrt());
        }
    }
    ways
}

/// Derivatives along `ways` by the five-point rule (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, and how much
/// the three-point rule changes between both steps, relative.
fn central_differences(
    map: &LearnedMap<'_>,
    points: ArrayView2<'_, f32>,
    ways: &Array2<f64>,
) -> Result<(Array2<f64>, Vec<f64>)> {
    let at = |steps: f64| {
        let moved = points.mapv(f64::from) + &(ways * (steps * STEP));
        Ok::<_, crate::Error>(map.apply(moved.mapv(|v| v as f32).view())?.mapv(f64::from))
    };
    let (near, far) = (at(1.0)? - at(-1.0)?, at(2.0)? - at(-2.0)?);
    let lengths = |rows: &Array2<f64>| rows.map_axis(Axis(1), |row| row.dot(&row).sqrt());
    let change = lengths(&(&near * 2.0 - &far)) / lengths(&far).mapv(|length| length.max(f64::MIN_POSITIVE));
    Ok(((near * 8.0 - far) / (12.0 * STEP), change.to_vec()))
}
