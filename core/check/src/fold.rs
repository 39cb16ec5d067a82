//! Global injectivity: distinct points whose images nearly coincide.
//!
//! A fold such as x -> |x| has Jacobians of full rank almost everywhere, so no local test sees it. Two
//! searches do: every pair of the points given, and Newton's method, which starts at one point and walks
//! until its image meets that of another; if it arrives anywhere but there, it has found two preimages.
//! Either way the finding is a witness, not a guess.
//!
//! The number is the least |f(a) - f(b)| / |a - b| over all candidates, in units of the weakest attainable
//! stretch at any point: at least 1 for every linear map however ill-conditioned, near 1 for a gentle one,
//! and 0 at a fold. Points outside the ball of the data do not count. Not asked of a map to fewer dimensions:
//! it has whole surfaces of preimages anyway.

use chiasm_geometry::random::Random;
use chiasm_geometry::spectrum::{damped_least_squares, distances};
use ndarray::{Array1, Array2, Axis};

use crate::Result;
use crate::cloud::{PointCloud, unit};
use crate::map::{Jacobians, LearnedMap};
use crate::spectra::{JacobianSpectra, norm};
use crate::verdict::{CheckLog, digits};

/// Points nearer than this share of the mean distance are not distinct enough to be witnesses.
const DISTINCT: f64 = 0.01;
/// Walkers whose steps are all shorter than this share of the data's width have arrived.
const ARRIVED: f64 = 1e-6;
/// Newton steps: it doubles its digits with each once it is near.
const STEPS: usize = 12;
/// Damping of the steps relative to the largest squared stretch: only directions below the rank tolerance
/// feel it.
const DAMPING: f64 = 1e-10;
/// How far beyond the farthest point of the data a witness may lie, from their mean.
const BALL: f64 = 1.25;

/// Two distinct points with their images' distance over their own.
struct Witness {
    ratio: f64,
    apart: f64,
    words: String,
}

/// Judges global injectivity.
pub(crate) fn judge(
    findings: &mut CheckLog<'_>,
    map: &LearnedMap<'_>,
    jacobians: &Jacobians<'_>,
    cloud: &PointCloud,
    places: &[usize],
    spectra: &JacobianSpectra,
) -> Result<()> {
    let (from, to) = (spectra.ends.input(cloud.x.ncols()), spectra.ends.output(cloud.z.ncols()));
    if from > to {
        let reason = format!(
            "a map from {from} to {to} dimensions cannot be injective on all of space; see null_space and \
             round_trip"
        );
        findings.skip("collision", reason);
        return Ok(());
    }
    let points = if spectra.ends.ignores_length { unit(&cloud.x) } else { cloud.x.clone() };
    let lengths =
        |place: usize| if spectra.ends.ignores_length { norm(&cloud.x.row(place).to_owned()) } else { 1.0 };
    let margins = spectra.margins();
    let margin =
        margins.iter().zip(places).map(|(m, &place)| m * lengths(place)).fold(f64::INFINITY, f64::min);
    let strongest = spectra.stretches().into_iter().fold(0.0, f64::max);
    if margin <= spectra.rank_tolerance * strongest {
        findings.skip("collision", "the rank is short already: lost directions make points collide");
        return Ok(());
    }
    let apart = distances(points.view(), points.view())?;
    let scale = if points.nrows() > 1 { apart.sum() / (apart.len() - points.nrows()) as f64 } else { 1.0 };
    let hunt = CollisionSearch {
        map,
        jacobians,
        points: &points,
        images: &cloud.z,
        scale,
        on_sphere: spectra.ends.ignores_length,
    };
    let pairs = hunt.pairs(&apart)?;
    let newton = hunt.newton(findings.settings.seed)?;
    let Some(worst) = pairs.into_iter().chain(newton).min_by(|a, b| a.ratio.total_cmp(&b.ratio)) else {
        findings.skip("collision", "no two of the points are distinct");
        return Ok(());
    };
    let number = worst.ratio / margin;
    let folds = findings.settings.limits("collision").fail.is_some_and(|least| number < least);
    let meaning = format!(
        "{} lie {} mean distances apart, their images {} of what the strongest stretch makes of that: {}",
        worst.words,
        digits(worst.apart / scale),
        digits(worst.ratio / strongest),
        if folds { "two preimages of one image, the map folds" } else { "no fold found" }
    );
    findings.judge("collision", number, meaning);
    Ok(())
}

struct CollisionSearch<'a> {
    map: &'a LearnedMap<'a>,
    jacobians: &'a Jacobians<'a>,
    /// Unit rows when only the direction counts.
    points: &'a Array2<f64>,
    images: &'a Array2<f64>,
    /// The typical distance between points.
    scale: f64,
    on_sphere: bool,
}

impl CollisionSearch<'_> {
    /// The pair of given points whose images come nearest.
    fn pairs(&self, apart: &Array2<f64>) -> Result<Option<Witness>> {
        let images = distances(self.images.view(), self.images.view())?;
        let mut best: Option<(f64, usize, usize)> = None;
        for i in 0..apart.nrows() {
            for j in 0..i {
                let ratio = images[[i, j]] / apart[[i, j]];
                if apart[[i, j]] > DISTINCT * self.scale && best.is_none_or(|(least, ..)| ratio < least) {
                    best = Some((ratio, i, j));
                }
            }
        }
        Ok(best.map(|(ratio, i, j)| Witness {
            ratio,
            apart: apart[[i, j]],
            words: format!("points {j} and {i}"),
        }))
    }

    /// The nearest miss of Newton's method from some points towards the images of others.
    fn newton(&self, seed: u64) -> Result<Option<Witness>> {
        let n = self.points.nrows();
        if n < 2 {
            return Ok(None);
        }
        let hunts = if self.points.ncols() <= 128 { 32 } else { 8 };
        let mut random = Random::new(seed ^ 0xf01d);
        let (mut starts, mut goals) = (Vec::new(), Vec::new());
        for _ in 0..hunts {
            let start = random.below(n);
            starts.push(start);
            goals.push((start + 1 + random.below(n - 1)) % n);
        }
        let mut walkers = self.points.select(Axis(0), &starts);
        let targets = self.images.select(Axis(0), &goals);
        for _ in 0..STEPS {
            if self.step(&mut walkers, &targets)? < ARRIVED * self.scale {
                break;
            }
        }
        let reached = self.images_of(&walkers)?;
        let mean = self.points.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(self.points.ncols()));
        let radius = self.points.outer_iter().map(|p| norm(&(&p - &mean))).fold(0.0, f64::max);
        let witnesses = goals.iter().enumerate().filter_map(|(hunt, &goal)| {
            let found = walkers.row(hunt);
            let apart = norm(&(&found - &self.points.row(goal)));
            let inside = norm(&(&found - &mean)) <= BALL * radius;
            let missed = norm(&(&reached.row(hunt) - &targets.row(hunt)));
            let words = format!("point {goal} and one that Newton's method found");
            (inside && apart > DISTINCT * self.scale).then_some(Witness {
                ratio: missed / apart,
                apart,
                words,
            })
        });
        Ok(witnesses.min_by(|a, b| a.ratio.total_cmp(&b.ratio)))
    }

    /// One damped Gauss-Newton step of every walker towards its target, at most as long as the data is wide;
    /// the longest.
    fn step(&self, walkers: &mut Array2<f64>, targets: &Array2<f64>) -> Result<f64> {
        let residuals = targets - &self.images_of(walkers)?;
        let rows = walkers.mapv(|v| v as f32);
        let steps = self.jacobians.each(rows.view(), &|_| (), |hunt, jacobian| {
            let step = damped_least_squares(jacobian.transposed.t(), residuals.row(hunt), DAMPING)?;
            let length = norm(&step);
            Ok(if length > 2.0 * self.scale { step * (2.0 * self.scale / length) } else { step })
        })?;
        for (mut walker, step) in walkers.outer_iter_mut().zip(&steps) {
            walker += step;
        }
        if self.on_sphere {
            *walkers = unit(walkers);
        }
        Ok(steps.iter().map(norm).fold(0.0, f64::max))
    }

    fn images_of(&self, rows: &Array2<f64>) -> Result<Array2<f64>> {
        Ok(self.map.apply(rows.mapv(|v| v as f32).view())?.mapv(f64::from))
    }
}
