//! Small files of the formats that are read: graphs, arrays, archives and Parquet files.

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, DataType, FloatType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use std::{error::Error, io::Write, sync::Arc};

/// What is made, or why it could not be.
type Made<T> = Result<T, Box<dyn Error>>;

/// The inputs to begin with, or why they could not be made.
pub type Seeds = Made<Vec<Vec<u8>>>;

/// A map with a weight of more than a kibibyte, which may be stored in a file beside the model, and a graph
/// with a constant that is computed.
pub(crate) fn graphs() -> Made<Vec<Graph>> {
    let batch = |width: usize| [Dim::named("batch"), width.into()];
    let mut map = Builder::new("map");
    let x = map.input("x", DType::F32, &batch(16))?;
    let weight = map.constant("w", Tensor::f32(&[16, 24], (0..16 * 24).map(|i| i as f32).collect())?);
    let y = map.op("MatMul", &[&x, &weight], &[]);
    let z = map.l2_normalise(&y, -1, 1e-12);
    map.output("z", &z, DType::F32, &batch(24));
    let mut small = Builder::new("small");
    let x = small.input("x", DType::F32, &batch(2))?;
    let first = small.ints("first", &[1, 0]);
    let swapped = small.gather(&x, &first, 1);
    let two = small.scalar(2.0);
    let half = small.op("Reciprocal", &[&two], &[]);
    let scaled = small.op("Mul", &[&swapped, &half], &[]);
    let kept = small.op("Tanh", &[&scaled], &[]);
    small.output("z", &kept, DType::F32, &batch(2));
    Ok(vec![small.finish()?, map.finish()?])
}

/// An .npy file of this version, header and numbers.
pub(crate) fn npy(version: u8, header: &str, numbers: &[u8]) -> Vec<u8> {
    let length = (header.len() as u32).to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length[..] };
    [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), numbers].concat()
}

/// The header of an array in C order.
pub(crate) fn header(kind: &str, shape: &str) -> String {
    format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n")
}

/// An archive with one file that is stored, or compressed.
pub(crate) fn archive(name: &str, content: &[u8], method: zip::CompressionMethod) -> Made<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file(name, zip::write::SimpleFileOptions::default().compression_method(method))?;
    archive.write_all(content)?;
    Ok(archive.finish()?.into_inner())
}

/// Three vectors of two numbers, the column `v`.
pub(crate) fn vectors(compression: Compression) -> Made<Vec<u8>> {
    let schema = "message m { required group v (LIST) { repeated group list { required float element; } } }";
    let levels: [&[i16]; 2] = [&[1; 6], &[0, 1, 0, 1, 0, 1]];
    parquet(schema, compression, |group| column::<FloatType>(group, &[0.5, 1.0, -2.0, 3.0, 4.0, 8.0], levels))
}

/// Three rows of the columns `image`, which may be null, and `captions`, which are lists.
pub(crate) fn rows(compression: Compression) -> Made<Vec<u8>> {
    let schema = "message m { optional binary image (UTF8); optional group captions (LIST) { repeated group \
                  list { optional binary element (UTF8); } } required binary label (UTF8); }";
    let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
    parquet(schema, compression, |group| {
        column::<ByteArrayType>(group, &texts(&["a.png", "b.png"]), [&[1, 0, 1], &[]])?;
        column::<ByteArrayType>(group, &texts(&["x", "y", "x"]), [&[3, 3, 0, 3, 2], &[0, 1, 0, 0, 1]])?;
        column::<ByteArrayType>(group, &texts(&["p", "q", "p"]), [&[], &[]])
    })
}

type Group<'a> = parquet::file::writer::SerializedRowGroupWriter<'a, Vec<u8>>;

fn parquet(
    schema: &str,
    compression: Compression,
    write: impl FnOnce(&mut Group<'_>) -> Made<()>,
) -> Made<Vec<u8>> {
    let properties = WriterProperties::builder().set_compression(compression).build();
    let schema = Arc::new(parse_message_type(schema)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    write(&mut group)?;
    group.close()?;
    Ok(writer.into_inner()?)
}

/// Writes a column with its definition and repetition levels, which are empty for a column without them.
fn column<T: DataType>(group: &mut Group<'_>, values: &[T::T], levels: [&[i16]; 2]) -> Made<()> {
    let Some(mut column) = group.next_column()? else { return Err("the schema has fewer columns".into()) };
    let [definitions, repetitions] = levels.map(|levels| (!levels.is_empty()).then_some(levels));
    column.typed::<T>().write_batch(values, definitions, repetitions)?;
    column.close()?;
    Ok(())
}
