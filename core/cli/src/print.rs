//! Printing results on stdout, as tables or JSON.

mod terminal;

use chiasm_geometry::retrieval::RetrievalScores;
use chiasm_host::{Task, TaskKind};
use chiasm_pipeline::{ExportReport, Metrics, PlanReport, TaskMetrics, batch_effect};
use std::path::Path;
pub use terminal::{drawn, escaped_json, failure, json, line, note, table, wrapped_table};

/// Formats a fraction in percent.
pub fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}

/// Prints the metrics of a run: every direction, then the control on shuffled pairs.
pub fn metrics(metrics: &Metrics) {
    retrieval_table(metrics);
    let of = (metrics.rsum, metrics.rsum_max, metrics.rows);
    line(&format!("rsum {:.1} of {:.0} on {} held-out rows", of.0, of.1, of.2));
    for (direction, joint) in &metrics.joint {
        let alone = joint.alone.iter().map(|(name, own)| format!("{name} {}", percent(own.recall_at_1)));
        line(&format!(
            "{direction}, recall@1 of each modality alone: {}",
            alone.collect::<Vec<_>>().join(", ")
        ));
    }
    for (name, scores) in &metrics.transductive {
        let recall =
            scores.retrieval.iter().map(|(name, own)| format!("{name} {}", percent(own.recall_at_1)));
        let recall = recall.collect::<Vec<_>>().join(", ");
        line(&format!("{name}, which uses the whole gallery: rsum {:.1}; recall@1 {recall}", scores.rsum));
    }
    if !metrics.not_measured.is_empty() {
        let names = metrics.not_measured.join(", ");
        line(&format!("not measured, because no test row has both modalities: {names}"));
    }
    for (direction, scored) in &metrics.retrieval {
        if let Some(null) = &scored.permutation {
            line(&format!(
                "{direction}: emergent; recall@10 {}, with permuted rows {} (sd {}), p = {:.3}",
                percent(null.value),
                percent(null.mean),
                percent(null.sd),
                null.p_value
            ));
        }
    }
    for (encoder, effect) in &metrics.batch_effects {
        if effect.largest() > batch_effect::EXPECTED {
            line(&format!(
                "{encoder}: the vector of an item changes with its batch by up to {:.1e}, at fitting: alone \
                 {:.1e}, together {:.1e}, in another order {:.1e}",
                effect.largest(),
                effect.alone,
                effect.together,
                effect.reordered
            ));
        }
    }
    if let Some(task) = &metrics.task {
        line("");
        task_table(task);
    }
}

/// The columns of [`retrieval_cells`].
pub const RETRIEVAL_COLUMNS: [&str; 9] =
    ["recall@1", "95 %", "recall@5", "recall@10", "mrr", "map", "map@10", "ndcg@10", "median"];

/// Formats the scores of one direction, and the interval of recall@1 if it is known.
pub fn retrieval_cells(scores: &RetrievalScores, interval: Option<[f64; 2]>) -> [String; 9] {
    let decimal = |value: f64| format!("{value:.3}");
    [
        percent(scores.recall_at_1),
        interval.map(|ends| ends.map(percent).join("..")).unwrap_or_default(),
        percent(scores.recall_at_5),
        percent(scores.recall_at_10),
        decimal(scores.mrr),
        decimal(scores.map),
        decimal(scores.map_at_10),
        decimal(scores.ndcg_at_10),
        format!("{:.1}", scores.median_rank),
    ]
}

fn retrieval_table(metrics: &Metrics) {
    let mut rows = Vec::new();
    let mut row = |name: String, scores, interval, last: [String; 2]| {
        let mut row = vec![name];
        row.extend(retrieval_cells(scores, interval));
        row.extend(last);
        rows.push(row);
    };
    let joint = metrics.joint.iter().map(|(name, joint)| (name, &joint.metrics));
    for (direction, scored) in metrics.retrieval.iter().chain(joint) {
        let name = if scored.emergent { format!("{direction} (emergent)") } else { direction.clone() };
        let queries = format!("{} of {}", scored.queries, scored.gallery);
        let last = [percent(scored.chance.recall_at_1), queries];
        row(name, &scored.figures, Some(scored.interval), last);
    }
    for (direction, scores) in metrics.shuffled_pairs.iter().flat_map(|control| &control.retrieval) {
        row(format!("  {direction}, shuffled pairs"), scores, None, Default::default());
    }
    let header = [&["retrieval, %"][..], &RETRIEVAL_COLUMNS, &["chance@1", "queries"]].concat();
    table(&header, rows, 1);
}

/// Prints the score of a task, with each modality hidden and for the baselines.
fn task_table(task: &TaskMetrics) {
    let show = |value: f64| score(&task.metric, value);
    let interval = format!("{}..{}", show(task.interval[0]), show(task.interval[1]));
    let mut rows = vec![vec!["fused".to_owned(), show(task.score), interval]];
    let mut add = |name: String, value: f64| rows.push(vec![name, show(value), String::new()]);
    task.without.iter().for_each(|(name, value)| add(format!("  {name} hidden"), *value));
    let baseline = |name: &str| match task.kind {
        TaskKind::Retrieval if name == "sum" => "  sum of the aligned vectors".to_owned(),
        TaskKind::Retrieval => format!("  aligned {name} alone"),
        _ => format!("  {}", name.replace('_', " ")),
    };
    task.baselines.iter().for_each(|(name, value)| add(baseline(name), *value));
    table(&[&format!("{}, {}", task.kind.as_str(), metric(&task.metric)), "score", "95 %"], rows, 1);
    let figures: Vec<String> = (task.figures.iter())
        .map(|(name, value)| match name.as_str() {
            "mrr" | "mean_absolute_error" => format!("{name} {value:.3}"),
            _ => format!("{name} {} %", percent(*value)),
        })
        .collect();
    let figures = if figures.is_empty() { String::new() } else { format!("; {}", figures.join(", ")) };
    line(&format!("{} held-out rows{figures}", task.rows));
}

/// Formats the score of a task, to be appended to other text.
pub fn task_score(task: &TaskMetrics) -> String {
    format!(", {} {} ({})", task.kind.as_str(), score(&task.metric, task.score), metric(&task.metric))
}

/// Returns the name of a metric with its unit.
pub fn metric(name: &str) -> &str {
    match name {
        "accuracy" => "accuracy in %",
        "micro_f1" => "micro F1 in %",
        "r2" => "R2",
        _ => "rsum of 300",
    }
}

/// Formats a score in the unit that [`metric`] names.
pub fn score(metric: &str, value: f64) -> String {
    match metric {
        "rsum" => format!("{value:.1}"),
        "r2" => format!("{value:.3}"),
        _ => percent(value),
    }
}

/// Formats logits: the most probable classes, the predicted labels, or the numbers.
pub fn prediction(task: &Task, logits: &[f32]) -> String {
    let named = |shown: &[(usize, f32)]| -> String {
        let of = |(column, value): &(usize, f32)| {
            format!("{} {value:.2}", task.labels.get(*column).map_or("?", String::as_str))
        };
        shown.iter().map(of).collect::<Vec<_>>().join(", ")
    };
    let mut all: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    match task.kind {
        TaskKind::Classification => {
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f32 = logits.iter().map(|x| (x - top).exp()).sum();
            all.iter_mut().for_each(|(_, x)| *x = (*x - top).exp() / total);
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            all.truncate(3);
            named(&all)
        }
        TaskKind::MultiLabel => {
            all.iter_mut().for_each(|(_, x)| *x = (1.0 + (-*x).exp()).recip());
            all.retain(|(_, share)| *share > 0.5);
            if all.is_empty() { "none".to_owned() } else { named(&all) }
        }
        TaskKind::Regression | TaskKind::Retrieval => named(&all),
    }
}

/// Prints the summary of a plan.
pub fn plan(report: &PlanReport) {
    let rows = (report.encoders.iter())
        .map(|e| {
            vec![
                e.modality.clone(),
                e.name.clone(),
                e.inputs.join(", "),
                e.tokens.clone(),
                e.pooled.to_string(),
                e.opset.to_string(),
                format!("{:.1}", e.weight_bytes as f64 / 1e6),
                e.items.to_string(),
            ]
        })
        .collect();
    table(&["modality", "encoder", "inputs", "tokens", "pooled", "opset", "MB", "items"], rows, 4);
    let validation =
        if report.validation > 0 { format!(", {} validation", report.validation) } else { String::new() };
    line(&format!("rows: {} ({} train{validation}, {} test)", report.rows, report.train, report.test));
    let held: Vec<String> = (report.modalities.iter())
        .map(|m| format!("{} ({} items in {} rows)", m.name, m.items, m.rows))
        .collect();
    let bank = if report.bank { ", hubness bank" } else { "" };
    let anchor = report.anchor.as_ref().map(|anchor| format!(", anchor {anchor}")).unwrap_or_default();
    line(&format!("align: {} maps {}{anchor}{bank}", report.aligner, held.join(", ")));
    for [first, second] in &report.emergent {
        line(&format!(
            "no training row has both {first} and {second}: they are aligned through other modalities"
        ));
    }
    let reads = if report.reads_tokens { ", from tokens" } else { "" };
    line(&format!("fuse: {}{reads}", report.fusion.as_deref().unwrap_or("nothing")));
    if let Some(task) = &report.task {
        let answers =
            if task.has_logits() { format!(", {} labels", task.labels.len()) } else { String::new() };
        line(&format!("task: {}{answers}", task.kind.as_str()));
    }
    line(&format!(
        "merged model: operator set {}; pooled vectors: {:.1} MB of memory",
        report.opset,
        report.embedding_bytes as f64 / 1e6
    ));
}

/// Prints the result of an export.
pub fn exported(exported: &ExportReport, folder: &Path) {
    for file in &exported.files {
        line(&folder.join(file).display().to_string());
    }
    for (output, difference) in &exported.differences {
        line(&format!("{output}: differs from the run by {difference:.1e}"));
    }
    for (modality, reason) in &exported.left_out {
        line(&format!("{modality}: {reason}"));
    }
    if let Some(narrow) = &exported.narrow {
        line("");
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        let bytes = narrow.bytes.map(megabytes);
        let change = (narrow.bytes[1] as f64 / narrow.bytes[0].max(1) as f64 - 1.0) * 100.0;
        let [before, after] = bytes;
        let size = vec!["weights, MB".to_owned(), before, after, format!("{change:+.0} %")];
        reduced([&narrow.before, &narrow.after], &narrow.weights, size);
    }
    if let Some(shortened) = &exported.shortened {
        line("");
        let [before, after] = shortened.dimensions;
        let change = (after as f64 / before.max(1) as f64 - 1.0) * 100.0;
        let size =
            vec!["dimensions".to_owned(), before.to_string(), after.to_string(), format!("{change:+.0} %")];
        reduced([&shortened.before, &shortened.after], "shortened", size);
    }
}

/// Prints the effect of reduced weights or vectors; `size` is the last row of the table.
fn reduced([before, after]: [&Metrics; 2], title: &str, size: Vec<String>) {
    let figure = |name: String, [before, after]: [f64; 2], show: &dyn Fn(f64) -> String| {
        let change = show((after - before).abs());
        let none = change.chars().all(|c| matches!(c, '0' | '.'));
        let sign = if none {
            ""
        } else if after < before {
            "-"
        } else {
            "+"
        };
        vec![name, show(before), show(after), format!("{sign}{change}")]
    };
    let mut rows: Vec<Vec<String>> = (before.retrieval.iter().zip(after.retrieval.values()))
        .map(|((direction, before), after)| {
            let both = [before, after].map(|scored| scored.figures.recall_at_1);
            figure(format!("{direction} recall@1, %"), both, &percent)
        })
        .collect();
    rows.push(figure("rsum".to_owned(), [before.rsum, after.rsum], &|rsum| format!("{rsum:.1}")));
    if let (Some(before), Some(after)) = (&before.task, &after.task) {
        let name = format!("{}, {}", before.kind.as_str(), metric(&before.metric));
        rows.push(figure(name, [before.score, after.score], &|value| score(&before.metric, value)));
    }
    rows.push(size);
    table(&["", "as fitted", title, "change"], rows, 1);
    line(&format!("measured on {} held-out rows", after.rows));
}
