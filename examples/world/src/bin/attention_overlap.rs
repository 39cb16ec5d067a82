//! `attention_overlap`: how much of a fusion's attention is on the object that answers the question.

use clap::Parser;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use world::{AttentionOverlap, QuizRow};

/// Compare the attention of a fusion with the boxes of the objects that answer the questions.
#[derive(Parser)]
struct Options {
    /// Rows of a quiz, the input of `chiasm run --input`.
    #[arg(long)]
    rows: PathBuf,
    /// Output of `chiasm run RUN --input ROWS --attention SVG --format json`.
    #[arg(long)]
    outputs: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (mut out, mut errors) = (std::io::stdout(), std::io::stderr());
    // A closed pipe is not an error.
    match report(&options) {
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

fn report(options: &Options) -> Result<String, String> {
    let rows: Vec<QuizRow> = lines(&options.rows)?;
    let text = std::fs::read_to_string(&options.outputs).map_err(|e| named(&options.outputs, e))?;
    let outputs: serde_json::Value = serde_json::from_str(&text).map_err(|e| named(&options.outputs, e))?;
    let shares: Vec<Vec<f64>> = serde_json::from_value(outputs["outputs"]["image_attention"].clone())
        .map_err(|e| named(&options.outputs, format!("outputs.image_attention: {e}")))?;
    if shares.len() != rows.len() || rows.is_empty() {
        return Err(format!(
            "expected attention for every row of the quiz, got {} rows and attention for {} pictures",
            rows.len(),
            shares.len()
        ));
    }
    let overlaps: Option<Vec<AttentionOverlap>> =
        rows.iter().zip(&shares).map(|(row, shares)| AttentionOverlap::of(shares, row.object)).collect();
    let overlaps = overlaps.ok_or("expected attention on a square grid of tokens")?;
    let mean = |of: &dyn Fn(&AttentionOverlap) -> f64| {
        100.0 * overlaps.iter().map(of).sum::<f64>() / overlaps.len() as f64
    };
    Ok(format!(
        "{:.1} % of the attention over {} pictures is on the cells of the answer's object, where chance is \
         {:.1} %; the cell with the most attention is one of them in {:.1} %",
        mean(&|overlap| overlap.inside),
        rows.len(),
        mean(&|overlap| overlap.chance),
        mean(&|overlap| f64::from(u8::from(overlap.strongest)))
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
