//! The command `chiasm eval`.

use crate::{
    CommandResult,
    args::{EvalArgs, GlobalOptions},
    identifiability, json, print, robustness,
};
use chiasm_pipeline::{Breakdown, Environment, Metrics, PairGeometry, Robustness, Run, WorstQuery};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The metrics of a run with everything that was asked for, as JSON.
#[derive(Serialize)]
struct Evaluation<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    robustness: Option<&'a Robustness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a Breakdown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [WorstQuery]>,
}

/// Runs `chiasm eval`.
pub fn eval(args: &EvalArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let run = &args.run;
    let opened = Run::open(run, env)?;
    let mut metrics = opened.measure()?;
    metrics.identifiability = args.truth.as_deref().map(|file| opened.measure_truth(file)).transpose()?;
    metrics.geometry = args.geometry.as_deref().map(|only| opened.measure_geometry(only)).transpose()?;
    metrics.shuffled_pairs = chiasm_pipeline::stored_shuffled_pairs(run)?;
    metrics.batch_effects = chiasm_pipeline::stored_batch_effects(run)?;
    let swept = chiasm_pipeline::stored_robustness(run)?;
    let by = args.by.as_deref().map(|column| opened.measure_by(column)).transpose()?;
    let errors = args.errors.map(|count| opened.worst_queries(count)).transpose()?;
    if json(global) {
        let (robustness, by, errors) = (swept.as_ref(), by.as_ref(), errors.as_deref());
        print::json(&Evaluation { metrics: &metrics, robustness, by, errors });
        return Ok(());
    }
    print::metrics(&metrics);
    by.iter().for_each(|by| breakdown_table(args.by.as_deref().unwrap_or_default(), by));
    errors.iter().for_each(|errors| errors_table(errors));
    metrics.identifiability.iter().for_each(identifiability::print);
    metrics.geometry.iter().for_each(geometry_table);
    swept.iter().for_each(robustness::print);
    Ok(())
}

/// Prints the metrics of each direction by the value of a column.
fn breakdown_table(column: &str, by: &Breakdown) {
    let mut rows = Vec::new();
    for (direction, groups) in by {
        for (label, group) in groups {
            let mut row = vec![direction.clone(), label.clone()];
            row.extend(print::retrieval_cells(&group.figures, Some(group.interval)));
            row.push(group.queries.to_string());
            rows.push(row);
        }
    }
    let header = [&["retrieval, %", column][..], &print::RETRIEVAL_COLUMNS, &["queries"]].concat();
    print::line("");
    print::table(&header, rows, 2);
}

/// Prints the queries with the worst ranks.
fn errors_table(errors: &[WorstQuery]) {
    print::line("");
    if errors.is_empty() {
        print::line("every query finds a relevant item first");
        return;
    }
    let row = |one: &WorstQuery| {
        let rank = format!("{:.1}", one.rank);
        let rank = rank.strip_suffix(".0").unwrap_or(&rank).to_owned();
        let found = format!("{} (row {})", one.found, one.found_row);
        vec![rank, one.direction.clone(), one.row.clone(), one.query.clone(), one.partner.clone(), found]
    };
    let header = ["rank of the partner", "direction", "row", "query", "its partner", "found first"];
    print::table(&header, errors.iter().map(row).collect(), 6);
}

/// Prints the measures of each pair of modalities, a column for each pair.
fn geometry_table(pairs: &PairGeometry) {
    let keys: BTreeSet<&String> = pairs.values().flat_map(BTreeMap::keys).collect();
    let value = |key: &String, of: &BTreeMap<String, f64>| {
        of.get(key).map_or_else(String::new, |value| format!("{value:.4}"))
    };
    let row = |key: &String| {
        let values = pairs.values().map(|of| value(key, of));
        std::iter::once(key.clone()).chain(values).collect()
    };
    let header: Vec<&str> = std::iter::once("measure").chain(pairs.keys().map(String::as_str)).collect();
    print::line("");
    print::table(&header, keys.into_iter().map(row).collect(), 1);
}
