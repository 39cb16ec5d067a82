//! The table of test items: positions in two dimensions and nearest neighbours in the shared space, as a
//! Parquet file for tools that explore embeddings.

use crate::{
    layout::{FEWEST, nearest},
    projection::principal_components,
    sample::{all_rows, caption},
    umap,
};
use chiasm_geometry::{Error as GeometryError, neighbours::Neighbours};
use chiasm_pipeline::{Error, TestItems};
use ndarray::{Array2, Axis, concatenate};
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};
use std::{collections::BTreeSet, sync::Arc};

/// About the most items of a table, so that its time and memory are bounded.
const ITEMS: usize = 20_000;
/// The neighbours of each item.
const NEIGHBOURS: usize = 10;

/// The columns. `neighbors.ids` refer to `id`.
const SCHEMA: &str = "message items {
    required int64 id;
    required binary modality (UTF8);
    required binary row (UTF8);
    required binary item (UTF8);
    optional binary label (UTF8);
    required double projection_x;
    required double projection_y;
    required double pca_x;
    required double pca_y;
    required group neighbors {
        required group ids (LIST) { repeated group list { required int64 element; } }
        required group distances (LIST) { repeated group list { required double element; } }
    }
}";

/// Returns the table of the test items: all of them, or those of evenly spaced rows, which hold about
/// [`ITEMS`].
///
/// # Errors
/// If a vector is not finite or the file cannot be made.
pub fn table(test: &[TestItems], seed: u64) -> Result<Vec<u8>, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Internal(format!("the table of test items: {e}"));
    let columns = Columns::new(test, ITEMS, seed).map_err(|e| failed(&e))?;
    columns.write().map_err(|e| failed(&e))
}

/// The values of a table.
struct Columns<'a> {
    /// The modality and the index of each item.
    items: Vec<(&'a TestItems, usize)>,
    /// The positions `[n, 2]`: UMAP, or the principal components if there are too few items for it.
    points: Array2<f64>,
    principal: Array2<f64>,
    /// `None` for a single item.
    near: Option<Neighbours>,
}

impl<'a> Columns<'a> {
    fn new(test: &'a [TestItems], most: usize, seed: u64) -> Result<Self, GeometryError> {
        let rows = spread_rows(test, most);
        let held = |own: &TestItems| -> Vec<usize> {
            (0..own.rows.len()).filter(|at| rows.contains(&own.rows[*at])).collect()
        };
        let chosen: Vec<Vec<usize>> = test.iter().map(held).collect();
        let parts: Vec<Array2<f32>> =
            test.iter().zip(&chosen).map(|(own, at)| own.aligned.select(Axis(0), at)).collect();
        let views: Vec<_> = parts.iter().map(Array2::view).collect();
        let vectors = concatenate(Axis(0), &views).unwrap_or_default();
        let near = nearest(vectors.mapv(f64::from).view(), umap::NEIGHBOURS.max(NEIGHBOURS), seed)?;
        let principal = principal_components(vectors.view())?.points;
        let points = match near.as_ref().filter(|_| vectors.nrows() >= FEWEST) {
            Some(near) => umap::umap(near, principal.view(), seed),
            None => principal.clone(),
        };
        let items = test.iter().zip(&chosen).flat_map(|(own, at)| at.iter().map(move |at| (own, *at)));
        Ok(Self { items: items.collect(), points, principal, near })
    }

    fn write(&self) -> Result<Vec<u8>, ParquetError> {
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        let ids: Vec<i64> = (0..self.items.len() as i64).collect();
        column::<Int64Type>(&mut group, &ids, None, None)?;
        self.texts(&mut group, |own, _| own.modality.clone())?;
        self.texts(&mut group, |own, at| own.ids[at].clone())?;
        self.texts(&mut group, |own, at| caption(&own.raw[at]))?;
        let labels: Vec<&str> =
            self.items.iter().filter_map(|(own, at)| own.labels[*at].as_deref()).collect();
        let given: Vec<i16> = self.items.iter().map(|(own, at)| own.labels[*at].is_some().into()).collect();
        let labels: Vec<ByteArray> = labels.into_iter().map(ByteArray::from).collect();
        column::<ByteArrayType>(&mut group, &labels, Some(&given), None)?;
        for points in [&self.points, &self.principal] {
            for axis in [0, 1] {
                column::<DoubleType>(&mut group, &points.column(axis).to_vec(), None, None)?;
            }
        }
        self.neighbours(&mut group)?;
        group.close()?;
        file.into_inner()
    }

    fn texts(
        &self,
        group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
        text: impl Fn(&TestItems, usize) -> String,
    ) -> Result<(), ParquetError> {
        let texts: Vec<ByteArray> =
            self.items.iter().map(|(own, at)| ByteArray::from(text(own, *at).into_bytes())).collect();
        column::<ByteArrayType>(group, &texts, None, None)
    }

    /// Writes both columns of neighbours. A single item has empty lists.
    fn neighbours(&self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        let kept = self.near.as_ref().map_or(0, |near| near.index.ncols().min(NEIGHBOURS));
        // The first value of a list has the repetition level 0; an empty list has no value.
        let length = kept.max(1) * self.items.len();
        let repeated: Vec<i16> = (0..length).map(|at| (at % kept.max(1) != 0).into()).collect();
        let defined = vec![i16::from(kept > 0); length];
        let near = self.near.iter();
        let ids: Vec<i64> = near
            .clone()
            .flat_map(|near| near.index.rows().into_iter().flat_map(|row| row.into_iter().take(kept)))
            .map(|id| i64::from(*id))
            .collect();
        let distances: Vec<f64> = near
            .flat_map(|near| near.distance.rows().into_iter().flat_map(|row| row.into_iter().take(kept)))
            .copied()
            .collect();
        column::<Int64Type>(group, &ids, Some(&defined), Some(&repeated))?;
        column::<DoubleType>(group, &distances, Some(&defined), Some(&repeated))
    }
}

/// Writes the next column, with its definition and repetition levels if it has them.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    definitions: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column =
        column.ok_or_else(|| ParquetError::General("the schema has fewer columns".to_owned()))?;
    column.typed::<T>().write_batch(values, definitions, repetitions)?;
    column.close()
}

/// Returns all rows that have items, or as many of them, evenly spaced, as hold about `most` items.
fn spread_rows(test: &[TestItems], most: usize) -> BTreeSet<usize> {
    let all: Vec<usize> = all_rows(test).into_iter().collect();
    let items: usize = test.iter().map(|own| own.rows.len()).sum();
    let count = if items <= most { all.len() } else { all.len() * most / items };
    (0..count).map(|at| all[at * all.len() / count]).collect()
}
