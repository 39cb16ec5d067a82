//! The cross-attention fusion: tokens of two or more modalities, trained for one task, in one graph with its
//! head.
//!
//! Attention compares single tokens, such as a question's words with a picture's patches, which is not
//! possible with pooled vectors. Simple fusions of pooled vectors are modes too, with the same head and the
//! same training, for comparison.
//!
//! A modality may be absent from a row: its mask is then zero, and a learned token, or vector, takes its
//! place. Training hides modalities at random, so that the fusion learns to answer without them.
//!
//! With `teacher`, another mode is trained first, and the network learns from its answers as well as from the
//! labels, so that one small head may replace several.
//!
//! Refused: attention over a single token, because a softmax over one key is 1 for every query; and a fit
//! without a task.

mod attention;
mod distillation;
mod fit;
mod head;
mod model;
mod parameters;
mod training;

use chiasm_plugin::{Fused, Fusion, FusionNeeds, FusionSpec, Inputs, Result, Services, TaskKind};

pub use parameters::{CrossAttentionParameters, FusionMode};

/// Attention between tokens of several modalities, trained for a task.
#[derive(Debug)]
pub struct CrossAttentionFusion;

impl Fusion for CrossAttentionFusion {
    const ID: &'static str = "cross-attention";
    const DOC: &'static str = "Attention between tokens of several modalities, trained for a task.";

    type Parameters = CrossAttentionParameters;

    fn needs(parameters: &CrossAttentionParameters) -> FusionNeeds {
        let tasks =
            [TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Regression, TaskKind::Retrieval];
        FusionNeeds { tokens: parameters.reads_tokens(), tasks: tasks.to_vec() }
    }

    fn fit(
        spec: &FusionSpec,
        data: &Inputs<'_>,
        parameters: CrossAttentionParameters,
        services: &Services<'_>,
    ) -> Result<Fused> {
        fit::fit(spec, data, parameters, services)
    }
}

chiasm_plugin::export_plugin! { fusions: [CrossAttentionFusion] }
