//! Check results: the number, the limits it is compared with, the verdict, and one sentence of explanation.

use serde::Serialize;

use crate::settings::{CheckLimits, CheckSettings, LimitKind, definition};
use crate::spectra::JacobianSpectra;

/// The verdict of a check, or the worst one of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the limits.
    Pass,
    /// Beyond the warning limit.
    Warn,
    /// The check applies to the map, but could not be made.
    Unknown,
    /// Beyond the failure limit, or not finite.
    Fail,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckResult {
    /// Its name, one of [`crate::CHECKS`].
    pub name: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// The number; `null` in JSON when it is not finite, which fails, or when the check could not be made.
    pub number: f64,
    /// Whether the limits are upper or lower ones.
    pub bound: LimitKind,
    /// The limits that the number was compared with.
    pub limits: CheckLimits,
    /// The meaning of the number in one sentence, or why the check could not be made.
    pub meaning: String,
}

/// A check that does not apply, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkippedCheck {
    /// Its name.
    pub name: &'static str,
    /// Why it does not apply.
    pub reason: String,
}

/// The report on one map: its Jacobian spectra and the results of all checks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MapReport {
    /// The name of the map.
    pub map: String,
    /// The width of its input.
    pub input: usize,
    /// The width of its output.
    pub output: usize,
    /// The number of points given.
    pub points: usize,
    /// The worst verdict; UNKNOWN does not count if [`CheckSettings::allow_unknown`] is set.
    pub verdict: Verdict,
    /// The checks that could not be made; empty if [`CheckSettings::allow_unknown`] is set.
    pub unknown: Vec<&'static str>,
    /// The Jacobians' spectra; `None` when the graph could not be differentiated.
    pub jacobian: Option<JacobianSpectra>,
    /// The checks that apply, in the order of [`crate::CHECKS`].
    pub checks: Vec<CheckResult>,
    /// The checks that do not apply.
    pub skipped: Vec<SkippedCheck>,
}

impl MapReport {
    /// Returns the checks with this verdict.
    pub fn of(&self, verdict: Verdict) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(move |check| check.verdict == verdict)
    }

    /// Returns the check with this name.
    pub fn check(&self, name: &str) -> Option<&CheckResult> {
        self.checks.iter().find(|check| check.name == name)
    }
}

/// Collects the results of checks.
#[derive(Debug)]
pub(crate) struct CheckLog<'a> {
    pub(crate) settings: &'a CheckSettings,
    pub(crate) checks: Vec<CheckResult>,
    pub(crate) skipped: Vec<SkippedCheck>,
}

impl<'a> CheckLog<'a> {
    pub(crate) fn new(settings: &'a CheckSettings) -> Self {
        Self { settings, checks: Vec::new(), skipped: Vec::new() }
    }

    /// Compares a number with the check's limits and records the result.
    pub(crate) fn record(&mut self, name: &'static str, number: f64, meaning: String) {
        self.record_with(name, number, self.settings.limits(name), meaning);
    }

    /// Returns what the check's limits say of a number.
    pub(crate) fn verdict(&self, name: &str, number: f64) -> Verdict {
        verdict(number, bound(name), self.settings.limits(name))
    }

    /// Compares a number with the check's limits and records the result with the sentence that is made for
    /// the verdict.
    pub(crate) fn judge(&mut self, name: &'static str, number: f64, meaning: impl FnOnce(Verdict) -> String) {
        let meaning = meaning(self.verdict(name, number));
        self.record(name, number, meaning);
    }

    /// Compares a number with limits that depend on the map and records the result.
    pub(crate) fn record_with(
        &mut self,
        name: &'static str,
        number: f64,
        limits: CheckLimits,
        meaning: String,
    ) {
        let verdict = verdict(number, bound(name), limits);
        self.checks.push(CheckResult { name, verdict, number, bound: bound(name), limits, meaning });
    }

    /// Records that a check applies, but could not be made.
    pub(crate) fn unknown(&mut self, name: &'static str, reason: impl Into<String>) {
        self.checks.push(CheckResult {
            name,
            verdict: Verdict::Unknown,
            number: f64::NAN,
            bound: bound(name),
            limits: self.settings.limits(name),
            meaning: format!("not examined: {}", reason.into()),
        });
    }

    /// Records that there are too few rows for a check. It does not apply then, unless a limit to fail was
    /// set for it: what is asked for by name and was not examined is unknown.
    pub(crate) fn too_few(&mut self, name: &'static str, reason: impl Into<String>) {
        match self.settings.is_set_to_fail(name) {
            true => self.unknown(name, reason),
            false => self.skip(name, reason),
        }
    }

    pub(crate) fn skip(&mut self, name: &'static str, reason: impl Into<String>) {
        self.skipped.push(SkippedCheck { name, reason: reason.into() });
    }

    /// Returns the checks that could not be made, if that is not allowed.
    pub(crate) fn not_made(&self) -> Vec<&'static str> {
        let counted = self.checks.iter().filter(|_| !self.settings.allow_unknown);
        counted.filter(|check| check.verdict == Verdict::Unknown).map(|check| check.name).collect()
    }

    /// Returns the worst verdict so far that is not allowed.
    pub(crate) fn worst(&self) -> Verdict {
        let allowed = |verdict: &Verdict| *verdict == Verdict::Unknown && self.settings.allow_unknown;
        let verdicts = self.checks.iter().map(|check| check.verdict);
        verdicts.filter(|verdict| !allowed(verdict)).max().unwrap_or(Verdict::Pass)
    }
}

fn bound(name: &str) -> LimitKind {
    definition(name).map_or(LimitKind::AtMost, |check| check.bound)
}

fn verdict(number: f64, bound: LimitKind, limits: CheckLimits) -> Verdict {
    let beyond = |limit: Option<f64>| {
        limit.is_some_and(|limit| match bound {
            LimitKind::AtMost => number > limit,
            LimitKind::AtLeast => number < limit,
        })
    };
    if !number.is_finite() || beyond(limits.fail) {
        Verdict::Fail
    } else if beyond(limits.warn) {
        Verdict::Warn
    } else {
        Verdict::Pass
    }
}

/// Formats a number with about three digits, in the shorter of the plain and the scientific notation.
///
/// ```
/// assert_eq!(chiasm_check::digits(14.137), "14.1");
/// assert_eq!(chiasm_check::digits(1.6e-8), "1.6e-8");
/// ```
pub fn digits(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e5).contains(&size) {
        format!("{value:.1e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else {
        let digits = if size >= 10.0 {
            1
        } else if size >= 1.0 {
            2
        } else {
            3
        };
        let text = format!("{value:.digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let written = [0.0, 1.0, 0.25, 14.137, 191.0, 16_777_216.0, -43.92, 1.6e-8].map(digits);
        assert_eq!(written, ["0", "1", "0.25", "14.1", "191", "1.7e7", "-43.9", "1.6e-8"]);
    }

    #[test]
    fn a_number_equal_to_a_limit_is_within_it() {
        let limits = CheckLimits { warn: Some(1.0), fail: Some(2.0) };
        let at_most = [1.0, 1.5, 2.0, 2.5].map(|n| verdict(n, LimitKind::AtMost, limits));
        assert_eq!(at_most, [Verdict::Pass, Verdict::Warn, Verdict::Warn, Verdict::Fail]);
        assert_eq!(
            verdict(1.0, LimitKind::AtLeast, CheckLimits { warn: None, fail: Some(1.0) }),
            Verdict::Pass
        );
        assert_eq!(verdict(f64::NAN, LimitKind::AtMost, CheckLimits::default()), Verdict::Fail);
    }
}
