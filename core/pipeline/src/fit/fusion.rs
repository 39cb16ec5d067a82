//! Fitting a fusion on the training rows.

use super::maps::view;
use crate::{
    base::{environment::Environment, error::Error},
    embed::tokens::TokenSequences,
    plan::Plan,
    run::fusion_inputs::FusionInputs,
};
use chiasm_host::{BorrowedArray, Fused, FusionSpec, Modality};
use ndarray::{Array2, Axis};

/// Fits the fusion of the plan; returns `None` if the recipe has none.
///
/// # Errors
/// If the fusion fails. The error names the plugin.
pub fn fit(plan: &Plan, inputs: &FusionInputs, env: &Environment) -> Result<Option<Fused>, Error> {
    let Some(recipe) = &plan.recipe.fuse else { return Ok(None) };
    let target = target(plan, inputs);
    let ports: Vec<[String; 3]> = (inputs.names.iter())
        .map(|name| ["pooled", "tokens", "mask"].map(|port| format!("{name}.{port}")))
        .collect();
    let mut modalities = Vec::new();
    let mut data: Vec<(&str, BorrowedArray<'_>)> = Vec::new();
    for (at, [pooled_port, tokens_port, mask_port]) in ports.iter().enumerate() {
        let (pooled, tokens) = (&inputs.pooled[at], &inputs.tokens[at]);
        data.push((pooled_port, view(pooled)));
        if let Some(TokenSequences { values, .. }) = tokens {
            data.push((
                tokens_port,
                BorrowedArray::f32(values.shape(), values.as_slice().unwrap_or_default()),
            ));
        }
        data.push((mask_port, view(inputs.mask(at))));
        modalities.push(Modality {
            name: inputs.names[at].clone(),
            pooled_dim: pooled.ncols(),
            token_dim: tokens.as_ref().map(|tokens| tokens.values.len_of(Axis(2))),
        });
    }
    data.extend(target.as_ref().map(|target| ("target", view(target))));
    let task = plan.data.task.as_ref().map(|plan| plan.task.clone());
    let spec = FusionSpec { modalities, task };
    let id = &recipe.id.value;
    let services = env.services(&format!("fuse ({id})"), plan.seed());
    Ok(Some(env.host.fusion(id)?.fit(&spec, &data, &recipe.to_json(), &services)?))
}

/// Returns the training target of every row: classes, labels, numbers, or for retrieval the mean of its
/// target items.
fn target(plan: &Plan, inputs: &FusionInputs) -> Option<Array2<f32>> {
    let task = plan.data.task.as_ref()?;
    task.target(&inputs.rows).or_else(|| inputs.targets.as_ref().map(|targets| targets.means()))
}
