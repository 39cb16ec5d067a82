//! The cross-attention fusion: tokens of several modalities, one task, one graph with its head.
//!
//! Attention compares a question's words with a picture's patches one by one, which no arithmetic on two pooled vectors can.
//! The simple ways to fuse pooled vectors are here too, as modes with the same head and the same training, so that what attention
//! brings is a matter of one word in the recipe.
//!
//! A modality may be missing: its mask is then all 0, and a learned token, or vector, stands in its place. Training hides modalities at random
//! so that this is nothing new.
//!
//! What it refuses: attention over a single token, since a softmax over one key is 1 whatever the query says; and a fit without a
//! task, since nothing says then what is worth keeping.

mod fit;
mod head;
mod looks;
mod model;
mod settings;

use chiasm_plugin::{
    Fused, Fusion, FusionNeeds, FusionSpec, Inputs, Json, Parameter, Result, Services, TaskKind,
};

/// Attention between tokens of several modalities, trained for a task.
#[derive(Debug)]
pub struct CrossAttention;

impl Fusion for CrossAttention {
    const ID: &'static str = "cross-attention";
    const DOC: &'static str = "Attention between tokens of several modalities, trained for a task.";

    fn parameters() -> Vec<Parameter> {
        settings::parameters()
    }

    fn needs() -> FusionNeeds {
        let tasks =
            [TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Regression, TaskKind::Retrieval];
        FusionNeeds { tokens: true, tasks: tasks.to_vec() }
    }

    fn fit(
        spec: &FusionSpec,
        data: &Inputs<'_>,
        parameters: &Json,
        services: &Services<'_>,
    ) -> Result<Fused> {
        fit::fit(spec, data, parameters, services)
    }
}

chiasm_plugin::export_plugin! { fusions: [CrossAttention] }
