//! Checks of the inverse: the round trip inverse(map(x)) and the cycle map(inverse(z)).
//!
//! Errors are in standard deviations: sqrt(sum |x' - x|² / sum |x - mean|²), so 0 is perfect, and 1 is no
//! better than always returning the mean. A left inverse claims inverse(map(x)) = x, a right inverse
//! map(inverse(z)) = z; only the claimed direction gets a verdict, the other is reported without one. The
//! limits of the round trip account for the variance that the map loses, which no decoder can restore.

use ndarray::{Array2, Axis};

use crate::cloud::{PointCloud, centred, unit};
use crate::map::LearnedMap;
use crate::settings::CheckLimits;
use crate::spectra::SphereConstraints;
use crate::verdict::{CheckLog, digits};
use crate::{Error, Result};

/// The error of a good decoder, as a multiple of the error floor.
const ABOVE_FLOOR: f64 = 1.5;
/// The rounding of a few operations in single precision; the condition number amplifies it.
const ROUNDINGS: f64 = 16.0 / (1 << 24) as f64;

/// The directions in which a graph claims to be an inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InverseSides {
    /// `inverse(map(x)) = x`.
    pub left: bool,
    /// `map(inverse(z)) = z`.
    pub right: bool,
}

/// What limits the round-trip error from below.
pub(crate) struct ErrorFloor {
    /// The fraction of the data's variance that the map loses.
    pub(crate) lost: f64,
    /// The median condition number.
    pub(crate) condition: f64,
    /// Which of the input and output are constrained to a sphere.
    pub(crate) spheres: SphereConstraints,
}

/// Checks the round trip of the points, and the cycle of images and targets; returns the reconstructed
/// points.
pub(crate) fn check(
    log: &mut CheckLog<'_>,
    map: &LearnedMap<'_>,
    (inverse, sides): (&LearnedMap<'_>, InverseSides),
    cloud: &PointCloud,
    targets: Option<&Array2<f64>>,
    floor: &ErrorFloor,
) -> Result<Array2<f64>> {
    let settings = log.settings;
    let limits = |name: &str| settings.limits(name);
    let rounding = ROUNDINGS * floor.condition;
    let reconstructed = run(inverse, &cloud.z)?;
    if reconstructed.ncols() != cloud.x.ncols() {
        let (expected, got) = (format!("{} columns", cloud.x.ncols()), format!("{}", reconstructed.ncols()));
        return Err(Error::Points { what: "rows that the inverse returns", expected, got });
    }
    let error = match floor.spheres.ignores_length {
        true => deviation(&unit(&cloud.x), &unit(&reconstructed)),
        false => deviation(&cloud.x, &reconstructed),
    };
    let least = floor.lost.sqrt().max(rounding);
    let length = if floor.spheres.ignores_length { " (up to its length)" } else { "" };
    let meaning = format!(
        "x{length} is reconstructed to within {} standard deviations; the map itself loses {}",
        digits(error),
        digits(least)
    );
    if sides.left {
        log.record_with("round_trip", error, above(limits("round_trip"), ABOVE_FLOOR * least), meaning);
    } else {
        log.skip("round_trip", format!("the inverse does not claim inverse(map(x)) = x; {meaning}"));
    }
    let mut worst = cycle(map, inverse, &cloud.z)?;
    let mut of = "images";
    if let Some(targets) = targets {
        let error = cycle(map, inverse, targets)?;
        if error > worst {
            (worst, of) = (error, "targets");
        }
    }
    let meaning = format!(
        "map(inverse(z)) differs from z by {worst:.2e} standard deviations, the larger of images and targets \
         ({of})"
    );
    if sides.right {
        log.record_with("cycle", worst, above(limits("cycle"), rounding), meaning);
    } else {
        log.skip("cycle", format!("the inverse does not claim map(inverse(z)) = z; {meaning}"));
    }
    Ok(reconstructed)
}

/// Raises the limits to an error floor that no inverse can undercut.
fn above(limits: CheckLimits, floor: f64) -> CheckLimits {
    let up = |limit: Option<f64>| limit.map(|limit| limit.max(floor));
    CheckLimits { warn: up(limits.warn), fail: up(limits.fail) }
}

fn cycle(map: &LearnedMap<'_>, inverse: &LearnedMap<'_>, z: &Array2<f64>) -> Result<f64> {
    Ok(deviation(z, &run(map, &run(inverse, z)?)?))
}

fn run(map: &LearnedMap<'_>, rows: &Array2<f64>) -> Result<Array2<f64>> {
    Ok(map.apply(rows.mapv(|v| v as f32).view())?.mapv(f64::from))
}

/// Returns the root of the squared error divided by the squared spread.
pub(crate) fn deviation(expected: &Array2<f64>, got: &Array2<f64>) -> f64 {
    let squares = |rows: &Array2<f64>| rows.iter().map(|v| v * v).sum::<f64>();
    let spread = if expected.len_of(Axis(0)) > 1 { squares(&centred(expected)) } else { squares(expected) };
    (squares(&(expected - got)) / spread.max(f64::MIN_POSITIVE)).sqrt()
}
