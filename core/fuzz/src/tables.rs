//! Data files: JSON lines, CSV and Parquet.

use crate::{
    scratch,
    seeds::{self, Seeds},
};
use chiasm_pipeline::{Dataset, DatasetColumns};
use parquet::basic::Compression;

const FORMATS: [&str; 4] = ["jsonl", "csv", "tsv", "parquet"];

/// Reads a data file. The first byte chooses the format.
pub(crate) fn run(bytes: &[u8]) {
    let Some((format, content)) = bytes.split_first() else { return };
    let columns = DatasetColumns { inputs: &["image", "captions"], values: &["label"], split: None };
    let name = format!("pairs.{}", FORMATS[usize::from(*format) % FORMATS.len()]);
    scratch::with_file(&name, content, |path| match Dataset::read(path, columns) {
        Ok(data) => {
            let rows = data.len();
            let columns = ["image", "captions"].map(|name| data.column(name).len());
            assert_eq!((columns, data.values("label").len(), data.splits.len()), ([rows; 2], rows, rows));
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "a file is refused without a reason"),
    });
}

pub(crate) fn seeds() -> Seeds {
    let lines = r#"{"id": "s1", "image": "a.png", "captions": ["x", "y"], "label": 3, "split": "test"}
{"id": "s2", "image": null, "captions": "é\u00e9", "label": 0.5, "split": "train"}
{"image": 7, "captions": [], "label": true}
"#;
    let table = r#"id,image,captions,label,split
s1,a.png,"[""x"", ""y""]",3,test
s2,,z,"a b",train
"#;
    let table = table.replace("\\n", "\n");
    let of = |format: u8, content: &[u8]| [&[format], content].concat();
    Ok(vec![
        of(0, lines.as_bytes()),
        of(1, table.as_bytes()),
        of(2, table.replace(',', "\t").as_bytes()),
        of(3, &seeds::rows(Compression::UNCOMPRESSED)?),
        of(3, &seeds::rows(Compression::SNAPPY)?),
    ])
}
