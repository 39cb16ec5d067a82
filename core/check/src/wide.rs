//! Checks of maps wider than 2048 dimensions on both sides: only both ends of their spectra.

use ndarray::Axis;

use crate::cloud::{PointCloud, median, unit};
use crate::lanczos::{JacobianProducts, ritz_values};
use crate::map::LearnedMap;
use crate::rows::evenly_spaced;
use crate::spectra::{JacobianSpectra, PointSpectrum, Span, SphereConstraints, WIDE};
use crate::verdict::{CheckLog, Verdict, digits};
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
    let most = settings.points_of(cloud.x.ncols(), cloud.z.ncols()).min(MAX_POINTS);
    let places = evenly_spaced(cloud.x.nrows(), most);
    let points = cloud.x32.select(Axis(0), &places);
    let (x, z) = (cloud.x.select(Axis(0), &places), cloud.z.select(Axis(0), &places));
    let products = JacobianProducts::open(map, points.view())?;
    let (d, o) = (x.ncols(), z.ncols());
    let spheres = SphereConstraints::of(map, points.view())?;
    let lost = [spheres.ignores_length.then(|| unit(&x)), spheres.on_sphere.then(|| unit(&z))];
    let values = ritz_values(&products, (d, o), lost, settings.seed, progress)?;
    let values = values.into_iter().map(|values| PointSpectrum { values, left_out: (0, 0) }).collect();
    let span = Span { spanned: usize::MAX, reached: usize::MAX };
    let spectra = JacobianSpectra::of(values, (d, o), span, spheres, settings);
    record_bounds(log, &spectra);
    let stretches = spectra.stretches();
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
        let reason = format!("whole Jacobians above {WIDE} dimensions on both sides are not formed");
        log.unknown(check.name, reason);
    }
    Ok(spectra)
}

/// Records the rank and the condition number. Both are bounds: they can show a defect, but not that there is
/// none.
fn record_bounds(log: &mut CheckLog<'_>, spectra: &JacobianSpectra) {
    let points = spectra.rank.len();
    let weak = spectra
        .stretches()
        .iter()
        .zip(spectra.margins())
        .filter(|(top, low)| *low <= spectra.rank_tolerance * *top)
        .count();
    let (share, bound) = (weak as f64 / points.max(1) as f64, median(&spectra.condition_number));
    match log.verdict("rank", share) {
        Verdict::Pass => log.unknown(
            "rank",
            format!(
                "above {WIDE} dimensions on both sides not all singular values are computed; a Lanczos \
                 process from a random start found no lost direction"
            ),
        ),
        _ => {
            log.record(
                "rank",
                share,
                format!("at {weak} of {points} points a Lanczos process found lost directions"),
            );
        }
    }
    let meaning = format!(
        "the strongest direction is stretched at least {} times more than the weakest",
        digits(bound)
    );
    match log.verdict("condition_number", bound) {
        Verdict::Pass => log.unknown("condition_number", format!("only a lower bound is known: {meaning}")),
        _ => log.record("condition_number", bound, meaning),
    }
}
