//! The page about a comparison: which row is best, by how much, whether that is more than chance, and whether
//! the merge may be trusted.

use crate::{
    Report,
    curves::Curve,
    dot_plot::{Dot, dot_plot},
    figure::{COLOURS, ChartSeries, LineChart},
    page::{self, number, said},
    stored::StoredResults,
    verdict::{Trust, Verdict, verdict},
};
use chiasm_pipeline::{
    ComparisonReport, ComparisonRow, CorrectedDifference, Environment, Error, Run, p_text, read_comparison,
};
use serde::Serialize;
use std::path::Path;

/// Everything that the template `comparison.html` shows.
#[derive(Serialize)]
struct ComparisonPage {
    style: &'static str,
    metric: &'static str,
    count: usize,
    trust: &'static str,
    /// Which row is best, in sentences.
    summary: String,
    /// Whether the best row may be trusted, and why.
    verdict: String,
    baseline: String,
    best: String,
    test_rows: usize,
    seeds: usize,
    draws: usize,
    values: String,
    differences: String,
    rows: Vec<TableRow>,
    /// The metric of the fusions' task, if there is one, and the rows with their scores and differences.
    task: Option<String>,
    tasks: Vec<[String; 6]>,
    curve: Option<Curve>,
    needed: Vec<[String; 3]>,
    directions: Vec<String>,
    by_direction: Vec<(String, Vec<String>)>,
    verdicts: Vec<VerdictRow>,
    commands: Vec<(String, String)>,
}

/// A row of the table.
#[derive(Serialize)]
struct TableRow {
    name: String,
    value: String,
    interval: String,
    difference: String,
    difference_interval: String,
    p: String,
    p_holm: String,
    /// `better`, `worse`, `no difference shown`, `baseline` or `other queries`.
    result: &'static str,
    class: &'static str,
    rsum: String,
    seconds: String,
}

/// The verdict on the merge of a row.
#[derive(Serialize)]
struct VerdictRow {
    name: String,
    trust: &'static str,
    sentence: String,
}

/// Makes the page about the comparison in a folder. The runs that it names are opened for their verdicts.
///
/// # Errors
/// If the folder holds no comparison, or its file is damaged.
pub fn comparison_report(folder: &Path, env: &Environment) -> Result<Report, Error> {
    let comparison = read_comparison(folder)?;
    let verdicts: Vec<Verdict> =
        comparison.rows.iter().map(|row| row_verdict(row, &comparison, folder, env)).collect();
    let best = comparison.rows.iter().position(|row| row.name == comparison.best);
    let (trust, sentence) = best.and_then(|at| verdicts.get(at)).map_or_else(
        || (Trust::Care, "There is no best row.".to_owned()),
        |verdict| (verdict.trust, verdict.sentence.clone()),
    );
    let summary = comparison.summary.join(" ");
    let page = ComparisonPage {
        style: page::STYLE,
        metric: comparison.metric.name(),
        count: comparison.rows.len(),
        trust: trust.name(),
        summary: said(&summary),
        verdict: said(&sentence),
        baseline: said(&comparison.baseline),
        best: said(&comparison.best),
        test_rows: comparison.test_rows,
        seeds: comparison.seeds,
        draws: comparison.draws,
        values: values_figure(&comparison),
        differences: differences_figure(&comparison),
        rows: ranked(&comparison).into_iter().map(|row| table_row(row, &comparison)).collect(),
        task: comparison.rows.iter().find_map(|row| Some(said(&row.task.as_ref()?.test.metric))),
        tasks: comparison.rows.iter().filter_map(task_row).collect(),
        curve: curve(&comparison),
        needed: needed(&comparison),
        directions: directions(&comparison),
        by_direction: by_direction(&comparison),
        verdicts: (comparison.rows.iter().zip(&verdicts))
            .map(|(row, verdict)| VerdictRow {
                name: said(&row.name),
                trust: verdict.trust.name(),
                sentence: said(&verdict.sentence),
            })
            .collect(),
        commands: comparison.rows.iter().filter_map(command).collect(),
    };
    let html = page::fill("comparison.html", &page)
        .map_err(|e| Error::Internal(format!("the template of the comparison: {e:#}")))?;
    Ok(Report { html, table: None, trust, verdict: format!("{summary} {sentence}") })
}

/// Returns the verdict on the run of a row. A variant that was not fitted as a run has no checks.
fn row_verdict(
    row: &ComparisonRow,
    comparison: &ComparisonReport,
    folder: &Path,
    env: &Environment,
) -> Verdict {
    let beside = comparison.best_run.as_ref().filter(|_| row.name == comparison.best);
    let run = row.run.clone().or_else(|| beside.map(|name| folder.join(name)));
    let Some(run) = run else {
        let sentence = format!("{} was not fitted as a run, so its maps were not checked.", row.name);
        return Verdict { trust: Trust::Care, sentence };
    };
    let stored = Run::open(&run, env).and_then(|run| StoredResults::read(&run));
    match stored {
        Ok(stored) => verdict(stored.checks.as_ref(), stored.metrics.as_ref()),
        Err(error) => {
            Verdict { trust: Trust::Care, sentence: format!("Its run could not be read: {error}.") }
        }
    }
}

/// Returns the rows, the highest value first.
fn ranked(comparison: &ComparisonReport) -> Vec<&ComparisonRow> {
    let mut rows: Vec<&ComparisonRow> = comparison.rows.iter().collect();
    rows.sort_by(|a, b| b.value.total_cmp(&a.value));
    rows
}

fn range(ends: [f64; 2], show: impl Fn(f64) -> String) -> String {
    ends.map(show).join(" to ")
}

fn table_row(row: &ComparisonRow, comparison: &ComparisonReport) -> TableRow {
    let found = row.difference.as_ref();
    let shown = |of: &dyn Fn(&CorrectedDifference) -> String| found.map(of).unwrap_or_default();
    let signed = |value: f64| format!("{value:+.3}");
    let (result, class) = match found {
        None if row.name == comparison.baseline => ("baseline", ""),
        None => ("other queries", "unknown"),
        Some(found) if !found.is_significant() => ("no difference shown", ""),
        Some(found) if found.difference.mean > 0.0 => ("better", "pass"),
        Some(_) => ("worse", "fail"),
    };
    TableRow {
        name: said(&row.name),
        value: number(row.value),
        interval: range(row.interval, number),
        difference: shown(&|one| signed(one.difference.mean)),
        difference_interval: shown(&|one| range(one.difference.interval, signed)),
        p: shown(&|one| p_text(one.difference.p)),
        p_holm: shown(&|one| p_text(one.p_holm)),
        result,
        class,
        rsum: row.metrics.get("rsum").map(|rsum| format!("{rsum:.1}")).unwrap_or_default(),
        seconds: row.fit_seconds.map(|seconds| format!("{seconds:.1}")).unwrap_or_default(),
    }
}

/// Returns the score of a row's fusion on its task, and its difference to the baseline's.
fn task_row(row: &ComparisonRow) -> Option<[String; 6]> {
    let task = row.task.as_ref().filter(|_| row.asked)?;
    let found = task.difference.as_ref();
    let shown = |of: &dyn Fn(&CorrectedDifference) -> String| found.map(of).unwrap_or_default();
    let signed = |value: f64| format!("{value:+.3}");
    Some([
        said(&row.name),
        number(task.value),
        shown(&|one| signed(one.difference.mean)),
        shown(&|one| range(one.difference.interval, signed)),
        shown(&|one| p_text(one.difference.p)),
        shown(&|one| p_text(one.p_holm)),
    ])
}

fn values_figure(comparison: &ComparisonReport) -> String {
    let dot = |row: &ComparisonRow| Dot {
        name: said(&row.name),
        value: row.value,
        ends: row.interval,
        class: usize::from(row.name != comparison.best),
    };
    let dots: Vec<Dot> = ranked(comparison).into_iter().map(dot).collect();
    dot_plot(&format!("{} of every row with its 95 % interval", comparison.metric.name()), &dots, None)
}

fn differences_figure(comparison: &ComparisonReport) -> String {
    let dot = |row: &&ComparisonRow| {
        let found = row.difference.as_ref()?;
        let class = match (found.is_significant(), found.difference.mean > 0.0) {
            (false, _) => 3,
            (true, true) => 2,
            (true, false) => 1,
        };
        let difference = &found.difference;
        Some(Dot { name: said(&row.name), value: difference.mean, ends: difference.interval, class })
    };
    let dots: Vec<Dot> = ranked(comparison).iter().filter_map(dot).collect();
    if dots.is_empty() {
        return String::new();
    }
    let label = format!("Differences to {} with their 95 % intervals", comparison.baseline);
    dot_plot(&said(&label), &dots, Some(0.0))
}

/// Returns the metric over the number of pairs; at most as many lines as there are colours.
fn curve(comparison: &ComparisonReport) -> Option<Curve> {
    let drawn: Vec<&ComparisonRow> =
        ranked(comparison).into_iter().filter(|row| !row.curve.is_empty()).take(COLOURS).collect();
    drawn.first()?;
    let series = |row: &&ComparisonRow| ChartSeries {
        name: said(&row.name),
        points: row.curve.iter().map(|point| [point.pairs as f64, point.value]).collect(),
        band: row.curve.iter().map(|point| point.interval).collect(),
    };
    let metric = comparison.metric.name();
    let chart = LineChart {
        label: format!("{metric} over the number of training pairs"),
        x: "training pairs".to_owned(),
        y: metric.to_owned(),
        log: false,
        series: drawn.iter().map(series).collect(),
    };
    Some(Curve {
        title: format!("{metric} over the number of training pairs"),
        caption: "The bands are 95 % intervals.".to_owned(),
        svg: chart.svg(),
    })
}

/// Returns how many pairs each row needs.
fn needed(comparison: &ComparisonReport) -> Vec<[String; 3]> {
    let drawn = ranked(comparison).into_iter().filter(|row| !row.curve.is_empty());
    let pairs =
        |found: Option<usize>| found.map_or_else(|| "more than these".to_owned(), |pairs| pairs.to_string());
    drawn.map(|row| [said(&row.name), pairs(row.enough_pairs), pairs(row.pairs_for_baseline)]).collect()
}

fn directions(comparison: &ComparisonReport) -> Vec<String> {
    let mut all: Vec<String> =
        comparison.rows.iter().flat_map(|row| row.directions.keys().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

fn by_direction(comparison: &ComparisonReport) -> Vec<(String, Vec<String>)> {
    let directions = directions(comparison);
    let of = |row: &ComparisonRow| {
        let value =
            |direction: &String| row.directions.get(direction)?.get(comparison.metric.name()).copied();
        directions.iter().map(|direction| value(direction).map_or_else(|| "-".to_owned(), number)).collect()
    };
    ranked(comparison).into_iter().map(|row| (said(&row.name), of(row))).collect()
}

/// Returns the command that makes a run of a row.
fn command(row: &ComparisonRow) -> Option<(String, String)> {
    let quoted = |text: &str| format!("'{}'", said(text).replace('\'', "'\\''"));
    let set: String = row.set.iter().map(|assignment| format!(" --set {}", quoted(assignment))).collect();
    let recipe = row.recipe.as_ref()?.display().to_string();
    Some((said(&row.name), format!("chiasm fit {}{set} -o run", quoted(&recipe))))
}
