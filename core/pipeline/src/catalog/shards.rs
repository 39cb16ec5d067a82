//! Training rows in Parquet files, a few thousand of which are in memory at once.

use crate::base::{
    digest::{KeyHasher, sha256_of},
    error::Error,
    problem::Problem,
};
use chiasm_parquet_pages::{ParquetPages, VectorRows};
use ndarray::{Array2, ArrayView2};
use std::path::{Path, PathBuf};

/// The rows of a file that are in memory at once.
const BATCH: usize = 8192;
/// The most bytes of a page.
const PAGE: u64 = 1 << 30;
const CODE: &str = "chiasm::data::shards";

/// Parquet files with a column of vectors for each modality. Every row has a vector of each.
#[derive(Debug)]
pub struct Shards {
    files: Vec<PathBuf>,
    /// The name and the width of each modality.
    modalities: Vec<(String, usize)>,
    rows: u64,
}

/// Called with the vectors `[rows, width]` of each modality of a batch of rows.
pub type AddBatch<'a> = dyn FnMut(&[ArrayView2<'_, f32>]) -> Result<(), Error> + 'a;

impl Shards {
    /// Opens a file, or the `.parquet` files of a folder in the order of their names, and reads the first
    /// row.
    ///
    /// # Errors
    /// If there is no such file, a file lacks a column of vectors, columns differ in length, or vectors have
    /// another width than the modality.
    pub fn open(path: &Path, modalities: Vec<(String, usize)>) -> Result<Self, Problem> {
        let files = files(path)?;
        let mut shards = Self { files, modalities, rows: 0 };
        for file in &shards.files {
            let columns = shards.columns(file)?;
            let rows = columns.first().map_or(0, VectorRows::rows);
            if let Some(other) = columns.iter().find(|column| column.rows() != rows) {
                return Err(about(
                    file,
                    format!("it is damaged: columns of {rows} and {} rows", other.rows()),
                ));
            }
            shards.rows += rows;
        }
        if shards.rows == 0 {
            return Err(about(path, "it holds no rows".to_owned()));
        }
        for file in &shards.files {
            if shards.batch(&mut shards.columns(file)?, file, 0, 1)?.is_some() {
                break;
            }
        }
        Ok(shards)
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of the content of all files.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn content(&self) -> Result<String, Error> {
        let mut key = KeyHasher::default();
        for file in &self.files {
            key.add(sha256_of(file).map_err(|error| Error::io("read", file, error))?);
        }
        Ok(key.finish())
    }

    /// Calls `add` with all rows, batch by batch.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, a row has no vector of a modality or one that is not finite,
    /// or `add` fails.
    pub fn each(&self, add: &mut AddBatch<'_>) -> Result<(), Error> {
        for file in &self.files {
            let mut columns = self.columns(file)?;
            let mut row = 0;
            while let Some(vectors) = self.batch(&mut columns, file, row, BATCH)? {
                let views: Vec<ArrayView2<'_, f32>> = vectors.iter().map(Array2::view).collect();
                add(&views)?;
                row += views[0].nrows();
            }
        }
        Ok(())
    }

    /// Opens the columns of a file.
    fn columns(&self, file: &Path) -> Result<Vec<VectorRows>, Problem> {
        let open = |(name, _): &(String, usize)| {
            let opened = chiasm_host::open_file(file, u64::MAX).map_err(|error| error.to_string());
            opened.and_then(|opened| VectorRows::open(opened, Some(name))).map_err(|what| about(file, what))
        };
        self.modalities.iter().map(open).collect()
    }

    /// Reads at most `most` rows from the row `row` on; `None` at the end of the file.
    fn batch(
        &self,
        columns: &mut [VectorRows],
        file: &Path,
        row: usize,
        most: usize,
    ) -> Result<Option<Vec<Array2<f32>>>, Problem> {
        let mut limit = |pages: &ParquetPages| match pages.largest {
            0..=PAGE => Ok(()),
            bytes => Err(format!("a page of {bytes} bytes; at most {PAGE} are read")),
        };
        let mut batch: Vec<Array2<f32>> = Vec::new();
        for (column, (name, width)) in columns.iter_mut().zip(&self.modalities) {
            let (mut values, mut rows) = (Vec::new(), 0);
            loop {
                match column.read(most - rows, &mut values, &mut limit).map_err(|what| about(file, what))? {
                    0 => break,
                    more => rows += more,
                }
                if rows == most {
                    break;
                }
            }
            let got = column.dim().unwrap_or(*width);
            if got != *width {
                let message = format!("column `{name}`: expected vectors of {width} numbers, got {got}");
                return Err(about(file, message));
            }
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let at = row + at / width;
                return Err(about(file, format!("column `{name}`, row {at}: NaN or infinity")));
            }
            batch.extend(Array2::from_shape_vec((rows, *width), values));
        }
        let rows = batch.first().map_or(0, Array2::nrows);
        if batch.len() < columns.len() || batch.iter().any(|vectors| vectors.nrows() != rows) {
            return Err(about(file, "it is damaged: its columns differ in length".to_owned()));
        }
        Ok((rows > 0).then_some(batch))
    }
}

fn about(file: &Path, what: String) -> Problem {
    Problem::new(CODE, format!("{}: {what}", file.display()))
        .help("data.shards takes Parquet files with a column of vectors for each modality, named after it")
}

/// Returns the file, or the Parquet files of the folder.
fn files(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| about(path, format!("cannot read the folder: {error}")))?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    match files.is_empty() {
        true => Err(about(path, "no file ends in .parquet".to_owned())),
        false => Ok(files),
    }
}
