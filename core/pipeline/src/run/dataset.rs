//! Running a data file of any length through a run, or one shard of it, into a Parquet file.
//!
//! The rows are cut into blocks of [`BLOCK_ROWS`], counted from the start of the file. A shard is a range of
//! whole blocks, and a block is one row group of the output. A vector depends on nothing but the rows of its
//! block, so that it has the same bytes in every shard, and the shards one after the other hold the rows of
//! the whole. The memory is that of a block and of a page of each column.
//!
//! Every finished block is kept in a file of its own in the folder `OUT.parts` until the output is complete.
//! The name of that file holds a digest of all that the block depends on: the run, the engine, and the
//! content of its items. A command that is given again therefore goes on after the last finished block.

use super::{
    dataset_parts::{BlockTable, PartsFolder},
    open::Run,
    session::{RunSession, SessionThreads},
};
use crate::{
    base::{digest::KeyHasher, error::Error, reporter::StageProgress},
    catalog::{
        dataset::{BLOCK_ROWS, RowStream, one_item},
        raw::RawItem,
    },
};
use chiasm_host::Takes;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

/// The column that names each row.
const ID: &str = "id";

/// One of several parts of a data file: the part `number` of `count`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u64,
    count: u64,
}

impl Shard {
    /// The whole file.
    pub const WHOLE: Self = Self { number: 1, count: 1 };

    /// Returns the range of blocks of the shard. Shards differ by at most one block.
    fn blocks(self, all: u64) -> std::ops::Range<u64> {
        let cut = |shard: u64| u64::try_from(u128::from(all) * u128::from(shard) / u128::from(self.count));
        cut(self.number - 1).unwrap_or(all)..cut(self.number).unwrap_or(all)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Parses `number/count`, such as `2/8`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(n, of)| Some((n.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            _ => Err(format!("expected NUMBER/COUNT with a number from 1 to the count, got {text:?}")),
        }
    }
}

/// What [`Run::run_dataset`] reads and writes.
#[derive(Debug, Clone)]
pub struct DatasetOptions {
    /// The file of raw items, with a column for each modality: JSON lines or Parquet.
    pub input: PathBuf,
    /// The part of it that is run.
    pub shard: Shard,
    /// The Parquet file to write.
    pub output: PathBuf,
}

/// What [`Run::run_dataset`] did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DatasetReport {
    /// The number of rows written.
    pub rows: u64,
    /// The number of rows that an earlier command had finished.
    pub resumed: u64,
    /// The rows that this command ran, per second.
    pub rows_per_second: f64,
    /// The modalities that the file has.
    pub modalities: Vec<String>,
}

impl Run<'_> {
    /// Runs the rows of a data file through the run and writes the outputs as Parquet: a column `id` (that of
    /// the data file, else the number of the row, counted from 1), and a list of floats for each output.
    /// Every row must have one item of each modality that the file has a column for.
    ///
    /// # Errors
    /// If a file cannot be read or written, a row lacks an item, an item cannot be read, an output is not
    /// finite, or the user asked to stop. The finished blocks are kept beside the output then.
    pub fn run_dataset(&self, options: &DatasetOptions) -> Result<DatasetReport, Error> {
        let start = Instant::now();
        let wanted: Vec<&str> = self.names().into_iter().chain([ID]).collect();
        let mut stream = RowStream::open(&options.input, &wanted)?;
        let modalities: Vec<&str> =
            self.names().into_iter().filter(|name| stream.columns().iter().any(|own| own == name)).collect();
        if modalities.is_empty() {
            let message = format!("{}: no column is a modality of the run", options.input.display());
            let help = format!("name a column {}", self.names().join(" or "));
            return Err(Error::input("chiasm::run::table", message, help));
        }
        let takes = modalities.iter().map(|name| self.takes(name)).collect::<Result<Vec<_>, _>>()?;
        let session = self.session(&modalities, SessionThreads::OneEach)?;
        let blocks = options.shard.blocks(stream.blocks());
        let first = blocks.start * BLOCK_ROWS;
        let rows = (blocks.end * BLOCK_ROWS).min(stream.rows()).saturating_sub(first);
        let parts = PartsFolder::beside(&options.output)?;
        let steps = StageProgress::begin(&*self.env.reporter, "run", usize::try_from(rows).unwrap_or(0));
        let mut finished = Vec::new();
        let mut resumed = 0;
        for block in blocks {
            let items = BlockItems::read(&mut stream, block, &modalities, &takes, &options.input)?;
            let key = self.block_key(&items, &modalities)?;
            let part = match parts.finished(block, &key) {
                Some(part) => {
                    resumed += items.ids.len() as u64;
                    steps.add(items.ids.len());
                    part
                }
                None => {
                    let table = items.run(&session, &steps, &stream, block)?;
                    parts.write(block, &key, &table)?
                }
            };
            finished.push(part);
        }
        parts.join(&finished, session.outputs(), &options.output)?;
        let ran = rows.saturating_sub(resumed) as f64;
        Ok(DatasetReport {
            rows,
            resumed,
            rows_per_second: ran / start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE),
            modalities: modalities.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Returns the digest of everything that the outputs of a block depend on.
    fn block_key(&self, items: &BlockItems, modalities: &[&str]) -> Result<String, Error> {
        let mut key = KeyHasher::default();
        key.add("block 1").add(&self.manifest.key).add(self.env.engine_identity()?);
        key.add(self.env.device.as_str());
        self.manifest.outputs.values().for_each(|digest| {
            key.add(digest);
        });
        for (name, column) in modalities.iter().zip(&items.columns) {
            key.add(name);
            let contents: Vec<String> = column.par_iter().map(RawItem::content).collect();
            contents.iter().for_each(|content| {
                key.add(content);
            });
        }
        items.ids.iter().for_each(|id| {
            key.add(id);
        });
        Ok(key.finish())
    }
}

/// The rows of a block: their ids, and their items, one column for each modality.
struct BlockItems {
    ids: Vec<String>,
    columns: Vec<Vec<RawItem>>,
}

impl BlockItems {
    fn read(
        stream: &mut RowStream,
        block: u64,
        modalities: &[&str],
        takes: &[Takes],
        input: &Path,
    ) -> Result<Self, Error> {
        let folder = input.parent().unwrap_or(Path::new(""));
        let cells = stream.block(block)?;
        let first = block * BLOCK_ROWS;
        let bad = |row: usize, what: String| {
            let message = format!("{}: {what}", stream.place(first + row as u64));
            let help = "give each row one text, path or row number of each modality that the file has";
            Error::input("chiasm::run::table", message, help)
        };
        let named = |name: &str| stream.columns().iter().position(|own| own == name).map(|at| &cells[at]);
        let count = cells.first().map_or(0, Vec::len);
        let ids = (0..count).map(|row| match named(ID).map(|ids| &ids[row]) {
            None => Ok((first + row as u64 + 1).to_string()),
            Some(Value::String(id)) => Ok(id.clone()),
            Some(Value::Number(id)) => Ok(id.to_string()),
            Some(other) => Err(bad(row, format!("expected an id, got {other}"))),
        });
        let ids = ids.collect::<Result<_, _>>()?;
        let column = |(name, takes): (&&str, &Takes)| {
            let cells = named(name).into_iter().flatten().enumerate();
            let item = |(row, cell): (usize, &Value)| {
                one_item(cell, name, *takes, folder).map_err(|what| bad(row, what))
            };
            cells.map(item).collect::<Result<Vec<_>, _>>()
        };
        let columns = modalities.iter().zip(takes).map(column).collect::<Result<_, _>>()?;
        Ok(Self { ids, columns })
    }

    /// Returns the outputs of the rows.
    fn run(
        self,
        session: &RunSession,
        steps: &StageProgress<'_>,
        stream: &RowStream,
        block: u64,
    ) -> Result<BlockTable, Error> {
        let columns: Vec<&[RawItem]> = self.columns.iter().map(Vec::as_slice).collect();
        let mut outputs = session.run_reported(&columns, steps)?;
        let mut ordered = Vec::new();
        for port in session.outputs() {
            let matrix = outputs.remove(&port.name);
            let matrix = matrix.ok_or_else(|| Error::Internal(format!("no output {:?}", port.name)))?;
            let finite = |row: &usize| matrix.row(*row).iter().all(|value| value.is_finite());
            if let Some(row) = (0..matrix.nrows()).find(|row| !finite(row)) {
                let place = stream.place(block * BLOCK_ROWS + row as u64);
                let message = format!("{place}: the output {:?} is NaN or infinite", port.name);
                return Err(Error::input("chiasm::run::not_finite", message, "check the item of that row"));
            }
            ordered.push(matrix);
        }
        Ok(BlockTable { ids: self.ids, names: session.outputs().to_vec(), outputs: ordered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the number of shards, each block is in one of them, in order.
    #[test]
    fn shards_cover_every_block_once_and_in_order() {
        for all in [0, 1, 2, 7, 100, u64::MAX / BLOCK_ROWS] {
            for count in [1, 2, 3, 7, 150] {
                let shards = (1..=count).map(|number| Shard { number, count }.blocks(all));
                let end = shards.fold(0, |end, blocks| {
                    assert_eq!(blocks.start, end);
                    assert!(blocks.end - blocks.start <= all.div_ceil(count));
                    blocks.end
                });
                assert_eq!(end, all);
            }
        }
    }

    #[test]
    fn a_shard_is_written_as_a_number_of_a_count() {
        assert_eq!("3/8".parse(), Ok(Shard { number: 3, count: 8 }));
        for wrong in ["", "3", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3", "1 / 2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong:?}");
        }
    }
}
