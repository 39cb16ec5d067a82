//! Distillation: a network learns from the answers of another one as well as from the labels.
//!
//! ```text
//! loss = (1 - w) CE(labels, s) + w T² CE(softmax(t / T), s / T)
//! ```
//!
//! s are the logits of the network that is trained, t those of the teacher, T the temperature and w the
//! weight (Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", section 2). The
//! teacher is trained first, on the same rows, and sees all modalities of a row while the student has some
//! hidden.

use chiasm_kit::WeightStore;
use chiasm_plugin::graph::Tensor;
use chiasm_plugin::ndarray::{Array2, Axis, Slice};
use chiasm_plugin::{Error, FusionSpec, Inputs, Result, Services, Task, TaskKind};

use crate::head::TaskHead;
use crate::parameters::CrossAttentionParameters;
use crate::training::{exported, objective, read, train};

/// Rows that the teacher answers at a time.
const CHUNK: usize = 512;

/// What the student reads besides the labels.
pub(crate) struct TeacherAnswers {
    /// The teacher's probabilities at the temperature, `[n, classes]`.
    pub probabilities: Array2<f32>,
    /// How the teacher's training went.
    pub training: String,
}

/// Trains the teacher that the parameters name, and returns its answers to the training rows.
///
/// # Errors
/// If the task is not classification, or the training fails.
pub(crate) fn teach(
    spec: &FusionSpec,
    data: &Inputs<'_>,
    parameters: &CrossAttentionParameters,
    (task, head): (&Task, &TaskHead),
    services: &Services<'_>,
) -> Result<Option<TeacherAnswers>> {
    let Some(mode) = parameters.teacher else { return Ok(None) };
    if task.kind != TaskKind::Classification {
        return Err(Error::invalid(
            "parameter `teacher`: expected a classification, whose classes have probabilities; leave it out \
             for another task",
        ));
    }
    let parameters = CrossAttentionParameters { mode, teacher: None, ..parameters.clone() };
    let (network, arrays) = read(spec, data, parameters, head, services)?;
    let mut weights = WeightStore::new(services.seed());
    let objective = objective(&network, head, &mut weights, false)?;
    let trained = train(&network, &objective, &arrays, &[("target", data.matrix("target")?)], services)?;
    weights.load(&trained.weights)?;
    let graph = exported(&network, head, true, &mut weights)?;
    let rows = data.matrix("target")?.nrows();
    let mut probabilities = Array2::zeros((rows, head.columns()));
    for start in (0..rows).step_by(CHUNK) {
        let slice = Slice::from(start..(start + CHUNK).min(rows));
        let inputs: Vec<(&str, Tensor)> = (arrays.iter())
            .map(|(name, array)| {
                let part = array.slice_axis(Axis(0), slice);
                Ok((name.as_str(), Tensor::f32(part.shape(), part.iter().copied().collect())?))
            })
            .collect::<Result<_>>()?;
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let outputs = services.run(&graph, &inputs)?;
        let logits = outputs.into_iter().find(|(name, _)| name == "logits");
        let (_, logits) = logits.ok_or_else(|| Error::other("the teacher's graph gave no logits"))?;
        let logits = logits.into_f32()?;
        let mut part = probabilities.slice_axis_mut(Axis(0), slice);
        part.iter_mut().zip(logits).for_each(|(own, logit)| *own = logit);
    }
    soften(&mut probabilities, network.parameters.teacher_temperature);
    Ok(Some(TeacherAnswers { probabilities, training: trained.report.sentence() }))
}

/// Replaces every row of logits by `softmax(row / temperature)`.
#[expect(clippy::cast_possible_truncation, reason = "probabilities are between 0 and 1")]
fn soften(logits: &mut Array2<f32>, temperature: f64) {
    for mut row in logits.outer_iter_mut() {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.mapv_inplace(|x| (f64::from(x - largest) / temperature).exp() as f32);
        let sum: f32 = row.sum();
        row.mapv_inplace(|x| x / sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_plugin::ndarray::arr2;

    /// softmax([2, 0] / 2) = 1 / (1 + 1/e), by hand; logits near the largest float do not overflow.
    #[test]
    fn a_temperature_softens_probabilities() {
        let mut rows = arr2(&[[2.0, 0.0], [3e38, 0.0]]);
        soften(&mut rows, 2.0);
        assert!((rows[[0, 0]] - 0.731_058_6).abs() < 1e-6, "{rows}");
        assert_eq!(rows.row(1).to_vec(), [1.0, 0.0]);
    }
}
