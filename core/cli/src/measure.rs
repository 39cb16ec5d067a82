//! `chiasm measure`: measures of two files of vectors, as a table or as JSON.

use crate::{
    args::{GlobalOptions, MeasureArgs},
    command_result::{CommandResult, check_unused_options, json},
    print,
    progress::Terminal,
};
use chiasm_check::digits as number;
use chiasm_geometry::measure::{MeasureOptions, MeasureReport, MeasuredValue};

/// Runs `chiasm measure`.
pub fn measure(args: &MeasureArgs, global: &GlobalOptions) -> CommandResult {
    check_unused_options("measure", global)?;
    let request = MeasureOptions::new()
        .only(args.only.clone())
        .k(args.k)
        .null(args.null)
        .seed(args.seed)
        .threads(global.threads.unwrap_or(0));
    let files = [args.first.as_path(), args.second.as_path()];
    let reporter = Terminal::new(global.quiet);
    let report = chiasm_pipeline::measure_files(files, args.labels.as_deref(), &request, &reporter)?;
    if json(global) {
        print::json(&report);
    } else {
        show(&report);
    }
    Ok(())
}

fn show(report: &MeasureReport) {
    let row = |(key, found): (&String, &MeasuredValue)| {
        let null = found.null.as_ref();
        let or_nothing = |value: Option<f64>| value.map(number).unwrap_or_default();
        vec![
            key.clone(),
            found.unit.to_owned(),
            format!("{:.6}", found.value),
            or_nothing(null.map(|n| n.null_mean)),
            or_nothing(null.and_then(|n| n.z)),
            or_nothing(null.map(|n| n.p_value)),
            format!("{} {}", found.rows[0], found.rows[1]),
        ]
    };
    let rows = report.measures.iter().map(row).collect();
    print::table(&["measure", "unit", "value", "by chance", "z", "p", "rows"], rows, 2);
    for note in &report.notes {
        print::line(note);
    }
    for (key, reason) in &report.skipped {
        print::line(&format!("{key}: skipped; {reason}"));
    }
}
