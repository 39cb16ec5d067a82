//! The sections on how well a model does, where it ends, and what was checked.

use super::{
    facts::CardFacts,
    text::{code, listed, plain},
};
use crate::{
    embed::batch_effect::EXPECTED,
    run::{
        evaluate::{DirectionMetrics, Metrics},
        files::ROBUSTNESS_PLOT,
    },
};
use std::fmt::Write as _;

/// Writes the metrics, which were measured on `metrics`, and the control of the run.
pub fn metrics(text: &mut String, facts: &CardFacts<'_>, metrics: &Metrics) {
    let data = facts.data().map_or("the files of vectors".to_owned(), |name| code(&name));
    let _ = writeln!(
        text,
        "\n## Results\n\nMeasured on {} test rows of {data}, on which nothing was fitted; the maps were \
         fitted on {} other rows. A query \
         of one modality is compared with all test items of another; recall@k is the share of queries with a \
         right item among the best k. *Chance* is the recall@1 of a random order, and *shuffled* that of the \
         same method fitted on pairs in random order: a model that has learned something is above both. The \
         interval has a confidence of 95 %, by bootstrap over rows.\n",
        metrics.rows, facts.manifest.rows.train
    );
    text.push_str(
        "| direction | recall@1 | interval | chance | shuffled | recall@5 | recall@10 | MRR | queries | \
         items searched |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let control = facts.metrics.shuffled_pairs.as_ref();
    for (direction, scored) in &metrics.retrieval {
        let shuffled = control.and_then(|control| control.retrieval.get(direction));
        let shuffled = shuffled.map_or_else(|| "-".to_owned(), |scores| format!("{:.3}", scores.recall_at_1));
        scores(text, direction, scored, &shuffled);
    }
    metrics.joint.iter().for_each(|(direction, joint)| scores(text, direction, &joint.metrics, "-"));
    let _ =
        writeln!(text, "\nThe sum of all recalls (rsum) is {:.1} of {:.0}.", metrics.rsum, metrics.rsum_max);
    let notes = &facts.learned.notes;
    for compared in ["verdict", "against_closed_forms"]
        .iter()
        .filter_map(|key| notes[*key].as_str())
        .filter(|words| !words.is_empty())
    {
        let _ = writeln!(text, "\nThe aligner on its trained maps and closed forms: {}.", plain(compared));
    }
    if let Some(task) = &metrics.task {
        let _ = writeln!(
            text,
            "\nThe fusion reaches {} {:.3} ({:.3} to {:.3}) on {} test rows.{}{}",
            code(&task.metric),
            task.score,
            task.interval[0],
            task.interval[1],
            task.rows,
            named(" Without a modality: ", &task.without),
            named(" Baselines: ", &task.baselines),
        );
    }
    if facts.plots.robustness {
        let _ = writeln!(text, "\n![recall with corrupted or missing items]({ROBUSTNESS_PLOT})");
    }
}

fn scores(text: &mut String, direction: &str, scored: &DirectionMetrics, shuffled: &str) {
    let figures = scored.figures;
    let _ = writeln!(
        text,
        "| {} | {:.3} | {:.3} to {:.3} | {:.3} | {shuffled} | {:.3} | {:.3} | {:.3} | {} | {} |",
        plain(direction),
        figures.recall_at_1,
        scored.interval[0],
        scored.interval[1],
        scored.chance.recall_at_1,
        figures.recall_at_5,
        figures.recall_at_10,
        figures.mrr,
        scored.queries,
        scored.gallery
    );
}

fn named(before: &str, values: &std::collections::BTreeMap<String, f64>) -> String {
    let all: Vec<String> = values.iter().map(|(name, value)| format!("{} {value:.3}", plain(name))).collect();
    if all.is_empty() { String::new() } else { format!("{before}{}.", all.join(", ")) }
}

/// Writes the limits of the model.
pub fn limits(text: &mut String, facts: &CardFacts<'_>) {
    let manifest = facts.manifest;
    let mut line = |words: String| {
        let _ = writeln!(text, "- {words}");
    };
    line(
        "The results hold for data like that of the run. Other pictures, texts or recordings may score \
          lower; measure them before you rely on the model."
            .to_owned(),
    );
    line(
        "The encoders are frozen: their limits and biases are those of this model. Read their pages."
            .to_owned(),
    );
    line("Scores put items in order. They are not probabilities.".to_owned());
    for [first, second] in &manifest.emergent {
        line(format!(
            "No training row has {} and {} together; what the model knows of them comes from other pairs.",
            plain(first),
            plain(second)
        ));
    }
    if !facts.metrics.not_measured.is_empty() {
        let names: Vec<String> = facts.metrics.not_measured.iter().map(|name| plain(name)).collect();
        line(format!("Not measured, because no test row has both modalities: {}.", listed(&names)));
    }
    if !manifest.rows.skipped.is_empty() {
        line(format!(
            "{} items could not be read and were left out of the fit.",
            manifest.rows.skipped.len()
        ));
    }
    for (encoder, effect) in &facts.checks.merged.batch_effects {
        if effect.largest() > EXPECTED {
            line(format!(
                "The vectors of {} depend on the batch that an item is in, by up to {:.1e} of their length.",
                plain(encoder),
                effect.largest()
            ));
        }
    }
}

/// Writes the checks: those that failed, could not be made, or warn.
pub fn checks(text: &mut String, facts: &CardFacts<'_>) {
    let checks = &facts.checks;
    let all = || checks.maps.iter().flat_map(|map| map.checks.iter().map(move |check| (map, check)));
    let difference = checks.merged.staged_against_merged.values().copied().fold(0.0, f32::max);
    let differ = match difference {
        0.0 => "equal those of its parts".to_owned(),
        difference => format!("differ from those of its parts by at most {difference:.1e}"),
    };
    let _ = writeln!(
        text,
        "\n## Checks\n\nThe geometry of every map was checked on test items: {} checks, {} failed, {} could \
         not be made. The outputs of the model {differ}, on {} combinations of items.",
        all().count(),
        checks.failed.len(),
        checks.unknown.len(),
        checks.merged.rows
    );
    let mut shown = all().filter(|(_, check)| check.verdict != "pass").peekable();
    if shown.peek().is_some() {
        text.push_str("\n| map | check | verdict | meaning |\n|---|---|---|---|\n");
    }
    for (map, check) in shown {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            plain(&map.map),
            plain(&check.name),
            plain(&check.verdict),
            plain(&check.meaning)
        );
    }
}
