//! What is checked and where the lines are drawn: one table, so that a recipe, a report and a page say the
//! same.

use serde::Serialize;

/// On which side of its limits a number is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// Small is good.
    AtMost,
    /// Large is good.
    AtLeast,
}

/// Beyond which number a check warns, and beyond which it fails; `None` never does.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CheckLimits {
    /// The last number that passes.
    pub warn: Option<f64>,
    /// The last number that does not fail.
    pub fail: Option<f64>,
}

/// One check: its name, which numbers are good, and where the lines are drawn unless the user draws others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckDefinition {
    /// The name in recipes and reports.
    pub name: &'static str,
    /// Which side is good.
    pub bound: LimitKind,
    /// The limits unless set.
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
    most(
        "rank",
        Some(0.0),
        Some(0.01),
        "share of the points where the rank falls short of the attainable one",
    ),
    most(
        "condition_number",
        Some(1e3),
        Some(1e6),
        "strongest over weakest attainable stretch, median of the points",
    ),
    most("lipschitz", Some(10.0), None, "largest stretch at any point over the median point's"),
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
        "share of the data's variance that the map cannot see, mean of the points",
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

/// The definition of a check; `None` for a name that is none.
pub fn definition(name: &str) -> Option<&'static CheckDefinition> {
    CHECKS.iter().find(|check| check.name == name)
}

/// How to check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckSettings {
    /// Points at which Jacobians are taken; they are spread evenly over those given.
    pub points: usize,
    /// Singular values below this share of the largest count as zero.
    ///
    /// 1e-6 by default: Jacobians are computed in single precision, so a direction a million times weaker
    /// than the strongest is hardly larger than the rounding of the others (1e-7), and no inverse in single
    /// precision can undo it.
    pub rank_tolerance: f64,
    /// The rank that the map should have; found from its ends unless said.
    pub expected_rank: Option<usize>,
    /// Neighbours of the surjectivity and information checks.
    pub neighbours: usize,
    /// Seed of directions, starts and shuffles.
    pub seed: u64,
    /// Limits that were set, by check; see [`CheckSettings::limits`].
    pub limits: Vec<(&'static str, CheckLimits)>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            points: 64,
            rank_tolerance: 1e-6,
            expected_rank: None,
            neighbours: 5,
            seed: 0,
            limits: Vec::new(),
        }
    }
}

impl CheckSettings {
    /// The limits of a check, the user's before the default ones.
    pub fn limits(&self, name: &str) -> CheckLimits {
        let own = self.limits.iter().find(|(of, _)| *of == name).map(|(_, limits)| *limits);
        own.or(definition(name).map(|check| check.limits)).unwrap_or_default()
    }

    /// Sets the limits of a check; a part that is `None` stays as it was.
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
    fn no_check_fails_before_it_warns() {
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
