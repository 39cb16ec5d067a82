//! `chiasm check`: the verdicts as a table or as JSON. The exit code is 1 if a check fails or could not be
//! made.

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
    let (None, Some(subject)) = (&args.explain, &args.subject) else {
        return explain(args.explain.as_deref().unwrap_or("all"));
    };
    let Some(at) = &args.at else { return check_run(subject, args, global, env) };
    let what =
        GraphCheckInput { graph: subject, at, inverse: args.inverse.as_deref(), onto: args.onto.as_deref() };
    let report = check_graph(&what, &overrides(&args.overrides, args.allow_unknown), env)?;
    if json(global) {
        print::json(&report);
    } else {
        show(&report);
    }
    let names = |names: Vec<&str>| names.into_iter().map(ToOwned::to_owned).collect::<Vec<String>>();
    let failed = report.of(Verdict::Fail).map(|check| check.name).collect();
    gate(&names(failed), &names(report.unknown.clone()), subject, "")
}

/// Returns the assignments of the command line with what `--allow-unknown` stands for.
pub fn overrides(given: &[String], allow_unknown: bool) -> Vec<String> {
    let allowed = allow_unknown.then(|| "checks.allow_unknown=true".to_owned());
    given.iter().cloned().chain(allowed).collect()
}

/// Prints what a check computes, or all of them.
fn explain(name: &str) -> CommandResult {
    let text = match name {
        "all" => Some(chiasm_check::page()),
        name => chiasm_check::explain(name),
    };
    let Some(text) = text else {
        let known: Vec<&str> = chiasm_check::CHECKS.iter().map(|check| check.name).collect();
        let message = format!("there is no check {name:?}");
        return Err(Error::input("chiasm::check::name", message, format!("checks are {}", known.join(", "))));
    };
    print::line(text.trim_end());
    Ok(())
}

fn check_run(subject: &Path, args: &CheckArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    if subject.is_file() {
        let message = format!("{} is a file, but --at is missing", subject.display());
        let help = "give the points to check it at: --at points.npy, floats [n, d]";
        return Err(Error::input("chiasm::check::points", message, help));
    }
    let checked = Run::open(subject, env)?.check(&overrides(&args.overrides, args.allow_unknown))?;
    if json(global) {
        print::json(&checked);
    } else {
        checked.maps.iter().for_each(show);
    }
    gate(&checked.failed, &checked.unknown, subject, "")
}

/// Returns an error with exit code 1 if a check failed or could not be made. `hint` is appended to the
/// message.
pub fn gate(failed: &[String], unknown: &[String], what: &Path, hint: &str) -> CommandResult {
    let mut found = Vec::new();
    if !failed.is_empty() {
        found.push(format!("{} check(s) failed ({})", failed.len(), failed.join(", ")));
    }
    if !unknown.is_empty() {
        let (count, names) = (unknown.len(), unknown.join(", "));
        found.push(format!(
            "{count} check(s) could not be made ({names}): `checks.allow_unknown = true` or --allow-unknown \
             allows that"
        ));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::Gate(format!("{}: {}{hint}", what.display(), found.join("; "))))
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
            &format!("rank ({} attainable)", spectra.attainable_rank),
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
    let value = match check.verdict {
        Verdict::Unknown => "-".to_owned(),
        _ => number(check.number),
    };
    vec![coloured(check.verdict), check.name.to_owned(), value, line, check.meaning.clone()]
}

fn coloured(verdict: Verdict) -> String {
    let (word, colour) = match verdict {
        Verdict::Pass => ("PASS", 32),
        Verdict::Warn => ("WARN", 33),
        Verdict::Unknown => ("UNKNOWN", 35),
        Verdict::Fail => ("FAIL", 31),
    };
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
    if plain { word.to_owned() } else { format!("\u{1b}[{colour}m{word}\u{1b}[0m") }
}
