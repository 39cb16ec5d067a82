mod formats;
mod items;
mod parquet;
mod rules;

use super::{Cell, Columns, Dataset};
use crate::base::problem::Problems;

const COLUMNS: Columns<'static> =
    Columns { inputs: &["image", "captions"], values: &["answer"], split: None };

/// Reads `content` as a file of that name in a folder of its own, and leaves the folder out of what it gives.
fn read(name: &str, content: impl AsRef<[u8]>, columns: Columns<'_>) -> Result<Dataset, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mut data = Dataset::read(&path, columns)?;
    assert_eq!(data.folder, folder.path());
    data.folder.clear();
    Ok(data)
}

/// All messages and advice of the problems of such a file.
fn refused(name: &str, content: impl AsRef<[u8]>, columns: Columns<'_>) -> String {
    use miette::Diagnostic;
    let problems = read(name, content, columns).unwrap_err();
    let help = |problem: &crate::Problem| problem.help().map(|h| h.to_string()).unwrap_or_default();
    problems.iter().map(|problem| format!("{problem}\n{}\n", help(problem))).collect()
}

fn expect(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}
