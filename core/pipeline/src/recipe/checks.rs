//! `[checks]`: settings of the checks, and limits as `<check> = { warn = .., fail = .. }`.

use super::{
    reader::{Located, TableReader},
    tree::{self, TomlTable},
};
use crate::base::problem::{Problem, Problems, SourceSpan};
use chiasm_check::{CHECKS, CheckSettings};
use miette::NamedSource;
use std::{cell::RefCell, sync::Arc};

/// The table `[checks]`.
#[derive(Debug, Clone, Default)]
pub struct ChecksRecipe {
    /// Points, tolerances and limits.
    pub settings: CheckSettings,
    /// The column of the data that holds the label of each row.
    pub labels: Option<Located<String>>,
}

/// Reads `[checks]`.
pub(super) fn read_checks(root: &TableReader<'_>) -> ChecksRecipe {
    let mut checks = ChecksRecipe::default();
    let Some(table) = root.table("checks") else { return checks };
    let settings = &mut checks.settings;
    let count = |key| table.count(key).map(|at| at.value as usize);
    settings.points = count("points").map(|points| points.max(1));
    settings.neighbours = count("neighbours").unwrap_or(settings.neighbours).max(1);
    settings.expected_rank = count("expected_rank");
    if let Some(tolerance) = table.number("rank_tolerance") {
        settings.rank_tolerance = tolerance.value;
        if !(0.0..1.0).contains(&tolerance.value) {
            let message = format!(
                "`checks.rank_tolerance` expects a fraction of the largest singular value, 0 to 1, got {}",
                tolerance.value
            );
            root.problem(Problem::new("chiasm::recipe::checks", message).at(&tolerance.at, "this value"));
        }
    }
    if let Some(allow) = table.boolean("allow_unknown") {
        settings.allow_unknown = allow.value;
    }
    checks.labels = table.string("labels");
    for check in CHECKS {
        if let Some(limits) = table.table(check.name) {
            let number = |key| {
                let limit = limits.number(key)?;
                if limit.value.is_nan() {
                    let message = format!(
                        "`checks.{}.{key}` expects a number, got nan, which no value exceeds",
                        check.name
                    );
                    root.problem(Problem::new("chiasm::recipe::checks", message).at(&limit.at, "this limit"));
                }
                Some(limit.value)
            };
            checks.settings.set_limits(check, number("warn"), number("fail"));
            limits.finish();
        }
    }
    table.finish();
    checks
}

/// Returns the settings that `--set checks.a=b` assignments give without a recipe.
///
/// # Errors
/// Every invalid assignment.
pub fn settings_from_overrides(overrides: &[String], seed: u64) -> Result<CheckSettings, Problems> {
    let mut table = TomlTable::new();
    for assignment in overrides {
        tree::set(&mut table, assignment)?;
    }
    let whole = SourceSpan::new(&Arc::new(NamedSource::new("--set", String::new())), 0..0);
    let problems = RefCell::new(Problems::default());
    let root = TableReader::new("", &table, &whole, &problems);
    let checks = read_checks(&root);
    root.finish();
    problems.into_inner().or(Some(CheckSettings { seed, ..checks.settings }))
}
