//! The commands `chiasm tune` and `chiasm ablate`.

use crate::{
    CommandResult,
    args::{AblateArgs, GlobalOptions, MetricArg, TuneArgs},
    json, print,
};
use chiasm_pipeline::{
    AblateOptions, AblationReport, Environment, PairedDifference, StudyMetric, Trial, TuneOptions,
    TuneProgress, TuneReport,
};
use std::{collections::BTreeSet, time::Duration};

/// Runs `chiasm tune`.
pub fn tune(args: &TuneArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let study = &args.study;
    let options = TuneOptions {
        over: args.over.clone(),
        trials: args.trials,
        metric: metric(study.metric),
        folds: args.folds,
        output: study.output.clone(),
        skip_bad: study.skip_bad,
    };
    let name = options.metric.name();
    let mut ready = |progress: &TuneProgress<'_>| env.reporter.note(&progress_line(progress, name));
    let recipe = &study.recipe;
    let report = chiasm_pipeline::tune(&recipe.recipe, &recipe.overrides, &options, env, &mut ready)?;
    if json(global) {
        print::json(&report);
    } else {
        tune_table(&report);
    }
    Ok(())
}

/// Runs `chiasm ablate`.
pub fn ablate(args: &AblateArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let study = &args.study;
    let options = AblateOptions {
        baselines: args.baselines.iter().filter(|id| !id.is_empty()).cloned().collect(),
        pairs: args.pairs.clone(),
        set_each: args.set_each.clone(),
        swap_encoders: args.swap_encoder.clone(),
        metric: metric(study.metric),
        output: study.output.clone(),
        skip_bad: study.skip_bad,
    };
    let name = options.metric.name();
    let mut ready = |row: &chiasm_pipeline::AblationRow| {
        let result = row.error.clone().unwrap_or_else(|| format!("{name} {}", number(row.score)));
        env.reporter.note(&format!("{} {}: {result}", row.kind, row.change));
    };
    let recipe = &study.recipe;
    let report = chiasm_pipeline::ablate(&recipe.recipe, &recipe.overrides, &options, env, &mut ready)?;
    if json(global) {
        print::json(&report);
    } else {
        ablation_table(&report);
    }
    Ok(())
}

/// Returns the metric that an argument names.
pub fn metric(argument: MetricArg) -> StudyMetric {
    match argument {
        MetricArg::Map => StudyMetric::Map,
        MetricArg::Mrr => StudyMetric::Mrr,
        MetricArg::RecallAt1 => StudyMetric::RecallAt1,
        MetricArg::RecallAt5 => StudyMetric::RecallAt5,
        MetricArg::RecallAt10 => StudyMetric::RecallAt10,
        MetricArg::NdcgAt10 => StudyMetric::NdcgAt10,
    }
}

/// Formats the state of a tuning as one line.
fn progress_line(progress: &TuneProgress<'_>, metric: &str) -> String {
    let Trial { trial, score, error, .. } = progress.trial;
    let result = error.clone().unwrap_or_else(|| format!("{metric} {}", number(*score)));
    let best = progress.best.map(|best| format!("; best {} (trial {})", number(best.score), best.trial));
    let left = Duration::from_secs_f64(progress.remaining_seconds.max(0.0)).as_secs();
    let left = match left {
        0 => String::new(),
        1..=90 => format!("; about {left} s left"),
        _ => format!("; about {} min left", left.div_ceil(60)),
    };
    format!("trial {} of {}: {result}{}{left}", trial + 1, progress.trials, best.unwrap_or_default())
}

/// Prints the trials, best first, and the comparison on the test rows.
fn tune_table(report: &TuneReport) {
    let metric = report.metric.name();
    let keys: BTreeSet<&String> = report.trials.iter().flat_map(|trial| trial.setting.keys()).collect();
    let score = format!("{metric}, validation");
    let mut header = vec!["trial"];
    header.extend(keys.iter().map(|key| key.as_str()));
    header.extend([score.as_str(), "s"]);
    let row = |trial: &Trial| {
        let mut row = vec![trial.trial.to_string()];
        let own = |key: &&String| trial.setting.get(*key).map(|value| value.to_string().replace('"', ""));
        let unset = if trial.trial == 0 { "(recipe)" } else { "" };
        row.extend(keys.iter().map(|key| own(key).unwrap_or_else(|| unset.to_owned())));
        row.push(trial.error.as_ref().map_or_else(|| number(trial.score), |_| "failed".to_owned()));
        row.push(format!("{:.1}", trial.seconds));
        row
    };
    print::table(&header, report.trials.iter().map(row).collect(), 0);
    for trial in report.trials.iter().filter(|trial| trial.error.is_some()) {
        let reason = trial.error.as_deref().unwrap_or_default();
        print::line(&format!("trial {} failed: {reason}", trial.trial));
    }
    print::line(&format!("{} validation rows chose the setting; on the test rows:", report.validation_rows));
    print::line("");
    let test = &report.test;
    let mut rows: Vec<Vec<String>> = (test.directions.iter())
        .map(|(name, [own, best])| {
            vec![
                format!("{name}, {metric}"),
                number(Some(*own)),
                number(Some(*best)),
                signed(best - own),
                String::new(),
            ]
        })
        .collect();
    rows.push(vec![
        format!("mean {metric}"),
        number(Some(test.own)),
        number(Some(test.best)),
        signed(test.best - test.own),
        interval(test.difference.as_ref()),
    ]);
    print::table(&["test rows", "recipe", "best", "difference", "95 %"], rows, 1);
    if report.best.is_empty() {
        print::line("no setting was better than the recipe's own on the validation rows");
    }
    print::line(&format!("wrote {}", report.best_recipe.display()));
}

/// Prints every fit with its difference to the recipe.
fn ablation_table(report: &AblationReport) {
    let metric = report.metric.name();
    let rows = (report.fits.iter())
        .map(|fit| {
            let difference = fit.difference.as_ref();
            vec![
                fit.kind.clone(),
                fit.change.clone(),
                fit.error.as_ref().map_or_else(|| number(fit.score), |_| "failed".to_owned()),
                difference.map(|found| signed(found.mean)).unwrap_or_default(),
                interval(difference),
                format!("{:.1}", fit.seconds),
            ]
        })
        .collect();
    print::table(&["", "change", metric, "difference", "95 %", "s"], rows, 2);
    for fit in report.fits.iter().filter(|fit| fit.error.is_some()) {
        print::line(&format!(
            "{} {} failed: {}",
            fit.kind,
            fit.change,
            fit.error.as_deref().unwrap_or_default()
        ));
    }
    print::line(&format!("mean over all directions, {} test rows", report.rows));
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

fn signed(value: f64) -> String {
    format!("{value:+.4}")
}

fn interval(difference: Option<&PairedDifference>) -> String {
    difference.map(|found| found.interval.map(signed).join("..")).unwrap_or_default()
}
