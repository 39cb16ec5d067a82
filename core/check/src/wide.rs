//! Maps above 2048 dimensions on both sides: both ends of their spectra, and no more.

use ndarray::Axis;

use crate::cloud::{PointCloud, median, spread, unit};
use crate::lanczos::{JacobianProducts, ends, ritz_values};
use crate::map::LearnedMap;
use crate::spectra::{JacobianSpectra, WIDE};
use crate::verdict::{CheckLog, digits};
use crate::{CHECKS, Result};

/// Points at most: each keeps two vectors of every Lanczos step.
const POINTS: usize = 16;

/// Judges what the ends of the spectra tell; everything that needs whole Jacobians does not apply.
pub(crate) fn look(
    findings: &mut CheckLog<'_>,
    map: &LearnedMap<'_>,
    cloud: &PointCloud,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<JacobianSpectra> {
    let settings = findings.settings;
    let places = spread(cloud.x.nrows(), settings.points.clamp(1, POINTS));
    let points = cloud.x32.select(Axis(0), &places);
    let (x, z) = (cloud.x.select(Axis(0), &places), cloud.z.select(Axis(0), &places));
    let products = JacobianProducts::open(map, points.view())?;
    let (d, o) = (x.ncols(), z.ncols());
    let ends = ends(&products, &x, &z, settings.seed)?;
    let blind = [ends.ignores_length.then(|| unit(&x)), ends.on_sphere.then(|| unit(&z))];
    let values = ritz_values(&products, (d, o), blind, settings.seed, progress)?;
    let spectra = JacobianSpectra::of(values, (d, o), usize::MAX, ends, settings);
    let stretches = spectra.stretches();
    let weak = stretches
        .iter()
        .zip(spectra.margins())
        .filter(|(top, low)| *low <= settings.rank_tolerance * *top)
        .count();
    let meaning = match weak {
        0 => "no lost direction was met by a random start \
              (a bound, not a count: the map is too wide for all values)"
            .to_owned(),
        n => format!("at {n} of {} points a random start met directions that are lost", places.len()),
    };
    findings.judge("rank", weak as f64 / places.len() as f64, meaning);
    let bound = median(&spectra.condition_number);
    findings.judge(
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
    findings.judge("lipschitz", most / median(&stretches).max(f64::MIN_POSITIVE), meaning);
    let judged = ["rank", "condition_number", "lipschitz"];
    for check in
        CHECKS.iter().take_while(|check| check.name != "round_trip").filter(|c| !judged.contains(&c.name))
    {
        findings.skip(
            check.name,
            format!("whole Jacobians above {WIDE} dimensions on both sides are not formed"),
        );
    }
    Ok(spectra)
}
