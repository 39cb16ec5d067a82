//! `[checks]`: settings by their names, and limits as `<check> = { warn = .., fail = .. }`.

use super::tree::{self, At, Reader, Table};
use crate::base::problem::{Origin, Problem, Problems};
use chiasm_check::{CHECKS, CheckSettings};
use miette::NamedSource;
use std::{cell::RefCell, sync::Arc};

/// `[checks]`: points, tolerances and limits of the checks.
#[derive(Debug, Clone, Default)]
pub struct ChecksRecipe {
    /// Points, tolerances and limits.
    pub settings: CheckSettings,
    /// The column of the pairs that holds each row's label.
    pub labels: Option<At<String>>,
}

/// Reads `[checks]`: settings by their names, and limits as `<check> = { warn = .., fail = .. }`.
pub(super) fn read_checks(root: &Reader<'_>) -> ChecksRecipe {
    let mut checks = ChecksRecipe::default();
    let Some(table) = root.table("checks") else { return checks };
    let settings = &mut checks.settings;
    let count = |key| table.count(key).map(|at| at.value as usize);
    settings.points = count("points").unwrap_or(settings.points).max(1);
    settings.neighbours = count("neighbours").unwrap_or(settings.neighbours).max(1);
    settings.expected_rank = count("expected_rank");
    if let Some(tolerance) = table.number("rank_tolerance") {
        settings.rank_tolerance = tolerance.value;
        if !(0.0..1.0).contains(&tolerance.value) {
            let message = format!(
                "`checks.rank_tolerance` expects a share of the largest singular value, 0 to 1, got {}",
                tolerance.value
            );
            root.problem(Problem::new("chiasm::recipe::checks", message).at(&tolerance.at, "this value"));
        }
    }
    checks.labels = table.string("labels");
    for check in CHECKS {
        if let Some(limits) = table.table(check.name) {
            let number = |key| {
                let limit = limits.number(key)?;
                if limit.value.is_nan() {
                    let message = format!(
                        "`checks.{}.{key}` expects a number, got nan, which nothing exceeds",
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

/// The settings that `--set checks.a=b` assignments make on their own, without a recipe.
///
/// # Errors
/// Every assignment that is not understood.
pub fn settings_of(overrides: &[String], seed: u64) -> Result<CheckSettings, Problems> {
    let mut table = Table::new();
    for assignment in overrides {
        tree::set(&mut table, assignment)?;
    }
    let whole = Origin::new(&Arc::new(NamedSource::new("--set", String::new())), 0..0);
    let problems = RefCell::new(Problems::default());
    let root = Reader::new("", &table, &whole, &problems);
    let checks = read_checks(&root);
    root.finish();
    problems.into_inner().or(Some(CheckSettings { seed, ..checks.settings }))
}
