//! `tasks`: writes data for tasks that need more than one input, and the best scores without some of them.

use clap::{Parser, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use world::tasks::{Task, TaskReport, TaskSettings, write_task};

/// Write the data of a task: pictures/*.png, pairs.jsonl, recipe.toml and task.json with its ceilings.
#[derive(Parser)]
struct Options {
    /// The task.
    #[arg(value_enum)]
    task: TaskArg,
    /// Folder to write into; created if it does not exist.
    #[arg(long)]
    out: PathBuf,
    /// Number of rows, rounded up to whole blocks: 70 % train, 10 % validation, 20 % test.
    #[arg(long, default_value_t = 9000)]
    rows: usize,
    /// Random seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Probability that a label is replaced by another one, 0 to 0.5; of sound events, that each is flipped.
    #[arg(long, default_value_t = 0.0)]
    label_noise: f64,
    /// Standard deviation of the noise of recordings, relative to their root mean square.
    #[arg(long, default_value_t = 0.1)]
    noise: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum TaskArg {
    /// A picture and a sentence: does the sentence follow, is it contradicted, or is it open?
    Entailment,
    /// Two pictures and a sentence: is it true?
    TwoPictures,
    /// A picture and a recording: which of eight events occur?
    SoundEvents,
}

fn said(report: &TaskReport, options: &Options) -> String {
    let mut said = format!(
        "{} rows in {}; at most, on {} test rows:",
        report.rows,
        options.out.display(),
        report.test_rows
    );
    for (inputs, scores) in &report.ceilings {
        let scores: Vec<String> =
            scores.iter().map(|(name, value)| format!("{} {value:.3}", name.replace('_', " "))).collect();
        said += &format!("\n  from {inputs}: {}", scores.join(", "));
    }
    said
}

fn main() -> ExitCode {
    let options = Options::parse();
    let task = match options.task {
        TaskArg::Entailment => Task::Entailment,
        TaskArg::TwoPictures => Task::TwoPictures,
        TaskArg::SoundEvents => Task::SoundEvents,
    };
    let Options { rows, seed, label_noise, noise, .. } = options;
    let written = write_task(&TaskSettings { task, rows, seed, label_noise, noise }, &options.out);
    let (said, code) = match written {
        Ok(report) => (said(&report, &options), ExitCode::SUCCESS),
        Err(error) => (format!("error: {error}"), ExitCode::from(2)),
    };
    // A closed pipe is not an error, since the folder was written.
    let _ = writeln!(std::io::stderr(), "{said}");
    code
}
