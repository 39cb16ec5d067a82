//! `chiasm check`: verdicts as a table for people, as JSON for machines; a FAIL ends with exit code 1.

use crate::{
    Outcome,
    args::{CheckArgs, Shared},
    json, print,
};
use chiasm_check::{CheckResult, JacobianSpectra, LimitKind, MapReport, Verdict, digits as number};
use chiasm_pipeline::{Error, GraphCheck, Run, Workbench, check_graph};
use std::{io::IsTerminal, path::Path};

/// `check`
pub fn check(args: &CheckArgs, shared: &Shared, bench: &Workbench) -> Outcome {
    let Some(at) = &args.at else { return check_run(args, shared, bench) };
    let what =
        GraphCheck { graph: &args.subject, at, inverse: args.inverse.as_deref(), onto: args.onto.as_deref() };
    let report = check_graph(&what, &args.overrides, bench)?;
    if json(shared) {
        print::json(&report);
    } else {
        show(&report);
    }
    gate(&failed(&report), &args.subject, "")
}

fn check_run(args: &CheckArgs, shared: &Shared, bench: &Workbench) -> Outcome {
    if args.subject.is_file() {
        let message = format!("{} is a file: the points to check it at are missing", args.subject.display());
        let help = "give --at points.npy, float rows [n, d] as the graph takes them";
        return Err(Error::input("chiasm::check::points", message, help));
    }
    let checked = Run::open(&args.subject, bench)?.check(&args.overrides)?;
    if json(shared) {
        print::json(&checked);
    } else {
        checked.maps.iter().for_each(show);
    }
    gate(&checked.failed, &args.subject, "")
}

/// Exit code 1 when a check failed; `hint` says what to do about it.
pub fn gate(failed: &[String], what: &Path, hint: &str) -> Outcome {
    if failed.is_empty() {
        return Ok(());
    }
    let (count, names) = (failed.len(), failed.join(", "));
    Err(Error::Gate(format!("{}: {count} of the checks failed ({names}){hint}", what.display())))
}

fn failed(report: &MapReport) -> Vec<String> {
    report.of(Verdict::Fail).map(|check| check.name.to_owned()).collect()
}

/// One map: its ends, its spectrum, its verdicts, and what does not apply.
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
    print::prose(&["verdict", "check", "number", "good", "meaning"], rows);
    let skipped: Vec<String> = report.skipped.iter().map(|s| format!("{} ({})", s.name, s.reason)).collect();
    if !skipped.is_empty() {
        print::line(&format!("does not apply: {}", skipped.join("; ")));
    }
}

/// Quantiles over the points: where the spectrum lies, in five numbers.
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
        row("weakest attainable one", spectra.margins()),
        row("condition number", spectra.condition_number.clone()),
        row("log-volume", spectra.log_volume.clone()),
        row(
            &format!("rank (of {})", spectra.attainable_rank),
            spectra.rank.iter().map(|r| *r as f64).collect(),
        ),
    ];
    let points = format!("Jacobian at {} points", spectra.rank.len());
    print::table(&[&points, "least", "25 %", "median", "75 %", "most"], rows, 1);
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
