//! `chiasm measure`: measures of two files of vectors, as a table or as JSON.

use crate::{
    args::{GlobalOptions, MeasureArgs},
    command_result::{CommandResult, check_unused_options, json},
    explain::{Explanation, is_measure, of_measure},
    print,
    progress::Terminal,
};
use chiasm_check::digits as number;
use chiasm_geometry::catalogue::CATALOGUE;
use chiasm_geometry::measure::{MeasureOptions, MeasureReport, MeasuredValue};
use serde_json::{Value, json as object};

/// The seconds of the permutations above which they are announced.
const LONG: f64 = 5.0;

/// Runs `chiasm measure`.
pub fn measure(args: &MeasureArgs, global: &GlobalOptions) -> CommandResult {
    check_unused_options("measure", global)?;
    let mut request = MeasureOptions::new()
        .only(args.only.clone())
        .null(args.null)
        .seed(args.seed)
        .threads(global.threads.unwrap_or(0));
    if let Some(k) = args.k {
        request = request.k(k);
    }
    let files = [args.first.as_path(), args.second.as_path()];
    let reporter = Terminal::new(global.quiet);
    let announce = |price: chiasm_pipeline::NullPrice| {
        if !global.quiet && price.seconds > LONG {
            let dearest = price.dearest.iter().map(|(key, seconds)| format!("{key} {seconds:.0} s"));
            let dearest = dearest.collect::<Vec<_>>().join(", ");
            print::note(&format!(
                "note: {} permutations take about {:.0} s ({dearest}); --only selects measures",
                args.null, price.seconds
            ));
        }
    };
    let labels = args.labels.as_deref();
    let report = chiasm_pipeline::measure_files(files, labels, &request, &reporter, &announce)?;
    if json(global) {
        let mut value = serde_json::to_value(&report)
            .map_err(|e| chiasm_pipeline::Error::Internal(format!("the report as JSON: {e}")))?;
        let definitions = report.measures.keys().filter_map(|key| Some((key.clone(), definition(key)?)));
        value["definitions"] = definitions.collect::<serde_json::Map<_, _>>().into();
        print::json(&value);
    } else {
        show(&report);
    }
    Ok(())
}

/// Returns what a measure is, what it is computed from and how many rows are used, as `chiasm explain` says
/// it.
fn definition(key: &str) -> Option<Value> {
    let measure = CATALOGUE.iter().find(|measure| is_measure(measure, key))?;
    let Explanation { about, takes, .. } = of_measure(measure);
    Some(object!({ "about": about, "takes": takes }))
}

fn show(report: &MeasureReport) {
    let row = |(key, found): (&String, &MeasuredValue)| {
        let null = found.null.as_ref();
        let or_nothing = |value: Option<f64>| value.map(number).unwrap_or_default();
        vec![
            key.clone(),
            found.unit.to_owned(),
            format!("{:.6}", found.value),
            or_nothing(null.and_then(|n| n.null_mean)),
            or_nothing(null.and_then(|n| n.z)),
            or_nothing(null.map(|n| n.p_value)),
            null.map(|n| n.permuted.to_owned()).unwrap_or_default(),
            format!("{} {}", found.rows[0], found.rows[1]),
        ]
    };
    let rows = report.measures.iter().map(row).collect();
    print::table(&["measure", "unit", "value", "by chance", "z", "p", "permuted", "rows"], rows, 2);
    for note in &report.notes {
        print::line(note);
    }
    for (key, reason) in &report.skipped {
        print::line(&format!("{key}: skipped; {reason}"));
    }
}
