//! The summary of a plan.

use super::{data::RecipeData, modality::ModalityEncoders};
use crate::{
    catalog::{dataset::Split, trial::Trial},
    recipe::Recipe,
};
use chiasm_host::Task;
use serde::Serialize;

/// The summary of a plan.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// Number of rows.
    pub rows: usize,
    /// Number of training rows.
    pub train: usize,
    /// Number of validation rows.
    pub validation: usize,
    /// Number of test rows.
    pub test: usize,
    /// Every modality.
    pub modalities: Vec<ModalityReport>,
    /// Every encoder.
    pub encoders: Vec<EncoderReport>,
    /// The aligner.
    pub aligner: String,
    /// The anchor, if the recipe names one.
    pub anchor: Option<String>,
    /// Pairs of modalities that no training row has together.
    pub emergent: Vec<[String; 2]>,
    /// The fusion.
    pub fusion: Option<String>,
    /// The task of the fusion.
    pub task: Option<Task>,
    /// Whether the fusion reads tokens: those of the first encoder of each modality.
    pub reads_tokens: bool,
    /// Whether scores are corrected by a hubness bank.
    pub bank: bool,
    /// The operator set of the merged model.
    pub opset: i64,
    /// Memory for all pooled vectors, in bytes.
    pub embedding_bytes: usize,
}

/// One modality of a plan.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ModalityReport {
    /// Its name.
    pub name: String,
    /// Number of items.
    pub items: usize,
    /// Number of rows with at least one item.
    pub rows: usize,
}

/// One encoder of a plan.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct EncoderReport {
    /// Its modality.
    pub modality: String,
    /// Its name.
    pub name: String,
    /// Its adapter.
    pub adapter: String,
    /// Its input ports.
    pub inputs: Vec<String>,
    /// Type and shape of its tokens.
    pub tokens: String,
    /// Width of its pooled vectors.
    pub pooled: usize,
    /// Its operator set.
    pub opset: i64,
    /// Size of its weights, in bytes.
    pub weight_bytes: u64,
    /// Number of items to embed.
    pub items: usize,
    /// Its licence.
    pub licence: String,
    /// The items that were examined, and those of them that did not fit.
    pub trial: Trial,
}

impl PlanReport {
    /// Summarises a plan, except `reads_tokens` and `opset`.
    pub(super) fn of(
        recipe: &Recipe,
        modalities: &[ModalityEncoders],
        data: &RecipeData,
        trials: &[Trial],
    ) -> Self {
        let mut trials = trials.iter();
        let count = |split| data.dataset.rows_of(split).len();
        let mut encoders = Vec::new();
        let mut shown = Vec::new();
        let mut embedding_bytes = 0;
        for (modality, items) in modalities.iter().zip(&data.items) {
            embedding_bytes += 4 * modality.width() * items.raw.len();
            let rows = items.rows.chunk_by(|a, b| a == b).count();
            shown.push(ModalityReport { name: modality.name.clone(), items: items.raw.len(), rows });
            encoders.extend(modality.encoders.iter().map(|encoder| EncoderReport {
                modality: modality.name.clone(),
                name: encoder.name.clone(),
                adapter: encoder.adapter_id.clone(),
                inputs: encoder.input_ports(),
                tokens: encoder.token_type(),
                pooled: encoder.pooled_dim,
                opset: encoder.graph.opset(),
                weight_bytes: encoder.graph.weight_bytes(),
                items: items.raw.len(),
                licence: encoder.licence(),
                trial: trials.next().cloned().unwrap_or_default(),
            }));
        }
        let names: Vec<&str> = modalities.iter().map(|modality| modality.name.as_str()).collect();
        Self {
            rows: data.dataset.len(),
            train: count(Split::Train),
            validation: count(Split::Validation),
            test: count(Split::Test),
            modalities: shown,
            encoders,
            aligner: recipe.align.plugin.id.value.clone(),
            anchor: recipe.align.anchor.as_ref().map(|anchor| anchor.value.clone()),
            emergent: data.emergent(&names),
            fusion: recipe.fuse.as_ref().map(|f| f.id.value.clone()),
            task: data.task.as_ref().map(|plan| plan.task.clone()),
            bank: recipe.score.bank.is_some(),
            embedding_bytes,
            ..Self::default()
        }
    }
}
