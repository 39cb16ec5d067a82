//! The command `chiasm compare`.

use crate::{
    CommandResult,
    args::{CompareArgs, GlobalOptions},
    json, print,
    study::metric,
};
use chiasm_pipeline::{
    CompareOptions, ComparisonReport, ComparisonRow, CorrectedDifference, Environment, Error, FailCondition,
    FitProgress,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// The report with what the conditions of `--fail-if` found.
#[derive(Serialize)]
struct WithFailures<'a> {
    #[serde(flatten)]
    report: &'a ComparisonReport,
    failures: &'a [String],
}

/// Runs `chiasm compare`.
pub fn compare(args: &CompareArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let conditions = args.fail_if.iter().map(|text| FailCondition::parse(text));
    let conditions = conditions.collect::<CommandResult<Vec<_>>>()?;
    let options = CompareOptions {
        subjects: args.subjects.clone(),
        overrides: args.overrides.clone(),
        swaps: args.swap.clone(),
        baseline: args.baseline.clone(),
        metric: metric(args.metric),
        pairs: ascending(&args.pairs),
        seeds: args.seeds,
        folds: args.folds(),
        skip_bad: args.skip_bad,
    };
    conditions.iter().try_for_each(|condition| condition.check_metric(options.metric))?;
    if let Some(folder) = &args.output {
        chiasm_pipeline::check_comparison_folder(folder)?;
    }
    let mut ready = |fit: &FitProgress<'_>| env.reporter.note(&progress_line(fit));
    let mut report = chiasm_pipeline::compare(&options, env, &mut ready)?;
    if let Some(folder) = &args.output {
        chiasm_pipeline::write_comparison(&report, folder)?; // stays if the next fit is stopped
        chiasm_pipeline::fit_best(&mut report, folder, args.skip_bad, env)?;
        chiasm_pipeline::write_comparison(&report, folder)?;
        chiasm_report::comparison_report(folder, env)?.write(&folder.join("report.html"))?;
    }
    let mut failures = Vec::new();
    for condition in &conditions {
        failures.extend(condition.failures(&report)?);
    }
    if json(global) {
        print::json(&WithFailures { report: &report, failures: &failures });
    } else {
        comparison(&report);
        if let Some(folder) = &args.output {
            print::line(&format!("wrote {}", folder.display()));
        }
        if failures.is_empty() && !conditions.is_empty() {
            print::line(&format!("--fail-if: none of {} conditions holds", conditions.len()));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::Gate(format!("--fail-if: {}", failures.join("; ")))) }
}

/// Returns the numbers in ascending order, each once.
fn ascending(pairs: &[usize]) -> Vec<usize> {
    pairs.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

fn progress_line(fit: &FitProgress<'_>) -> String {
    let [done, all] = fit.done;
    let task = fit.task.map(print::task_score).unwrap_or_default();
    let stored = if fit.stored { " (from an earlier fit)" } else { "" };
    format!("fit {done} of {all}: {}: rsum {:.1}{task}{stored}", fit.name, fit.retrieval.rsum)
}

/// Prints the table of a comparison, its curves and its summary.
fn comparison(report: &ComparisonReport) {
    let (header, rows) = table(report);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    print::table(&header, rows, 1);
    curves(report);
    print::line("");
    let seeds = if report.seeds > 1 { format!(", {} seeds", report.seeds) } else { String::new() };
    let metric = report.metric.name();
    print::line(&format!(
        "{metric}: mean over all directions, {} test rows{seeds}; differences are to {}",
        report.test_rows, report.baseline
    ));
    for sentence in &report.summary {
        print::line(sentence);
    }
    for row in report.rows.iter().filter(|row| row.difference.is_none() && row.name != report.baseline) {
        print::line(&format!(
            "{}: its test queries are not those of the baseline, so no test is made",
            row.name
        ));
    }
}

/// Returns the header and the rows of the table.
fn table(report: &ComparisonReport) -> (Vec<String>, Vec<Vec<String>>) {
    let all = &report.rows;
    let directions: BTreeSet<&String> = all.iter().flat_map(|row| row.directions.keys()).collect();
    let emergent = |direction: &str| {
        let named =
            |[a, b]: &[String; 2]| direction == format!("{a}->{b}") || direction == format!("{b}->{a}");
        all.iter().flat_map(|row| &row.emergent).any(named)
    };
    let folds = all.iter().any(|row| row.cross_validation.is_some());
    let task = all.iter().find_map(|row| row.task.as_ref());
    let task_folds =
        all.iter().any(|row| row.task.as_ref().is_some_and(|task| task.cross_validation.is_some()));
    let mut header: Vec<String> =
        ["row", report.metric.name(), "95 %", "difference", "95 %", "p", "p (Holm)"]
            .map(str::to_owned)
            .to_vec();
    header.extend(
        directions.iter().map(|direction| {
            format!("R@1 {direction}{}", if emergent(direction) { " (emergent)" } else { "" })
        }),
    );
    header.push("rsum".to_owned());
    header.extend(["CV rsum", "sd"].iter().filter(|_| folds).map(|name| (*name).to_owned()));
    if let Some(task) = task {
        let name = format!("task, {}", print::metric(&task.test.metric));
        header.extend([name, "difference".to_owned(), "p".to_owned(), "p (Holm)".to_owned()]);
    }
    header.extend(["CV task", "95 %"].iter().filter(|_| task_folds).map(|name| (*name).to_owned()));
    header.push("fit s".to_owned());
    let line = |row: &ComparisonRow| {
        let mut line = vec![row.name.clone(), number(row.value), range(row.interval, number)];
        line.extend(difference(row.difference.as_ref()));
        let recall = |direction: &&String| row.directions.get(*direction)?.get("recall@1").copied();
        line.extend(directions.iter().map(|direction| shown(recall(direction), print::percent)));
        line.push(shown(row.metrics.get("rsum").copied(), |rsum| format!("{rsum:.1}")));
        if folds {
            let of =
                |get: fn(&chiasm_pipeline::CrossValidation) -> f64| row.cross_validation.as_ref().map(get);
            line.extend([of(|cv| cv.rsum), of(|cv| cv.rsum_sd)].map(|v| shown(v, |v| format!("{v:.1}"))));
        }
        if let Some(first) = task {
            let show = |value: f64| print::score(&first.test.metric, value);
            line.push(shown(row.task.as_ref().map(|task| task.value), show));
            let [mean, _, p, p_holm] =
                difference(row.task.as_ref().and_then(|task| task.difference.as_ref()));
            line.extend([mean, p, p_holm]);
            if task_folds {
                let cv = row.task.as_ref().and_then(|task| task.cross_validation.as_ref());
                line.push(shown(cv.map(|cv| cv.score), show));
                line.push(cv.map_or_else(|| "-".to_owned(), |cv| range(cv.interval, show)));
            }
        }
        line.push(shown(row.fit_seconds, |seconds| format!("{seconds:.1}")));
        line
    };
    (header, all.iter().map(line).collect())
}

/// Prints the metric on fewer pairs, a column for each number of pairs.
fn curves(report: &ComparisonReport) {
    let drawn: Vec<&ComparisonRow> = report.rows.iter().filter(|row| !row.curve.is_empty()).collect();
    if drawn.is_empty() {
        return;
    }
    let mut header: Vec<String> = vec![format!("{} on pairs", report.metric.name())];
    header.extend(report.pairs.iter().map(usize::to_string));
    header.extend(["all", "95 % of all", "as the baseline"].map(str::to_owned));
    let line = |row: &&ComparisonRow| {
        let mut line = vec![row.name.clone()];
        line.extend(
            row.curve
                .iter()
                .map(|point| format!("{} ({})", number(point.value), range(point.interval, number))),
        );
        let pairs = |found: Option<usize>| found.map_or_else(|| "-".to_owned(), |pairs| pairs.to_string());
        line.extend([pairs(row.enough_pairs), pairs(row.pairs_for_baseline)]);
        line
    };
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    print::line("");
    print::table(&header, drawn.iter().map(line).collect(), 1);
}

fn difference(found: Option<&CorrectedDifference>) -> [String; 4] {
    let Some(found) = found else { return [(); 4].map(|()| "-".to_owned()) };
    let signed = |value: f64| format!("{value:+.4}");
    let p = |p: f64| if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") };
    let tested = &found.difference;
    [signed(tested.mean), range(tested.interval, signed), p(tested.p), p(found.p_holm)]
}

fn number(value: f64) -> String {
    format!("{value:.4}")
}

fn range(interval: [f64; 2], show: impl Fn(f64) -> String) -> String {
    interval.map(show).join("..")
}

fn shown(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}
