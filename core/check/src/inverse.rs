//! The way back: what comes home of a point that goes there and back again.
//!
//! Errors are in standard deviations: sqrt(sum |x' - x|² / sum |x - mean|²), so 0 is perfect and 1 no better
//! than always answering the mean. Each direction is judged only where the inverse claims it (a left inverse
//! claims inverse(map(x)) = x, a right one map(inverse(z)) = z); the other is told without a verdict. The
//! round trip is held against the map's own floor: what it cannot see of the data, no decoder can give back,
//! however good.

use ndarray::{Array2, Axis};

use crate::cloud::{PointCloud, centred, unit};
use crate::map::LearnedMap;
use crate::settings::CheckLimits;
use crate::spectra::SphereConstraints;
use crate::verdict::{CheckLog, digits};
use crate::{Error, Result};

/// A share of the floor that a good decoder may lie above it.
const ABOVE_FLOOR: f64 = 1.5;
/// Single precision amplified by the condition number, with room for a few operations.
const ROUNDINGS: f64 = 16.0 / (1 << 24) as f64;

/// Which way an inverse claims to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InverseSides {
    /// `inverse(map(x)) = x`.
    pub left: bool,
    /// `map(inverse(z)) = z`.
    pub right: bool,
}

/// What the map itself allows.
pub(crate) struct ErrorFloor {
    /// Share of the data's variance that the map cannot see.
    pub(crate) lost: f64,
    /// The median condition number.
    pub(crate) condition: f64,
    /// Which ends are spheres.
    pub(crate) ends: SphereConstraints,
}

/// Judges the round trip from x, and the cycle from images and targets; the points as they come back.
pub(crate) fn judge(
    findings: &mut CheckLog<'_>,
    map: &LearnedMap<'_>,
    back: (&LearnedMap<'_>, InverseSides),
    cloud: &PointCloud,
    targets: Option<&Array2<f64>>,
    floor: &ErrorFloor,
) -> Result<Array2<f64>> {
    let (inverse, claims) = back;
    let settings = findings.settings;
    let limits = |name: &str| settings.limits(name);
    let rounding = ROUNDINGS * floor.condition;
    let home = run(inverse, &cloud.z)?;
    if home.ncols() != cloud.x.ncols() {
        let (expected, got) = (format!("{} columns", cloud.x.ncols()), format!("{}", home.ncols()));
        return Err(Error::Points { what: "rows that the inverse gives back", expected, got });
    }
    let error = match floor.ends.ignores_length {
        true => deviation(&unit(&cloud.x), &unit(&home)),
        false => deviation(&cloud.x, &home),
    };
    let least = floor.lost.sqrt().max(rounding);
    let length = if floor.ends.ignores_length { " (up to its length)" } else { "" };
    let meaning = format!(
        "x{length} comes back to within {} of its spread; the map itself loses {}",
        digits(error),
        digits(least)
    );
    if claims.left {
        findings.judge_by("round_trip", error, above(limits("round_trip"), ABOVE_FLOOR * least), meaning);
    } else {
        findings.skip("round_trip", format!("the inverse does not claim inverse(map(x)) = x; {meaning}"));
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
        "z there and back differs by {worst:.2e} of its spread, the worse of images and targets ({of})"
    );
    if claims.right {
        findings.judge_by("cycle", worst, above(limits("cycle"), rounding), meaning);
    } else {
        findings.skip("cycle", format!("the inverse does not claim map(inverse(z)) = z; {meaning}"));
    }
    Ok(home)
}

/// Limits moved up to a floor: what nothing could beat does not count against a map.
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

/// Root of the squared error over the squared spread.
pub(crate) fn deviation(expected: &Array2<f64>, got: &Array2<f64>) -> f64 {
    let squares = |rows: &Array2<f64>| rows.iter().map(|v| v * v).sum::<f64>();
    let spread = if expected.len_of(Axis(0)) > 1 { squares(&centred(expected)) } else { squares(expected) };
    (squares(&(expected - got)) / spread.max(f64::MIN_POSITIVE)).sqrt()
}
