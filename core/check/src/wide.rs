//! Checks of maps wider than 2048 dimensions on both sides: only both ends of their spectra.

use ndarray::Axis;

use crate::cloud::{PointCloud, evenly_spaced, median, unit};
use crate::lanczos::{JacobianProducts, ritz_values, sphere_constraints};
use crate::map::LearnedMap;
use crate::spectra::{JacobianSpectra, WIDE};
use crate::verdict::{CheckLog, digits};
use crate::{CHECKS, Result};

/// The most points: each keeps two vectors of every Lanczos step.
const MAX_POINTS: usize = 16;

/// Checks the ends of the spectra; checks that need whole Jacobians do not apply.
pub(crate) fn check(
    log: &mut CheckLog<'_>,
    map: &LearnedMap<'_>,
    cloud: &PointCloud,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<JacobianSpectra> {
    let settings = log.settings;
    let places = evenly_spaced(cloud.x.nrows(), settings.points.clamp(1, MAX_POINTS));
    let points = cloud.x32.select(Axis(0), &places);
    let (x, z) = (cloud.x.select(Axis(0), &places), cloud.z.select(Axis(0), &places));
    let products = JacobianProducts::open(map, points.view())?;
    let (d, o) = (x.ncols(), z.ncols());
    let spheres = sphere_constraints(&products, &x, &z, settings.seed)?;
    let lost = [spheres.ignores_length.then(|| unit(&x)), spheres.on_sphere.then(|| unit(&z))];
    let values = ritz_values(&products, (d, o), lost, settings.seed, progress)?;
    let spectra = JacobianSpectra::of(values, (d, o), usize::MAX, spheres, settings);
    let stretches = spectra.stretches();
    let weak = stretches
        .iter()
        .zip(spectra.margins())
        .filter(|(top, low)| *low <= settings.rank_tolerance * *top)
        .count();
    let meaning = match weak {
        0 => "a Lanczos process from a random start found no lost direction \
              (a bound, not a count: the map is too wide to compute all values)"
            .to_owned(),
        n => format!("at {n} of {} points a Lanczos process found lost directions", places.len()),
    };
    log.record("rank", weak as f64 / places.len() as f64, meaning);
    let bound = median(&spectra.condition_number);
    log.record(
        "condition_number",
        bound,
        format!(
            "the strongest direction is stretched at least {} times more than the weakest",
            digits(bound)
        ),
    );
    let most = stretches.iter().copied().fold(0.0, f64::max);
    let meaning = format!(
        "distances grow at most {} times near any point (the Lipschitz estimate); relative to the median \
         point",
        digits(most)
    );
    log.record("lipschitz", most / median(&stretches).max(f64::MIN_POSITIVE), meaning);
    let checked = ["rank", "condition_number", "lipschitz"];
    for check in
        CHECKS.iter().take_while(|check| check.name != "round_trip").filter(|c| !checked.contains(&c.name))
    {
        log.skip(check.name, format!("whole Jacobians above {WIDE} dimensions on both sides are not formed"));
    }
    Ok(spectra)
}
