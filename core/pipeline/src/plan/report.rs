//! What a plan would do, for people and machines.

use super::{data::RecipeData, modality::ModalityEncoders};
use crate::{catalog::dataset::Split, recipe::Recipe};
use chiasm_host::Task;
use serde::Serialize;

/// What a plan would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PlanReport {
    /// Rows of the data.
    pub rows: usize,
    /// Rows that maps are fitted on.
    pub train: usize,
    /// Rows that choose between settings.
    pub validation: usize,
    /// Rows held out.
    pub test: usize,
    /// Every modality.
    pub modalities: Vec<ModalityReport>,
    /// Every encoder.
    pub encoders: Vec<EncoderReport>,
    /// The aligner.
    pub aligner: String,
    /// The modality that the others are bound to, when one is named.
    pub anchor: Option<String>,
    /// Pairs of modalities that no training row holds together.
    pub emergent: Vec<[String; 2]>,
    /// The fusion.
    pub fusion: Option<String>,
    /// What the fusion is trained for.
    pub task: Option<Task>,
    /// Whether the fusion reads tokens: of each modality those of its first encoder.
    pub reads_tokens: bool,
    /// Whether scores get a hubness bank.
    pub bank: bool,
    /// The operator set of the merged model.
    pub opset: i64,
    /// Memory of all pooled vectors, in bytes.
    pub embedding_bytes: usize,
}

/// One modality of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct ModalityReport {
    /// Its name.
    pub name: String,
    /// Its items.
    pub items: usize,
    /// Rows that hold at least one of them.
    pub rows: usize,
}

/// One encoder of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct EncoderReport {
    /// The modality it serves.
    pub modality: String,
    /// Its name.
    pub name: String,
    /// Its adapter.
    pub adapter: String,
    /// Its input ports.
    pub inputs: Vec<String>,
    /// Shape of its tokens.
    pub tokens: String,
    /// Width of its pooled vectors.
    pub pooled: usize,
    /// Its operator set.
    pub opset: i64,
    /// Bytes of its weights.
    pub weight_bytes: u64,
    /// RawItems it has to embed.
    pub items: usize,
    /// Its licence.
    pub licence: String,
}

impl PlanReport {
    /// But for what the fusion reads and the operator set.
    pub(super) fn of(recipe: &Recipe, modalities: &[ModalityEncoders], data: &RecipeData) -> Self {
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
