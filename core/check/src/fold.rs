//! Global injectivity: searches for distinct points whose images nearly coincide.
//!
//! A fold such as x -> |x| has Jacobians of full rank almost everywhere, so no local check finds it. Two
//! searches do. One compares every pair of the given points. The other runs Newton's method from one point
//! towards the image of another; if it converges to a different point than that one, the image has two
//! preimages. Both return the pair of points as a witness.
//!
//! The number is the least |f(a) - f(b)| / |a - b| over all pairs, divided by the smallest attainable
//! singular value at any point: at least 1 for every linear map, however ill-conditioned, near 1 for a weakly
//! nonlinear one, and 0 at a fold. Points outside the ball of the data do not count. The check does not apply
//! to a map to fewer dimensions, where every image has a surface of preimages.

use chiasm_geometry::random::Random;
use chiasm_geometry::spectrum::damped_least_squares;
use chiasm_geometry::squared_distances;
use ndarray::{Array1, Array2, Axis};

use crate::Result;
use crate::cloud::{PointCloud, unit};
use crate::map::{Jacobians, LearnedMap};
use crate::spectra::{JacobianSpectra, norm};
use crate::verdict::{CheckLog, Verdict, digits};

/// Points nearer than this fraction of the mean distance do not count as distinct.
const DISTINCT: f64 = 0.01;
/// The iteration has converged when every step is shorter than this fraction of the mean distance.
const CONVERGED: f64 = 1e-6;
/// The most Newton steps; near the solution each doubles the number of correct digits.
const STEPS: usize = 12;
/// The damping of the steps, relative to the largest squared singular value: it affects only directions below
/// the rank tolerance.
const DAMPING: f64 = 1e-10;
/// The largest distance of a witness from the data's mean, relative to that of the farthest point.
const BALL: f64 = 1.25;

/// Two distinct points, their distance, and the distance of their images divided by it.
struct Witness {
    ratio: f64,
    distance: f64,
    description: String,
}

/// Checks global injectivity.
pub(crate) fn check(
    log: &mut CheckLog<'_>,
    map: &LearnedMap<'_>,
    jacobians: &Jacobians<'_>,
    cloud: &PointCloud,
    places: &[usize],
    spectra: &JacobianSpectra,
) -> Result<()> {
    let (from, to) =
        (spectra.spheres.input_dims(cloud.x.ncols()), spectra.spheres.output_dims(cloud.z.ncols()));
    if from > to {
        let reason = format!(
            "a map from {from} to {to} dimensions cannot be injective on all of space; see null_space and \
             round_trip"
        );
        log.skip("collision", reason);
        return Ok(());
    }
    let points = if spectra.spheres.ignores_length { unit(&cloud.x) } else { cloud.x.clone() };
    let lengths = |place: usize| {
        if spectra.spheres.ignores_length { norm(&cloud.x.row(place).to_owned()) } else { 1.0 }
    };
    let margins = spectra.margins();
    let margin =
        margins.iter().zip(places).map(|(m, &place)| m * lengths(place)).fold(f64::INFINITY, f64::min);
    let strongest = spectra.stretches().into_iter().fold(0.0, f64::max);
    if margin <= spectra.rank_tolerance * strongest {
        if spectra.points_short_of_rank() > 0 {
            log.skip("collision", "the rank is too low: lost directions make points collide");
        } else {
            log.unknown(
                "collision",
                "the stretches of the points differ too much to compare distances by them",
            );
        }
        return Ok(());
    }
    let apart = squared_distances(points.view(), points.view())?.mapv_into(f64::sqrt);
    let scale = if points.nrows() > 1 { apart.sum() / (apart.len() - points.nrows()) as f64 } else { 1.0 };
    let search = CollisionSearch {
        map,
        jacobians,
        points: &points,
        images: &cloud.z,
        scale,
        on_sphere: spectra.spheres.ignores_length,
    };
    let pairs = search.pairs(&apart)?;
    let newton = search.newton(log.settings.seed)?;
    let Some(worst) = pairs.into_iter().chain(newton).min_by(|a, b| a.ratio.total_cmp(&b.ratio)) else {
        log.skip("collision", "no two of the points are distinct");
        return Ok(());
    };
    log.judge("collision", worst.ratio / margin, |verdict| worst.in_words(scale, strongest, verdict));
    Ok(())
}

impl Witness {
    /// Describes both points, given the mean distance and the largest stretch.
    fn in_words(&self, scale: f64, strongest: f64, verdict: Verdict) -> String {
        let found = match verdict {
            Verdict::Pass => "no fold found",
            Verdict::Warn | Verdict::Unknown => "no fold, but images are much nearer than their points",
            Verdict::Fail => "two preimages of one image, the map folds",
        };
        format!(
            "{} lie {} mean distances apart, their images {} of that distance times the largest \
             stretch: {found}",
            self.description,
            digits(self.distance / scale),
            digits(self.ratio / strongest)
        )
    }
}

struct CollisionSearch<'a> {
    map: &'a LearnedMap<'a>,
    jacobians: &'a Jacobians<'a>,
    /// The points; unit rows when the map ignores their length.
    points: &'a Array2<f64>,
    images: &'a Array2<f64>,
    /// The mean distance between points.
    scale: f64,
    on_sphere: bool,
}

impl CollisionSearch<'_> {
    /// Returns the pair of given points whose images are nearest relative to their distance.
    fn pairs(&self, apart: &Array2<f64>) -> Result<Option<Witness>> {
        let images = squared_distances(self.images.view(), self.images.view())?.mapv_into(f64::sqrt);
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
            distance: apart[[i, j]],
            description: format!("points {j} and {i}"),
        }))
    }

    /// Runs Newton's method from some points towards the images of others and returns the best witness.
    fn newton(&self, seed: u64) -> Result<Option<Witness>> {
        let n = self.points.nrows();
        if n < 2 {
            return Ok(None);
        }
        let count = if self.points.ncols() <= 128 { 32 } else { 8 };
        let mut random = Random::new(seed ^ 0xf01d);
        let (mut starts, mut target_points) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let start = random.below(n);
            starts.push(start);
            target_points.push((start + 1 + random.below(n - 1)) % n);
        }
        let mut iterates = self.points.select(Axis(0), &starts);
        let targets = self.images.select(Axis(0), &target_points);
        for _ in 0..STEPS {
            if self.step(&mut iterates, &targets)? < CONVERGED * self.scale {
                break;
            }
        }
        let reached = self.images_of(&iterates)?;
        let mean = self.points.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(self.points.ncols()));
        let radius = self.points.outer_iter().map(|p| norm(&(&p - &mean))).fold(0.0, f64::max);
        let witnesses = target_points.iter().enumerate().filter_map(|(number, &target)| {
            let found = iterates.row(number);
            let apart = norm(&(&found - &self.points.row(target)));
            let inside = norm(&(&found - &mean)) <= BALL * radius;
            let error = norm(&(&reached.row(number) - &targets.row(number)));
            let description = format!("point {target} and one that Newton's method found");
            (inside && apart > DISTINCT * self.scale).then_some(Witness {
                ratio: error / apart,
                distance: apart,
                description,
            })
        });
        Ok(witnesses.min_by(|a, b| a.ratio.total_cmp(&b.ratio)))
    }

    /// Takes one damped Gauss-Newton step of every iterate towards its target, at most two mean distances
    /// long. Returns the length of the longest step.
    fn step(&self, iterates: &mut Array2<f64>, targets: &Array2<f64>) -> Result<f64> {
        let residuals = targets - &self.images_of(iterates)?;
        let rows = iterates.mapv(|v| v as f32);
        let steps = self.jacobians.each(rows.view(), &|_| (), |number, jacobian| {
            let step = damped_least_squares(jacobian.transposed.t(), residuals.row(number), DAMPING)?;
            let length = norm(&step);
            Ok(if length > 2.0 * self.scale { step * (2.0 * self.scale / length) } else { step })
        })?;
        for (mut iterate, step) in iterates.outer_iter_mut().zip(&steps) {
            iterate += step;
        }
        if self.on_sphere {
            *iterates = unit(iterates);
        }
        Ok(steps.iter().map(norm).fold(0.0, f64::max))
    }

    fn images_of(&self, rows: &Array2<f64>) -> Result<Array2<f64>> {
        Ok(self.map.apply(rows.mapv(|v| v as f32).view())?.mapv(f64::from))
    }
}
