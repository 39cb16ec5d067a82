//! `looked`: how often a fusion looked at the right object.

use clap::Parser;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use world::{Looked, QuizRow};

/// Compares where a fusion looked with where the answers are.
#[derive(Parser)]
struct Options {
    /// Rows of a quiz, as `chiasm run --input` got them.
    #[arg(long)]
    rows: PathBuf,
    /// What `chiasm run RUN --input ROWS --attention SVG --format json` printed.
    #[arg(long)]
    outputs: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (mut out, mut errors) = (std::io::stdout(), std::io::stderr());
    // A closed pipe is no failure.
    match judged(&options) {
        Ok(text) => {
            let _ = writeln!(out, "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(errors, "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn judged(options: &Options) -> Result<String, String> {
    let rows: Vec<QuizRow> = lines(&options.rows)?;
    let text = std::fs::read_to_string(&options.outputs).map_err(|e| named(&options.outputs, e))?;
    let outputs: serde_json::Value = serde_json::from_str(&text).map_err(|e| named(&options.outputs, e))?;
    let shares: Vec<Vec<f64>> = serde_json::from_value(outputs["outputs"]["image_attention"].clone())
        .map_err(|e| named(&options.outputs, format!("outputs.image_attention: {e}")))?;
    if shares.len() != rows.len() || rows.is_empty() {
        return Err(format!(
            "{} rows and looks at {} pictures: expected as many of either, and some",
            rows.len(),
            shares.len()
        ));
    }
    let looked: Option<Vec<Looked>> =
        rows.iter().zip(&shares).map(|(row, shares)| Looked::of(shares, row.object)).collect();
    let looked = looked.ok_or("the looks are no square grid")?;
    let mean = |of: &dyn Fn(&Looked) -> f64| 100.0 * looked.iter().map(of).sum::<f64>() / looked.len() as f64;
    Ok(format!(
        "{:.1} % of the looks at {} pictures fall on the right object's cells, where chance is {:.1} %; the cell most looked at is one of them in {:.1} %",
        mean(&|looked| looked.inside),
        rows.len(),
        mean(&|looked| looked.chance),
        mean(&|looked| f64::from(u8::from(looked.strongest)))
    ))
}

fn lines(path: &Path) -> Result<Vec<QuizRow>, String> {
    let file = std::fs::File::open(path).map_err(|e| named(path, e))?;
    let read = |line: std::io::Result<String>| {
        serde_json::from_str(&line.map_err(|e| named(path, e))?).map_err(|e| named(path, e))
    };
    BufReader::new(file).lines().map(read).collect()
}

fn named(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
