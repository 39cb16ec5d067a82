//! What is in the folder of an export, without running anything.

use super::{
    export::{ExportReport, RECORD, read_record},
    files::path_in,
    inspect::{EncoderInspection, ModelInspection, SizedFile, inspect_onnx, sized},
    model_card::{LicenceSummary, licences},
    pipeline_svg::{DrawnEncoder, PipelineParts, draw},
    verify::damage,
};
use crate::base::error::Error;
use chiasm_graph::{Graph, Port};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

/// What is in the folder of an export.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ExportInspection {
    /// What the export is, in whole sentences.
    pub what: String,
    /// The version of Chiasm that the run was fitted with.
    pub chiasm: String,
    /// The engine that the run was fitted with.
    pub engine: String,
    /// The random seed of the run.
    pub seed: u64,
    /// The key of the run.
    pub key: String,
    /// The aligner.
    pub aligner: String,
    /// The encoders of the models.
    pub encoders: Vec<EncoderInspection>,
    /// The identifier of all licences together, as the model card states it.
    pub licence: String,
    /// What the licences mean.
    pub licence_consequence: String,
    /// The sum of all recalls on the test rows of the run as the export was measured, and its maximum.
    pub rsum: [f64; 2],
    /// What is left out, by modality, and why.
    pub left_out: BTreeMap<String, String>,
    /// The models, by their files in the folder.
    pub models: BTreeMap<String, ModelInspection>,
    /// Every file that has a digest.
    pub files: Vec<SizedFile>,
    /// A drawing of the models.
    #[serde(skip)]
    pub svg: String,
}

/// Returns whether a folder is an export.
pub fn is_export(folder: &Path) -> bool {
    folder.join(RECORD).is_file()
}

/// Reads the folder of an export. Returns what is in it, and its models by their files.
///
/// # Errors
/// If it is no export, or a file is missing or was changed.
pub fn inspect_export(folder: &Path) -> Result<(ExportInspection, BTreeMap<String, Graph>), Error> {
    let record = read_record(folder)?;
    let damaged =
        record.digests.iter().find_map(|(name, digest)| Some((name, damage(folder, name, digest)?)));
    if let Some((name, damage)) = damaged {
        let message = format!("{} {damage}", folder.join(name.as_str()).display());
        let help = "restore the file, or export the run again";
        return Err(Error::input("chiasm::export::damaged", message, help));
    }
    let (mut models, mut graphs) = (BTreeMap::new(), BTreeMap::new());
    for file in &record.models {
        let (model, graph) = inspect_onnx(&path_in(folder, file.as_str())?)?;
        models.insert(file.to_string(), model);
        graphs.insert(file.to_string(), graph);
    }
    let files = record.digests.keys();
    let files = files.map(|name| sized(&path_in(folder, name.as_str())?, name.to_string()));
    let files = files.collect::<Result<_, Error>>()?;
    Ok((described(record, models, &graphs, files), graphs))
}

/// Describes the modalities that the models embed.
fn described(
    mut record: ExportReport,
    models: BTreeMap<String, ModelInspection>,
    graphs: &BTreeMap<String, Graph>,
    files: Vec<SizedFile>,
) -> ExportInspection {
    let mut outputs: Vec<Port> = Vec::new();
    for port in graphs.values().flat_map(Graph::outputs) {
        if outputs.iter().all(|other| other.name != port.name) {
            outputs.push(port);
        }
    }
    record.modalities.retain(|modality| outputs.iter().any(|port| port.name == modality.output));
    let modalities = &record.modalities;
    record.encoders.retain(|encoder| modalities.iter().any(|own| own.name == encoder.modality));
    let parts = PipelineParts {
        encoders: record.encoders.iter().map(drawn).collect(),
        aligner: &record.aligner,
        fusion: record.fusion.as_deref(),
        outputs: &outputs,
    };
    let svg = draw(&record.modalities, &parts);
    let licensed = record.encoders.iter().map(|encoder| (encoder.name.as_str(), encoder.licence.as_deref()));
    let licence = LicenceSummary::of(&licences(licensed));
    ExportInspection {
        what: record.what,
        chiasm: record.chiasm,
        engine: record.engine,
        seed: record.seed,
        key: record.run_key,
        aligner: record.aligner,
        encoders: record.encoders,
        licence: licence.name.unwrap_or(licence.identifier),
        licence_consequence: licence.consequence,
        rsum: record.rsum,
        left_out: record.left_out,
        models,
        files,
        svg,
    }
}

fn drawn(encoder: &EncoderInspection) -> DrawnEncoder<'_> {
    DrawnEncoder {
        modality: &encoder.modality,
        name: &encoder.name,
        adapter: &encoder.adapter,
        pooled: encoder.pooled,
    }
}
