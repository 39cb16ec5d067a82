//! Conditions under which a comparison fails, for automatic tests: `recall@1 drops 0.01`.

use super::report::{ComparisonReport, ComparisonRow};
use crate::{base::error::Error, run::query_scores::StudyMetric};

/// A condition under which a comparison fails.
#[derive(Debug, Clone, PartialEq)]
pub struct FailCondition {
    /// The condition as it was written.
    text: String,
    metric: String,
    test: FailTest,
    /// `None` for the mean over all directions.
    direction: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum FailTest {
    /// The value is below that of the baseline by at least this.
    Drops(f64),
    /// The same, as a share of the baseline's value.
    DropsShare(f64),
    /// The value is below that of the baseline, with a corrected p-value below 0.05.
    DropsSignificantly,
    /// The value is below this.
    Below(f64),
}

/// Values that differ by less are equal.
const ROUNDING: f64 = 1e-9;

impl FailCondition {
    /// Parses a condition:
    ///
    /// ```text
    /// METRIC drops AMOUNT          the value is below the baseline's by AMOUNT or more: recall@1 drops 0.01
    /// METRIC drops N%              the same, as a share of the baseline's value: rsum drops 2%
    /// METRIC drops significantly   the value is below the baseline's, with a corrected p-value below 0.05
    /// METRIC below VALUE           the value is below VALUE: recall@1 below 0.3
    /// ... in DIRECTION             of one direction, not the mean over all: recall@1 drops 0.01 in a->b
    /// ```
    ///
    /// # Errors
    /// If it has another form. The message names the forms.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what: String| {
            let message = format!("--fail-if {text:?}: {what}");
            Error::input("chiasm::compare::fail_if", message, format!("the forms are {FORMS}"))
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let direction = match words.as_slice() {
            [.., "in", direction] => Some((*direction).to_owned()),
            _ => None,
        };
        if direction.is_some() {
            words.truncate(words.len() - 2);
        }
        let [metric, verb, amount] = words[..] else {
            return Err(bad(format!(
                "expected a metric, `drops` or `below`, and an amount, got {} words",
                words.len()
            )));
        };
        if StudyMetric::named(metric).is_none() && metric != "rsum" {
            let known: Vec<&str> = StudyMetric::ALL.iter().map(|metric| metric.name()).collect();
            return Err(bad(format!("expected a metric ({}, rsum), got {metric:?}", known.join(", "))));
        }
        let number = |text: &str| match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(bad(format!("expected a number that is not negative, got {text:?}"))),
        };
        let test = match (verb, amount, amount.strip_suffix('%')) {
            ("drops", "significantly", _) => FailTest::DropsSignificantly,
            ("drops", _, Some(percent)) => FailTest::DropsShare(number(percent)? / 100.0),
            ("drops", amount, None) => FailTest::Drops(number(amount)?),
            ("below", amount, _) => FailTest::Below(number(amount)?),
            _ => return Err(bad(format!("expected `drops` or `below`, got {verb:?}"))),
        };
        if test == FailTest::DropsSignificantly && direction.is_some() {
            return Err(bad("`significantly` is about the mean over all directions".to_owned()));
        }
        Ok(Self { text: text.to_owned(), metric: metric.to_owned(), test, direction })
    }

    /// Fails if the condition is about a test that the comparison does not make.
    ///
    /// # Errors
    /// If it says `significantly` about another metric than that of the comparison.
    pub fn check_metric(&self, metric: StudyMetric) -> Result<(), Error> {
        if self.test == FailTest::DropsSignificantly && self.metric != metric.name() {
            let message =
                format!("--fail-if {:?}: the p-values are those of --metric {}", self.text, metric.name());
            let help = format!("give --metric {}, or an amount in place of `significantly`", self.metric);
            return Err(Error::input("chiasm::compare::fail_if", message, help));
        }
        Ok(())
    }

    /// Returns what the condition finds: a sentence for each row that fails. Rows whose score the recipe does
    /// not ask for are left out, as is the baseline for a drop.
    ///
    /// # Errors
    /// If a row cannot be compared: it lacks the direction, or its test queries are not those of the
    /// baseline.
    pub fn failures(&self, report: &ComparisonReport) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for row in report.rows.iter().filter(|row| row.asked) {
            if let FailTest::Below(least) = self.test {
                let value = self.value(row)?;
                if value < least - ROUNDING {
                    found.push(format!("{} of {} is {value:.4}, below {least}", self.what(), row.name));
                }
            } else if row.name != report.baseline {
                found.extend(self.dropped(row, report)?);
            }
        }
        Ok(found)
    }

    fn dropped(&self, row: &ComparisonRow, report: &ComparisonReport) -> Result<Option<String>, Error> {
        let (Some(difference), Some(baseline)) =
            (&row.difference, report.rows.iter().find(|row| row.name == report.baseline))
        else {
            let message = format!(
                "--fail-if {:?}: {} and the baseline {} do not have the same test queries",
                self.text, row.name, report.baseline
            );
            let help = "compare fits on the same data, with the same items and modalities";
            return Err(Error::input("chiasm::compare::queries", message, help));
        };
        let (own, before) = (self.value(row)?, self.value(baseline)?);
        let drop = before - own;
        let fails = match self.test {
            FailTest::Drops(amount) => drop > ROUNDING && drop >= amount - ROUNDING,
            FailTest::DropsShare(share) => drop > ROUNDING && drop >= share * before - ROUNDING,
            FailTest::DropsSignificantly => drop > ROUNDING && difference.is_significant(),
            FailTest::Below(_) => false,
        };
        let p = match self.test {
            FailTest::DropsSignificantly => format!(", {}", super::report::p_text(difference.p_holm)),
            _ => String::new(),
        };
        let what = self.what();
        Ok(fails.then(|| {
            format!(
                "{what} of {} is {own:.4}, {drop:.4} below the baseline {} ({before:.4}){p}",
                row.name, baseline.name
            )
        }))
    }

    fn what(&self) -> String {
        let direction = self.direction.iter().map(|direction| format!(" in {direction}"));
        self.metric.clone() + &direction.collect::<String>()
    }

    fn value(&self, row: &ComparisonRow) -> Result<f64, Error> {
        let Some(direction) = &self.direction else {
            return Ok(row.metrics.get(&self.metric).copied().unwrap_or(f64::NAN));
        };
        let Some(of) = row.directions.get(direction) else {
            let names: Vec<&str> = row.directions.keys().map(String::as_str).collect();
            let message = format!("--fail-if {:?}: {} has no direction {direction:?}", self.text, row.name);
            let help = format!("its directions are {}", names.join(", "));
            return Err(Error::input("chiasm::compare::direction", message, help));
        };
        let recalls =
            || ["recall@1", "recall@5", "recall@10"].iter().filter_map(|name| of.get(*name)).sum::<f64>();
        Ok(of.get(&self.metric).copied().unwrap_or_else(|| 100.0 * recalls()))
    }
}

/// The forms of a condition, for messages.
const FORMS: &str = "\"METRIC drops AMOUNT\" (recall@1 drops 0.01), \"METRIC drops N%\", \"METRIC drops \
                     significantly\" and \"METRIC below VALUE\"; those with a number also with \"in \
                     DIRECTION\" (in image->text)";

#[cfg(test)]
mod tests;
