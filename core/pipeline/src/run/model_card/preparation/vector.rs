//! Rows of a file of vectors. The Python equals the adapter `vector`.

use super::described::{Preparation, PythonPreparation, input, not_known};
use crate::run::model_card::{facts::EncoderFacts, text::quoted};
use serde::Deserialize;

/// The table of a file of vectors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorTable {
    vectors: String,
    member: Option<String>,
    column: Option<String>,
}

/// Describes how vectors are prepared.
pub fn preparation(encoder: &EncoderFacts<'_>) -> Preparation {
    let table: VectorTable = match serde_json::from_value(encoder.spec.preprocessing.clone()) {
        Ok(table) => table,
        Err(error) => return not_known(encoder, &error),
    };
    let words = format!(
        "An item is a vector of {} numbers, such as a row of `{}`, the file that the run was fitted on. That \
         file is not part of this folder.",
        encoder.pooled,
        table.vectors.replace('`', "'")
    );
    let extension = table.vectors.rsplit('.').next().unwrap_or_default().to_lowercase();
    let (file, rows) = match (extension.as_str(), &table.column, &table.member) {
        ("npy", None, None) => ("vectors.npy", "rows = np.load(file)".to_owned()),
        ("npz", None, Some(member)) => ("vectors.npz", format!("rows = np.load(file)[{}]", quoted(member))),
        ("npz", None, None) => ("vectors.npz", "(rows,) = np.load(file).values()".to_owned()),
        _ => {
            let reason = "a column of a Parquet file needs another package; save it as .npy".to_owned();
            return Preparation { words, python: Err(reason) };
        }
    };
    let python = PythonPreparation {
        imports: Vec::new(),
        body: vec![
            "file, _, row = item.rpartition(\":\")".to_owned(),
            rows,
            format!("return {{{}: np.asarray(rows[int(row)], np.float32)[None]}}", input(encoder, "vector")),
        ],
        item: "a file of vectors and a row, counted from 0",
        example: format!("\"{file}:0\""),
    };
    Preparation { words, python: Ok(python) }
}
