//! The vector adapter: existing embeddings as an encoder. A pairs table refers to their rows by number.
//!
//! The format of the file, `.npy`, `.npz` or Parquet, is detected from its content. The file is read once,
//! into 32-bit floats, when the adapter opens. A file with NaN or infinity is refused; the message names the
//! row.

mod columns;
mod corruption;
mod matrix;
mod numpy;

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use chiasm_kit::corruption::Corruption;
use chiasm_kit::encoder_tail;
use chiasm_plugin::graph::{DType, Graph, Tensor};
use chiasm_plugin::{
    Adapter, Budget, CardKey, CardKeys, DimSpec, Draft, EncoderSpec, Error, Item, ModelInput, PortSpec,
    Result, Services, Signature, Takes, json, open_file,
};
use serde::Deserialize;

use crate::corruption::{VectorCorruption, VectorCorruptionKind};
use crate::matrix::Matrix;

/// The adapter of a file of vectors.
pub struct VectorAdapter {
    path: PathBuf,
    matrix: Matrix,
    corruption: Option<VectorCorruption>,
}

/// A card's or recipe's table.
#[derive(Deserialize, CardKeys)]
#[serde(deny_unknown_fields)]
struct VectorParameters {
    /// The file, relative to the card's folder.
    vectors: String,
    /// The array of an .npz file, or the column of a Parquet file. Default: the only one that holds vectors.
    member: Option<String>,
    /// The column of a Parquet file, as `member`. Default: its single column of vectors.
    column: Option<String>,
    /// How vectors are corrupted, for a test of robustness.
    #[card(takes = "a table with kind and strength")]
    corruption: Option<Corruption<VectorCorruptionKind>>,
}

impl Adapter for VectorAdapter {
    const ID: &'static str = "vector";
    const DOC: &'static str = "Rows of a .npy, .npz or Parquet file of vectors, by number.";
    const KEYS: &'static [&'static [CardKey]] = &[VectorParameters::KEYS];

    fn takes() -> Takes {
        Takes::Row
    }

    fn draft(_: &Signature, _: &Path) -> Result<Option<Draft>> {
        Ok(None)
    }

    fn open(spec: &EncoderSpec, _: &Services<'_>) -> Result<Self> {
        let about = |reason: String| Error::invalid(format!("[preprocessing] of `{}`: {reason}", spec.name));
        let parameters: VectorParameters =
            serde_json::from_value(spec.preprocessing.clone()).map_err(|error| about(error.to_string()))?;
        let path = spec.directory.join(&parameters.vectors);
        let matrix = read(&path, &parameters)
            .and_then(Matrix::checked)
            .map_err(|reason| Error::invalid(format!("{}: {reason}", path.display())))?;
        let corruption = parameters.corruption.map(|corruption| VectorCorruption::new(corruption, &matrix));
        let corruption = corruption.transpose().map_err(about)?;
        Ok(Self { path, matrix, corruption })
    }

    fn inputs(&self) -> Vec<ModelInput> {
        vec![ModelInput {
            name: PORT.into(),
            dtype: DType::F32,
            dims: vec![Some(self.matrix.dim)],
            pad: None,
        }]
    }

    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
        let Item::Row(row) = item else {
            return Err(Error::invalid(format!("the vector adapter takes a row's number, got {item:?}")));
        };
        let values = self.matrix.row(row).ok_or_else(|| {
            let (path, rows) = (self.path.display(), self.matrix.rows);
            Error::invalid(format!("{path}: there is no row {row}; it has {rows} rows, numbered from 0"))
        })?;
        let mut values = values.to_vec();
        if let Some(corruption) = &self.corruption {
            corruption.apply(&mut values, row);
        }
        Ok(vec![Tensor::f32(&[self.matrix.dim], values)?])
    }

    fn rows(&self) -> Option<usize> {
        Some(self.matrix.rows)
    }

    fn tail(&self) -> Result<Graph> {
        let dims = vec![DimSpec::Named("batch".into()), DimSpec::Fixed(self.matrix.dim)];
        let spec = EncoderSpec {
            name: "vectors".into(),
            outputs: vec![PortSpec { name: PORT.into(), dtype: DType::F32, dims: Some(dims) }],
            ports: json!({ "pooled": PORT }),
            ..Default::default()
        };
        encoder_tail(&spec, None, false)
    }
}

/// The encoder's only input.
const PORT: &str = "vector";

fn read(path: &Path, parameters: &VectorParameters) -> Result<Matrix, String> {
    let described = |error: std::io::Error| format!("cannot be read ({error}); check `vectors`");
    let mut file = open_file(path, u64::MAX).map_err(described)?;
    let mut magic = [0; 6];
    let length = file.by_ref().take(6).read(&mut magic).map_err(described)?;
    file.rewind().map_err(described)?;
    let unused = |key: &str, value: &Option<String>| match value {
        Some(value) => Err(format!("{key} = \"{value}\" means nothing for this kind of file; remove it")),
        None => Ok(()),
    };
    match &magic[..length] {
        b"\x93NUMPY" => {
            unused("member", &parameters.member)?;
            unused("column", &parameters.column)?;
            // The numbers are stored as they are, so there are no more bytes than the file has.
            let size = file.metadata().map_err(described)?.len();
            numpy::read_npy(std::io::BufReader::with_capacity(1 << 20, file), &mut Budget::of_bytes(size))
        }
        [b'P', b'K', 3 | 5, ..] => {
            unused("column", &parameters.column)?;
            numpy::read_npz(file, parameters.member.as_deref())
        }
        [b'P', b'A', b'R', b'1', ..] => {
            let (member, column) = (parameters.member.as_ref(), parameters.column.as_ref());
            if let (Some(member), Some(column)) = (member, column)
                && member != column
            {
                return Err(format!(
                    "`member` says {member:?} and `column` {column:?}, and both name the column: give one"
                ));
            }
            let column = member.or(column);
            columns::read_parquet(file, column.map(String::as_str))
        }
        other => Err(format!("expected a .npy, .npz or Parquet file, got one beginning with {other:02x?}")),
    }
}

chiasm_plugin::export_plugin! { adapters: [VectorAdapter] }
