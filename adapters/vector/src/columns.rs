//! Reads a Parquet column of equally long lists of floats (`FixedSizeList<float32,d>` or `List<float>`). It
//! uses the low-level column reader, because Arrow would add about a hundred crates.
//!
//! Parquet stores both types of list in the same way: as numbers, each with a repetition level (0 begins a
//! row) and a definition level (a level below the maximum means a null).

use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chiasm_parquet_pages::ParquetPages;
use chiasm_plugin::Budget;
use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, FixedLenByteArray};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{SchemaDescriptor, Type};

use crate::matrix::Matrix;

/// Bytes that a number takes while a row is read: the number, its two levels, and the number in 32 bits.
const NUMBER: u64 = 16;

/// Reads `column`, or the only column that holds vectors.
pub(crate) fn read_parquet(file: File, column: Option<&str>) -> Result<Matrix, String> {
    // The page reader panics on some damaged headers.
    let read = catch_unwind(AssertUnwindSafe(|| read_column(file, column)));
    read.unwrap_or_else(|_| Err("the file is damaged: it cannot be read as Parquet".into()))
}

fn read_column(file: File, column: Option<&str>) -> Result<Matrix, String> {
    let damaged = |error: parquet::errors::ParquetError| format!("the file is damaged: {error}");
    let unreadable = |error: std::io::Error| format!("the file is damaged: {error}");
    let headers = file.try_clone().map_err(unreadable)?;
    let mut budget = Budget::of_file(file.metadata().map_err(unreadable)?.len());
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata();
    let (leaf, name) = choose(metadata.file_metadata().schema_descr(), column)?;
    let full = metadata.file_metadata().schema_descr().column(leaf).max_def_level();
    let mut rows = RowReader { name, full, dim: None, started: 0, open: 0, values: Vec::new() };
    for group in 0..metadata.num_row_groups() {
        let group = reader.get_row_group(group).map_err(damaged)?;
        let stored = group.metadata().column(leaf);
        let pages = ParquetPages::of_column(&headers, stored).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => format!("column `{}`: {error}", rows.name),
            _ => unreadable(error),
        })?;
        let spent =
            budget.check(pages.largest).and_then(|()| budget.spend(pages.values.saturating_mul(NUMBER)));
        spent.map_err(|over| {
            format!("column `{}`: {over}; write it without compression and dictionaries", rows.name)
        })?;
        match group.get_column_reader(leaf).map_err(damaged)? {
            ColumnReader::FloatColumnReader(column) => rows.read(column, |value| *value)?,
            ColumnReader::DoubleColumnReader(column) => rows.read(column, |value| *value as f32)?,
            ColumnReader::FixedLenByteArrayColumnReader(column) => {
                rows.read(column, |bytes: &FixedLenByteArray| match bytes.data() {
                    &[low, high] => half::f16::from_le_bytes([low, high]).to_f32(),
                    _ => f32::NAN,
                })?;
            }
            _ => return Err(format!("column `{}` holds no floats", rows.name)),
        }
    }
    rows.close()?;
    Ok(Matrix { rows: rows.started, dim: rows.dim.unwrap_or(0), values: rows.values })
}

/// Adds the name of each stored column that holds a list of floats, and `None` for each other one. The field
/// of a struct column is `column.field`.
fn vector_columns(node: &Type, name: String, found: &mut Vec<Option<String>>) {
    let floats = |node: &Type| {
        let half = matches!(node.get_basic_info().logical_type_ref(), Some(LogicalType::Float16));
        half || matches!(node.get_physical_type(), PhysicalType::FLOAT | PhysicalType::DOUBLE)
    };
    let repeats = |node: &Type| {
        let info = node.get_basic_info();
        info.has_repetition() && info.repetition() == Repetition::REPEATED
    };
    if node.is_primitive() {
        found.push(Some(name).filter(|_| repeats(node) && floats(node)));
        return;
    }
    let info = node.get_basic_info();
    let list = info.converted_type() == ConvertedType::LIST
        || matches!(info.logical_type_ref(), Some(LogicalType::List));
    // The entries of a list, below a group that repeats; in files of old programs they repeat themselves.
    let entries = match (list, node.get_fields()) {
        (true, [only]) if only.is_group() && repeats(only) => only.get_fields(),
        (true, fields) => fields,
        _ => &[],
    };
    let map = matches!(info.converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE)
        || matches!(info.logical_type_ref(), Some(LogicalType::Map));
    match entries {
        [only] if only.is_primitive() => found.push(Some(name).filter(|_| floats(only))),
        // Lists of lists, lists of structures and maps are no vectors.
        _ if list || map || repeats(node) => found.extend(leaves(node).map(|_| None)),
        _ => {
            for field in node.get_fields() {
                vector_columns(field, format!("{name}.{}", field.name()), found);
            }
        }
    }
}

/// Returns something for each stored column of a field.
fn leaves(node: &Type) -> Box<dyn Iterator<Item = ()> + '_> {
    match node.is_primitive() {
        true => Box::new(std::iter::once(())),
        false => Box::new(node.get_fields().iter().flat_map(|field| leaves(field))),
    }
}

/// Chooses the column; returns the number of its leaf and its name.
fn choose(schema: &SchemaDescriptor, column: Option<&str>) -> Result<(usize, String), String> {
    let mut columns = Vec::new();
    for field in schema.root_schema().get_fields() {
        vector_columns(field, field.name().to_owned(), &mut columns);
    }
    let vectors: Vec<(usize, String)> =
        columns.into_iter().enumerate().filter_map(|(at, name)| Some((at, name?))).collect();
    let names: Vec<&str> = vectors.iter().map(|(_, name)| name.as_str()).collect();
    let listed = names.join(", ");
    match (column, vectors.as_slice()) {
        (Some(column), vectors) => {
            vectors.iter().find(|(_, name)| name == column).cloned().ok_or_else(|| {
                format!("column `{column}` is not one of its columns of float lists, which are: {listed}")
            })
        }
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err("no column holds lists of floats".into()),
        (None, _) => {
            Err(format!("several columns hold vectors ({listed}); say which: member = \"{}\"", names[0]))
        }
    }
}

/// Assembles rows from values and levels.
struct RowReader {
    name: String,
    /// The definition level of a number that is not null.
    full: i16,
    dim: Option<usize>,
    /// Number of rows begun.
    started: usize,
    /// Number of values in the current row.
    open: usize,
    values: Vec<f32>,
}

impl RowReader {
    fn read<T: DataType>(
        &mut self,
        mut column: ColumnReaderImpl<T>,
        number: impl Fn(&T::T) -> f32,
    ) -> Result<(), String> {
        let (mut definitions, mut repetitions, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            definitions.clear();
            repetitions.clear();
            numbers.clear();
            let (records, _, _) = column
                .read_records(1024, Some(&mut definitions), Some(&mut repetitions), &mut numbers)
                .map_err(|error| format!("column `{}` is damaged: {error}", self.name))?;
            if records == 0 {
                return Ok(());
            }
            for (at, repetition) in repetitions.iter().enumerate() {
                if *repetition == 0 {
                    self.close()?;
                    self.started += 1;
                }
                if definitions.get(at).is_some_and(|level| *level < self.full) {
                    return Err(format!(
                        "column `{}`, row {}: expected numbers, got a null or an empty list; remove the row",
                        self.name,
                        self.started - 1
                    ));
                }
                self.open += 1;
            }
            self.values.extend(numbers.iter().map(&number));
        }
    }

    /// Ends the current row and checks its length.
    fn close(&mut self) -> Result<(), String> {
        if self.started == 0 {
            return Ok(());
        }
        let got = std::mem::take(&mut self.open);
        let dim = *self.dim.get_or_insert(got);
        if got != dim {
            let (name, row) = (&self.name, self.started - 1);
            return Err(format!("column `{name}`, row {row}: expected {dim} numbers as in row 0, got {got}"));
        }
        Ok(())
    }
}
