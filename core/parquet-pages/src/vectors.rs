//! Rows of a Parquet column of equally long lists of floats (`FixedSizeList<float32,d>` or `List<float>`),
//! read in batches. It uses the low-level column reader, because Arrow would add about a hundred crates.
//!
//! Parquet stores both types of list in the same way: as numbers, each with a repetition level (0 begins a
//! row) and a definition level (a level below the maximum means a null).

use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, FixedLenByteArray};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{SchemaDescriptor, Type};

use crate::ParquetPages;

/// The vectors of one column of a Parquet file. A page of the column is in memory, whatever the size of the
/// row groups.
pub struct VectorRows {
    reader: SerializedFileReader<File>,
    headers: File,
    leaf: usize,
    name: String,
    /// The definition level of a number that is not null.
    full: i16,
    /// The next row group, and the open one.
    group: usize,
    open: Option<ColumnReader>,
    dim: Option<usize>,
    /// The number of rows that were read.
    read: usize,
}

/// Decides whether a row group with these pages of the column is read; the message says why not.
pub type PageLimit<'a> = dyn FnMut(&ParquetPages) -> Result<(), String> + 'a;

impl VectorRows {
    /// Opens `column`, or the only column that holds vectors. The field of a struct column is `column.field`.
    ///
    /// # Errors
    /// If the file is damaged, has no such column, or has several and none is named.
    pub fn open(file: File, column: Option<&str>) -> Result<Self, String> {
        guarded(|| {
            let headers = file.try_clone().map_err(unreadable)?;
            let reader = SerializedFileReader::new(file).map_err(damaged)?;
            let schema = reader.metadata().file_metadata().schema_descr();
            let (leaf, name) = choose(schema, column)?;
            let full = schema.column(leaf).max_def_level();
            Ok(Self { reader, headers, leaf, name, full, group: 0, open: None, dim: None, read: 0 })
        })
    }

    /// The number of rows that the file states.
    pub fn rows(&self) -> u64 {
        let rows = self.reader.metadata().row_groups().iter().map(|group| group.num_rows());
        rows.map(|rows| u64::try_from(rows).unwrap_or(0)).sum()
    }

    /// The width of a vector; `None` before a row was read.
    pub fn dim(&self) -> Option<usize> {
        self.dim
    }

    /// Reads at most `most` rows, and adds their numbers to `values`. Returns the number of rows: 0 at the
    /// end. Before a row group is read, `limit` is asked.
    ///
    /// # Errors
    /// If the file is damaged, a row is null, a list holds a null, rows differ in length, or `limit` refuses.
    pub fn read(
        &mut self,
        most: usize,
        values: &mut Vec<f32>,
        limit: &mut PageLimit<'_>,
    ) -> Result<usize, String> {
        guarded(|| {
            loop {
                let Some(column) = &mut self.open else {
                    if self.group == self.reader.metadata().num_row_groups() {
                        return Ok(0);
                    }
                    self.open = Some(self.next_group(limit)?);
                    self.group += 1;
                    continue;
                };
                let mut rows =
                    RowLevels { name: &self.name, full: self.full, dim: &mut self.dim, read: &mut self.read };
                let count = match column {
                    ColumnReader::FloatColumnReader(column) => {
                        rows.add(column, most, values, |value| *value)?
                    }
                    ColumnReader::DoubleColumnReader(column) => {
                        rows.add(column, most, values, |value| *value as f32)?
                    }
                    ColumnReader::FixedLenByteArrayColumnReader(column) => {
                        rows.add(column, most, values, |bytes: &FixedLenByteArray| match bytes.data() {
                            &[low, high] => half::f16::from_le_bytes([low, high]).to_f32(),
                            _ => f32::NAN,
                        })?
                    }
                    _ => return Err(format!("column `{}` holds no floats", self.name)),
                };
                if count > 0 {
                    return Ok(count);
                }
                self.open = None;
            }
        })
    }

    fn next_group(&self, limit: &mut PageLimit<'_>) -> Result<ColumnReader, String> {
        let group = self.reader.get_row_group(self.group).map_err(damaged)?;
        let stored = group.metadata().column(self.leaf);
        let pages = ParquetPages::of_column(&self.headers, stored).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => format!("column `{}`: {error}", self.name),
            _ => unreadable(error),
        })?;
        limit(&pages).map_err(|refused| format!("column `{}`: {refused}", self.name))?;
        group.get_column_reader(self.leaf).map_err(damaged)
    }
}

fn damaged(error: parquet::errors::ParquetError) -> String {
    format!("the file is damaged: {error}")
}

fn unreadable(error: std::io::Error) -> String {
    format!("the file is damaged: {error}")
}

/// Calls a function. The page reader panics on some damaged headers, which is an error here.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err("the file is damaged: it cannot be read as Parquet".into()))
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
struct RowLevels<'a> {
    name: &'a str,
    full: i16,
    dim: &'a mut Option<usize>,
    read: &'a mut usize,
}

impl RowLevels<'_> {
    /// Reads at most `most` whole rows of the open row group, and returns their number.
    fn add<T: DataType>(
        &mut self,
        column: &mut ColumnReaderImpl<T>,
        most: usize,
        values: &mut Vec<f32>,
        number: impl Fn(&T::T) -> f32,
    ) -> Result<usize, String> {
        let (mut definitions, mut repetitions, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let (records, _, _) = column
            .read_records(most, Some(&mut definitions), Some(&mut repetitions), &mut numbers)
            .map_err(|error| format!("column `{}` is damaged: {error}", self.name))?;
        let mut open = None;
        for (at, repetition) in repetitions.iter().enumerate() {
            if *repetition == 0 {
                self.close(open.replace(0))?;
            }
            if definitions.get(at).is_some_and(|level| *level < self.full) {
                return Err(format!(
                    "column `{}`, row {}: expected numbers, got a null or an empty list; remove the row",
                    self.name, self.read
                ));
            }
            open = open.map(|count| count + 1);
        }
        self.close(open)?;
        values.extend(numbers.iter().map(number));
        Ok(records)
    }

    /// Ends a row of this length.
    fn close(&mut self, length: Option<usize>) -> Result<(), String> {
        let Some(got) = length else { return Ok(()) };
        let dim = *self.dim.get_or_insert(got);
        if got != dim {
            let (name, row) = (self.name, &self.read);
            return Err(format!("column `{name}`, row {row}: expected {dim} numbers as in row 0, got {got}"));
        }
        *self.read += 1;
        Ok(())
    }
}
