//! What an export says of itself in `export.json`.

use super::shortened::ShortenedVectors;
use crate::{
    base::{error::Error, relative_path::RelativePath},
    run::{
        evaluate::Metrics,
        files::{MAX_TEXT, ModalityManifest, read_in},
        inspect::EncoderInspection,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// The file with the [`ExportReport`]. A folder with this file is an export.
pub const RECORD: &str = "export.json";

/// The result of an export.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// What the export is, in whole sentences.
    pub what: String,
    /// The files by their names in the folder of the export, models first.
    pub files: Vec<String>,
    /// The models among them.
    pub models: Vec<RelativePath>,
    /// The modalities: how raw items are prepared, and the names of the ports.
    pub modalities: Vec<ModalityManifest>,
    /// The encoders, with the licences on their cards.
    pub encoders: Vec<EncoderInspection>,
    /// The aligner of the run.
    pub aligner: String,
    /// The fusion of the run, if it has one.
    pub fusion: Option<String>,
    /// The version of Chiasm that the run was fitted with.
    pub chiasm: String,
    /// The version of ONNX Runtime that the run was fitted with.
    pub engine: String,
    /// The random seed of the run.
    pub seed: u64,
    /// The key of the exported run.
    pub run_key: String,
    /// The largest absolute difference of each output from `model.onnx`, or from the first coordinates of its
    /// vectors if they are shortened, on synthetic inputs.
    pub differences: BTreeMap<String, f32>,
    /// The version of the `ai.onnx` operator set of the models.
    pub opset: i64,
    /// What is left out of the export, by modality, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// The sum of all recalls on the test rows of the run as the export was measured, and its maximum.
    pub rsum: [f64; 2],
    /// The effect of reduced-precision weights, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrow: Option<ReducedPrecision>,
    /// The effect of shorter vectors, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortened: Option<ShortenedVectors>,
    /// The SHA-256 of each file but this one, by its path in the folder of the export.
    pub digests: BTreeMap<RelativePath, String>,
}

impl ExportReport {
    /// Returns the metrics with reduced weights or vectors, if any were reduced.
    pub(super) fn reduced(&self) -> Option<&Metrics> {
        let narrow = self.narrow.as_ref().map(|narrow| &narrow.after);
        narrow.or(self.shortened.as_ref().map(|shortened| &shortened.after))
    }
}

/// The effect of reduced-precision weights: their size, and the metrics on the test rows of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReducedPrecision {
    /// `fp16` or `int8`.
    pub weights: String,
    /// Size of the weights of the merged model in bytes, before and after.
    pub bytes: [u64; 2],
    /// Metrics with the weights as fitted.
    pub before: Metrics,
    /// Metrics with reduced-precision weights.
    pub after: Metrics,
}

/// Reads what an export says of itself.
///
/// # Errors
/// If the file cannot be read, or was written by a version that said less.
pub fn read_record(folder: &Path) -> Result<ExportReport, Error> {
    serde_json::from_slice(&read_in(folder, RECORD, MAX_TEXT)?).map_err(|error| {
        let message = format!("{}: {error}", folder.join(RECORD).display());
        Error::input("chiasm::export::damaged", message, "export the run again")
    })
}
