//! The outputs of the blocks of a data file: each as a Parquet file of one row group, and all joined.
//!
//! The column `id` is a text. An output `[n, d]` is a column of lists with d floats each, as Arrow's
//! `list<float>`. The vectors are stored plainly: compression gains little on them.

use crate::base::error::Error;
use chiasm_graph::Port;
use ndarray::Array2;
use parquet::{
    basic::{Compression, ConvertedType, Encoding, LogicalType, Repetition, Type as PhysicalType},
    column::writer::ColumnCloseResult,
    data_type::{ByteArray, ByteArrayType, DataType, FloatType},
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        reader::{FileReader, SerializedFileReader},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// How the names of the files of blocks begin.
const BLOCK: &str = "block";
/// How those of files end that are not finished.
const UNFINISHED: &str = ".tmp";

/// The outputs of the rows of a block.
pub struct BlockTable {
    /// The id of each row.
    pub ids: Vec<String>,
    /// The output ports.
    pub names: Vec<Port>,
    /// The outputs, in the same order.
    pub outputs: Vec<Array2<f32>>,
}

/// The folder of the finished blocks of an output that is not complete.
pub struct PartsFolder(PathBuf);

impl PartsFolder {
    /// Opens or creates the folder `OUT.parts`, for the output `OUT`.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn beside(output: &Path) -> Result<Self, Error> {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".parts");
        let folder = output.with_file_name(name);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        Ok(Self(folder))
    }

    /// Returns the file of a block that was finished with this key.
    pub fn finished(&self, block: u64, key: &str) -> Option<PathBuf> {
        Some(self.file(block, key)).filter(|path| path.is_file())
    }

    /// Writes a finished block. A file with this name is always complete.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, block: u64, key: &str, table: &BlockTable) -> Result<PathBuf, Error> {
        let path = self.file(block, key);
        let failed = |e| Error::io("write", &path, e);
        let unfinished = tempfile::Builder::new().prefix(BLOCK).suffix(UNFINISHED).tempfile_in(&self.0);
        let mut temporary = unfinished.map_err(failed)?;
        table.write(temporary.as_file_mut()).map_err(|e| failed(std::io::Error::other(e)))?;
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(&path).map_err(|e| failed(e.error))?;
        Ok(path)
    }

    /// Joins the blocks in this order, as the file `output`, and removes the files of blocks, and the folder
    /// if nothing else is in it.
    ///
    /// # Errors
    /// If a block cannot be read, or the output cannot be written.
    pub fn join(self, parts: &[PathBuf], outputs: &[Port], output: &Path) -> Result<(), Error> {
        let failed = |e: ParquetError| Error::io("write", output, std::io::Error::other(e));
        let temporary = self.0.join(format!("{BLOCK}s-joined{UNFINISHED}"));
        let file = File::create(&temporary).map_err(|e| Error::io("write", &temporary, e))?;
        let file = join(parts, &schema(outputs).map_err(failed)?, file).map_err(failed)?;
        file.sync_all().map_err(|e| Error::io("write", output, e))?;
        std::fs::rename(&temporary, output).map_err(|e| Error::io("write", output, e))?;
        let failed = |e| Error::io("remove", &self.0, e);
        for entry in std::fs::read_dir(&self.0).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(BLOCK) && [".parquet", UNFINISHED].iter().any(|end| name.ends_with(end)) {
                std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        // A folder with files of the user stays.
        let _ = std::fs::remove_dir(&self.0);
        Ok(())
    }

    fn file(&self, block: u64, key: &str) -> PathBuf {
        self.0.join(format!("{BLOCK}-{block:08}-{}.parquet", &key[..key.len().min(32)]))
    }
}

impl BlockTable {
    fn write(&self, file: &mut File) -> Result<(), ParquetError> {
        let schema = Arc::new(schema(&self.names)?);
        let mut file = SerializedFileWriter::new(BufWriter::new(file), schema, properties())?;
        let mut group = file.next_row_group()?;
        let ids: Vec<ByteArray> = self.ids.iter().map(|id| ByteArray::from(id.as_bytes().to_vec())).collect();
        column::<ByteArrayType>(&mut group, &ids, None)?;
        for output in &self.outputs {
            let width = output.ncols().max(1);
            // The first value of each list has the repetition level 0.
            let repeated: Vec<i16> = (0..output.len()).map(|at| i16::from(at % width != 0)).collect();
            let values: Vec<f32> = output.iter().copied().collect();
            column::<FloatType>(&mut group, &values, Some(&repeated))?;
        }
        group.close()?;
        file.into_inner()?.flush().map_err(|e| ParquetError::External(Box::new(e)))
    }
}

/// Writes the next column: lists with these repetition levels, or single values.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, BufWriter<&mut File>>,
    values: &[T::T],
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("the schema has fewer columns".into()))?;
    // A list that is not empty has the definition level 1 at each of its values.
    let defined = repetitions.map(|repetitions| vec![1; repetitions.len()]);
    column.typed::<T>().write_batch(values, defined.as_deref(), repetitions)?;
    column.close()
}

fn schema(outputs: &[Port]) -> Result<Type, ParquetError> {
    let text = Type::primitive_type_builder("id", PhysicalType::BYTE_ARRAY)
        .with_repetition(Repetition::REQUIRED)
        .with_converted_type(ConvertedType::UTF8)
        .with_logical_type(Some(LogicalType::String));
    let mut columns = vec![Arc::new(text.build()?)];
    for port in outputs {
        let element = Type::primitive_type_builder("element", PhysicalType::FLOAT);
        let element = element.with_repetition(Repetition::REQUIRED).build()?;
        let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
        let list = list.with_fields(vec![Arc::new(element)]).build()?;
        let column = Type::group_type_builder(&port.name)
            .with_repetition(Repetition::REQUIRED)
            .with_converted_type(ConvertedType::LIST)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(list)]);
        columns.push(Arc::new(column.build()?));
    }
    Type::group_type_builder("outputs").with_fields(columns).build()
}

fn properties() -> Arc<WriterProperties> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::PLAIN)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("chiasm".to_owned());
    Arc::new(properties.build())
}

/// Copies the row groups of files, without decoding them, into one.
fn join(parts: &[PathBuf], schema: &Type, file: File) -> Result<File, ParquetError> {
    let schema = Arc::new(schema.clone());
    let mut writer = SerializedFileWriter::new(BufWriter::new(file), schema, properties())?;
    for part in parts {
        let input = File::open(part)?;
        let reader = SerializedFileReader::new(input.try_clone()?)?;
        for group in reader.metadata().row_groups() {
            let mut copy = writer.next_row_group()?;
            for column in group.columns() {
                let close = ColumnCloseResult {
                    bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
                    rows_written: u64::try_from(group.num_rows()).unwrap_or(0),
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                copy.append_column(&input, close)?;
            }
            copy.close()?;
        }
    }
    writer.into_inner()?.into_inner().map_err(|e| ParquetError::External(Box::new(e.into_error())))
}
