//! `chiasm run --input ROWS -o OUT.parquet`: a data file of any length, or a shard of it.

use crate::{
    CommandResult,
    args::{GlobalOptions, RunArgs},
    json,
    modality_flags::ModalityValues,
    print,
};
use chiasm_pipeline::{DatasetOptions, Environment, Error, Run, Shard};
use std::path::Path;

/// Returns what to run if the output is a Parquet file, and `None` for any other output.
pub fn options(
    args: &RunArgs,
    given: &ModalityValues,
    attention: bool,
    shard: Option<Shard>,
) -> CommandResult<Option<DatasetOptions>> {
    let has = |path: &Path, extension: &str| path.extension().is_some_and(|own| own == extension);
    let wrong = |message: &str, help: &str| Err(Error::input("chiasm::run::dataset", message, help));
    let output = args.output.clone().filter(|path| has(path, "parquet"));
    match (output, args.input.clone()) {
        (None, Some(_)) if shard.is_some() => {
            wrong("--shard needs a Parquet file as its output", "give -o OUT.parquet")
        }
        (None, Some(input)) if has(&input, "parquet") => {
            wrong("an --input of Parquet needs a Parquet file as its output", "give -o OUT.parquet")
        }
        (None, _) => Ok(None),
        (Some(_), None) => wrong(
            "a Parquet file is written for the rows of a data file, and --input is missing",
            "give --input ROWS.jsonl or ROWS.parquet, or write an .npz file",
        ),
        (Some(_), Some(_)) if attention || given.values().any(|values| !values.is_empty()) => wrong(
            "--input with -o OUT.parquet cannot be used together with --attention or single items",
            "leave them out, or write an .npz file",
        ),
        (Some(output), Some(input)) => {
            Ok(Some(DatasetOptions { input, shard: shard.unwrap_or(Shard::WHOLE), output }))
        }
    }
}

/// Runs a data file, and prints the number of rows.
pub fn run(run: &Path, options: &DatasetOptions, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let report = Run::open(run, env)?.run_dataset(options)?;
    if json(global) {
        print::json(&report);
        return Ok(());
    }
    let resumed = match report.resumed {
        0 => String::new(),
        rows => format!(", {rows} of them by an earlier command"),
    };
    let (rows, rate) = (report.rows, report.rows_per_second);
    print::line(&format!("wrote {}: {rows} rows{resumed}; {rate:.0} rows/s", options.output.display()));
    Ok(())
}
