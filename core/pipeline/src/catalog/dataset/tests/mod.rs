mod formats;
mod items;
mod parquet;
mod rules;

use super::{Dataset, DatasetColumns, ItemRef};
use crate::base::problem::Problems;

const COLUMNS: DatasetColumns<'static> =
    DatasetColumns { inputs: &["image", "captions"], values: &["answer"], split: None };

/// Reads `content` from a file called `name` in a temporary folder. The returned dataset has no folder.
fn read(name: &str, content: impl AsRef<[u8]>, columns: DatasetColumns<'_>) -> Result<Dataset, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mut data = Dataset::read(&path, columns)?;
    assert_eq!(data.folder, folder.path());
    data.folder.clear();
    Ok(data)
}

/// Returns all messages and help texts for a file that must be refused.
fn refused(name: &str, content: impl AsRef<[u8]>, columns: DatasetColumns<'_>) -> String {
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

fn text(text: &str) -> ItemRef {
    ItemRef::Text(text.into())
}
