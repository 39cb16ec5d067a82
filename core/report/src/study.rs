//! The page about a tuning or an ablation: what was tried, what it gained, and whether that is more than
//! chance.

use crate::{
    Report,
    curves::Curve,
    dot_plot::{Dot, dot_plot},
    figure::{ChartSeries, LineChart},
    page::{self, number, said},
    verdict::Trust,
};
use chiasm_pipeline::{
    AblationReport, AblationRow, Error, PairedDifference, StudyResult, Trial, TuneReport, p_text, read_study,
};
use serde::Serialize;
use std::{collections::BTreeSet, path::Path};

/// Everything that the template `study.html` shows.
#[derive(Serialize)]
struct StudyPage {
    style: &'static str,
    title: String,
    summary: String,
    /// What the main figure shows, the figure, and its caption.
    figure: Curve,
    /// The score over the number of pairs.
    curve: Option<Curve>,
    table_of_fits: Table,
    /// The scores of each direction.
    directions: Table,
    /// The fits that failed, and why.
    failed: Vec<(String, String)>,
    method: String,
    next: Vec<String>,
}

/// A table: its columns, and its cells as text. The first `texts` columns are no numbers.
#[derive(Serialize)]
struct Table {
    header: Vec<String>,
    texts: usize,
    rows: Vec<Vec<String>>,
}

/// Makes the page about the study in a folder.
///
/// # Errors
/// If the folder holds no result of a study, or its file is damaged.
pub fn study_report(folder: &Path) -> Result<Report, Error> {
    let page = match read_study(folder)? {
        StudyResult::Tuning(report) => tuning(&report, folder),
        StudyResult::Ablation(report) => ablation(&report),
    };
    let html = page::fill("study.html", &page)
        .map_err(|e| Error::Internal(format!("the template of the study: {e:#}")))?;
    // The maps of a study are not checked.
    Ok(Report { html, table: None, trust: Trust::Care, verdict: page.summary })
}

fn signed(value: f64) -> String {
    format!("{value:+.3}")
}

fn seconds(value: f64) -> String {
    format!("{value:.1}")
}

fn range(ends: [f64; 2]) -> String {
    ends.map(signed).join(" to ")
}

/// Returns whether a difference is larger than chance, in words.
fn judged(difference: &PairedDifference) -> String {
    let (mean, ends) = (signed(difference.mean), range(difference.interval));
    let p = p_text(difference.p);
    match difference.p < 0.05 {
        true => format!("a difference of {mean} (95 % interval {ends}, {p})"),
        false => format!("a difference of {mean} (95 % interval {ends}, {p}), which may be chance"),
    }
}

fn tuning(report: &TuneReport, folder: &Path) -> StudyPage {
    let (metric, test) = (report.metric.name(), &report.test);
    let failed: Vec<&Trial> = report.trials.iter().filter(|trial| trial.error.is_some()).collect();
    let difference = test.difference.as_ref().map(|found| format!(", {}", judged(found))).unwrap_or_default();
    let summary = match report.best.is_empty() {
        true => format!(
            "No setting of {} was better than the recipe's own on the validation rows, whose {metric} on the \
             test rows is {}.",
            report.trials.len(),
            number(test.own)
        ),
        false => format!(
            "The best of {} settings has {metric} {} on the test rows, and the recipe's own {}{difference}.",
            report.trials.len(),
            number(test.best),
            number(test.own)
        ),
    };
    let set: Vec<String> = report.best.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let best = if set.is_empty() { String::new() } else { format!(" The best: {}.", set.join(", ")) };
    StudyPage {
        style: page::STYLE,
        title: format!("Tuning with {} trials", report.trials.len()),
        summary: said(&(summary + &best)),
        figure: trials_figure(report),
        curve: None,
        table_of_fits: trials_table(report),
        directions: Table {
            header: ["direction", "recipe", "best"].map(str::to_owned).to_vec(),
            texts: 1,
            rows: (test.directions.iter())
                .map(|(name, scores)| [vec![said(name)], scores.map(number).to_vec()].concat())
                .collect(),
        },
        failed: failed
            .iter()
            .map(|trial| (format!("trial {}", trial.trial), said(trial.error.as_deref().unwrap_or_default())))
            .collect(),
        method: format!(
            "Each trial is scored by {metric} on {} validation rows, which no trial was fitted on. The best \
             setting was chosen by that score alone, and its score there is rather too high than too low. \
             The test rows were scored once, for the recipe's own setting and for the best one; the interval \
             and the p-value are from a paired bootstrap over the test rows.",
            report.validation_rows
        ),
        next: vec![format!("chiasm fit '{}' -o run", said(&folder.join("best.toml").display().to_string()))],
    }
}

/// Returns the score of every trial, and the best until then.
fn trials_figure(report: &TuneReport) -> Curve {
    let mut scored: Vec<[f64; 2]> =
        (report.trials.iter()).filter_map(|trial| Some([trial.trial as f64, trial.score?])).collect();
    scored.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let best = scored.iter().scan(f64::NEG_INFINITY, |best, [trial, score]| {
        *best = best.max(*score);
        Some([*trial, *best])
    });
    let best = ChartSeries { name: "best until then".to_owned(), points: best.collect(), band: Vec::new() };
    let each = ChartSeries { name: "trial".to_owned(), points: scored, band: Vec::new() };
    let metric = report.metric.name();
    let chart = LineChart {
        label: format!("{metric} on the validation rows by trial"),
        x: "trial".to_owned(),
        y: metric.to_owned(),
        log: false,
        series: vec![best, each],
    };
    Curve {
        title: format!("{metric} on the validation rows"),
        caption: "Trial 0 is the recipe's own setting.".to_owned(),
        svg: chart.svg(),
    }
}

fn trials_table(report: &TuneReport) -> Table {
    let keys: BTreeSet<&String> = report.trials.iter().flat_map(|trial| trial.setting.keys()).collect();
    let mut header = vec!["trial".to_owned()];
    header.extend(keys.iter().map(|key| said(key)));
    header.extend([format!("{}, validation", report.metric.name()), "seconds".to_owned()]);
    let row = |trial: &Trial| {
        let value = |key: &&String| match trial.setting.get(*key) {
            Some(value) => said(&value.to_string().replace('"', "")),
            None if trial.trial == 0 => "the recipe's".to_owned(),
            None => "-".to_owned(),
        };
        let mut row = vec![trial.trial.to_string()];
        row.extend(keys.iter().map(value));
        row.push(trial.score.map_or_else(|| "failed".to_owned(), number));
        row.push(seconds(trial.seconds));
        row
    };
    Table { header, texts: 0, rows: report.trials.iter().map(row).collect() }
}

fn ablation(report: &AblationReport) -> StudyPage {
    let metric = report.metric.name();
    let own = report.fits.first();
    let named = |fit: &AblationRow| said(&format!("{} {}", fit.kind, fit.change));
    let mut compared: Vec<(&AblationRow, &PairedDifference)> =
        report.fits.iter().skip(1).filter_map(|fit| Some((fit, fit.difference.as_ref()?))).collect();
    compared.sort_by(|(_, a), (_, b)| a.mean.total_cmp(&b.mean));
    let score = own.and_then(|own| own.score).map_or_else(|| "no score".to_owned(), number);
    let worst = compared.first().filter(|(_, difference)| difference.mean < 0.0);
    let worst = worst.map_or_else(
        || " No change lowers it.".to_owned(),
        |(fit, difference)| format!(" The change that costs most is {}: {}.", named(fit), judged(difference)),
    );
    let gain = compared.last().filter(|(_, difference)| difference.mean > 0.0 && difference.p < 0.05);
    let gain = gain
        .map(|(fit, difference)| format!(" {} is better: {}.", named(fit), judged(difference)))
        .unwrap_or_default();
    let directions: BTreeSet<&String> = report.fits.iter().flat_map(|fit| fit.directions.keys()).collect();
    StudyPage {
        style: page::STYLE,
        title: format!("Ablation with {} changes", report.fits.len().saturating_sub(1)),
        summary: said(&format!("The recipe has {metric} {score} on {} test rows.{worst}{gain}", report.rows)),
        figure: differences_figure(&compared, metric),
        curve: pairs_curve(report),
        table_of_fits: Table {
            header: ["kind", "change", metric, "difference", "95 % interval", "p", "seconds"]
                .map(str::to_owned)
                .to_vec(),
            texts: 2,
            rows: report.fits.iter().map(ablation_row).collect(),
        },
        directions: Table {
            header: ["change"]
                .into_iter()
                .map(str::to_owned)
                .chain(directions.iter().map(|d| said(d)))
                .collect(),
            texts: 1,
            rows: (report.fits.iter())
                .map(|fit| {
                    let value = |name: &&String| fit.directions.get(*name).copied();
                    let values =
                        directions.iter().map(|name| value(name).map_or_else(|| "-".to_owned(), number));
                    std::iter::once(named(fit)).chain(values).collect()
                })
                .collect(),
        },
        failed: (report.fits.iter())
            .filter_map(|fit| Some((named(fit), said(fit.error.as_deref()?))))
            .collect(),
        method: format!(
            "The recipe is fitted with one change at a time, on the same training rows, and scored by \
             {metric} on the same queries of {} test rows. The intervals and p-values are from a paired \
             bootstrap over the test rows. They are not corrected for the number of changes: of twenty \
             changes without an effect one has p < 0.05.",
            report.rows
        ),
        next: Vec::new(),
    }
}

fn ablation_row(fit: &AblationRow) -> Vec<String> {
    let found = fit.difference.as_ref();
    let shown = |of: &dyn Fn(&PairedDifference) -> String| found.map(of).unwrap_or_default();
    vec![
        said(&fit.kind),
        said(&fit.change),
        fit.score.map_or_else(|| "failed".to_owned(), number),
        shown(&|one| signed(one.mean)),
        shown(&|one| range(one.interval)),
        shown(&|one| p_text(one.p)),
        seconds(fit.seconds),
    ]
}

fn differences_figure(compared: &[(&AblationRow, &PairedDifference)], metric: &str) -> Curve {
    let dot = |(fit, found): &(&AblationRow, &PairedDifference)| Dot {
        name: said(&format!("{} {}", fit.kind, fit.change)),
        value: found.mean,
        ends: found.interval,
        class: match (found.p < 0.05, found.mean > 0.0) {
            (false, _) => 3,
            (true, true) => 2,
            (true, false) => 1,
        },
    };
    let dots: Vec<Dot> = compared.iter().map(dot).collect();
    let title = format!("Difference of {metric} to the recipe");
    let svg = match dots.is_empty() {
        true => String::new(),
        false => dot_plot(&format!("{title}, with 95 % intervals"), &dots, Some(0.0)),
    };
    let caption = "Triangles are better and diamonds worse with p < 0.05; for a circle no difference is \
                   shown. The line at zero means no difference.";
    Curve { title, caption: caption.to_owned(), svg }
}

/// Returns the score over the number of training pairs, if the ablation has fewer pairs.
fn pairs_curve(report: &AblationReport) -> Option<Curve> {
    let of = |fit: &AblationRow| Some([fit.change.parse::<f64>().ok()?, fit.score?]);
    let mut points: Vec<[f64; 2]> =
        report.fits.iter().filter(|fit| fit.kind == "pairs").filter_map(of).collect();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    points.first()?;
    let metric = report.metric.name();
    let title = format!("{metric} over the number of training pairs");
    let chart = LineChart {
        label: title.clone(),
        x: "training pairs".to_owned(),
        y: metric.to_owned(),
        log: false,
        series: vec![ChartSeries { name: "fewer pairs".to_owned(), points, band: Vec::new() }],
    };
    Some(Curve { title, caption: String::new(), svg: chart.svg() })
}
