//! Reading files of vectors of one modality: .npy, and Parquet as [`Run::run_dataset`] writes it.
//!
//! [`Run::run_dataset`]: super::open::Run::run_dataset

use crate::base::{error::Error, npy::read_matrix};
use chiasm_graph::Budget;
use chiasm_parquet_pages::ParquetPages;
use ndarray::Array2;
use parquet::{
    column::reader::ColumnReader,
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// The bytes that a value takes while it is read: the number or the start of a text, and its two levels.
const VALUE: u64 = 16;

/// The vectors of a file, and an id for each.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredVectors {
    /// The column `id`; the numbers of the rows, counted from 0, for a file without one.
    pub ids: Vec<String>,
    /// The vectors, `[n, d]`.
    pub vectors: Array2<f32>,
}

/// Reads the vectors of a file: a matrix of an .npy file; or the column `column` of a Parquet file, which
/// holds a list of as many floats in every row. `None` if a Parquet file has no such column.
///
/// # Errors
/// If the file cannot be read, or holds something else.
pub fn read_vectors(path: &Path, column: &str) -> Result<Option<StoredVectors>, Error> {
    if path.extension().is_some_and(|extension| extension == "parquet") {
        let read = catch_unwind(AssertUnwindSafe(|| parquet(path, column)));
        let read = read.unwrap_or_else(|_| Err("it is damaged".to_owned()));
        return read.map_err(|what| {
            let help = "give a file that `chiasm run --input ROWS -o OUT.parquet` wrote, or an .npy file";
            Error::input("chiasm::vectors", format!("cannot read {}: {what}", path.display()), help)
        });
    }
    let vectors = read_matrix(path)?.mapv(|value| value as f32);
    Ok(Some(StoredVectors { ids: (0..vectors.nrows()).map(|row| row.to_string()).collect(), vectors }))
}

fn parquet(path: &Path, name: &str) -> Result<Option<StoredVectors>, String> {
    let file = chiasm_host::open_file(path, u64::MAX).map_err(|e| e.to_string())?;
    let (headers, size) = (file.try_clone(), file.metadata());
    let mut budget = Budget::of_file(size.map_err(|e| e.to_string())?.len());
    let headers = headers.map_err(|e| e.to_string())?;
    let failed = |e: ParquetError| e.to_string();
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let leaf = |name: &str| (0..schema.num_columns()).find(|at| schema.get_column_root(*at).name() == name);
    let Some(vectors) = leaf(name) else { return Ok(None) };
    let full = schema.column(vectors).max_def_level();
    let (mut ids, mut values, mut rows) = (Vec::new(), Vec::new(), 0);
    for group in 0..reader.metadata().num_row_groups() {
        let group = reader.get_row_group(group).map_err(failed)?;
        let count = usize::try_from(group.metadata().num_rows()).map_err(|e| e.to_string())?;
        let wanted = [Some(vectors), leaf("id")];
        for stored in wanted.into_iter().flatten().map(|leaf| group.metadata().column(leaf)) {
            let pages = ParquetPages::of_column(&headers, stored).map_err(|e| e.to_string())?;
            let checked = budget.check(pages.largest);
            checked
                .and_then(|()| budget.spend(pages.values.saturating_mul(VALUE)))
                .map_err(|e| e.to_string())?;
        }
        let ColumnReader::FloatColumnReader(mut column) = group.get_column_reader(vectors).map_err(failed)?
        else {
            return Err(format!("the column `{name}` holds no 32-bit floats"));
        };
        let (mut defined, mut repeated) = (Vec::new(), Vec::new());
        let read = column.read_records(count, Some(&mut defined), Some(&mut repeated), &mut values);
        let (records, _, _) = read.map_err(failed)?;
        if records != count || defined.iter().any(|level| *level != full) {
            return Err(format!("a row of the column `{name}` lacks numbers"));
        }
        let width = values.len() / (rows + count).max(1);
        if repeated.iter().enumerate().any(|(at, level)| (*level == 0) != (at % width.max(1) == 0)) {
            return Err(format!("the lists of the column `{name}` differ in length"));
        }
        rows += count;
        if let Some(leaf) = leaf("id") {
            read_ids(group.get_column_reader(leaf).map_err(failed)?, count, &mut ids)?;
        }
    }
    if ids.len() != rows {
        ids = (0..rows).map(|row| row.to_string()).collect();
    }
    let shape = (rows, values.len() / rows.max(1));
    let vectors = Array2::from_shape_vec(shape, values)
        .map_err(|_| format!("the lists of the column `{name}` differ in length"))?;
    Ok(Some(StoredVectors { ids, vectors }))
}

fn read_ids(column: ColumnReader, count: usize, ids: &mut Vec<String>) -> Result<(), String> {
    let failed = |e: ParquetError| e.to_string();
    match column {
        ColumnReader::ByteArrayColumnReader(mut column) => {
            let mut texts = Vec::new();
            column.read_records(count, Some(&mut Vec::new()), None, &mut texts).map_err(failed)?;
            ids.extend(texts.iter().map(|id| String::from_utf8_lossy(id.data()).into_owned()));
        }
        ColumnReader::Int64ColumnReader(mut column) => {
            let mut numbers = Vec::new();
            column.read_records(count, Some(&mut Vec::new()), None, &mut numbers).map_err(failed)?;
            ids.extend(numbers.iter().map(i64::to_string));
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::{
        data_type::FloatType, file::properties::WriterProperties, file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };
    use std::sync::Arc;

    /// A file with the rows of lists of the same number, `rows` of `width`, whose pages have a few bytes.
    fn file(rows: usize, width: usize) -> tempfile::TempPath {
        let path = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap().into_temp_path();
        let schema =
            "message rows { required group v (LIST) { repeated group list { required float element; } } }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = std::fs::File::create(&path).unwrap();
        let mut file =
            SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let count = rows * width;
        let starts: Vec<i16> = (0..count).map(|at| i16::from(at % width != 0)).collect();
        let written =
            column.typed::<FloatType>().write_batch(&vec![0.5; count], Some(&vec![1; count]), Some(&starts));
        written.unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
        path
    }

    #[test]
    fn a_small_file_that_holds_gigabytes_is_refused() {
        let read = read_vectors(&file(3, 4), "v").unwrap().unwrap();
        assert_eq!((read.vectors, read.ids[2].as_str()), (Array2::from_elem((3, 4), 0.5), "2"));
        let large = file(1, 17 << 20);
        assert!(std::fs::metadata(&large).unwrap().len() < 1 << 20);
        let message = read_vectors(&large, "v").unwrap_err().to_string();
        assert!(message.contains("takes more than 256 MiB"), "{message}");
    }
}
