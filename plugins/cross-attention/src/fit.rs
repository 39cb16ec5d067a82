//! The fit: trains a network, perhaps after its teacher, and builds it again without the loss for the export.

use std::collections::BTreeMap;
use std::iter;

use chiasm_kit::WeightStore;
use chiasm_plugin::{Error, Fused, FusionSpec, Inputs, Result, Services, json};

use crate::distillation::teach;
use crate::head::TaskHead;
use crate::model::FusionNetwork;
use crate::parameters::{CrossAttentionParameters, FusionMode};
use crate::training::{TEACHER, exported, objective, read, train};

/// Fits the fusion.
pub(crate) fn fit(
    spec: &FusionSpec,
    data: &Inputs<'_>,
    parameters: CrossAttentionParameters,
    services: &Services<'_>,
) -> Result<Fused> {
    let task = spec.task.as_ref().ok_or_else(|| {
        Error::invalid(
            "a fusion that trains needs a task: expected one, got none; `concat` and `mean` need none",
        )
    })?;
    let target = data.matrix("target")?;
    let head = TaskHead::new(task, target)?;
    let teacher = teach(spec, data, &parameters, (task, &head), services)?;
    let (model, arrays) = read(spec, data, parameters, &head, services)?;
    let mut weights = WeightStore::new(services.seed());
    let objective = objective(&model, &head, &mut weights, teacher.is_some())?;
    let targets: Vec<_> = iter::once(("target", target.view()))
        .chain(teacher.as_ref().map(|teacher| (TEACHER, teacher.probabilities.view())))
        .collect();
    let trained = train(&model, &objective, &arrays, &targets, services)?;
    weights.load(&trained.weights)?;
    let graph = exported(&model, &head, task.has_logits(), &mut weights)?;
    let report = &trained.report;
    let best = report.curve.iter().find(|point| point.step == report.best_step).and_then(|point| point.score);
    let mut notes = json!({
        "mode": model.parameters.mode,
        "trained_parameters": weights.count(),
        "training": report.sentence(),
        "loss_held_out": best,
    });
    if model.parameters.mode == FusionMode::Gated {
        notes["balance"] = json!(balances(&model, &weights)?);
    }
    if let Some(teacher) = teacher {
        notes["teacher"] = json!({ "mode": model.parameters.teacher, "training": teacher.training });
    }
    Ok(Fused { graph, notes })
}

/// The learned balance of each modality: the share of its own tokens.
fn balances(model: &FusionNetwork, weights: &WeightStore) -> Result<BTreeMap<String, f32>> {
    let mut shares = BTreeMap::new();
    for (at, stream) in model.streams.iter().enumerate() {
        let name = format!("fusion/{at}/balance");
        let found =
            weights.iter().find(|(own, _)| *own == name).and_then(|(_, tensor)| tensor.as_f32()?.first());
        let raw = found.ok_or_else(|| Error::other(format!("there is no weight `{name}`")))?;
        shares.insert(stream.name.clone(), 1.0 / (1.0 + (-raw).exp()));
    }
    Ok(shares)
}
