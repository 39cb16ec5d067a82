//! Small files that verbs read and write: tables of raw inputs, arrays of outputs, a run's stored control.

use crate::{
    Error,
    encoder::Raw,
    evaluate::Control,
    measure::Rows,
    opened::{Opened, Outputs},
    write::METRICS,
};
use ndarray::{Array2, ShapeBuilder};
use npyz::WriterBuilder;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use zip::{ZipWriter, write::SimpleFileOptions};

impl Opened<'_> {
    /// Rows of raw inputs from a JSONL file: one column per modality, the same columns in every row.
    ///
    /// # Errors
    /// When the file cannot be read, or a row is not as the first one is; the line is named.
    pub fn read_table(&self, path: &Path) -> Result<BTreeMap<String, Vec<Raw>>, Error> {
        let code = "chiasm::run::table";
        let bad = |line: usize, what: String| {
            let help = "one JSON object a line, with a string or row number for each modality";
            Error::input(code, format!("{}:{line}: {what}", path.display()), help)
        };
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut columns: BTreeMap<String, Vec<Raw>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let row: Value = serde_json::from_str(line).map_err(|e| bad(index + 1, e.to_string()))?;
            for modality in &self.manifest.modalities {
                let value = match &row[&modality.name] {
                    Value::Null => continue,
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let raw = Raw::of(&value, self.takes(&modality.name)?, folder);
                columns.entry(modality.name.clone()).or_default().push(raw);
            }
            let lengths: Vec<usize> = columns.values().map(Vec::len).collect();
            if lengths.windows(2).any(|w| w[0] != w[1]) || columns.is_empty() {
                let names: Vec<&str> = self.manifest.modalities.iter().map(|m| m.name.as_str()).collect();
                return Err(bad(
                    index + 1,
                    format!("expected the columns of the first row, among {}", names.join(", ")),
                ));
            }
        }
        Ok(columns)
    }
}

/// The rows of an .npy file of f32 or f64, as f32.
///
/// # Errors
/// As [`read_npy`].
pub(crate) fn read_matrix(path: &Path) -> Result<Array2<f32>, Error> {
    Ok(match read_npy(path)? {
        Rows::Single(rows) => rows,
        Rows::Double(rows) => rows.mapv(|v| v as f32),
    })
}

/// The rows of an .npy file of f32 or f64, in the precision they have.
///
/// # Errors
/// When it cannot be read, or holds something other than a matrix of floats.
pub(crate) fn read_npy(path: &Path) -> Result<Rows, Error> {
    let bad = |what: String| {
        let message = format!("{} is no matrix of floats: {what}", path.display());
        Error::input(
            "chiasm::array",
            message,
            "give an .npy file of float32 or float64 [n, d]: numpy.save(path, array)",
        )
    };
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let npy = npyz::NpyFile::new(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
    let &[rows, columns] = npy.shape() else { return Err(bad(format!("its shape is {:?}", npy.shape()))) };
    let by_rows = npy.order() == npyz::Order::C;
    let shape = (rows as usize, columns as usize).set_f(!by_rows);
    match npy.try_data::<f32>() {
        Ok(values) => {
            let values: Vec<f32> = values.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
            Array2::from_shape_vec(shape, values).map(Rows::Single).map_err(|e| bad(e.to_string()))
        }
        Err(npy) => {
            let values = npy.data::<f64>().map_err(|e| bad(e.to_string()))?;
            let values: Vec<f64> = values.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
            Array2::from_shape_vec(shape, values).map(Rows::Double).map_err(|e| bad(e.to_string()))
        }
    }
}

/// The whole numbers of an .npy file: one label a row.
///
/// # Errors
/// When it cannot be read, or holds something other than one row of int64 or int32, none below zero.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<usize>, Error> {
    let bad = |what: String| {
        let help = "give an .npy file of int64 [n], none below 0: numpy.save(path, labels.astype(\"int64\"))";
        Error::input("chiasm::labels", format!("{} holds no labels: {what}", path.display()), help)
    };
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let npy = npyz::NpyFile::new(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
    if npy.shape().len() != 1 {
        return Err(bad(format!("its shape is {:?}", npy.shape())));
    }
    let values: Vec<i64> = match npy.try_data::<i64>() {
        Ok(values) => values.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?,
        Err(npy) => {
            let narrow = npy.data::<i32>().map_err(|e| bad(e.to_string()))?;
            narrow.map(|v| v.map(i64::from)).collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?
        }
    };
    values.iter().map(|&v| usize::try_from(v).map_err(|_| bad(format!("label {v} is below 0")))).collect()
}

/// Writes outputs as the arrays of one .npz.
///
/// # Errors
/// When the disk refuses; nothing is left under that name then.
pub fn write_npz(path: &Path, outputs: &Outputs) -> Result<(), Error> {
    let temporary = path.with_extension("npz.tmp");
    let written = npz(&temporary, outputs).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // best effort: the error below is what matters
        Error::io("write", path, e)
    })
}

fn npz(path: &Path, outputs: &Outputs) -> std::io::Result<()> {
    let mut archive = ZipWriter::new(BufWriter::new(File::create(path)?));
    for (name, matrix) in outputs {
        archive
            .start_file(format!("{name}.npy"), SimpleFileOptions::default())
            .map_err(std::io::Error::other)?;
        let shape = [matrix.nrows() as u64, matrix.ncols() as u64];
        let mut bytes = Vec::new();
        let mut npy =
            npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        npy.extend(matrix.iter())?;
        npy.finish()?;
        archive.write_all(&bytes)?;
    }
    archive.finish().map_err(std::io::Error::other)?.flush()
}

/// The shuffled-pairs control that a fit stored: it needs a fit of its own, so `eval` does not make it again.
///
/// # Errors
/// When the run has no readable metrics.
pub fn stored_control(run: &Path) -> Result<Option<Control>, Error> {
    let path = run.join(METRICS);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let metrics: Value = serde_json::from_str(&text).map_err(|e| {
        Error::input("chiasm::run::damaged", format!("{}: {e}", path.display()), "fit the run again")
    })?;
    Ok(serde_json::from_value(metrics["shuffled_pairs"].clone()).ok())
}
