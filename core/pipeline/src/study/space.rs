//! The search space of a tuning: `--over align.tau=0.01..0.5:log,align.k=5..20,align.plugin=mlp|gotma`.

use super::optimizer::axis::Axis;
use crate::base::problem::Problem;
use serde_json::Value;
use std::collections::BTreeMap;

/// The values of the keys of a trial.
pub type Setting = BTreeMap<String, Value>;

/// Keys of a recipe, and the values that each may take.
#[derive(Debug)]
pub struct SearchSpace(Vec<SearchedKey>);

/// A key of a recipe, and its values.
#[derive(Debug)]
struct SearchedKey {
    key: String,
    axis: Axis,
    /// The values of a choice, as for `--set`.
    choices: Vec<String>,
}

/// The tables of a recipe whose keys change a fit, but not what it is measured by.
const TUNED: [&str; 3] = ["align", "encoders", "score"];

impl SearchSpace {
    /// Parses `--over` arguments. `is_integer` tells whether a key takes whole numbers only.
    ///
    /// # Errors
    /// If a key or a range is not valid.
    pub fn parse(arguments: &[String], is_integer: &dyn Fn(&str) -> bool) -> Result<Self, Problem> {
        let mut keys: Vec<SearchedKey> = Vec::new();
        for argument in arguments.iter().flat_map(|all| all.split(',')).map(str::trim) {
            let Some((key, values)) = argument.split_once('=') else {
                return Err(wrong(format!("--over expects KEY=VALUES, got {argument:?}")));
            };
            let (key, values) = (key.trim(), values.trim());
            let table = key.split('.').next().unwrap_or_default();
            if key != "seed" && !(key.contains('.') && TUNED.contains(&table)) {
                let message =
                    format!("{key:?} cannot be tuned: it does not change what retrieval is measured on");
                let tables = "keys of [align], [encoders], [score] and `seed` can be tuned";
                return Err(Problem::new("chiasm::study::key", message).help(tables));
            }
            if keys.iter().any(|own| own.key == key) {
                return Err(wrong(format!("--over names {key:?} twice")));
            }
            let (axis, choices) = parse_values(key, values, is_integer(key))?;
            keys.push(SearchedKey { key: key.to_owned(), axis, choices });
        }
        if keys.is_empty() { Err(wrong("--over names no key".to_owned())) } else { Ok(Self(keys)) }
    }

    /// Returns the keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|own| own.key.as_str())
    }

    /// Returns the axes, in the order of the keys.
    pub fn axes(&self) -> Vec<Axis> {
        self.0.iter().map(|own| own.axis.clone()).collect()
    }

    /// Returns the values of a choice; empty for a range and for other keys.
    pub fn choices(&self, key: &str) -> &[String] {
        self.0.iter().find(|own| own.key == key).map_or(&[], |own| own.choices.as_slice())
    }

    /// Returns the setting with these values on the axes.
    pub fn setting(&self, values: &[f64]) -> Setting {
        let value = |(own, value): (&SearchedKey, &f64)| {
            let named = match own.axis {
                Axis::Real { .. } => Value::from(*value),
                Axis::Integer { .. } => Value::from(*value as i64),
                Axis::Choice { .. } => own.choices.get(*value as usize).cloned().into(),
            };
            (own.key.clone(), named)
        };
        self.0.iter().zip(values).map(value).collect()
    }

    /// Returns the values on the axes of a setting, or `None` if it is not in the space.
    pub fn values(&self, setting: &Setting) -> Option<Vec<f64>> {
        let value = |own: &SearchedKey| {
            let value = setting.get(&own.key)?;
            let number = match own.axis {
                Axis::Choice { .. } => {
                    let text = text(value);
                    own.choices.iter().position(|choice| *choice == text)? as f64
                }
                _ => value.as_f64()?,
            };
            own.axis.unit(number).map(|_| number)
        };
        self.0.iter().map(value).collect()
    }

    /// Returns settings that change one key each: every choice, and both ends of every range.
    pub fn extremes(&self) -> Vec<Setting> {
        let ends = |own: &SearchedKey| -> Vec<Value> {
            match own.axis {
                Axis::Real { low, high, .. } => vec![low.into(), high.into()],
                Axis::Integer { low, high, .. } => vec![low.into(), high.into()],
                Axis::Choice { .. } => own.choices.iter().cloned().map(Value::from).collect(),
            }
        };
        let one = |own: &SearchedKey, value| Setting::from([(own.key.clone(), value)]);
        self.0.iter().flat_map(|own| ends(own).into_iter().map(|value| one(own, value))).collect()
    }
}

/// Returns a setting as `--set` assignments.
pub fn assignments(setting: &Setting) -> Vec<String> {
    setting.iter().map(|(key, value)| format!("{key}={}", text(value))).collect()
}

/// Returns a value as `--set` takes it.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Parses `a..b`, `a..b:log` or `x|y|z`.
fn parse_values(key: &str, values: &str, integer: bool) -> Result<(Axis, Vec<String>), Problem> {
    let (range, log) = values.strip_suffix(":log").map_or((values, false), |range| (range, true));
    let Some((low, high)) = range.split_once("..") else {
        let choices: Vec<String> = values.split('|').map(|one| one.trim().to_owned()).collect();
        if choices.len() < 2 || choices.iter().any(String::is_empty) {
            return Err(wrong(format!("`{key}` expects a range or two or more choices, got {values:?}")));
        }
        return Ok((Axis::Choice { count: choices.len() }, choices));
    };
    let bad = |what: &str| wrong(format!("`{key}` expects {what}, got {values:?}"));
    if integer {
        let end = |text: &str| text.trim().parse::<i64>().map_err(|_| bad("two whole numbers"));
        let (low, high) = (end(low)?, end(high)?);
        check_range(key, values, low as f64, high as f64, log)?;
        return Ok((Axis::Integer { low, high, log }, Vec::new()));
    }
    let end = |text: &str| {
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| bad("two numbers"))
    };
    let (low, high) = (end(low)?, end(high)?);
    check_range(key, values, low, high, log)?;
    Ok((Axis::Real { low, high, log }, Vec::new()))
}

fn check_range(key: &str, values: &str, low: f64, high: f64, log: bool) -> Result<(), Problem> {
    if low >= high {
        return Err(wrong(format!(
            "`{key}` expects a range from a smaller to a larger number, got {values:?}"
        )));
    }
    if log && low <= 0.0 {
        return Err(wrong(format!("`{key}` expects a logarithmic range above 0, got {values:?}")));
    }
    Ok(())
}

fn wrong(message: String) -> Problem {
    let example = "for example --over align.lambda_ot=0..1,align.tau=0.01..0.5:log,align.plugin=mlp|gotma";
    Problem::new("chiasm::study::over", message).help(example)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SearchSpace, Problem> {
        SearchSpace::parse(&[text.to_owned()], &|key| key == "align.k" || key == "seed")
    }

    #[test]
    fn ranges_integers_and_choices_are_parsed() {
        let space =
            parse("align.lambda_ot=0..1,align.tau=0.01..0.5:log, align.k=5..20,align.plugin=mlp|gotma")
                .unwrap();
        let setting = space.setting(&[0.25, 0.05, 7.0, 1.0]);
        assert_eq!(
            assignments(&setting),
            ["align.k=7", "align.lambda_ot=0.25", "align.plugin=gotma", "align.tau=0.05"]
        );
        assert_eq!(space.values(&setting), Some(vec![0.25, 0.05, 7.0, 1.0]));
        assert_eq!(space.extremes().len(), 8);
        // whole ends of a key that takes any number
        assert_eq!(space.axes()[0], Axis::Real { low: 0.0, high: 1.0, log: false });
        let outside = Setting::from([("align.tau".to_owned(), Value::from(0.9))]);
        assert_eq!(space.values(&outside), None);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("align.tau", "KEY=VALUES"),
            ("align.tau=0.5..0.1", "smaller"),
            ("align.tau=0..1:log", "above 0"),
            ("align.tau=a..b", "two numbers"),
            ("align.k=1.5..3", "two whole numbers"),
            ("align.plugin=mlp", "two or more choices"),
            ("align.tau=0..1,align.tau=0..2", "twice"),
            ("fuse.epochs=1..3", "cannot be tuned"),
            ("data.pairs=a|b", "cannot be tuned"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
