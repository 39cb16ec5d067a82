//! Parquet: columns of texts, integers, floats or booleans, or of lists of these, also as the fields of
//! structs. It uses the low-level column reader, because Arrow would add about a hundred crates.
//!
//! A column is stored as values with two levels each: the repetition level (0 starts a row) and the
//! definition level (the maximum if the value is present; less if the value, its list or its cell is null). A
//! few bytes can encode any number of repeated values, so the headers of the pages are read first, and the
//! size of the decoded data is limited.

pub(super) mod stream;

use super::{
    rows::DatasetBuilder,
    stored::{CellShape, stored_columns},
};
use chiasm_graph::Budget;
use chiasm_parquet_pages::ParquetPages;
use parquet::{
    basic::{ConvertedType, LogicalType},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType, FixedLenByteArray},
    errors::ParquetError,
    file::{
        metadata::ColumnChunkMetaData,
        reader::{FileReader, SerializedFileReader},
    },
    schema::types::SchemaDescriptor,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Bytes that a cell or a list entry takes in memory, besides its text.
const CELL: u64 = 64;
const EXPECTED: &str = "expected texts, integers, floats, booleans or lists of these";

/// Reads every row into `rows`.
pub(super) fn read(file: File, rows: &mut DatasetBuilder<'_>) -> Result<(), String> {
    // The page reader panics on some damaged headers.
    let read = catch_unwind(AssertUnwindSafe(|| columns(file, rows)));
    let columns = read.unwrap_or_else(|_| Err("cannot read it as Parquet: it is damaged".into()))?;
    let count = columns.values().next().map_or(0, Vec::len);
    for row in 0..count {
        let cell = |name: &str| columns.get(name).map(|column| column[row].clone()).unwrap_or_default();
        rows.push(&format!("row {}", row + 1), cell, cell);
    }
    Ok(())
}

/// Returns the requested columns, all of the same length; none if one of them is missing.
fn columns(file: File, rows: &mut DatasetBuilder<'_>) -> Result<BTreeMap<String, Vec<Value>>, String> {
    let unreadable = |error| format!("cannot read it: {error}");
    let mut budget = Budget::of_file(file.metadata().map_err(unreadable)?.len());
    let headers = file.try_clone().map_err(unreadable)?;
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let fields = schema.root_schema().get_fields();
    let stored = stored_columns(schema);
    rows.add_columns(fields.iter().map(|field| field.name()));
    rows.add_columns(stored.iter().map(|(name, _)| name.as_str()));
    let mut columns = BTreeMap::new();
    if !rows.missing().is_empty() {
        return Ok(columns);
    }
    for field in fields.iter().filter(|field| field.is_group() && rows.needs(field.name())) {
        let inside = format!("{}.", field.name());
        let names = stored.iter().filter(|(name, _)| name.starts_with(&inside));
        let names: Vec<String> = names.map(|(name, _)| format!("`{name}`")).collect();
        if !names.is_empty() {
            let (name, fields) = (field.name(), names.join(", "));
            return Err(format!(
                "column `{name}`: {EXPECTED}, got a structure; name one of its fields: {fields}"
            ));
        }
    }
    for (leaf, (name, shape)) in stored.iter().enumerate().filter(|(_, (name, _))| rows.needs(name)) {
        let column = ParquetColumn::of(schema, leaf, name, *shape)?;
        let values = column
            .read(&reader, &headers, &mut budget)
            .map_err(|e| format!("column `{}`: {e}", column.name))?;
        columns.insert(column.name, values);
    }
    Ok(columns)
}

fn failed(error: ParquetError) -> String {
    format!("cannot read it as Parquet: {error}")
}

/// Returns the name of a type that is stored as numbers or bytes but represents something else, such as a
/// date.
fn foreign(kind: ConvertedType, logical: Option<&LogicalType>) -> Option<String> {
    use ConvertedType::{
        ENUM, INT_8, INT_16, INT_32, INT_64, JSON, NONE, UINT_8, UINT_16, UINT_32, UINT_64, UTF8,
    };
    use LogicalType::{Enum, Integer, Json, String, Unknown};
    match (kind, logical) {
        (_, Some(String | Enum | Json | Integer(_) | Unknown)) => None,
        (_, Some(other)) => Some(format!("{other:?}")),
        (NONE | UTF8 | ENUM | JSON | INT_8 | INT_16 | INT_32 | INT_64, None) => None,
        (UINT_8 | UINT_16 | UINT_32 | UINT_64, None) => None,
        (other, None) => Some(other.to_string()),
    }
}

/// Where cells are read to: at most how many, the list that they are added to, and the memory for them.
struct CellSink<'a> {
    most: usize,
    cells: &'a mut Vec<Value>,
    budget: &'a mut Budget,
}

/// A column and the meaning of its levels.
struct ParquetColumn {
    name: String,
    /// Its index among the stored columns.
    leaf: usize,
    list: bool,
    /// The definition level of a value that is present.
    full: i16,
    /// The definition level of an empty list. At a lower level the cell is null.
    empty: i16,
    kind: ConvertedType,
    /// Whether the values are numbers of 16 bits.
    half: bool,
}

impl ParquetColumn {
    /// Returns the stored column at the index `leaf`.
    fn of(schema: &SchemaDescriptor, leaf: usize, name: &str, shape: CellShape) -> Result<Self, String> {
        let stored = schema.column(leaf);
        if let CellShape::Other(other) = shape {
            return Err(format!("column `{name}`: {EXPECTED}, got {other}"));
        }
        let (kind, logical) = (stored.converted_type(), stored.logical_type_ref());
        let half = matches!(logical, Some(LogicalType::Float16));
        if let Some(other) = foreign(kind, logical).filter(|_| !half) {
            return Err(format!("column `{name}`: {EXPECTED}, got {other}"));
        }
        let (list, full) = (shape == CellShape::List, stored.max_def_level());
        // Above the level of an empty list: an entry that is present, and perhaps one that is null.
        let entries = 1 + i16::from(stored.self_type().is_optional());
        Ok(Self { name: name.to_owned(), leaf, list, full, empty: full - entries, kind, half })
    }

    /// Returns the cells of the column, one per row.
    fn read(
        &self,
        reader: &SerializedFileReader<File>,
        headers: &File,
        budget: &mut Budget,
    ) -> Result<Vec<Value>, String> {
        let metadata = reader.metadata();
        let mut cells = Vec::new();
        for group in 0..metadata.num_row_groups() {
            let group = reader.get_row_group(group).map_err(failed)?;
            let stored = group.metadata().column(self.leaf);
            self.check(headers, stored, budget)?;
            let mut column = group.get_column_reader(self.leaf).map_err(failed)?;
            let before = cells.len();
            self.read_cells(&mut column, usize::MAX, &mut cells, budget)?;
            if i64::try_from(cells.len() - before) != Ok(group.metadata().num_rows()) {
                return Err("the file is damaged: the column lacks rows or has too many".into());
            }
        }
        Ok(cells)
    }

    /// Checks the headers of one row group's pages, before a page is decoded and its cells are kept.
    fn check(&self, headers: &File, stored: &ColumnChunkMetaData, budget: &Budget) -> Result<(), String> {
        let pages = self.pages(headers, stored)?;
        let most = pages.largest.max(pages.values.saturating_mul(CELL));
        budget.check(most).map_err(|over| format!("{over}; leave out what is not needed, or use JSON lines"))
    }

    /// Reads the headers of one row group's pages.
    fn pages(&self, headers: &File, stored: &ColumnChunkMetaData) -> Result<ParquetPages, String> {
        let pages = ParquetPages::of_column(headers, stored).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => error.to_string(),
            _ => format!("cannot read it as Parquet: {error}"),
        })?;
        if pages.prefixed {
            return Err("the encoding DELTA_BYTE_ARRAY is not supported; write the column in plain or \
                        dictionary encoding"
                .into());
        }
        Ok(pages)
    }

    /// Reads the next rows of one row group, at most this many, to the end of `cells`.
    fn read_cells(
        &self,
        column: &mut ColumnReader,
        most: usize,
        cells: &mut Vec<Value>,
        budget: &mut Budget,
    ) -> Result<(), String> {
        let unsigned = matches!(self.kind, ConvertedType::UINT_32 | ConvertedType::UINT_64);
        let mut into = CellSink { most, cells, budget };
        match column {
            ColumnReader::ByteArrayColumnReader(c) => self.cells(c, text, &mut into),
            ColumnReader::BoolColumnReader(c) => self.cells(c, |v| Ok((*v).into()), &mut into),
            ColumnReader::Int32ColumnReader(c) if unsigned => {
                self.cells(c, |v| Ok(v.cast_unsigned().into()), &mut into)
            }
            ColumnReader::Int32ColumnReader(c) => self.cells(c, |v| Ok((*v).into()), &mut into),
            ColumnReader::Int64ColumnReader(c) if unsigned => {
                self.cells(c, |v| Ok(v.cast_unsigned().into()), &mut into)
            }
            ColumnReader::Int64ColumnReader(c) => self.cells(c, |v| Ok((*v).into()), &mut into),
            ColumnReader::FloatColumnReader(c) => self.cells(c, |v| Ok((*v).into()), &mut into),
            ColumnReader::DoubleColumnReader(c) => self.cells(c, |v| Ok((*v).into()), &mut into),
            ColumnReader::FixedLenByteArrayColumnReader(c) if self.half => self.cells(c, half, &mut into),
            ColumnReader::FixedLenByteArrayColumnReader(_) => {
                Err("cannot read cells stored as FIXED_LEN_BYTE_ARRAY".into())
            }
            ColumnReader::Int96ColumnReader(_) => Err("cannot read cells stored as INT96".into()),
        }
    }

    /// Reads the next cells of one row group.
    fn cells<T: DataType>(
        &self,
        column: &mut ColumnReaderImpl<T>,
        value: impl Fn(&T::T) -> Result<Value, String>,
        into: &mut CellSink<'_>,
    ) -> Result<(), String> {
        let CellSink { most, cells, budget } = into;
        let (mut definitions, mut repetitions, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = *most;
        while left > 0 {
            definitions.clear();
            repetitions.clear();
            stored.clear();
            let most = left.min(1024);
            let read = column.read_records(most, Some(&mut definitions), Some(&mut repetitions), &mut stored);
            let (records, _, levels) = read.map_err(failed)?;
            if records == 0 {
                return Ok(());
            }
            left -= records;
            let mut stored = stored.iter();
            for at in 0..levels {
                let definition = definitions.get(at).copied().unwrap_or(self.full);
                let found = if definition == self.full { stored.next() } else { None };
                let found = found.map(&value).transpose();
                let found = found.map_err(|complaint| format!("row {}: {complaint}", cells.len() + 1))?;
                let text = found.as_ref().and_then(Value::as_str).map_or(0, str::len);
                budget.spend(CELL + text as u64).map_err(|over| over.to_string())?;
                let begins = repetitions.get(at).copied().unwrap_or(0) == 0;
                self.add(found, definition, begins, cells);
            }
        }
        Ok(())
    }

    /// Adds one value: a cell, the first entry of a list, or its next entry.
    fn add(&self, found: Option<Value>, definition: i16, begins: bool, cells: &mut Vec<Value>) {
        if !self.list {
            cells.push(found.unwrap_or_default());
        } else if definition <= self.empty && found.is_none() {
            cells.push(if definition < self.empty { Value::Null } else { Value::Array(Vec::new()) });
        } else {
            let entry = found.unwrap_or_default();
            match cells.last_mut() {
                Some(Value::Array(entries)) if !begins => entries.push(entry),
                _ => cells.push(Value::Array(vec![entry])),
            }
        }
    }
}

fn text(bytes: &ByteArray) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes.data()).map_err(|error| format!("not UTF-8: {error}"))?;
    Ok(text.into())
}

fn half(bytes: &FixedLenByteArray) -> Result<Value, String> {
    let bytes = <[u8; 2]>::try_from(bytes.data()).map_err(|_| "expected numbers of two bytes".to_owned())?;
    Ok(half::f16::from_le_bytes(bytes).to_f32().into())
}
