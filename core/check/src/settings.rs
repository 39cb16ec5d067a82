//! The checks and their default limits, in one table that recipes, reports and documentation share.

use serde::Serialize;

/// Whether the limits of a check are upper or lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// Upper limits: small numbers are good.
    AtMost,
    /// Lower limits: large numbers are good.
    AtLeast,
}

/// The limits beyond which a check warns and fails; `None` means never.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CheckLimits {
    /// The last number that passes.
    pub warn: Option<f64>,
    /// The last number that does not fail.
    pub fail: Option<f64>,
}

/// The definition of a check: its name, its default limits, and what its number means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckDefinition {
    /// The name in recipes and reports.
    pub name: &'static str,
    /// Whether the limits are upper or lower ones.
    pub bound: LimitKind,
    /// The default limits.
    pub limits: CheckLimits,
    /// What the number is.
    pub what: &'static str,
}

const fn most(
    name: &'static str,
    warn: Option<f64>,
    fail: Option<f64>,
    what: &'static str,
) -> CheckDefinition {
    CheckDefinition { name, bound: LimitKind::AtMost, limits: CheckLimits { warn, fail }, what }
}

const fn least(
    name: &'static str,
    warn: Option<f64>,
    fail: Option<f64>,
    what: &'static str,
) -> CheckDefinition {
    CheckDefinition { name, bound: LimitKind::AtLeast, limits: CheckLimits { warn, fail }, what }
}

/// Every check, in the order of a report.
pub const CHECKS: &[CheckDefinition] = &[
    most("derivative", Some(1e-3), Some(1e-2), "median relative difference of J v to central differences"),
    most("differentiable", Some(0.0), None, "share of the inputs by which the derivative is not finite"),
    most("rank", Some(0.0), Some(0.01), "share of the points where the rank is below the attainable one"),
    most(
        "condition_number",
        Some(1e3),
        Some(1e6),
        "largest over smallest attainable singular value, median of the points",
    ),
    most("lipschitz", Some(10.0), None, "largest stretch at any point over that of the median point"),
    least(
        "local_injectivity",
        Some(1e-2),
        None,
        "weakest attainable stretch at any point over the median point's",
    ),
    most(
        "orientation",
        Some(0.0),
        Some(0.0),
        "share of the points whose Jacobian determinant has the rarer sign",
    ),
    least(
        "collision",
        Some(0.1),
        Some(0.01),
        "least |f(a) - f(b)| / |a - b| over distinct points, in weakest stretches",
    ),
    most(
        "null_space",
        Some(0.9),
        None,
        "share of the data's variance that the map loses, mean of the points",
    ),
    most(
        "smoothness",
        Some(1.0),
        Some(10.0),
        "error of the tangent map at the nearest neighbour, relative, median",
    ),
    most("round_trip", Some(0.05), Some(1.0), "error of inverse(map(x)) in standard deviations of x"),
    most("cycle", Some(0.05), Some(1.0), "error of map(inverse(z)) in standard deviations of z"),
    least("surjectivity", Some(0.5), Some(0.05), "share of the target's neighbourhoods that images reach"),
    least(
        "neighbours",
        Some(0.1),
        None,
        "share of each point's nearest neighbours that its image keeps, mean",
    ),
    least(
        "information",
        None,
        None,
        "mutual information of x and z in nats; must exceed that of shuffled pairs",
    ),
    least(
        "probe",
        Some(0.9),
        Some(0.5),
        "accuracy on reconstructed rows over accuracy on the rows themselves",
    ),
];

/// Returns the definition of a check; `None` for an unknown name.
///
/// ```
/// let rank = chiasm_check::definition("rank").expect("a check");
/// assert_eq!(rank.limits.fail, Some(0.01));
/// assert!(chiasm_check::definition("ranc").is_none());
/// ```
pub fn definition(name: &str) -> Option<&'static CheckDefinition> {
    CHECKS.iter().find(|check| check.name == name)
}

/// The number of points at which Jacobians are computed, of maps of up to [`NARROW`] dimensions and of the
/// widest ones.
const MOST_POINTS: usize = 64;
const LEAST_POINTS: usize = 16;
/// The width up to which all points are used.
const NARROW: usize = 512;

/// The settings of [`crate::check`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckSettings {
    /// The number of points at which Jacobians are computed, evenly spaced among the given ones; `None` for
    /// [`CheckSettings::points_of`].
    pub points: Option<usize>,
    /// Singular values below this fraction of the largest count as zero.
    ///
    /// The default is 1e-6: Jacobians are computed in single precision, so a direction a million times weaker
    /// than the strongest is hardly larger than the rounding of the others (1e-7), and no inverse in single
    /// precision can restore it.
    pub rank_tolerance: f64,
    /// The rank that the map should have; `None` takes the attainable rank.
    pub expected_rank: Option<usize>,
    /// The number of neighbours in the checks `surjectivity`, `neighbours` and `information`.
    pub neighbours: usize,
    /// The seed of random directions, starting points and shuffles.
    pub seed: u64,
    /// Whether checks that could not be made are allowed. They keep their verdict, but do not make the map's
    /// verdict worse.
    pub allow_unknown: bool,
    /// The limits that were set, by check; see [`CheckSettings::limits`].
    pub limits: Vec<(&'static str, CheckLimits)>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            points: None,
            rank_tolerance: 1e-6,
            expected_rank: None,
            neighbours: 5,
            seed: 0,
            allow_unknown: false,
            limits: Vec::new(),
        }
    }
}

impl CheckSettings {
    /// Returns the number of points at which Jacobians of a map from `d` to `o` dimensions are computed: the
    /// number that was set; otherwise 64, or fewer above 512 dimensions, but at least 16. The time for one
    /// point grows with the cube of the dimensions.
    ///
    /// ```
    /// use chiasm_check::CheckSettings;
    ///
    /// let settings = CheckSettings::default();
    /// assert_eq!([384, 512, 768, 1280].map(|width| settings.points_of(width, width)), [64, 64, 28, 16]);
    /// assert_eq!(settings.points_of(1280, 64), 64);
    /// ```
    pub fn points_of(&self, d: usize, o: usize) -> usize {
        let narrow = d.min(o).max(1);
        let most = MOST_POINTS * (NARROW * NARROW) / (narrow * narrow);
        self.points.unwrap_or(most.clamp(LEAST_POINTS, MOST_POINTS)).max(1)
    }

    /// Returns the limits of a check: those that were set, otherwise the default ones.
    pub fn limits(&self, name: &str) -> CheckLimits {
        let own = self.limits.iter().find(|(of, _)| *of == name).map(|(_, limits)| *limits);
        own.or(definition(name).map(|check| check.limits)).unwrap_or_default()
    }

    /// Whether limits were set for a check, with one to fail.
    pub(crate) fn is_set_to_fail(&self, name: &str) -> bool {
        self.limits.iter().any(|(of, limits)| *of == name && limits.fail.is_some())
    }

    /// Sets the limits of a check; `None` keeps a limit.
    pub fn set_limits(&mut self, check: &'static CheckDefinition, warn: Option<f64>, fail: Option<f64>) {
        let before = self.limits(check.name);
        let limits = CheckLimits { warn: warn.or(before.warn), fail: fail.or(before.fail) };
        self.limits.retain(|(name, _)| *name != check.name);
        self.limits.push((check.name, limits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_set_keeps_the_other_one() {
        let mut settings = CheckSettings::default();
        settings.set_limits(definition("condition_number").unwrap(), Some(50.0), None);
        assert_eq!(settings.limits("condition_number"), CheckLimits { warn: Some(50.0), fail: Some(1e6) });
        assert_eq!(settings.limits("rank"), definition("rank").unwrap().limits);
    }

    #[test]
    fn every_check_warns_before_it_fails() {
        for check in CHECKS {
            let CheckLimits { warn: Some(warn), fail: Some(fail) } = check.limits else { continue };
            let ordered = match check.bound {
                LimitKind::AtMost => warn <= fail,
                LimitKind::AtLeast => warn >= fail,
            };
            assert!(ordered, "{}", check.name);
        }
    }
}
