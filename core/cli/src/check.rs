//! `chiasm check`: the verdicts as a table or as JSON. The exit code is 1 if a check fails.

use crate::{
    CommandResult,
    args::{CheckArgs, GlobalOptions},
    json, print,
};
use chiasm_check::{CheckResult, JacobianSpectra, LimitKind, MapReport, Verdict, digits as number};
use chiasm_pipeline::{Environment, Error, GraphCheckInput, Run, check_graph};
use std::{io::IsTerminal, path::Path};

/// Runs `chiasm check`.
pub fn check(args: &CheckArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let Some(at) = &args.at else { return check_run(args, global, env) };
    let what = GraphCheckInput {
        graph: &args.subject,
        at,
        inverse: args.inverse.as_deref(),
        onto: args.onto.as_deref(),
    };
    let report = check_graph(&what, &args.overrides, env)?;
    if json(global) {
        print::json(&report);
    } else {
        show(&report);
    }
    gate(&failed(&report), &args.subject, "")
}

fn check_run(args: &CheckArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    if args.subject.is_file() {
        let message = format!("{} is a file, but --at is missing", args.subject.display());
        let help = "give the points to check it at: --at points.npy, floats [n, d]";
        return Err(Error::input("chiasm::check::points", message, help));
    }
    let checked = Run::open(&args.subject, env)?.check(&args.overrides)?;
    if json(global) {
        print::json(&checked);
    } else {
        checked.maps.iter().for_each(show);
    }
    gate(&checked.failed, &args.subject, "")
}

/// Returns an error with exit code 1 if a check failed. `hint` is appended to the message.
pub fn gate(failed: &[String], what: &Path, hint: &str) -> CommandResult {
    if failed.is_empty() {
        return Ok(());
    }
    let (count, names) = (failed.len(), failed.join(", "));
    Err(Error::Gate(format!("{}: {count} check(s) failed ({names}){hint}", what.display())))
}

fn failed(report: &MapReport) -> Vec<String> {
    report.of(Verdict::Fail).map(|check| check.name.to_owned()).collect()
}

/// Prints the report of one map: widths, singular values, verdicts, and the checks that do not apply.
fn show(report: &MapReport) {
    print::line("");
    print::line(&format!(
        "{}: {} -> {} dimensions, {} points",
        report.map, report.input, report.output, report.points
    ));
    if let Some(spectra) = &report.jacobian {
        spectrum(spectra);
    }
    print::line("");
    let rows = report.checks.iter().map(row).collect();
    print::wrapped_table(&["verdict", "check", "value", "limit", "meaning"], rows);
    let skipped: Vec<String> = report.skipped.iter().map(|s| format!("{} ({})", s.name, s.reason)).collect();
    if !skipped.is_empty() {
        print::line(&format!("does not apply: {}", skipped.join("; ")));
    }
}

/// Prints quantiles of the Jacobian's properties over the points.
fn spectrum(spectra: &JacobianSpectra) {
    let row = |name: &str, mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| number(values[((values.len() - 1) as f64 * share).round() as usize]);
        vec![name.to_owned(), at(0.0), at(0.25), at(0.5), at(0.75), at(1.0)]
    };
    if spectra.rank.is_empty() {
        return;
    }
    let rows = vec![
        row("largest singular value", spectra.stretches()),
        row("smallest attainable singular value", spectra.margins()),
        row("condition number", spectra.condition_number.clone()),
        row("log-volume", spectra.log_volume.clone()),
        row(
            &format!("rank (of {})", spectra.attainable_rank),
            spectra.rank.iter().map(|r| *r as f64).collect(),
        ),
    ];
    let points = format!("Jacobian at {} points", spectra.rank.len());
    print::table(&[&points, "min", "25 %", "median", "75 %", "max"], rows, 1);
}

fn row(check: &CheckResult) -> Vec<String> {
    let sign = match check.bound {
        LimitKind::AtMost => "<=",
        LimitKind::AtLeast => ">=",
    };
    let line = match (check.limits.warn, check.limits.fail) {
        (None, None) => String::new(),
        (Some(limit), None) => format!("{sign} {} (warns)", number(limit)),
        (None, Some(limit)) => format!("{sign} {} (fails)", number(limit)),
        (Some(warn), Some(fail)) if warn == fail => format!("{sign} {} (fails)", number(fail)),
        (Some(warn), Some(fail)) => format!("{sign} {} (fails beyond {})", number(warn), number(fail)),
    };
    vec![coloured(check.verdict), check.name.to_owned(), number(check.number), line, check.meaning.clone()]
}

fn coloured(verdict: Verdict) -> String {
    let (word, colour) = match verdict {
        Verdict::Pass => ("PASS", 32),
        Verdict::Warn => ("WARN", 33),
        Verdict::Fail => ("FAIL", 31),
    };
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
    if plain { word.to_owned() } else { format!("\u{1b}[{colour}m{word}\u{1b}[0m") }
}
